//! Many signatures, each with its key: one exact verdict a row.

use super::algorithm::Algorithm;
use super::ml_dsa::{Parameters, Prepared};
use super::public_key::PublicKey;
use super::tables::{Table, share_of_lanes};
use super::{ed25519, p256};
use crate::code::{Check, Code};
use crate::parallel::chunks::{self, Workers};
use crate::parallel::scratch::Scratch;
use crate::parallel::stop::Stop;
use ::ml_dsa::{MlDsa44, MlDsa65};
use itron_core_kernels::{self as kernels, Message, memory};
use std::iter::repeat_n;
use std::sync::Arc;

/// A signature whose form was checked, with its key and its message in pieces.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The key that is said to have signed.
    pub key: &'a PublicKey,
    /// As many bytes as the key's algorithm has.
    pub signature: &'a [u8],
    /// The signed bytes.
    pub message: Message<'a>,
}

/// Checks whether `signature` is of a form that `algorithm` can have.
///
/// # Errors
/// 300 for its length; 301 for S >= L, R not canonical, r or s outside 1..n-1. ML-DSA has no 301.
#[inline]
pub fn check_form(algorithm: Algorithm, signature: &[u8]) -> Check<()> {
    let of_curve = || signature.try_into().map_err(|_| Code::SignatureLength);
    let well_formed = match algorithm {
        Algorithm::Ed25519 => ed25519::is_well_formed(of_curve()?),
        Algorithm::Esp256 => p256::is_well_formed(of_curve()?),
        Algorithm::MlDsa44 | Algorithm::MlDsa65 if signature.len() != algorithm.signature_bytes() => {
            return Err(Code::SignatureLength);
        }
        Algorithm::MlDsa44 | Algorithm::MlDsa65 => true,
    };
    if well_formed { Ok(()) } else { Err(Code::SignatureEncoding) }
}

/// Verifies each row. `expected` is how many rows of one key this call will bring, as far as is known.
///
/// # Panics
/// When `verdicts` has another length than `rows`.
pub fn verify(rows: &[Row<'_>], expected: u64, verdicts: &mut [bool]) {
    assert_eq!(rows.len(), verdicts.len());
    let one_key = rows.windows(2).all(|pair| std::ptr::eq(pair[0].key, pair[1].key));
    if let (true, Some(first)) = (one_key, rows.first()) {
        return verify_algorithm(first.key.algorithm(), rows, expected, verdicts);
    }
    // Rows of one key stand together: one look for its table, and lanes that share a cache.
    let place = |(at, row): (usize, &Row<'_>)| (row.key.algorithm() as u8, std::ptr::from_ref(row.key).addr(), at);
    let mut order: Vec<_> = rows.iter().enumerate().map(place).collect();
    order.sort_unstable();
    for same in order.chunk_by(|a, b| a.0 == b.0) {
        let together: Vec<Row<'_>> = same.iter().map(|&(.., at)| rows[at]).collect();
        let mut answers = vec![false; together.len()];
        verify_algorithm(together[0].key.algorithm(), &together, expected, &mut answers);
        for (&(.., at), answer) in same.iter().zip(answers) {
            verdicts[at] = answer;
        }
    }
}

fn verify_algorithm(algorithm: Algorithm, rows: &[Row<'_>], expected: u64, verdicts: &mut [bool]) {
    match algorithm {
        Algorithm::Ed25519 => verify_with::<kernels::ed25519::Table>(rows, expected, verdicts),
        Algorithm::Esp256 => verify_with::<kernels::p256::Table>(rows, expected, verdicts),
        Algorithm::MlDsa44 => verify_with::<Prepared<MlDsa44>>(rows, expected, verdicts),
        Algorithm::MlDsa65 => verify_with::<Prepared<MlDsa65>>(rows, expected, verdicts),
    }
}

/// Bytes that this process holds in tables of `key`.
#[must_use]
pub fn table_bytes(key: &PublicKey) -> usize {
    fn held<T: Kernel>(key: &PublicKey) -> usize {
        T::cache().bytes_of(T::key(key))
    }
    match key.algorithm() {
        Algorithm::Ed25519 => held::<kernels::ed25519::Table>(key),
        Algorithm::Esp256 => held::<kernels::p256::Table>(key),
        Algorithm::MlDsa44 => held::<Prepared<MlDsa44>>(key),
        Algorithm::MlDsa65 => held::<Prepared<MlDsa65>>(key),
    }
}

/// A bare signature: its key, its bytes, its message in pieces; or the code with which the row is given.
pub type Signed<'a> = Check<(&'a PublicKey, &'a [u8], Message<'a>)>;

/// Verifies bare signatures: 0, 300, 301, 302, or the code with which a row is given.
///
/// `expected` is how many rows one key is likely to have. `fetch` copies the bytes of a row to the scratch, once, and what it gives
/// is then read there by `row`.
///
/// # Errors
/// [`Stop`], and no row is answered.
pub fn verify_many<'k, 'w, F>(
    rows: usize,
    expected: u64,
    workers: impl Into<Workers<'w>>,
    fetch: impl Fn(usize, &mut Scratch) -> Result<F, Stop> + Sync,
    row: impl for<'a> Fn(&F, &'a Scratch) -> Check<(&'k PublicKey, &'a [u8], Message<'a>)> + Sync,
) -> Result<Vec<i16>, Stop> {
    let mut codes = memory::zeroed(rows).ok_or(Stop::OutOfMemory)?;
    codes.fill(Code::Internal as i16);
    chunks::in_chunks(codes.as_mut_slice(), workers, &|scratch, start, mut codes: &mut [i16]| {
        let mut next = start;
        // As many rows at a time as their bytes fit the cache: mostly the whole chunk.
        while !codes.is_empty() {
            scratch.clear();
            let mut fetched = Vec::with_capacity(codes.len());
            while fetched.len() < codes.len() && scratch.used() < BYTES_TOGETHER {
                fetched.push(fetch(next, scratch)?);
                next += 1;
            }
            let scratch = &*scratch;
            let (now, later) = std::mem::take(&mut codes).split_at_mut(fetched.len());
            verify_chunk(expected, now, fetched.iter().map(|fetched| row(fetched, scratch)));
            codes = later;
        }
        Ok(())
    })?;
    Ok(codes)
}

/// Bytes of rows that are verified together, but for the last row's.
const BYTES_TOGETHER: usize = 1 << 20;

/// Verifies rows whose bytes nobody changes.
fn verify_chunk<'a>(expected: u64, codes: &mut [i16], rows: impl Iterator<Item = Signed<'a>>) {
    let checked = rows.map(|row| {
        let (key, signature, message) = row?;
        check_form(key.algorithm(), signature)?;
        Ok(Row { key, signature, message })
    });
    let checked: Vec<Check<Row<'_>>> = checked.collect();
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
}

/// What one algorithm offers. Rows are of keys of that algorithm, their signatures of its form.
trait Kernel: Table {
    /// What the cache knows `key` by.
    fn key(key: &PublicKey) -> &Self::Key;
    /// The table of `key`, its window of this width.
    fn build(key: &PublicKey, window: u32) -> Option<Self>;
    /// Verifies rows, each by its table.
    fn verify(rows: &[Row<'_>], tables: &[&Self], verdicts: &mut [bool]);
    /// Verifies rows whose keys have none.
    fn verify_one_off(rows: &[Row<'_>], verdicts: &mut [bool]);
    /// Whether a table gives a row the verdict that it has without: megabytes are trusted after one look at what they do.
    fn is_sound(&self, row: Row<'_>) -> bool {
        let (mut with, mut without) = ([false], [true]);
        Self::verify(&[row], &[self], &mut with);
        Self::verify_one_off(&[row], &mut without);
        with == without
    }
}

/// Verifies rows of one algorithm, in which those of one key stand together: runs of keys with a table and of keys without.
fn verify_with<T: Kernel>(rows: &[Row<'_>], expected: u64, verdicts: &mut [bool]) {
    let price = share_of_lanes(rows.len());
    let keys: Vec<(usize, Option<Arc<T>>)> = rows
        .chunk_by(|a, b| std::ptr::eq(a.key, b.key))
        .map(|same| {
            let key = same[0].key;
            let build = |window| T::build(key, window).filter(|table| table.is_sound(same[0]));
            (same.len(), T::cache().table(T::key(key), same.len() as u64, price, expected, build))
        })
        .collect();
    let (mut rows, mut verdicts) = (rows, verdicts);
    for run in keys.chunk_by(|a, b| a.1.is_some() == b.1.is_some()) {
        let count = run.iter().map(|(count, _)| count).sum();
        let (now, later) = rows.split_at(count);
        let (answers, later_answers) = std::mem::take(&mut verdicts).split_at_mut(count);
        let tables: Vec<&T> =
            run.iter().flat_map(|(count, table)| table.iter().flat_map(|table| repeat_n(&**table, *count))).collect();
        if tables.is_empty() {
            T::verify_one_off(now, answers);
        } else {
            T::verify(now, &tables, answers);
        }
        (rows, verdicts) = (later, later_answers);
    }
}

const OF_ALGORITHM: &str = "INVARIANT: rows are of one algorithm, and their form was checked";

impl Row<'_> {
    /// The signature of a curve.
    #[inline]
    fn halves(&self) -> &[u8; 64] {
        self.signature.try_into().expect(OF_ALGORITHM)
    }
}

impl Kernel for kernels::ed25519::Table {
    fn key(key: &PublicKey) -> &[u8; 32] {
        key.ed25519().expect(OF_ALGORITHM)
    }

    fn build(key: &PublicKey, window: u32) -> Option<Self> {
        Self::new(key.ed25519()?, window)
    }

    fn verify(rows: &[Row<'_>], tables: &[&Self], verdicts: &mut [bool]) {
        use kernels::ed25519::{Row, verify};
        let rows = rows.iter().zip(tables);
        let rows: Vec<_> =
            rows.map(|(row, table)| Row { table, signature: row.halves(), message: row.message }).collect();
        verify(&rows, verdicts);
        refuse_small_order(rows.iter().map(|row| row.signature), verdicts);
    }

    fn verify_one_off(rows: &[Row<'_>], verdicts: &mut [bool]) {
        use kernels::ed25519::{OneOffRow, verify_one_off};
        let rows: Vec<_> = rows
            .iter()
            .map(|row| OneOffRow { public_key: Self::key(row.key), signature: row.halves(), message: row.message })
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
        key.coordinates().expect(OF_ALGORITHM)
    }

    fn build(key: &PublicKey, window: u32) -> Option<Self> {
        Self::new(key.coordinates()?, window)
    }

    fn verify(rows: &[Row<'_>], tables: &[&Self], verdicts: &mut [bool]) {
        use kernels::p256::{Row, verify};
        let rows = rows.iter().zip(tables);
        let rows: Vec<_> =
            rows.map(|(row, table)| Row { table, signature: row.halves(), message: row.message }).collect();
        verify(&rows, verdicts);
    }

    fn verify_one_off(rows: &[Row<'_>], verdicts: &mut [bool]) {
        use kernels::p256::{OneOffRow, verify_one_off};
        let rows: Vec<_> = rows
            .iter()
            .map(|row| OneOffRow { public_key: Self::key(row.key), signature: row.halves(), message: row.message })
            .collect();
        verify_one_off(&rows, verdicts);
    }
}

/// A prepared key is the table of ML-DSA: it does the same work as without, only not each time.
impl<P: Parameters> Kernel for Prepared<P>
where
    Self: Table<Key = [u8; 32]>,
{
    fn key(key: &PublicKey) -> &[u8; 32] {
        key.thumbprint()
    }

    fn build(key: &PublicKey, _window: u32) -> Option<Self> {
        Self::new(key.ml_dsa()?)
    }

    fn verify(rows: &[Row<'_>], tables: &[&Self], verdicts: &mut [bool]) {
        for ((row, prepared), verdict) in rows.iter().zip(tables).zip(verdicts) {
            *verdict = prepared.verify(&row.message, row.signature);
        }
    }

    /// When the memory for prepared keys is spent: each is prepared for the rows that stand together.
    fn verify_one_off(rows: &[Row<'_>], verdicts: &mut [bool]) {
        let mut verdicts = verdicts.iter_mut();
        for same in rows.chunk_by(|a, b| std::ptr::eq(a.key, b.key)) {
            let prepared = Self::build(same[0].key, 0);
            for (row, verdict) in same.iter().zip(&mut verdicts) {
                *verdict = prepared.as_ref().is_some_and(|prepared| prepared.verify(&row.message, row.signature));
            }
        }
    }

    /// The same arithmetic, so there is nothing to compare.
    fn is_sound(&self, _row: Row<'_>) -> bool {
        true
    }
}
