//! Random signatures, valid and corrupted, against the p256 crate.

use super::super::*;
use ::p256::ecdsa::signature::Signer;
use ::p256::ecdsa::{Signature, SigningKey};

pub(super) struct Case {
    pub(super) public_key: [u8; 64],
    pub(super) signature: [u8; 64],
    pub(super) message: Vec<u8>,
}

pub(super) fn signing_key(number: u8) -> SigningKey {
    SigningKey::from_slice(&[number + 1; 32]).expect("a scalar below n")
}

pub(super) fn public_key(key: &SigningKey) -> [u8; 64] {
    key.verifying_key().to_sec1_point(false).as_bytes()[1..].try_into().expect("64 bytes")
}

pub(super) fn case(number: usize, keys: u8) -> Case {
    let key = signing_key(number as u8 % keys);
    let message: Vec<u8> = (0..number % 200).map(|i| (i * number) as u8).collect();
    let signature: Signature = key.sign(&message);
    Case { public_key: public_key(&key), signature: signature.to_bytes().into(), message }
}

#[test]
fn valid_signatures_are_accepted_and_corrupted_ones_refused() {
    let table = Table::new(&public_key(&signing_key(0)), 8).expect("a point");
    for length in [1, 2, 3, 4, 5, 17, 600] {
        let mut cases: Vec<_> = (0..length).map(|number| case(number, 1)).collect();
        for (number, case) in cases.iter_mut().enumerate().filter(|(number, _)| number % 3 == 1) {
            case.signature[number % 64] ^= 1;
        }
        let rows: Vec<_> = cases
            .iter()
            .map(|case| Row { table: &table, signature: &case.signature, message: [&case.message, &[], &[], &[]] })
            .collect();
        let mut verdicts = vec![false; length];
        verify(&rows, &mut verdicts);
        let expected: Vec<_> = (0..length).map(|number| number % 3 != 1).collect();
        assert_eq!(verdicts, expected);
        let rows: Vec<_> = cases
            .iter()
            .map(|case| OneOffRow { public_key: &case.public_key, signature: &case.signature, message: [&case.message, &[], &[], &[]] })
            .collect();
        verify_one_off(&rows, &mut verdicts);
        assert_eq!(verdicts, expected);
    }
}
