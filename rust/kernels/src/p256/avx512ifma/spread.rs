//! One row in eight lanes: every eighth of its terms is summed in a lane of its own, and then the lanes are summed.

use super::field;
use super::lanes;
use super::point::Jacobian;
use super::sums::Addends;
use super::{TO_X, portable};
use crate::p256::digits::{self, NEGATIVE, Odd};
use crate::p256::equation::{Scalars, second_x};
use crate::p256::generator;
use crate::p256::limbs::Limbs;
use crate::p256::table::{Entry, Table, WINDOWS};
use std::arch::x86_64::__mmask8;

/// The most terms a row can have: both scalars in digits of the smallest window.
const MAX_TERMS: usize = 2 * digits::count(*WINDOWS.start());

/// The verdict of one row.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn verify_one(table: &Table, scalars: &Scalars) -> bool {
    let sum = sum_terms(table, scalars);
    if field::zero_lanes(&sum.z[0]) != 0 {
        return portable::verify_one(table, scalars);
    }
    // Every lane holds the sum; r goes into lane 0 and, where it is an x too, r + n into the others.
    let other = second_x(&scalars.r).unwrap_or(scalars.r);
    let r = lanes::gather(8, 0, |lane| if lane == 0 { scalars.r } else { other });
    let x = field::mul(&field::mul(&r, &lanes::broadcast(&TO_X)), &field::square(&sum.z[0]));
    scalars.well_formed && lanes::equal(&field::canonical(&x), &field::canonical(&sum.x[0])) != 0
}

/// The sum of the row's terms, in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn sum_terms(table: &Table, scalars: &Scalars) -> Jacobian<1> {
    let mut entries = [std::ptr::null(); MAX_TERMS];
    let mut negative = [false; MAX_TERMS];
    let of_generator = terms(generator(), &scalars.u1);
    let mut count = 0;
    for (entry, is_negative) in of_generator.chain(terms(table, &scalars.u2)) {
        (entries[count], negative[count]) = (std::ptr::from_ref(entry), is_negative);
        count += 1;
    }
    let eight = |first: usize| {
        // A last round of fewer than eight ends with the last term; the lanes of terms already summed are told by `mask`.
        let start = first.min(count - 8);
        let mut signs: __mmask8 = 0;
        (0..8).for_each(|lane| signs |= u8::from(negative[start + lane]) << lane);
        let mask = (0xff << (first - start)) as __mmask8;
        let entries = entries[start..start + 8].try_into().unwrap_or([std::ptr::null(); 8]);
        (Addends { entries, negative: signs }, mask)
    };
    for first in (0..count).step_by(8) {
        eight(first).0.prefetch();
    }
    // SAFETY: both tables are borrowed, and there are more than 16 terms.
    let ((x1, y1), (x2, y2)) = unsafe { (eight(0).0.load_reduced(), eight(8).0.load_reduced()) };
    let mut sum = Jacobian::from_sum(&[x1], &[y1], &[x2], &[y2]);
    for first in (16..count).step_by(8) {
        let (addends, mask) = eight(first);
        // SAFETY: as above.
        let (x, y) = unsafe { addends.load_reduced() };
        let before = sum;
        sum.add_affine(&[x], &[y]);
        if mask != 0xff {
            sum = before.select(mask, &sum);
        }
    }
    sum = sum.add(&sum.exchange::<1>());
    sum = sum.add(&sum.exchange::<2>());
    sum.add(&sum.exchange::<4>())
}

/// The entries that a scalar's digits select, and whether they are to be negated.
#[inline]
fn terms<'a>(table: &'a Table, scalar: &Limbs) -> impl Iterator<Item = (&'a Entry, bool)> {
    let odd = Odd::new(scalar);
    let window = table.window();
    (0..digits::count(window)).map(move |i| {
        let code = odd.code(i, window);
        (&table.digit(i)[(code & !NEGATIVE) as usize], code & NEGATIVE != 0)
    })
}
