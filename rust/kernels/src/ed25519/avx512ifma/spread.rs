//! One row spread over the eight lanes: for rows too few to fill them.

use super::super::table::Table;
use super::super::window::{MAX_ROWS, Words};
use super::super::{Row, base, portable, scalar};
use super::plan::{address, identity};
use super::point::{Addends, Addresses, NEGATED, Points};
use crate::field25519::avx512ifma::Element;
use crate::field25519::portable::D;
use std::arch::x86_64::*;

/// Fewer rows than this are summed faster one by one than in a group of eight.
pub(super) const FEW: usize = 4;

/// The entries that a row sums, eight a step.
struct Steps {
    addresses: [Addresses; (2 * MAX_ROWS).div_ceil(8)],
    entries: usize,
}

/// [S]B - [h]A, the same in every lane, and a bit for each if S is below L; if not, it counts as 0.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn sum(row: &Row<'_>) -> (Points, u8) {
    let s = scalar::from_signature(row.signature);
    let h = portable::challenge(row.signature, row.table.public_key(), &row.message);
    (combine(row.table, &s.unwrap_or_default(), &h), if s.is_some() { 0xff } else { 0 })
}

/// [s]B + [h]P for the point P of the table, the same in every lane.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn combine(table: &Table, s: &Words, h: &Words) -> Points {
    let mut steps = Steps { addresses: [[identity(); 8]; (2 * MAX_ROWS).div_ceil(8)], entries: 0 };
    steps.push(base(), s);
    steps.push(table, h);
    // Zeros of both scalars leave no entry, but still a step.
    let steps = &steps.addresses[..steps.entries.div_ceil(8).max(1)];
    // SAFETY: the addresses come from a borrowed table, and from statics.
    let load = |addresses| unsafe { Addends::load(addresses) };
    let partial = steps[1..].iter().fold(load(&steps[0]).to_points(), |sum, step| sum.add_affine(&load(step)));
    sum_lanes(&partial)
}

impl Steps {
    /// Appends the entries that make `scalar` times the table's point, and asks for them.
    #[inline]
    fn push(&mut self, table: &Table, scalar: &Words) {
        let window = table.digits();
        let biased = window.biased(scalar);
        for row in 0..window.rows() {
            let digit = window.digit(&biased, row);
            if digit.magnitude == 0 {
                continue;
            }
            let entry = &table.row(row)[digit.magnitude - 1];
            entry.prefetch();
            let flag = if digit.negative { NEGATED } else { 0 };
            self.addresses[self.entries / 8][self.entries % 8] = address(entry) | flag;
            self.entries += 1;
        }
    }
}

/// The sum of all lanes, in each lane.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn sum_lanes(points: &Points) -> Points {
    let double_d = Element::splat(&D.add(&D).carry().limbs());
    let fours = points.add(&points.map(|vector| _mm512_shuffle_i64x2::<0b01_00_11_10>(vector, vector)), &double_d);
    let twos = fours.add(&fours.map(|vector| _mm512_shuffle_i64x2::<0b10_11_00_01>(vector, vector)), &double_d);
    twos.add(&twos.map(|vector| _mm512_permutex_epi64::<0b10_11_00_01>(vector)), &double_d)
}
