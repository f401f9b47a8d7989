//! Which entries eight rows sum, step by step.

use super::super::table::{Entry, Table, base};
use super::super::window::{MAX_ROWS, Window, Words};
use super::point::{Addresses, NEGATED};
use crate::field25519::avx512ifma::{Lanes, load, store};
use std::arch::x86_64::*;

/// Steps ahead of their use that entries are asked for.
pub(super) const AHEAD: usize = 8;

/// The addresses of what eight rows sum, each step a vector; the window is the same in every lane.
pub(super) struct Plan {
    addresses: [Addresses; 2 * MAX_ROWS + AHEAD],
    steps: usize,
}

/// The entry of digit 0: y + x and y - x are 1.
static IDENTITY: Entry = {
    let half = crate::field25519::portable::HALF.limbs();
    Entry::new(half, half, [0; 5])
};

/// Eight scalars below L, word i of lane j in `[i][j]`.
pub(super) type Scalars = [Lanes; 4];

impl Plan {
    pub(super) fn new() -> Self {
        Self { addresses: [[identity(); 8]; 2 * MAX_ROWS + AHEAD], steps: 0 }
    }

    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// [s]B + [h]P for the point P of each lane's table; all tables have the same window.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn fill(&mut self, tables: &[&Table; 8], s: &Scalars, h: &Scalars) {
        let base = base();
        let base_rows = base.digits().rows();
        let first = [base.address(); 8];
        place(&mut self.addresses[..base_rows], base.digits(), &first, s);
        let window = tables[0].digits();
        self.steps = base_rows + window.rows();
        place(&mut self.addresses[base_rows..self.steps], window, &tables.map(Table::address), h);
    }

    /// Lets the steps of `next` follow on these, so that they are asked for in time.
    pub(super) fn follow(&mut self, next: &Self) {
        self.addresses[self.steps..self.steps + AHEAD].copy_from_slice(&next.addresses[..AHEAD]);
    }

    #[inline]
    pub(super) fn at(&self, step: usize) -> &Addresses {
        &self.addresses[step]
    }

    /// Asks for the entries of a step.
    #[inline]
    pub(super) fn prefetch(&self, step: usize) {
        for address in self.addresses[step] {
            let line = std::ptr::with_exposed_provenance((address) as usize);
            let other = std::ptr::with_exposed_provenance((address ^ NEGATED) as usize);
            // SAFETY: prefetching is a hint that reads nothing.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(line);
                _mm_prefetch::<_MM_HINT_T0>(other);
            }
        }
    }
}

/// Where an entry lies.
pub(super) fn address(entry: &Entry) -> u64 {
    (&raw const *entry).expose_provenance() as u64
}

/// Where the entry of digit 0 lies.
pub(super) fn identity() -> u64 {
    address(&IDENTITY)
}

/// The addresses of each digit's entry, for scalars in lanes: as [`Window::digit`] has them.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn place(steps: &mut [Addresses], window: Window, tables: &Lanes, scalars: &Scalars) {
    let biased = bias(window, scalars);
    let bits = window.bits() as usize;
    let half = _mm512_set1_epi64(window.half() as i64);
    let mask = _mm512_set1_epi64((1 << bits) - 1);
    let identity = _mm512_set1_epi64(identity() as i64);
    let stride = _mm512_set1_epi64((window.half() * size_of::<Entry>()) as i64);
    // Magnitude 1 is the first entry.
    let mut row_start = _mm512_sub_epi64(load(tables), _mm512_set1_epi64(size_of::<Entry>() as i64));
    let last = steps.len() - 1;
    for (row, step) in steps.iter_mut().enumerate() {
        let bit = bits * row;
        let field = funnel(&biased, bit / 64, (bit % 64) as u64);
        let digit = if row == last { field } else { _mm512_sub_epi64(_mm512_and_si512(field, mask), half) };
        let offset = _mm512_slli_epi64::<7>(_mm512_abs_epi64(digit));
        let entry = _mm512_add_epi64(row_start, offset);
        let entry = _mm512_mask_or_epi64(entry, _mm512_movepi64_mask(digit), entry, _mm512_set1_epi64(NEGATED as i64));
        let zero = _mm512_testn_epi64_mask(digit, digit);
        *step = store(_mm512_mask_mov_epi64(entry, zero, identity));
        row_start = _mm512_add_epi64(row_start, stride);
    }
}

/// Words from `bit` of word `word` on.
#[target_feature(enable = "avx512f")]
#[inline]
fn funnel(words: &[__m512i; 4], word: usize, bit: u64) -> __m512i {
    let low = _mm512_srlv_epi64(words[word], _mm512_set1_epi64(bit as i64));
    if bit == 0 || word == 3 {
        return low;
    }
    _mm512_or_si512(low, _mm512_sllv_epi64(words[word + 1], _mm512_set1_epi64((64 - bit) as i64)))
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
