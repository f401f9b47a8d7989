//! One-off rows, each with its own key.

use super::super::*;
use super::{cases, public_key, signing_key};
use ::p256::ecdsa::Signature;
use ::p256::ecdsa::signature::Signer;

#[test]
fn every_row_may_have_its_own_key() {
    let made: Vec<_> = (0..cases() / 8)
        .map(|number| {
            let key = signing_key(number);
            let message = number.to_le_bytes();
            let signature: Signature = key.sign(&message);
            let mut signature: [u8; 64] = signature.to_bytes().into();
            signature[number % 64] ^= u8::from(number % 5 == 3);
            (public_key(&key), signature, message)
        })
        .collect();
    let rows: Vec<_> = made
        .iter()
        .map(|(public_key, signature, message)| OneOffRow { public_key, signature, message: [message, &[], &[], &[]] })
        .collect();
    for (name, twin) in twins() {
        for length in [1, 2, 7, 8, 9, 17, rows.len()] {
            let mut verdicts = vec![false; length];
            (twin.verify_one_off)(&rows[..length], &mut verdicts);
            for (number, verdict) in verdicts.into_iter().enumerate() {
                assert_eq!(verdict, number % 5 != 3, "{name}, row {number}");
            }
        }
    }
}
