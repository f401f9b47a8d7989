//! Derivation against the worked values of the format, and against other implementations of HMAC, HKDF and CMAC.

use aes::{Aes128, Aes256};
use cmac::Cmac;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use itron_core::crypto::kdf::{self, Derivation, Kdf, KdfError, Label, MasterKey};
use sha2::Sha256;

const DEVICE: [u8; 8] = [0, 0, 0, 0, 5, 0xf5, 0xe1, 1];

/// The master key 000102..1f of the worked example.
fn example_master() -> MasterKey {
    MasterKey::from_bytes(&std::array::from_fn::<u8, 32, _>(|at| at as u8))
}

fn example(kdf: Kdf, length: usize) -> Derivation<'static> {
    Derivation { kdf, label: Label::ReadEnc, utility: b"UTIL0001", key_version: 4, extra: None, length }
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("two hexadecimal digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn derive(master: &MasterKey, derivation: &Derivation<'_>, ids: &[[u8; 8]]) -> Vec<u8> {
    let mut out = vec![0; ids.len() * derivation.length];
    kdf::derive_many(master, derivation, ids, &mut out).expect("lengths are right");
    out
}

#[test]
fn worked_values_of_the_format() {
    let of = |kdf, length| derive(&example_master(), &example(kdf, length), &[DEVICE]);
    assert_eq!(of(Kdf::HmacSha256, 16), unhex("3542c8265c8ee1d264deb965e9a1b33c"));
    assert_eq!(of(Kdf::HmacSha256, 32), unhex("e9889755415327923b40faac36ebed058330232e2358274169a1ac9b13d807dc"));
    assert_eq!(of(Kdf::CmacAes256, 16), unhex("eb12889618b324ff50191eb16b2509a2"));
}

/// CBOR heads of the lengths that occur, written out by hand: RFC 8949 section 3.
fn context(derivation: &Derivation<'_>, id: [u8; 8]) -> Vec<u8> {
    let version = match derivation.key_version {
        version @ 0..=23 => vec![version as u8],
        version @ 24..=0xff => [&[0x18][..], &(version as u8).to_be_bytes()].concat(),
        version @ 0x100..=0xffff => [&[0x19][..], &(version as u16).to_be_bytes()].concat(),
        version @ 0x1_0000..=0xffff_ffff => [&[0x1a][..], &(version as u32).to_be_bytes()].concat(),
        version => [&[0x1b][..], &version.to_be_bytes()].concat(),
    };
    let utility = [&[0x40 + derivation.utility.len() as u8], derivation.utility].concat();
    let extra = match derivation.extra {
        None => Vec::new(),
        Some(extra) if extra.len() < 24 => [&[0x40 + extra.len() as u8], extra].concat(),
        Some(extra) => [&[0x58, extra.len() as u8], extra].concat(),
    };
    let items = if derivation.extra.is_some() { 0x85 } else { 0x84 };
    [&[items, 1], &utility[..], &[0x48], &id, &version, &extra].concat()
}

fn fixed_input(derivation: &Derivation<'_>, id: [u8; 8]) -> Vec<u8> {
    let label = format!("itron_core/v1/{}\0", derivation.label.name());
    let bits = (8 * derivation.length as u32).to_be_bytes();
    [label.as_bytes(), &context(derivation, id), &bits].concat()
}

/// NIST SP 800-108r1 section 4.1, one block of output after the other.
fn kbkdf<M: Mac + KeyInit>(master: &[u8], input: &[u8], length: usize) -> Vec<u8> {
    let mut key = Vec::new();
    for counter in 1_u32.. {
        let mac = <M as KeyInit>::new_from_slice(master).expect("a key of the right length");
        key.extend(mac.chain_update(counter.to_be_bytes()).chain_update(input).finalize().into_bytes());
        if key.len() >= length {
            break;
        }
    }
    key.truncate(length);
    key
}

fn by_other_crates(master: &[u8], derivation: &Derivation<'_>, id: [u8; 8]) -> Vec<u8> {
    let (input, length) = (fixed_input(derivation, id), derivation.length);
    match derivation.kdf {
        Kdf::HmacSha256 => kbkdf::<Hmac<Sha256>>(master, &input, length),
        Kdf::CmacAes256 => kbkdf::<Cmac<Aes256>>(master, &input, length),
        Kdf::CmacAes128 => kbkdf::<Cmac<Aes128>>(master, &input, length),
        Kdf::HkdfSha256 => {
            let mut key = vec![0; length];
            Hkdf::<Sha256>::new(None, master).expand(&input, &mut key).expect("a short key");
            key
        }
    }
}

fn ids(count: usize) -> Vec<[u8; 8]> {
    (0..count as u64).map(|id| id.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()).collect()
}

/// Bytes of a master key that the function takes.
fn master_for(kdf: Kdf) -> Vec<u8> {
    let length = if kdf == Kdf::CmacAes128 { 16 } else { 32 };
    (0..length).map(|byte| 0xa0 ^ byte).collect()
}

#[test]
fn every_shape_agrees_with_other_crates() {
    let (utility, extra) = ([0x55; 16], [0xee; 32]);
    let extras = [None, Some(0), Some(1), Some(23), Some(24), Some(32)];
    let versions = [0, 1, 23, 24, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, u64::MAX];
    let ids = ids(9);
    for kdf in Kdf::ALL {
        let bytes = master_for(kdf);
        let master = MasterKey::from_bytes(&bytes);
        for (case, utility_length) in (1..=16).cycle().take(16 * 6 * 11 * 5).enumerate() {
            let derivation = Derivation {
                kdf,
                label: Label::ALL[case % 5],
                utility: &utility[..utility_length],
                key_version: versions[case / 5 % 11],
                extra: extras[case / 55 % 6].map(|length| &extra[..length]),
                length: if case / 7 % 2 == 0 { 16 } else { 32 },
            };
            let wanted: Vec<u8> = ids.iter().flat_map(|&id| by_other_crates(&bytes, &derivation, id)).collect();
            assert_eq!(derive(&master, &derivation, &ids), wanted, "{derivation:?}");
        }
    }
}

#[test]
fn any_number_of_devices_on_any_number_of_threads() {
    for kdf in Kdf::ALL {
        let bytes = master_for(kdf);
        let master = MasterKey::from_bytes(&bytes);
        for length in [16, 32] {
            let derivation = example(kdf, length);
            for count in [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 100, 513, 2_049] {
                let ids = ids(count);
                let wanted: Vec<u8> = ids.iter().flat_map(|&id| by_other_crates(&bytes, &derivation, id)).collect();
                assert_eq!(derive(&master, &derivation, &ids), wanted, "{count} devices");
                for threads in [1, 2, 16] {
                    let mut out = vec![0; count * length];
                    kdf::derive_all(&master, &derivation, &ids, threads, &mut out).expect("lengths are right");
                    assert_eq!(out, wanted, "{count} devices on {threads} threads");
                }
            }
        }
    }
}

#[test]
fn masters_of_hmac_and_hkdf_have_any_length_from_16() {
    for kdf in [Kdf::HmacSha256, Kdf::HkdfSha256] {
        for length in [16, 31, 32, 33, 63, 64, 65, 200] {
            let bytes = vec![0x77; length];
            let keys = derive(&MasterKey::from_bytes(&bytes), &example(kdf, 32), &[DEVICE]);
            assert_eq!(keys, by_other_crates(&bytes, &example(kdf, 32), DEVICE), "master of {length} bytes");
        }
    }
}

#[test]
fn empty_extra_is_not_absent_extra() {
    let absent = example(Kdf::HmacSha256, 16);
    let empty = Derivation { extra: Some(&[]), ..absent };
    assert_ne!(derive(&example_master(), &absent, &[DEVICE]), derive(&example_master(), &empty, &[DEVICE]));
}

#[test]
fn check_values_begin_the_derivation_of_their_own_label() {
    for kdf in Kdf::ALL {
        let bytes = master_for(kdf);
        let ids = ids(21);
        for (label, length) in [(Label::ReadEnc, 16), (Label::Session, 32)] {
            let derivation = Derivation { label, ..example(kdf, length) };
            let mut values = vec![0; 4 * ids.len()];
            kdf::check_values(&MasterKey::from_bytes(&bytes), &derivation, &ids, &mut values)
                .expect("lengths are right");
            let own = Derivation { label: Label::Kcv, length: 16, ..derivation };
            let wanted: Vec<u8> = ids.iter().flat_map(|&id| by_other_crates(&bytes, &own, id)[..4].to_vec()).collect();
            assert_eq!(values, wanted);
        }
    }
}

/// The error of a derivation for one device; nothing may have been written.
fn refused(master: usize, derivation: &Derivation<'_>, out: usize) -> KdfError {
    let master = MasterKey::from_bytes(&vec![1; master]);
    let mut out = vec![0xcc; out];
    let error = kdf::derive_many(&master, derivation, &[DEVICE], &mut out).expect_err("a wrong length");
    assert_eq!(kdf::derive_all(&master, derivation, &[DEVICE], 2, &mut out), Err(error));
    assert!(out.iter().all(|&byte| byte == 0xcc));
    error
}

#[test]
fn masters_of_a_wrong_length_are_refused() {
    for kdf in Kdf::ALL {
        for length in [0, 1, 15, 17, 24, 31, 33, 64] {
            let at_least_16 = [Kdf::HmacSha256, Kdf::HkdfSha256].contains(&kdf);
            if length < 16 || !at_least_16 {
                assert_eq!(refused(length, &example(kdf, 16), 16), KdfError::MasterLength { kdf, got: length });
            }
        }
    }
    assert_eq!(
        refused(32, &example(Kdf::CmacAes128, 16), 16),
        KdfError::MasterLength { kdf: Kdf::CmacAes128, got: 32 }
    );
    assert_eq!(
        refused(16, &example(Kdf::CmacAes256, 16), 16),
        KdfError::MasterLength { kdf: Kdf::CmacAes256, got: 16 }
    );
}

#[test]
fn other_wrong_lengths_are_refused() {
    let right = example(Kdf::HmacSha256, 16);
    for utility in [&[][..], &[b'u'; 17]] {
        let wrong = Derivation { utility, ..right };
        assert_eq!(refused(32, &wrong, 16), KdfError::UtilityLength { got: utility.len() });
    }
    let wrong = Derivation { extra: Some(&[0; 33]), ..right };
    assert_eq!(refused(32, &wrong, 16), KdfError::ExtraLength { got: 33 });
    for length in [0, 8, 15, 17, 24, 31, 33, 64] {
        assert_eq!(refused(32, &Derivation { length, ..right }, length), KdfError::Length { got: length });
    }
    for got in [0, 15, 17, 32] {
        assert_eq!(refused(32, &right, got), KdfError::OutputLength { got, wanted: 16 });
    }
    let values = kdf::check_values(&example_master(), &right, &[DEVICE; 2], &mut [0; 7]);
    assert_eq!(values, Err(KdfError::OutputLength { got: 7, wanted: 8 }));
}

#[test]
fn errors_say_what_came_and_what_was_expected() {
    let of = |kdf| KdfError::MasterLength { kdf, got: 15 }.to_string();
    assert_eq!(of(Kdf::HkdfSha256), "master key: got 15 bytes, expected at least 16 for hkdf-sha256");
    assert_eq!(of(Kdf::CmacAes256), "master key: got 15 bytes, expected 32 for kbkdf-cmac-aes256");
    assert_eq!(KdfError::Length { got: 24 }.to_string(), "length: got 24, expected 16 or 32");
}

#[test]
fn names_and_ids_are_those_of_the_format() {
    let names = ["kbkdf-hmac-sha256", "kbkdf-cmac-aes256", "hkdf-sha256", "kbkdf-cmac-aes128"];
    for (id, name) in (1..).zip(names) {
        assert_eq!(Kdf::from_id(id), Kdf::from_name(name));
        assert_eq!(Kdf::from_id(id).map(|kdf| (kdf.id(), kdf.name())), Some((id, name)));
    }
    assert_eq!((Kdf::from_id(0), Kdf::from_id(5), Kdf::from_name("")), (None, None, None));
    let labels = ["device", "read-enc", "read-auth", "session", "kcv"];
    assert_eq!(Label::ALL.map(Label::name), labels);
    assert_eq!(labels.map(Label::from_name), Label::ALL.map(Some));
    assert_eq!(Label::from_name("itron_core/v1/device"), None);
}

#[test]
fn masters_are_compared_and_shown_without_their_bytes() {
    assert_eq!(format!("{:?}", example_master()), "MasterKey(..)");
    assert!(example_master() == example_master());
    assert!(example_master() != MasterKey::from_bytes(&[0; 32]));
    assert!(example_master() != MasterKey::from_bytes(&[0; 16]));
}
