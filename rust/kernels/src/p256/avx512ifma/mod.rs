//! Verification with tables in eight lanes of AVX-512 IFMA: the portable twin's plan, eight rows in a slot.

#![allow(clippy::wildcard_imports, reason = "the names of intrinsics all begin with _mm")]

mod build;
mod each;
mod field;
mod lanes;
mod one_off;
mod plan;
mod point;
mod scalar;
mod spread;
mod sums;
#[cfg(test)]
mod tests;

use super::equation::{self, Scalars, second_x};
use super::limbs::{self, Limbs};
use super::point::Affine;
use super::portable;
use super::table::Table;
pub(crate) use build::multiples;
use lanes::Vectors;
use plan::Plan;
use std::arch::x86_64::__mmask8;
use sums::Slot;

/// Slots of eight worked on together: their 1,600 bytes each stay in the second-level cache.
const SLOTS: usize = 256;
/// Rows worked on together.
const ROWS: usize = 1024;

/// Rows without tables worked on together: 2.6 kB of multiples each.
const ONE_OFF_ROWS: usize = 256;
/// Up to this many rows, each is faster by itself.
const FEW: usize = 8;
/// How many slots ahead table entries are fetched into the cache.
const AHEAD: usize = 6;

/// 2^518 mod p, which takes an integer to 2^258 times itself, where the sums' x are.
const TO_X: lanes::Limbs52 = [0xc0, 0xf_ffff_fffc_0000, 0xf_ffff_bfff_fffe, 0xf_f7ff_ffff_ffff, 0x13f_ffff];

/// As the portable `divide`, for at least one row.
///
/// # Panics
/// Without AVX-512 IFMA.
pub(crate) fn divide(digests: &[Limbs], s: &mut [Limbs], scalars: &mut [Scalars]) {
    assert_features();
    if scalars.len() < FEW {
        return equation::divide(digests, s, scalars);
    }
    // SAFETY: the processor has the features.
    unsafe { scalar::divide(digests, s, scalars) };
}

/// As the portable `verify`.
///
/// # Panics
/// Without AVX-512 IFMA.
pub(crate) fn verify(tables: &[&Table], scalars: &[Scalars], verdicts: &mut [bool]) {
    assert_features();
    let chunks = tables.chunks(ROWS).zip(scalars.chunks(ROWS)).zip(verdicts.chunks_mut(ROWS));
    for ((tables, scalars), verdicts) in chunks {
        if tables.len() <= FEW {
            for ((table, scalars), verdict) in tables.iter().zip(scalars).zip(verdicts) {
                // SAFETY: the processor has the features.
                *verdict = unsafe { spread::verify_one(table, scalars) };
            }
        } else {
            // SAFETY: the processor has the features.
            unsafe { verify_together(tables, scalars, verdicts) };
        }
    }
}

/// Verdicts for rows without tables; slices of one length. `None` stands for a key that is no point.
///
/// # Panics
/// Without AVX-512 IFMA.
pub(crate) fn verify_one_off(keys: &[Option<Affine>], scalars: &[Scalars], verdicts: &mut [bool]) {
    assert_features();
    if keys.len() == 1 {
        // Seven idle lanes cost more than they bring.
        return super::one_off::verify(keys, scalars, verdicts);
    }
    let chunks = keys.chunks(ONE_OFF_ROWS).zip(scalars.chunks(ONE_OFF_ROWS)).zip(verdicts.chunks_mut(ONE_OFF_ROWS));
    for ((keys, scalars), verdicts) in chunks {
        // SAFETY: the processor has the features.
        unsafe { one_off::verify_together(keys, scalars, verdicts) };
    }
}

fn assert_features() {
    assert!(crate::features::detected().avx512ifma, "AVX-512 IFMA");
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn verify_together(tables: &[&Table], scalars: &[Scalars], verdicts: &mut [bool]) {
    let terms = Plan::new(tables, scalars);
    let (sums, degenerate) = sum(&terms);
    for (group, sum) in sums.iter().enumerate() {
        let rows = 8 * group..tables.len().min(8 * group + 8);
        let right = matching_lanes(&sum.x, &scalars[rows.clone()], |x| *x);
        for (lane, row) in rows.enumerate() {
            verdicts[row] = if degenerate[group] >> lane & 1 == 1 {
                portable::verify_one(tables[row], &scalars[row])
            } else {
                scalars[row].well_formed && right >> lane & 1 == 1
            };
        }
    }
}

/// The sum of each row's terms, and which of them mean nothing.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn sum(terms: &Plan<'_>) -> (Vec<Slot>, Vec<__mmask8>) {
    let groups = terms.groups;
    let mut width = (SLOTS / groups).clamp(1, terms.count / 2);
    let mut slots = Vec::with_capacity(width * groups);
    let mut degenerate = vec![0; width * groups];
    for item in 0..width * groups {
        terms.prefetch(item + AHEAD);
        // SAFETY: `terms` borrows the tables.
        slots.push(unsafe { Slot::start(&terms.addends(item)) });
    }
    for first in (width..terms.count).step_by(width) {
        let used = width.min(terms.count - first) * groups;
        for (item, slot) in (first * groups..).zip(&mut slots[..used]) {
            terms.prefetch(item + AHEAD);
            // SAFETY: `terms` borrows the tables.
            unsafe { slot.prepare(&terms.addends(item)) };
        }
        sums::add_all(&mut slots[..used], &mut degenerate[..used]);
    }
    while width > 1 {
        let half = width.div_ceil(2) * groups;
        let (left, right) = slots.split_at_mut(half);
        let used = right.len();
        for (i, right) in right.iter().enumerate() {
            left[i].prepare_sum(right);
            degenerate[i] |= degenerate[half + i];
        }
        sums::add_all(&mut left[..used], &mut degenerate[..used]);
        slots.truncate(half);
        width = half / groups;
    }
    (slots, degenerate)
}

/// Lanes whose x, as the sums have it, is r or r + n once those are taken through `scale`; x below 2p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn matching_lanes(x: &Vectors, scalars: &[Scalars], scale: impl Fn(&Vectors) -> Vectors) -> __mmask8 {
    let x = field::canonical(x);
    let is_x = |integers: &[Limbs; 8]| {
        let integers = lanes::gather(8, 0, |lane| integers[lane]);
        let integers = field::mul(&integers, &lanes::broadcast(&TO_X));
        lanes::equal(&field::canonical(&scale(&integers)), &x)
    };
    let mut first = [limbs::ZERO; 8];
    let mut second = [limbs::ZERO; 8];
    let mut has_second = 0;
    for (lane, scalars) in scalars.iter().enumerate() {
        first[lane] = scalars.r;
        if let Some(x) = second_x(&scalars.r) {
            second[lane] = x;
            has_second |= 1 << lane;
        }
    }
    is_x(&first) | if has_second == 0 { 0 } else { is_x(&second) & has_second }
}
