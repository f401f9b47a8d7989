//! ECDSA on P-256 with SHA-256 (FIPS 186-5), verification only: many signatures at a time, one exact verdict each.
//!
//! A known key has a [`Table`], and verifying with it takes no doubling: u1 G + u2 Q is a sum of table entries. All
//! of it is for public data: times depend on signatures, keys and messages.

#![allow(clippy::inline_always, reason = "field operations are a few dozen instructions, called from everywhere")]

#[cfg(target_arch = "x86_64")]
mod avx512ifma;
mod digits;
mod equation;
mod field;
mod limbs;
mod one_off;
mod point;
mod portable;
mod scalar;
mod sums;
mod table;

pub use table::{Table, WINDOWS};

use crate::{Message, features};
use equation::{Divide, Scalars, Signed};
use point::Affine;
use std::sync::OnceLock;
use table::{Entry, GENERATOR_WINDOW};

/// Rows prepared together.
const CHUNK: usize = 1024;

/// A signature to verify with the table of its key.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Multiples of the public key.
    pub table: &'a Table,
    /// r || s, big-endian.
    pub signature: &'a [u8; 64],
    /// What was signed, not hashed.
    pub message: Message<'a>,
}

/// A signature to verify with a key that has no table.
#[derive(Clone, Copy, Debug)]
pub struct OneOffRow<'a> {
    /// x || y, big-endian.
    pub public_key: &'a [u8; 64],
    /// r || s, big-endian.
    pub signature: &'a [u8; 64],
    /// What was signed, not hashed.
    pub message: Message<'a>,
}

impl Signed for Row<'_> {
    fn signature(&self) -> &[u8; 64] {
        self.signature
    }

    fn message(&self) -> Message<'_> {
        self.message
    }
}

impl Signed for OneOffRow<'_> {
    fn signature(&self) -> &[u8; 64] {
        self.signature
    }

    fn message(&self) -> Message<'_> {
        self.message
    }
}

/// One implementation of this module's two operations.
#[derive(Clone, Copy, Debug)]
pub struct Twin {
    /// As [`verify`].
    pub verify: fn(&[Row<'_>], &mut [bool]),
    /// As [`verify_one_off`].
    pub verify_one_off: fn(&[OneOffRow<'_>], &mut [bool]),
}

const PORTABLE: Twin = Twin { verify: verify_portable, verify_one_off: verify_one_off_portable };
#[cfg(target_arch = "x86_64")]
const AVX512: Twin = Twin { verify: verify_avx512, verify_one_off: verify_one_off_avx512 };

/// The implementations that can run here, by name: for tests and measurements, whatever was chosen.
#[must_use]
pub fn twins() -> Vec<(&'static str, Twin)> {
    let mut twins = vec![("portable", PORTABLE)];
    #[cfg(target_arch = "x86_64")]
    if features::detected().avx512ifma {
        twins.push(("avx512ifma", AVX512));
    }
    twins
}

fn chosen() -> Twin {
    #[cfg(target_arch = "x86_64")]
    if features::chosen().avx512ifma {
        return AVX512;
    }
    PORTABLE
}

/// Whether each row's signature is valid: r and s in 1..n and x([e / s]G + [r / s]Q) mod n = r. High s is accepted.
/// Rows may use different tables, of different windows, in any order.
///
/// # Panics
/// When the slices differ in length.
pub fn verify(rows: &[Row<'_>], verdicts: &mut [bool]) {
    (chosen().verify)(rows, verdicts);
}

/// As [`verify`], for keys without tables. A key that is no point of the curve verifies nothing.
///
/// # Panics
/// When the slices differ in length.
pub fn verify_one_off(rows: &[OneOffRow<'_>], verdicts: &mut [bool]) {
    (chosen().verify_one_off)(rows, verdicts);
}

fn verify_portable(rows: &[Row<'_>], verdicts: &mut [bool]) {
    verify_with(rows, verdicts, equation::divide, portable::verify);
}

fn verify_one_off_portable(rows: &[OneOffRow<'_>], verdicts: &mut [bool]) {
    verify_one_off_with(rows, verdicts, equation::divide, one_off::verify);
}

#[cfg(target_arch = "x86_64")]
fn verify_avx512(rows: &[Row<'_>], verdicts: &mut [bool]) {
    verify_with(rows, verdicts, avx512ifma::divide, avx512ifma::verify);
}

#[cfg(target_arch = "x86_64")]
fn verify_one_off_avx512(rows: &[OneOffRow<'_>], verdicts: &mut [bool]) {
    verify_one_off_with(rows, verdicts, avx512ifma::divide, avx512ifma::verify_one_off);
}

/// Verdicts for rows whose tables all have one window; slices of one length.
type Kernel = fn(&[&Table], &[Scalars], &mut [bool]);

fn verify_with(rows: &[Row<'_>], verdicts: &mut [bool], divide: Divide, kernel: Kernel) {
    assert_eq!(rows.len(), verdicts.len(), "one verdict a row");
    for (rows, verdicts) in rows.chunks(CHUNK).zip(verdicts.chunks_mut(CHUNK)) {
        let mut scalars = vec![Scalars::default(); rows.len()];
        equation::prepare(rows, &mut scalars, divide);
        let tables: Vec<_> = rows.iter().map(|row| row.table).collect();
        by_window(&tables, &scalars, verdicts, kernel);
    }
}

/// As [`Kernel`], with points, `None` where the key is not one, in the place of tables.
type OneOffKernel = fn(&[Option<Affine>], &[Scalars], &mut [bool]);

fn verify_one_off_with(rows: &[OneOffRow<'_>], verdicts: &mut [bool], divide: Divide, kernel: OneOffKernel) {
    assert_eq!(rows.len(), verdicts.len(), "one verdict a row");
    for (rows, verdicts) in rows.chunks(CHUNK).zip(verdicts.chunks_mut(CHUNK)) {
        let mut scalars = vec![Scalars::default(); rows.len()];
        equation::prepare(rows, &mut scalars, divide);
        let keys: Vec<_> = rows.iter().map(|row| Affine::from_bytes(row.public_key)).collect();
        kernel(&keys, &scalars, verdicts);
    }
}

/// Calls `kernel` with the rows of one window at a time.
fn by_window(tables: &[&Table], scalars: &[Scalars], verdicts: &mut [bool], kernel: Kernel) {
    let Some(first) = tables.first() else { return };
    if tables.iter().all(|table| table.window() == first.window()) {
        return kernel(tables, scalars, verdicts);
    }
    for window in WINDOWS {
        let members: Vec<_> = (0..tables.len()).filter(|&row| tables[row].window() == window).collect();
        let tables: Vec<_> = members.iter().map(|&row| tables[row]).collect();
        let scalars: Vec<_> = members.iter().map(|&row| scalars[row]).collect();
        let mut found = vec![false; members.len()];
        kernel(&tables, &scalars, &mut found);
        for (&row, verdict) in members.iter().zip(found) {
            verdicts[row] = verdict;
        }
    }
}

impl Table {
    /// The table of the point x || y (big-endian), or `None` when that is no point of the curve.
    ///
    /// # Panics
    /// When `window` is not in [`WINDOWS`].
    #[must_use]
    pub fn new(public_key: &[u8; 64], window: u32) -> Option<Self> {
        assert!(WINDOWS.contains(&window), "a window of {window} bits");
        let point = Affine::from_bytes(public_key)?;
        Some(Self::of_entries(*public_key, window, multiples(&point, window)))
    }
}

/// The table of G, built when it is first needed.
pub(crate) fn generator() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut public_key = [0; 64];
        public_key[..32].copy_from_slice(&limbs::to_be_bytes(&point::GENERATOR.x.to_integer()));
        public_key[32..].copy_from_slice(&limbs::to_be_bytes(&point::GENERATOR.y.to_integer()));
        Table::of_entries(public_key, GENERATOR_WINDOW, multiples(&point::GENERATOR, GENERATOR_WINDOW))
    })
}

/// The entries of a point's table, by the kernels in use.
fn multiples(point: &Affine, window: u32) -> Box<[Entry]> {
    #[cfg(target_arch = "x86_64")]
    if features::chosen().avx512ifma {
        return avx512ifma::multiples(point, window);
    }
    table::portable_multiples(point, window)
}

#[cfg(test)]
mod tests;
