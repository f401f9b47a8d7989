//! Affine additions in eight lanes, by the hundred, with one inversion for all of them.
//!
//! Coordinates are (x 2^258, y 2^257) mod p: what a table holds, shifted left by two bits and by one while its
//! limbs are split. As elements of this field, whose one is 2^260, they are x / 4 and y / 8, a point of an
//! isomorphic curve, and affine addition does not depend on the curve's coefficients.
//!
//! Where both points have the same x, the product of all differences is zero. Only then are the differences looked at.

use super::field;
use super::lanes::{self, Vectors};
use crate::p256::digits::NEGATIVE;
use crate::p256::table::Entry;
use std::arch::x86_64::*;

/// Shared products that run side by side, so that one need not wait for the other.
const CHAINS: usize = 4;

/// Eight running sums and the additions they are waiting for. `x` and `y` are below 2p.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) x: Vectors,
    pub(super) y: Vectors,
    /// Below 6p.
    dx: Vectors,
    /// Below 4p.
    dy: Vectors,
    /// Product of the differences before this one in its chain.
    prefix: Vectors,
}

/// Where the entries of a term lie for eight rows, and which of them are to be negated.
pub(super) struct Addends {
    pub(super) entries: [*const Entry; 8],
    pub(super) negative: __mmask8,
}

impl Addends {
    /// Entries `codes` of the eight digits that begin at `bases`.
    ///
    /// # Safety
    /// Each code must be of an index within its digit's entries.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    pub(super) unsafe fn new(bases: &[*const Entry; 8], codes: &[u32; 8]) -> Self {
        let mut entries = *bases;
        for lane in 0..8 {
            // SAFETY: the caller vouches for the index.
            entries[lane] = unsafe { bases[lane].add((codes[lane] & !NEGATIVE) as usize) };
        }
        // SAFETY: the array is the 32 bytes read; the load needs no alignment.
        let codes = unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) };
        Self { entries, negative: _mm256_movepi32_mask(codes) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn prefetch(&self) {
        for entry in self.entries {
            _mm_prefetch::<_MM_HINT_T0>(entry.cast());
        }
    }

    /// (x, y) of the entries: x below 4p, y as columns of a value in 0..=2p.
    ///
    /// # Safety
    /// The entries must be alive.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(&self) -> (Vectors, Vectors) {
        let mut rows = [_mm512_setzero_si512(); 8];
        for (row, entry) in rows.iter_mut().zip(self.entries) {
            // SAFETY: an entry is 64 bytes, aligned to 64, and alive by the caller's word.
            *row = unsafe { _mm512_load_si512(entry.cast()) };
        }
        let [x, y] = transpose(&rows);
        let (x, mut y) = (lanes::split::<2>(&x), lanes::split::<1>(&y));
        let twice = lanes::broadcast(&field::P2);
        for i in 0..5 {
            y[i] = _mm512_mask_sub_epi64(y[i], self.negative, twice[i], y[i]);
        }
        (x, y)
    }
}

impl Addends {
    /// (x, y) of the entries, both below 2p.
    ///
    /// # Safety
    /// The entries must be alive.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn load_reduced(&self) -> (Vectors, Vectors) {
        // SAFETY: by the caller's word.
        let (x, y) = unsafe { self.load() };
        (field::reduce_columns(x), field::reduce_columns(y))
    }
}

impl Slot {
    /// The sums begin as the addends.
    ///
    /// # Safety
    /// The addends' entries must be alive.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn start(addends: &Addends) -> Self {
        // SAFETY: by the caller's word.
        let (x, y) = unsafe { addends.load_reduced() };
        Self::new(&x, &y)
    }

    /// The sums begin as these points, coordinates below 2p.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(x: &Vectors, y: &Vectors) -> Self {
        Self { x: *x, y: *y, dx: *x, dy: *x, prefix: *x }
    }

    /// Notes that `addends` are to be added by the next [`add_all`].
    ///
    /// # Safety
    /// The addends' entries must be alive.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn prepare(&mut self, addends: &Addends) {
        // SAFETY: by the caller's word.
        let (x, y) = unsafe { addends.load() };
        self.prepare_point(&x, &y);
    }

    /// As [`Slot::prepare`], for another slot's sums.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn prepare_sum(&mut self, other: &Slot) {
        self.prepare_point(&other.x, &other.y);
    }

    /// As [`Slot::prepare`], for a point with x below 4p and y, also as columns, at most 2p.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn prepare_point(&mut self, x: &Vectors, y: &Vectors) {
        self.dx = field::sub(x, &self.x);
        self.dy = field::sub(y, &self.y);
    }

    /// One addition, given the inverse of the difference.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn add(&mut self, inverse: &Vectors) {
        let slope = field::mul(&self.dy, inverse);
        // slope^2 - 2 x - dx, below 2p, and 8p, which is above 2 x + dx <= x + (4p + 2p)
        let mut x = field::square_columns(&slope);
        let eight = lanes::broadcast(&field::P8);
        for i in 0..5 {
            let twice = _mm512_add_epi64(self.x[i], self.x[i]);
            let taken = _mm512_add_epi64(twice, self.dx[i]);
            x[i] = _mm512_add_epi64(x[i], _mm512_sub_epi64(eight[i], taken));
        }
        let x = field::reduce_columns(x);
        let y = field::mul_columns(&slope, &field::sub(&self.x, &x));
        let y = lanes::add(&lanes::sub(&y, &self.y), &lanes::broadcast(&field::P2));
        self.x = x;
        self.y = field::reduce_columns(y);
    }
}

/// Carries out the prepared additions: every slot must have been prepared. Lanes whose points had the same x get
/// their bit in `degenerate`, which is as long as `slots`, and a sum that means nothing.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn add_all(slots: &mut [Slot], degenerate: &mut [__mmask8]) {
    let products = multiply_up(slots);
    let inverses = invert_chains(&products).or_else(|| {
        set_aside_equal(slots, degenerate);
        invert_chains(&multiply_up(slots))
    });
    let mut inverses = inverses.expect("no difference is zero any more");
    for slots in slots.chunks_mut(CHAINS).rev() {
        for (slot, inverse) in slots.iter_mut().zip(&mut inverses) {
            let own = field::mul(&slot.prefix, inverse);
            *inverse = field::mul(&slot.dx, inverse);
            slot.add(&own);
        }
    }
}

/// Chain i takes slots i, i + 4, i + 8, ...
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn multiply_up(slots: &mut [Slot]) -> [Vectors; CHAINS] {
    let mut products = [lanes::broadcast(&field::ONE); CHAINS];
    for slots in slots.chunks_mut(CHAINS) {
        for (slot, product) in slots.iter_mut().zip(&mut products) {
            slot.prefix = *product;
            *product = field::mul(&slot.dx, product);
        }
    }
    products
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn invert_chains(products: &[Vectors; CHAINS]) -> Option<[Vectors; CHAINS]> {
    let [a, b, c, d] = products;
    let (ab, cd) = (field::mul(a, b), field::mul(c, d));
    let inverse = field::invert(&field::mul(&ab, &cd))?;
    let (inverse_ab, inverse_cd) = (field::mul(&inverse, &cd), field::mul(&inverse, &ab));
    Some([
        field::mul(&inverse_ab, b),
        field::mul(&inverse_ab, a),
        field::mul(&inverse_cd, d),
        field::mul(&inverse_cd, c),
    ])
}

/// Finds the differences that are zero and puts ones in their place.
#[cold]
#[target_feature(enable = "avx512f,avx512ifma")]
fn set_aside_equal(slots: &mut [Slot], degenerate: &mut [__mmask8]) {
    for (slot, degenerate) in slots.iter_mut().zip(degenerate) {
        let zero = field::zero_lanes(&slot.dx);
        *degenerate |= zero;
        slot.dx = lanes::select(zero, &slot.dx, &lanes::broadcast(&field::ONE));
    }
}

/// Row l holds the eight words of lane l; result `[c][i]` holds word `4 c + i` of all lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: &[__m512i; 8]) -> [[__m512i; 4]; 2] {
    // Words 0, 2, 4, 6 of two lanes side by side, and words 1, 3, 5, 7.
    let even = |i: usize| _mm512_unpacklo_epi64(rows[i], rows[i + 1]);
    let odd = |i: usize| _mm512_unpackhi_epi64(rows[i], rows[i + 1]);
    let (e01, e23, e45, e67) = (even(0), even(2), even(4), even(6));
    let (o01, o23, o45, o67) = (odd(0), odd(2), odd(4), odd(6));
    // Pairs of words are 128-bit quarters q: gather quarter q of four vectors.
    let low = |a, b| _mm512_shuffle_i64x2::<0b10_00_10_00>(a, b);
    let high = |a, b| _mm512_shuffle_i64x2::<0b11_01_11_01>(a, b);
    let words = |a, b, c, d| {
        let (ab, cd) = (low(a, b), low(c, d));
        let (ab1, cd1) = (high(a, b), high(c, d));
        // Quarters 0 and 2 of the vectors lie in `ab` as a0 a2 b0 b2; quarters 1 and 3 in `ab1`.
        [low(ab, cd), low(ab1, cd1), high(ab, cd), high(ab1, cd1)]
    };
    let [w0, w2, w4, w6] = words(e01, e23, e45, e67);
    let [w1, w3, w5, w7] = words(o01, o23, o45, o67);
    [[w0, w1, w2, w3], [w4, w5, w6, w7]]
}
