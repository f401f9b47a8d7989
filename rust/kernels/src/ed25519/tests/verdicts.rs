//! Valid and spoiled signatures, in every lane and every tail.

use super::samples::{Signed, Source};
use super::{OneOffRow, Row, Table, one_off_twins, twins};

fn rows<'a>(tables: &'a [Table], signed: &'a [Signed]) -> Vec<Row<'a>> {
    let table_of = |signed: &Signed| tables.iter().find(|table| *table.public_key() == signed.public_key);
    signed
        .iter()
        .map(|signed| Row {
            table: table_of(signed).expect("each key has a table"),
            signature: &signed.signature,
            message: signed.pieces(),
        })
        .collect()
}

#[test]
fn valid_signatures_verify_with_every_window() {
    let mut source = Source::new(1);
    let key = source.key();
    let signed: Vec<Signed> = (0..40).map(|i| source.signed(&key, 7 * i)).collect();
    for window in super::super::WINDOWS {
        let tables = [Table::new(key.verifying_key().as_bytes(), window).expect("a valid key")];
        assert_eq!(tables[0].size_in_bytes(), Table::size_of_window(window));
        for (name, verify) in twins() {
            let mut verdicts = vec![false; signed.len()];
            verify(&rows(&tables, &signed), &mut verdicts);
            assert_eq!(verdicts, vec![true; signed.len()], "{name}, window {window}");
        }
    }
}

#[test]
fn every_flipped_byte_is_refused_as_dalek_refuses_it() {
    let mut source = Source::new(2);
    let key = source.key();
    let tables = [Table::new(key.verifying_key().as_bytes(), 8).expect("a valid key")];
    let valid = source.signed(&key, 50);
    let mut spoiled = Vec::new();
    for byte in 0..64 + valid.message.len() {
        let mut signed = valid.clone();
        let bit = 1 << source.below(8);
        if byte < 64 {
            signed.signature[byte] ^= bit;
        } else {
            signed.message[byte - 64] ^= bit;
        }
        spoiled.push(signed);
        // Odd strides bring every byte into every lane.
        if byte % 3 == 0 {
            spoiled.push(valid.clone());
        }
    }
    let expected: Vec<bool> = spoiled.iter().map(Signed::verdict_of_dalek).collect();
    for start in 0..8 {
        for (name, verify) in twins() {
            let mut verdicts = vec![false; spoiled.len() - start];
            verify(&rows(&tables, &spoiled[start..]), &mut verdicts);
            assert_eq!(verdicts, expected[start..], "{name}, from {start}");
        }
    }
}

#[test]
fn one_off_keys_verify_as_dalek_says() {
    let mut source = Source::new(3);
    let mut signed = Vec::new();
    for i in 0..60 {
        let key = source.key();
        let mut row = source.signed(&key, 5 * i);
        match i % 6 {
            1 => row.signature[source.below(64)] ^= 1,
            3 => row.public_key[source.below(32)] ^= 4,
            _ => {}
        }
        signed.push(row);
    }
    let rows: Vec<_> = signed
        .iter()
        .map(|row| OneOffRow { public_key: &row.public_key, signature: &row.signature, message: row.pieces() })
        .collect();
    let expected: Vec<bool> = signed.iter().map(Signed::verdict_of_dalek).collect();
    for (name, verify) in one_off_twins() {
        let mut verdicts = vec![false; rows.len()];
        verify(&rows, &mut verdicts);
        assert_eq!(verdicts, expected, "{name}");
    }
}
