//! Which table entries the rows' sums consist of: the codes of all digits, eight rows at a time.

use super::lanes::{self, Vectors};
use super::scalar;
use super::sums::Addends;
use crate::p256::digits::{self, NEGATIVE};
use crate::p256::equation::Scalars;
use crate::p256::generator;
use crate::p256::table::{Entry, GENERATOR_WINDOW, Table};
use std::arch::x86_64::*;

/// Digits of G in every row.
const GENERATOR_DIGITS: usize = digits::count(GENERATOR_WINDOW);

/// The terms of all rows: one entry for each digit of u1 (of G) and then of u2 (of Q). Rows come in groups
/// of eight; the last group is filled up with the last row.
pub(super) struct Plan<'a> {
    tables: &'a [&'a Table],
    generator: &'static Table,
    /// Of term t and group g at `t * groups + g`.
    codes: Vec<[u32; 8]>,
    pub(super) groups: usize,
    /// Terms of each row.
    pub(super) count: usize,
}

impl<'a> Plan<'a> {
    /// Of rows whose tables all have one window.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl")]
    pub(super) fn new(tables: &'a [&'a Table], scalars: &[Scalars]) -> Self {
        let window = tables[0].window();
        assert!(tables.iter().all(|table| table.window() == window), "one window in all rows");
        assert_eq!(tables.len(), scalars.len(), "one table a row");
        let mut terms = Self::of_generator(scalars);
        let groups = terms.groups;
        terms.count += digits::count(window);
        terms.codes.resize(terms.count * groups, [0; 8]);
        for group in 0..groups {
            let u2 = lanes::gather(scalars.len(), group, |row| scalars[row].u2);
            encode(&u2, window, &mut terms.codes[GENERATOR_DIGITS * groups + group..], groups);
        }
        Self { tables, ..terms }
    }

    /// Of [u1]G alone.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl")]
    pub(super) fn of_generator(scalars: &[Scalars]) -> Self {
        let groups = scalars.len().div_ceil(8);
        let mut codes = vec![[0; 8]; GENERATOR_DIGITS * groups];
        for group in 0..groups {
            let u1 = lanes::gather(scalars.len(), group, |row| scalars[row].u1);
            encode(&u1, GENERATOR_WINDOW, &mut codes[group..], groups);
        }
        Self { tables: &[], generator: generator(), codes, groups, count: GENERATOR_DIGITS }
    }

    /// The entries of item `term * groups + group`: those of a term for the rows of a group.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    pub(super) fn addends(&self, item: usize) -> Addends {
        let (term, group) = (item / self.groups, item % self.groups);
        let mut bases: [*const Entry; 8] = [std::ptr::null(); 8];
        if term < GENERATOR_DIGITS {
            bases = [self.generator.digit(term).as_ptr(); 8];
        } else {
            let digit = term - GENERATOR_DIGITS;
            for (lane, base) in bases.iter_mut().enumerate() {
                let row = (8 * group + lane).min(self.tables.len() - 1);
                *base = self.tables[row].digit(digit).as_ptr();
            }
        }
        // SAFETY: a code's index has one bit less than its window, and a digit has that many entries: `encode`
        // masks it, and `new` made sure of the window.
        unsafe { Addends::new(&bases, &self.codes[item]) }
    }

    /// Fetches the entries of an item, if there is such an item, into the cache.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    pub(super) fn prefetch(&self, item: usize) {
        if item < self.codes.len() {
            self.addends(item).prefetch();
        }
    }
}

/// The codes of eight scalars in 0..n, digit i at `codes[i * stride]`: as [`digits::Odd`] does it.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
pub(super) fn encode(scalars: &Vectors, window: u32, codes: &mut [[u32; 8]], stride: usize) {
    let even = _mm512_testn_epi64_mask(scalars[0], lanes::splat(1));
    let negated = lanes::carry(lanes::sub(&lanes::broadcast(&scalar::N), scalars));
    let odd = lanes::select(even, scalars, &negated);
    let limbs = [odd[0], odd[1], odd[2], odd[3], odd[4], _mm512_setzero_si512(), _mm512_setzero_si512()];
    let half = lanes::splat(1 << (window - 1));
    let index_mask = lanes::splat((1 << (window - 1)) - 1);
    let digits = digits::count(window);
    for i in 0..digits {
        let start = window as usize * i + 1;
        let (limb, shift) = (start / 52, start as u64 % 52);
        let low = _mm512_srlv_epi64(limbs[limb], lanes::splat(shift));
        let high = _mm512_sllv_epi64(limbs[limb + 1], lanes::splat(52 - shift));
        let bits = _mm512_or_si512(low, high);
        let upper = if i + 1 == digits { 0xff } else { _mm512_test_epi64_mask(bits, half) };
        // The index is the bits below the top one, mirrored where that is clear.
        let index = _mm512_and_si512(_mm512_mask_xor_epi64(bits, !upper, bits, lanes::splat(u64::MAX)), index_mask);
        let negative = !upper ^ even;
        let code = _mm512_mask_or_epi64(index, negative, index, lanes::splat(u64::from(NEGATIVE)));
        let code = _mm512_cvtepi64_epi32(code);
        // SAFETY: the element is the 32 bytes written; the store needs no alignment.
        unsafe { _mm256_storeu_si256(codes[i * stride].as_mut_ptr().cast(), code) };
    }
}
