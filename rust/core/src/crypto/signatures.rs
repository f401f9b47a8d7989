//! Many signatures, each with its key: one exact verdict a row.

use super::public_key::{Algorithm, PublicKey};
use super::tables::Table;
use super::{ed25519, p256};
use crate::code::{Check, Code};
use crate::work;
use itron_core_kernels::{self as kernels, Message};
use std::sync::Arc;

/// A signature whose form was checked, with its key and its message in pieces.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The key that is said to have signed.
    pub key: &'a PublicKey,
    /// 64 bytes.
    pub signature: &'a [u8; 64],
    /// The signed bytes.
    pub message: Message<'a>,
}

/// The signature, when its form is one that `algorithm` can have.
///
/// # Errors
/// 300 for its length; 301 for S >= L, R not canonical, r or s outside 1..n-1.
#[inline]
pub fn check_form(algorithm: Algorithm, signature: &[u8]) -> Check<&[u8; 64]> {
    let signature = signature.try_into().map_err(|_| Code::SignatureLength)?;
    let well_formed = match algorithm {
        Algorithm::Ed25519 => ed25519::is_well_formed(signature),
        Algorithm::Esp256 => p256::is_well_formed(signature),
    };
    if well_formed { Ok(signature) } else { Err(Code::SignatureEncoding) }
}

/// Verifies each row. `expected` is how many rows of one key this call will bring, as far as is known.
///
/// # Panics
/// When `verdicts` has another length than `rows`.
pub fn verify(rows: &[Row<'_>], expected: u64, verdicts: &mut [bool]) {
    assert_eq!(rows.len(), verdicts.len());
    for algorithm in Algorithm::ALL {
        let mut indices: Vec<usize> = (0..rows.len()).filter(|&i| rows[i].key.algorithm() == algorithm).collect();
        // Rows of one key stand together: one look for its table, and lanes that share a cache.
        let address = |&i: &usize| std::ptr::from_ref(rows[i].key).addr();
        if !indices.is_sorted_by_key(address) {
            indices.sort_by_key(address);
        }
        match algorithm {
            Algorithm::Ed25519 => verify_with::<kernels::ed25519::Table>(rows, &indices, expected, verdicts),
            Algorithm::Esp256 => verify_with::<kernels::p256::Table>(rows, &indices, expected, verdicts),
        }
    }
}

/// A bare signature: its key, its bytes, its message in pieces; or the code with which the row is given.
pub type Signed<'a> = Check<(&'a PublicKey, &'a [u8], Message<'a>)>;

/// Verifies bare signatures on at most `threads` threads: 0, 300, 301, 302, or the code with which a row is given.
///
/// `expected` is how many rows one key is likely to have.
#[must_use]
pub fn verify_many<'a>(
    rows: usize,
    expected: u64,
    threads: usize,
    row: impl Fn(usize) -> Signed<'a> + Sync,
) -> Vec<i16> {
    let mut codes = vec![Code::Internal as i16; rows];
    work::in_chunks(codes.as_mut_slice(), threads, &|start, codes: &mut [i16]| {
        let checked = |place: usize| {
            let (key, signature, message) = row(start + place)?;
            Ok(Row { key, signature: check_form(key.algorithm(), signature)?, message })
        };
        let checked: Vec<Check<Row<'_>>> = (0..codes.len()).map(checked).collect();
        let asked: Vec<Row<'_>> = checked.iter().filter_map(|row| row.ok()).collect();
        let mut verdicts = vec![false; asked.len()];
        verify(&asked, expected, &mut verdicts);
        let mut verdicts = verdicts.into_iter();
        for (code, checked) in codes.iter_mut().zip(checked) {
            *code = match checked {
                Err(refused) => refused,
                Ok(_) if verdicts.next() == Some(true) => Code::Ok,
                Ok(_) => Code::SignatureInvalid,
            } as i16;
        }
    });
    codes
}

/// What the kernels of one algorithm offer.
trait Kernel: Table {
    fn key(key: &PublicKey) -> &Self::Key;
    /// Verifies rows by their tables.
    fn verify(rows: &[(&Row<'_>, &Self)], verdicts: &mut [bool]);
    /// Verifies rows whose keys have none.
    fn verify_one_off(rows: &[&Row<'_>], verdicts: &mut [bool]);
}

fn verify_with<T: Kernel>(rows: &[Row<'_>], indices: &[usize], expected: u64, verdicts: &mut [bool]) {
    if indices.is_empty() {
        return;
    }
    let groups = indices.chunk_by(|&a, &b| std::ptr::eq(rows[a].key, rows[b].key));
    let tables: Vec<(&[usize], Option<Arc<T>>)> = groups
        .map(|group| (group, T::cache().table(T::key(rows[group[0]].key), group.len() as u64, expected)))
        .collect();
    let mut known = Vec::with_capacity(indices.len());
    let mut one_off = Vec::new();
    let (mut known_at, mut one_off_at) = (Vec::with_capacity(indices.len()), Vec::new());
    for (group, table) in &tables {
        for &index in *group {
            if let Some(table) = table {
                known.push((&rows[index], &**table));
                known_at.push(index);
            } else {
                one_off.push(&rows[index]);
                one_off_at.push(index);
            }
        }
    }
    let mut answers = vec![false; known.len().max(one_off.len())];
    for (count, places, by_table) in [(known.len(), &known_at, true), (one_off.len(), &one_off_at, false)] {
        let answers = &mut answers[..count];
        if by_table { T::verify(&known, answers) } else { T::verify_one_off(&one_off, answers) }
        for (&place, &answer) in places.iter().zip(&*answers) {
            verdicts[place] = answer;
        }
    }
}

impl Kernel for kernels::ed25519::Table {
    fn key(key: &PublicKey) -> &[u8; 32] {
        key.ed25519()
    }

    fn verify(rows: &[(&Row<'_>, &Self)], verdicts: &mut [bool]) {
        use kernels::ed25519::{Row, verify};
        let rows: Vec<_> = rows
            .iter()
            .map(|(row, table)| Row { table, signature: row.signature, message: row.message })
            .collect();
        verify(&rows, verdicts);
        refuse_small_order(rows.iter().map(|row| row.signature), verdicts);
    }

    fn verify_one_off(rows: &[&Row<'_>], verdicts: &mut [bool]) {
        use kernels::ed25519::{OneOffRow, verify_one_off};
        let rows: Vec<_> = rows
            .iter()
            .map(|row| OneOffRow { public_key: row.key.ed25519(), signature: row.signature, message: row.message })
            .collect();
        verify_one_off(&rows, verdicts);
        refuse_small_order(rows.iter().map(|row| row.signature), verdicts);
    }
}

fn refuse_small_order<'a>(signatures: impl Iterator<Item = &'a [u8; 64]>, verdicts: &mut [bool]) {
    for (signature, verdict) in signatures.zip(verdicts) {
        *verdict = *verdict && !ed25519::has_small_order_r(signature);
    }
}

impl Kernel for kernels::p256::Table {
    fn key(key: &PublicKey) -> &[u8; 64] {
        key.coordinates()
    }

    fn verify(rows: &[(&Row<'_>, &Self)], verdicts: &mut [bool]) {
        use kernels::p256::{Row, verify};
        let rows: Vec<_> = rows
            .iter()
            .map(|(row, table)| Row { table, signature: row.signature, message: row.message })
            .collect();
        verify(&rows, verdicts);
    }

    fn verify_one_off(rows: &[&Row<'_>], verdicts: &mut [bool]) {
        use kernels::p256::{OneOffRow, verify_one_off};
        let rows: Vec<_> = rows
            .iter()
            .map(|row| OneOffRow { public_key: row.key.coordinates(), signature: row.signature, message: row.message })
            .collect();
        verify_one_off(&rows, verdicts);
    }
}
