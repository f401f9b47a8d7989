//! Random rows, valid and spoiled, of random tables in random order: every path against ed25519-dalek.
//!
//! `ITRON_CORE_CASES` sets how many rows; a million for each change to a kernel.

use super::samples::{Signed, Source};
use super::{OneOffRow, Row, Table, one_off_twins, twins};
use ed25519_dalek::SigningKey;

/// Rows when `ITRON_CORE_CASES` is not set.
const CASES: usize = 3000;

fn cases() -> usize {
    std::env::var("ITRON_CORE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

/// Half of the rows are left as they are; the others have one bit changed, S + L, or another's signature or key.
fn spoil(signed: &mut Signed, other: &Signed, source: &mut Source) {
    match source.below(12) {
        0 => signed.signature[source.below(32)] ^= 1 << source.below(8),
        1 => signed.signature[32 + source.below(32)] ^= 1 << source.below(8),
        2 if !signed.message.is_empty() => {
            let at = source.below(signed.message.len());
            signed.message[at] ^= 1 << source.below(8);
        }
        3 => add_l(&mut signed.signature),
        4 => signed.signature = other.signature,
        5 => signed.public_key = other.public_key,
        _ => {}
    }
}

/// The same scalar, but not below L.
fn add_l(signature: &mut [u8; 64]) {
    let mut carry = 0;
    let l = super::super::scalar::L.map(u64::to_le_bytes);
    for (byte, add) in signature[32..].iter_mut().zip(l.as_flattened()) {
        carry += u16::from(*byte) + u16::from(*add);
        *byte = carry as u8;
        carry >>= 8;
    }
}

#[test]
fn rows_of_any_tables_verify_as_dalek_says() {
    let mut source = Source::new(40);
    let keys: Vec<SigningKey> = (0..6).map(|_| source.key()).collect();
    let windows = [8, 10, 4, 8, 7, 8];
    let tables: Vec<Table> = keys
        .iter()
        .zip(windows)
        .map(|(key, window)| Table::new(key.verifying_key().as_bytes(), window).expect("a valid key"))
        .collect();
    let mut done = 0;
    let mut valid = 0;
    while done < cases() {
        // Mostly tails of 1 to 17 rows, and now and then as many as callers give.
        let count = if source.below(20) == 0 { 500 + source.below(600) } else { 1 + source.below(17) };
        let few = 1 + source.below(keys.len());
        let sign = |source: &mut Source| {
            let (key, length) = (source.below(few), source.below(400));
            source.signed(&keys[key], length)
        };
        let mut batch: Vec<Signed> = (0..count).map(|_| sign(&mut source)).collect();
        for i in 0..count {
            let other = batch[source.below(count)].clone();
            spoil(&mut batch[i], &other, &mut source);
        }
        valid += check(&tables, &batch);
        done += count;
    }
    assert!(valid * 3 > done && valid * 10 < done * 9, "{valid} of {done} were valid");
}

/// Checks every path, and counts the valid.
fn check(tables: &[Table], batch: &[Signed]) -> usize {
    let expected: Vec<bool> = batch.iter().map(Signed::verdict_of_dalek).collect();
    let table_of = |signed: &Signed| tables.iter().find(|table| *table.public_key() == signed.public_key);
    let rows: Vec<Row<'_>> = batch
        .iter()
        .map(|signed| Row {
            table: table_of(signed).expect("each key has a table"),
            signature: &signed.signature,
            message: signed.pieces(),
        })
        .collect();
    // Both answers to start with, so that a verdict that is not given shows.
    for (name, verify) in twins() {
        for stale in [false, true] {
            let mut verdicts = vec![stale; rows.len()];
            verify(&rows, &mut verdicts);
            assert_eq!(verdicts, expected, "{name}");
        }
    }
    let rows: Vec<_> = batch
        .iter()
        .map(|row| OneOffRow { public_key: &row.public_key, signature: &row.signature, message: row.pieces() })
        .collect();
    for (name, verify) in one_off_twins() {
        let mut verdicts = vec![true; rows.len()];
        verify(&rows, &mut verdicts);
        assert_eq!(verdicts, expected, "one-off, {name}");
    }
    expected.into_iter().filter(|&valid| valid).count()
}
