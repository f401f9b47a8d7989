//! Ed25519 verification (RFC 8032, section 5.1.7, cofactorless) of many signatures at once.
//!
//! With a known key both points of the equation are fixed, so [S]B - [h]A is a sum of precomputed multiples: no
//! doublings, no square root for R, no batch equation, and an exact verdict for each row. Everything here is public,
//! so branches and addresses may depend on it.

#[cfg(target_arch = "x86_64")]
mod avx512ifma;
mod entry;
mod point;
mod portable;
mod scalar;
mod table;
#[cfg(test)]
mod tests;
mod window;

pub use table::Table;
pub use window::WINDOWS;

use crate::{Message, features};
use entry::Entry;
use point::Extended;
use std::sync::OnceLock;
use window::Window;

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

impl Table {
    /// The table of -A for the key `public_key` and a window in [`WINDOWS`].
    ///
    /// `None` when the key is not the canonical encoding of a point of the curve (RFC 8032, section 5.1.3), or the window
    /// is not one of those.
    #[must_use]
    pub fn new(public_key: &[u8; 32], window: u32) -> Option<Self> {
        if !WINDOWS.contains(&window) {
            return None;
        }
        let point = Extended::decode(public_key)?;
        let window = Window::new(window);
        Some(Self::of_entries(*public_key, window, entries(&point.negate(), window)))
    }
}

/// The window of the base point's table, which all keys share: 5.8 MB, built in 1.5 ms by lanes.
const BASE_WINDOW: Window = Window::new(12);
/// The same where no lanes build it: 1.6 MB in 3.5 ms, for that of 12 would take as long as 2,000 verifications.
const PORTABLE_BASE_WINDOW: Window = Window::new(10);

/// The encoding of the base point, y = 4/5.
const BASE: [u8; 32] = {
    let mut bytes = [0x66; 32];
    bytes[0] = 0x58;
    bytes
};

/// The table of B.
pub(crate) fn base() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let point = Extended::decode(&BASE).expect("the base point is a point");
        let window = if features::chosen().avx512ifma { BASE_WINDOW } else { PORTABLE_BASE_WINDOW };
        Table::of_entries(BASE, window, entries(&point, window))
    })
}

/// The entries of a point's table, by the kernels in use.
fn entries(point: &Extended, window: Window) -> Box<[Entry]> {
    #[cfg(target_arch = "x86_64")]
    if features::chosen().avx512ifma {
        return avx512ifma::entries(point, window);
    }
    table::entries(point, window)
}
