//! Random signatures, valid and corrupted, against the p256 crate.

use super::super::*;
use super::{Random, cases, public_key, signing_key};
use ::p256::ecdsa::signature::{Signer, Verifier};
use ::p256::ecdsa::{Signature, SigningKey, VerifyingKey};

const KEYS: usize = 5;

#[derive(Clone)]
struct Case {
    key: usize,
    signature: [u8; 64],
    message: Vec<u8>,
}

impl Case {
    fn new(key: usize, random: &mut Random) -> Self {
        let message: Vec<u8> = (0..random.next() % 300).map(|_| random.next() as u8).collect();
        let signature: Signature = signing_key(key).sign(&message);
        Self { key, signature: signature.to_bytes().into(), message }
    }

    /// The message in four pieces, cut at places that depend on it.
    fn pieces(&self) -> Message<'_> {
        let (left, right) = self.message.split_at(self.message.len() / 2);
        let (a, b) = left.split_at(left.len() / 3);
        let (c, d) = right.split_at(right.len() / 5);
        [a, b, c, d]
    }

    fn expected(&self) -> bool {
        let key: VerifyingKey = *signing_key(self.key).verifying_key();
        Signature::from_slice(&self.signature).is_ok_and(|signature| key.verify(&self.message, &signature).is_ok())
    }
}

struct Keys {
    public_keys: Vec<[u8; 64]>,
    tables: Vec<Table>,
}

impl Keys {
    /// `KEYS` keys, each with a table of another window.
    fn new() -> Self {
        let keys: Vec<SigningKey> = (0..KEYS).map(signing_key).collect();
        let public_keys: Vec<_> = keys.iter().map(public_key).collect();
        let tables = public_keys.iter().zip([4, 6, 8, 8, 11]).map(|(key, window)| Table::new(key, window));
        Self { tables: tables.map(|table| table.expect("a point")).collect(), public_keys }
    }

    fn check(&self, cases: &[Case], expected: &[bool]) {
        for (name, twin) in twins() {
            let rows: Vec<_> = cases
                .iter()
                .map(|case| Row { table: &self.tables[case.key], signature: &case.signature, message: case.pieces() })
                .collect();
            let mut verdicts = vec![false; cases.len()];
            (twin.verify)(&rows, &mut verdicts);
            assert_eq!(verdicts, expected, "{name}");
            let rows: Vec<_> = cases
                .iter()
                .map(|case| OneOffRow {
                    public_key: &self.public_keys[case.key],
                    signature: &case.signature,
                    message: case.pieces(),
                })
                .collect();
            (twin.verify_one_off)(&rows, &mut verdicts);
            assert_eq!(verdicts, expected, "{name}, one-off");
        }
    }
}

#[test]
fn calls_of_every_length_mix_keys_and_find_each_corrupted_row() {
    let keys = Keys::new();
    let mut random = Random(11);
    for length in (0..18).chain([40, 65, 200, 1030]) {
        let mut cases: Vec<_> = (0..length).map(|number| Case::new(number * 7 % KEYS, &mut random)).collect();
        let mut expected = vec![true; length];
        for (case, expected) in cases.iter_mut().zip(&mut expected) {
            if random.next().is_multiple_of(3) {
                case.signature[random.next() as usize % 64] ^= 1 << (random.next() % 8);
                *expected = false;
            }
        }
        keys.check(&cases, &expected);
    }
}

#[test]
fn every_corrupted_byte_in_every_lane_is_refused() {
    let keys = Keys::new();
    let mut random = Random(12);
    let good: Vec<_> = (0..8).map(|_| Case::new(2, &mut random)).collect();
    for lane in 0..8 {
        let mut cases = Vec::new();
        let mut expected = Vec::new();
        for byte in 0..64 + good[lane].message.len().min(40) {
            let mut group = good.clone();
            match byte.checked_sub(64) {
                None => group[lane].signature[byte] ^= 0x10,
                Some(byte) => group[lane].message[byte] ^= 0x10,
            }
            cases.extend(group);
            expected.extend((0..8).map(|other| other != lane));
        }
        keys.check(&cases, &expected);
    }
}

#[test]
fn random_corruptions_have_the_verdicts_of_the_p256_crate() {
    let keys = Keys::new();
    let mut random = Random(13);
    let cases: Vec<_> = (0..cases() / 2)
        .map(|number| {
            let mut case = Case::new(number % KEYS, &mut random);
            match random.next() % 8 {
                0 => case.key = (case.key + 1) % KEYS,
                1 => case.signature.swap_with_slice(&mut [0; 64]),
                2 => case.signature[..32].fill(0xff),
                3 => case.signature[32..].copy_from_slice(&limbs::to_be_bytes(&scalar::N)),
                // n - s is as good as s.
                4 => {
                    let s = limbs::from_be_bytes(case.signature[32..].try_into().expect("32 bytes"));
                    case.signature[32..].copy_from_slice(&limbs::to_be_bytes(&scalar::negate(&s)));
                }
                _ => {}
            }
            case
        })
        .collect();
    let expected: Vec<_> = cases.iter().map(Case::expected).collect();
    assert!(expected.contains(&true) && expected.contains(&false));
    keys.check(&cases, &expected);
}

#[test]
fn keys_off_the_curve_have_no_table_and_verify_nothing() {
    let mut random = Random(14);
    let case = Case::new(0, &mut random);
    let good = public_key(&signing_key(0));
    let mut wrong = vec![[0; 64], [0xff; 64]];
    wrong.extend((0..64).map(|byte| {
        let mut key = good;
        key[byte] ^= 1;
        key
    }));
    // x + p is the same field element, but not its encoding.
    for key in &wrong {
        assert!(Table::new(key, 4).is_none());
        for (name, twin) in twins() {
            let row = |public_key| OneOffRow { public_key, signature: &case.signature, message: case.pieces() };
            let mut verdicts = [false; 3];
            (twin.verify_one_off)(&[row(&good), row(key), row(&good)], &mut verdicts);
            assert_eq!(verdicts, [true, false, true], "{name}");
        }
    }
}

#[test]
fn table_sizes_are_as_announced() {
    for window in [4, 7, 8, 12] {
        let table = Table::new(&public_key(&signing_key(0)), window).expect("a point");
        assert_eq!((table.window(), table.size_in_bytes()), (window, Table::size_of_window(window)));
        assert_eq!(table.public_key(), &public_key(&signing_key(0)));
    }
}
