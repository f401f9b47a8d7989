//! Eight numbers side by side: limb i of all eight is one vector.

use crate::p256::limbs::Limbs;
use std::arch::x86_64::*;

/// Five limbs of 52 bits, least significant first.
pub(super) type Limbs52 = [u64; 5];
/// Eight numbers below 2^260, limbs in 0..2^52; or, where said, signed columns before their carries.
pub(super) type Vectors = [__m512i; 5];

pub(super) const BITS: u32 = 52;
pub(super) const MASK: u64 = (1 << BITS) - 1;

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn splat(value: u64) -> __m512i {
    _mm512_set1_epi64(value as i64)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn broadcast(limbs: &Limbs52) -> Vectors {
    let [a, b, c, d, e] = *limbs;
    [splat(a), splat(b), splat(c), splat(d), splat(e)]
}

/// Brings the limbs of signed columns into 0..2^52. The value must be in 0..2^260.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn carry(mut t: Vectors) -> Vectors {
    let mask = splat(MASK);
    for i in 0..4 {
        t[i + 1] = _mm512_add_epi64(t[i + 1], _mm512_srai_epi64::<BITS>(t[i]));
        t[i] = _mm512_and_si512(t[i], mask);
    }
    t
}

/// Limb-wise sum: columns.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn add(a: &Vectors, b: &Vectors) -> Vectors {
    let mut sum = *a;
    for i in 0..5 {
        sum[i] = _mm512_add_epi64(a[i], b[i]);
    }
    sum
}

/// Limb-wise difference: columns.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn sub(a: &Vectors, b: &Vectors) -> Vectors {
    let mut difference = *a;
    for i in 0..5 {
        difference[i] = _mm512_sub_epi64(a[i], b[i]);
    }
    difference
}

/// `b` in the lanes of `mask`, `a` in the others.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn select(mask: __mmask8, a: &Vectors, b: &Vectors) -> Vectors {
    let mut selected = *a;
    for i in 0..5 {
        selected[i] = _mm512_mask_mov_epi64(a[i], mask, b[i]);
    }
    selected
}

/// Lanes where all limbs are equal.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn equal(a: &Vectors, b: &Vectors) -> __mmask8 {
    let mut mask = 0xff;
    for i in 0..5 {
        mask = _mm512_mask_cmpeq_epi64_mask(mask, a[i], b[i]);
    }
    mask
}

/// `a - modulus` where that is not negative. Limbs of `a` in 0..2^52.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn reduce_once(a: &Vectors, modulus: &Limbs52) -> Vectors {
    let difference = carry(sub(a, &broadcast(modulus)));
    // The top limb keeps the sign.
    let negative = _mm512_cmplt_epi64_mask(difference[4], _mm512_setzero_si512());
    select(negative, &difference, a)
}

/// Lane l of the result is lane `l ^ DISTANCE` of `a`, for a distance of 1, 2 or 4.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn exchange<const DISTANCE: i64>(a: &Vectors) -> Vectors {
    let order = _mm512_xor_si512(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(DISTANCE));
    let mut exchanged = *a;
    for i in 0..5 {
        exchanged[i] = _mm512_permutexvar_epi64(order, a[i]);
    }
    exchanged
}

/// `2^SHIFT` times numbers of four 64-bit limbs, SHIFT at most 4.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn split<const SHIFT: u32>(v: &[__m512i; 4]) -> Vectors {
    let mask = splat(MASK);
    let left = |a, bits: u32| _mm512_sllv_epi64(a, splat(u64::from(bits)));
    let right = |a, bits: u32| _mm512_srlv_epi64(a, splat(u64::from(bits)));
    let join = |low, high| _mm512_and_si512(_mm512_or_si512(low, high), mask);
    [
        _mm512_and_si512(left(v[0], SHIFT), mask),
        join(right(v[0], 52 - SHIFT), left(v[1], 12 + SHIFT)),
        join(right(v[1], 40 - SHIFT), left(v[2], 24 + SHIFT)),
        join(right(v[2], 28 - SHIFT), left(v[3], 36 + SHIFT)),
        right(v[3], 16 - SHIFT),
    ]
}

/// The numbers `of(row)`, below 2^256, of the eight rows of `group`: of the last row in the place of rows past `rows`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn gather(rows: usize, group: usize, of: impl Fn(usize) -> Limbs) -> Vectors {
    let [mut a, mut b, mut c, mut d] = [[0; 8]; 4];
    for lane in 0..8 {
        [a[lane], b[lane], c[lane], d[lane]] = of((8 * group + lane).min(rows - 1));
    }
    split::<0>(&[from_array(&a), from_array(&b), from_array(&c), from_array(&d)])
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn from_array(array: &[u64; 8]) -> __m512i {
    // SAFETY: the array is the 64 bytes read; the load needs no alignment.
    unsafe { _mm512_loadu_si512(array.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn to_array(vector: __m512i) -> [u64; 8] {
    let mut array = [0u64; 8];
    // SAFETY: the array is the 64 bytes that are written; the store needs no alignment.
    unsafe { _mm512_storeu_si512(array.as_mut_ptr().cast(), vector) };
    array
}

/// The eight numbers, each below 2^256.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn unpack(vectors: &Vectors) -> [Limbs; 8] {
    let limbs =
        [to_array(vectors[0]), to_array(vectors[1]), to_array(vectors[2]), to_array(vectors[3]), to_array(vectors[4])];
    std::array::from_fn(|lane| join(&std::array::from_fn(|i| limbs[i][lane])))
}

/// Of a number below 2^256.
pub(super) const fn join(a: &Limbs52) -> Limbs {
    [a[0] | a[1] << 52, a[1] >> 12 | a[2] << 40, a[2] >> 24 | a[3] << 28, a[3] >> 36 | a[4] << 16]
}

pub(super) const fn split_one(a: &Limbs) -> Limbs52 {
    [
        a[0] & MASK,
        (a[0] >> 52 | a[1] << 12) & MASK,
        (a[1] >> 40 | a[2] << 24) & MASK,
        (a[2] >> 28 | a[3] << 36) & MASK,
        a[3] >> 16,
    ]
}
