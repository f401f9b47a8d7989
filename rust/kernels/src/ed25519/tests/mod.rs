//! Both twins against ed25519-dalek and outside vectors.

mod differential;
pub(super) mod digits;
pub(super) mod samples;
mod tables;
mod vectors;
mod verdicts;

use super::{OneOffRow, Row, Table, portable};

type Verify = fn(&[Row<'_>], &mut [bool]);
type VerifyOneOff = fn(&[OneOffRow<'_>], &mut [bool]);

/// Every way to verify by tables.
fn twins() -> Vec<(&'static str, Verify)> {
    let mut twins = vec![("portable", portable::verify as Verify)];
    #[cfg(target_arch = "x86_64")]
    if crate::features::detected().avx512ifma {
        twins.push(("avx512ifma", super::avx512ifma::verify));
    }
    twins
}

/// Every way to verify without tables.
fn one_off_twins() -> Vec<(&'static str, VerifyOneOff)> {
    let mut twins = vec![("portable", portable::verify_one_off as VerifyOneOff)];
    #[cfg(target_arch = "x86_64")]
    if crate::features::detected().avx512ifma {
        twins.push(("avx512ifma", super::avx512ifma::verify_one_off));
    }
    twins
}
