//! The verdict of a check: secret until it is made, public from then on.

use std::hint::black_box;
use subtle::ConstantTimeEq;

/// Tells memcheck that a verdict is public (`tests/memcheck`); until it is set, nothing is told.
#[cfg(feature = "memcheck")]
pub static DECLASSIFY: std::sync::OnceLock<fn(&mut [u8])> = std::sync::OnceLock::new();

/// Whether two tags are equal, compared in constant time.
pub(crate) fn equal(tag: &[u8], expected: &[u8]) -> bool {
    let mut verdict = [tag.ct_eq(expected).unwrap_u8()];
    #[cfg(feature = "memcheck")]
    if let Some(declassify) = DECLASSIFY.get() {
        declassify(&mut verdict);
    }
    *black_box(&mut verdict) == [1]
}
