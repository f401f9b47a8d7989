//! Which entries eight rows sum, step by step.

use super::super::base;
use super::super::entry::Entry;
use super::super::table::Table;
use super::super::window::{MAX_ROWS, Window, Words};
use super::point::{Addends, Addresses, NEGATED, Points};
use super::rows::Scalars;
use crate::field25519::avx512ifma::{Lanes, load, store};
use crate::field25519::portable::HALF;
use std::arch::x86_64::*;

/// Steps ahead of their use that entries are asked for.
const AHEAD: usize = 8;

/// The addresses of what eight rows sum, each step a vector; the window is the same in every lane.
pub(super) struct Plan {
    addresses: [Addresses; 2 * MAX_ROWS + AHEAD],
    steps: usize,
}

/// Where the multiples of eight points lie, a lane each.
pub(super) struct Multiples {
    /// The entry of digit 0.
    pub(super) zero: Lanes,
    /// One entry before that of digit 1, in the first row.
    pub(super) before_first: Lanes,
    /// Bytes from row to row.
    pub(super) stride: usize,
}

/// The entry of digit 0: y + x and y - x are 1.
static IDENTITY: Entry = Entry::new(HALF.limbs(), HALF.limbs(), [0; 5]);

/// Where an entry lies.
pub(super) fn address(entry: &Entry) -> u64 {
    (&raw const *entry).expose_provenance() as u64
}

/// Where the entry of digit 0 lies.
pub(super) fn identity() -> u64 {
    address(&IDENTITY)
}

impl Plan {
    pub(super) fn new() -> Self {
        Self { addresses: [[identity(); 8]; 2 * MAX_ROWS + AHEAD], steps: 0 }
    }

    /// [s]B
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn fill_base(&mut self, s: &Scalars) {
        let base = base();
        self.steps = base.digits().rows();
        Multiples::of_tables(&[base; 8]).place(&mut self.addresses[..self.steps], base.digits(), s);
    }

    /// [s]B + [h]P for the point P of each lane's table; all tables have the same window.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn fill(&mut self, tables: &[&Table; 8], s: &Scalars, h: &Scalars) {
        self.fill_base(s);
        let (window, start) = (tables[0].digits(), self.steps);
        self.steps += window.rows();
        Multiples::of_tables(tables).place(&mut self.addresses[start..self.steps], window, h);
    }

    /// Lets the steps of `next` follow on these, so that they are asked for in time.
    pub(super) fn follow(&mut self, next: &Self) {
        self.addresses[self.steps..self.steps + AHEAD].copy_from_slice(&next.addresses[..AHEAD]);
    }

    /// The sum of all entries, in each lane.
    ///
    /// # Safety
    ///
    /// The tables that the plan was filled from are alive.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    #[inline]
    pub(super) unsafe fn sum(&self) -> Points {
        // SAFETY: every address is that of an entry of a table, or of a static.
        let first = unsafe { Addends::load(&self.addresses[0]) };
        // SAFETY: as the caller promised.
        unsafe { self.add_to(first.to_points(), 1) }
    }

    /// Adds the entries from step `start` on to the points.
    ///
    /// # Safety
    ///
    /// As for [`Plan::sum`].
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    #[inline]
    pub(super) unsafe fn add_to(&self, mut points: Points, start: usize) -> Points {
        for step in start..self.steps {
            self.prefetch(step + AHEAD - 1);
            // SAFETY: every address is that of an entry of a table, or of a static.
            points = points.add_affine(&unsafe { Addends::load(&self.addresses[step]) });
        }
        points
    }

    /// Asks for the entries of a step.
    #[inline]
    fn prefetch(&self, step: usize) {
        for address in self.addresses[step] {
            let line = std::ptr::with_exposed_provenance(address as usize);
            let other = std::ptr::with_exposed_provenance((address ^ NEGATED) as usize);
            // SAFETY: prefetching is a hint that reads nothing.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(line);
                _mm_prefetch::<_MM_HINT_T0>(other);
            }
        }
    }
}

impl Multiples {
    fn of_tables(tables: &[&Table; 8]) -> Self {
        let before_first = tables.map(|table| table.address().wrapping_sub(size_of::<Entry>() as u64));
        let stride = tables[0].digits().half() * size_of::<Entry>();
        Self { zero: [identity(); 8], before_first, stride }
    }

    /// The addresses of each digit's entry, as [`Window::digit`] has the digits.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn place(&self, steps: &mut [Addresses], window: Window, scalars: &Scalars) {
        let biased = bias(window, scalars);
        let bits = window.bits() as usize;
        let half = _mm512_set1_epi64(window.half() as i64);
        let mask = _mm512_set1_epi64((1 << bits) - 1);
        let negated = _mm512_set1_epi64(NEGATED as i64);
        let stride = _mm512_set1_epi64(self.stride as i64);
        let zero = load(&self.zero);
        let mut row_start = load(&self.before_first);
        let top = steps.len() - 1;
        for (row, step) in steps.iter_mut().enumerate() {
            let field = funnel(&biased, bits * row);
            let digit = if row == top { field } else { _mm512_sub_epi64(_mm512_and_si512(field, mask), half) };
            // An entry is 2^7 bytes long.
            let entry = _mm512_add_epi64(row_start, _mm512_slli_epi64::<7>(_mm512_abs_epi64(digit)));
            let entry = _mm512_mask_or_epi64(entry, _mm512_movepi64_mask(digit), entry, negated);
            *step = store(_mm512_mask_mov_epi64(entry, _mm512_testn_epi64_mask(digit, digit), zero));
            row_start = _mm512_add_epi64(row_start, stride);
        }
    }
}

/// 64 bits from `bit` on.
#[target_feature(enable = "avx512f")]
#[inline]
fn funnel(words: &[__m512i; 4], bit: usize) -> __m512i {
    let (word, shift) = (bit / 64, (bit % 64) as i64);
    let low = _mm512_srlv_epi64(words[word], _mm512_set1_epi64(shift));
    if word == 3 {
        return low;
    }
    // A shift by 64 gives 0.
    _mm512_or_si512(low, _mm512_sllv_epi64(words[word + 1], _mm512_set1_epi64(64 - shift)))
}

/// As [`Window::biased`].
#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
fn bias(window: Window, scalars: &Scalars) -> [__m512i; 4] {
    let bias: Words = window.bias();
    let one = _mm512_set1_epi64(1);
    let mut carry = 0;
    std::array::from_fn(|i| {
        let word = load(&scalars[i]);
        let sum = _mm512_add_epi64(word, _mm512_set1_epi64(bias[i] as i64));
        let over = _mm512_cmplt_epu64_mask(sum, word);
        let carried = _mm512_mask_add_epi64(sum, carry, sum, one);
        // Only a word of all ones wraps, and not where the sum already did.
        carry = over | (carry & _mm512_testn_epi64_mask(carried, carried));
        carried
    })
}
