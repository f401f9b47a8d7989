//! Ed25519 verification (RFC 8032, section 5.1.7, cofactorless) of many signatures at once.
//!
//! With a known key both points of the equation are fixed, so [S]B - [h]A is a sum of precomputed multiples: no
//! doublings, no square root for R, no batch equation, and an exact verdict for each row. Everything here is public,
//! so branches and addresses may depend on it.

#[cfg(target_arch = "x86_64")]
mod avx512ifma;
mod point;
mod portable;
mod scalar;
mod table;
#[cfg(test)]
mod tests;
mod window;

use crate::{Message, features};
pub use table::Table;
pub use window::WINDOWS;

/// A signature to verify by the table of its key.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// The table of the key.
    pub table: &'a Table,
    /// R | S
    pub signature: &'a [u8; 64],
    /// What was signed.
    pub message: Message<'a>,
}

/// A signature of a key that has no table.
#[derive(Clone, Copy)]
pub struct OneOffRow<'a> {
    /// The encoding of A.
    pub public_key: &'a [u8; 32],
    /// R | S
    pub signature: &'a [u8; 64],
    /// What was signed.
    pub message: Message<'a>,
}

/// Verifies rows, of any tables in any order: `verdicts[i]` says whether the canonical encoding of [S]B - [h]A is the
/// signature's first half, with h = SHA-512(R | A | M) modulo L and S below L.
///
/// Small orders and non-canonical encodings of A are the caller's to refuse.
///
/// # Panics
///
/// When there are fewer verdicts than rows.
pub fn verify(rows: &[Row<'_>], verdicts: &mut [bool]) {
    let verdicts = &mut verdicts[..rows.len()];
    #[cfg(target_arch = "x86_64")]
    if features::chosen().avx512ifma {
        return avx512ifma::verify(rows, verdicts);
    }
    portable::verify(rows, verdicts);
}

/// Verifies rows of keys without tables, each by its own key: as [`verify`], and `false` when the key is not the canonical
/// encoding of a point.
///
/// # Panics
///
/// When there are fewer verdicts than rows.
pub fn verify_one_off(rows: &[OneOffRow<'_>], verdicts: &mut [bool]) {
    let verdicts = &mut verdicts[..rows.len()];
    #[cfg(target_arch = "x86_64")]
    if features::chosen().avx512ifma {
        return avx512ifma::verify_one_off(rows, verdicts);
    }
    portable::verify_one_off(rows, verdicts);
}
