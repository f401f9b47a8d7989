//! The field of p in eight lanes: Montgomery arithmetic with 2^260, five limbs of 52 bits.
//!
//! Bounds, held by every function and tested at their limits:
//! - the limbs of an element are in 0..2^52, so its value is below 2^260, which is more than 16p;
//! - `mul` of values below A p and B p gives one below (A B / 16 + 1) p, so below 2p for A B <= 16;
//! - columns, before their carries, are signed and below 2^58 in absolute value, and their whole value is not negative.

use super::lanes::{self, Limbs52, MASK, Vectors, splat};
use crate::p256::field::MODULUS;
use crate::p256::limbs::Limbs;
use std::arch::x86_64::*;

/// p
pub(super) const P: Limbs52 = [0xf_ffff_ffff_ffff, 0x0_0fff_ffff_ffff, 0, 0x0_0010_0000_0000, 0xffff_ffff_0000];
/// 2p
pub(super) const P2: Limbs52 = [0xf_ffff_ffff_fffe, 0x0_1fff_ffff_ffff, 0, 0x0_0020_0000_0000, 0x1_ffff_fffe_0000];
/// 8p
pub(super) const P8: Limbs52 = [0xf_ffff_ffff_fff8, 0x0_7fff_ffff_ffff, 0, 0x0_0080_0000_0000, 0x7_ffff_fff8_0000];
/// 2^260 mod p
pub(super) const ONE: Limbs52 =
    [0x0_0000_0000_0010, 0xf_0000_0000_0000, 0xf_ffff_ffff_ffff, 0xf_feff_ffff_ffff, 0xf_ffff];
/// 2^780 mod p
const R3: Limbs52 = [0xf_d000_0000_a000, 0xf_ffff_f7ff_ffff, 0xf_ffcf_ffff_fedf, 0x1_0000_0005_ffff, 0x1_8000_0000];

/// `a * b / 2^260` mod p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul(a: &Vectors, b: &Vectors) -> Vectors {
    lanes::carry(mul_columns(a, b))
}

/// `a^2 / 2^260` mod p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn square(a: &Vectors) -> Vectors {
    lanes::carry(square_columns(a))
}

/// The columns of `mul`: each holds at most ten products' halves, six of the reduction's and a carry, below 2^57.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul_columns(a: &Vectors, b: &Vectors) -> Vectors {
    let mut t = [_mm512_setzero_si512(); 10];
    let mut high = [_mm512_setzero_si512(); 10];
    for i in 0..5 {
        for j in 0..5 {
            t[i + j] = _mm512_madd52lo_epu64(t[i + j], a[i], b[j]);
            high[i + j + 1] = _mm512_madd52hi_epu64(high[i + j + 1], a[i], b[j]);
        }
    }
    for i in 0..10 {
        t[i] = _mm512_add_epi64(t[i], high[i]);
    }
    for i in 0..5 {
        fold(&mut t, i);
    }
    [t[5], t[6], t[7], t[8], t[9]]
}

/// The columns of `square`: ten cross products, doubled as columns, and five squares.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn square_columns(a: &Vectors) -> Vectors {
    let mut t = [_mm512_setzero_si512(); 10];
    for i in 0..5 {
        for j in i + 1..5 {
            t[i + j] = _mm512_madd52lo_epu64(t[i + j], a[i], a[j]);
            t[i + j + 1] = _mm512_madd52hi_epu64(t[i + j + 1], a[i], a[j]);
        }
    }
    for column in &mut t {
        *column = _mm512_add_epi64(*column, *column);
    }
    for i in 0..5 {
        t[2 * i] = _mm512_madd52lo_epu64(t[2 * i], a[i], a[i]);
        t[2 * i + 1] = _mm512_madd52hi_epu64(t[2 * i + 1], a[i], a[i]);
    }
    for i in 0..5 {
        fold(&mut t, i);
    }
    [t[5], t[6], t[7], t[8], t[9]]
}

/// Adds `q p` at column i, where q is the column's low 52 bits: since the low 96 bits of p are ones, the column's low
/// bits vanish and q turns up at 2^96, 2^192, and 2^208 (2^48 - 2^16). What is above them is carried.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn fold(t: &mut [__m512i; 10], i: usize) {
    let q = _mm512_and_si512(t[i], splat(MASK));
    let top = splat(P[4]);
    let carry = _mm512_srli_epi64::<52>(t[i]);
    // q * 2^44 and q * 2^36 have their high halves by shifts, which leave the multipliers free.
    t[i + 1] = _mm512_madd52lo_epu64(_mm512_add_epi64(t[i + 1], carry), q, splat(1 << 44));
    t[i + 2] = _mm512_add_epi64(t[i + 2], _mm512_srli_epi64::<8>(q));
    t[i + 3] = _mm512_madd52lo_epu64(t[i + 3], q, splat(P[3]));
    t[i + 4] = _mm512_add_epi64(_mm512_madd52lo_epu64(t[i + 4], q, top), _mm512_srli_epi64::<16>(q));
    t[i + 5] = _mm512_madd52hi_epu64(t[i + 5], q, top);
}

/// Columns of a value in 0..2^260 to an element below p + 2^229: what lies above 2^256 is taken off and
/// added again times `2^256 mod p = 2^224 - 2^192 - 2^96 + 1`.
///
/// The top column misses the carries of those below, at most 2^6 in units of its lowest bit: so `high` may be one
/// less than the value's, and the rest up to `2^256 + 2^214`. Carries below zero make it too high by a
/// like amount only with `high > 0`, and then the 2^224 added covers it.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn reduce_columns(mut t: Vectors) -> Vectors {
    let high = _mm512_srai_epi64::<48>(t[4]);
    t[4] = _mm512_and_si512(t[4], splat((1 << 48) - 1));
    t[4] = _mm512_add_epi64(t[4], _mm512_slli_epi64::<16>(high));
    t[3] = _mm512_sub_epi64(t[3], _mm512_slli_epi64::<36>(high));
    t[1] = _mm512_sub_epi64(t[1], _mm512_slli_epi64::<44>(high));
    t[0] = _mm512_add_epi64(t[0], high);
    lanes::carry(t)
}

/// `a - b + 2p`, for `b` at most 2p.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn sub(a: &Vectors, b: &Vectors) -> Vectors {
    lanes::carry(lanes::add(&lanes::sub(a, b), &lanes::broadcast(&P2)))
}

/// The same element in 0..p, of one below 2p.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn canonical(a: &Vectors) -> Vectors {
    lanes::reduce_once(a, &P)
}

/// Lanes that hold zero, of any elements below 16p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn zero_lanes(a: &Vectors) -> __mmask8 {
    let reduced = canonical(&mul(a, &lanes::broadcast(&ONE)));
    lanes::equal(&reduced, &[_mm512_setzero_si512(); 5])
}

/// 1 / a in every lane, of elements below 2p, by one inversion for all; `None` when a lane holds zero.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn invert(a: &Vectors) -> Option<Vectors> {
    let by_one = lanes::exchange::<1>(a);
    let pairs = mul(a, &by_one);
    let by_two = lanes::exchange::<2>(&pairs);
    let fours = mul(&pairs, &by_two);
    let by_four = lanes::exchange::<4>(&fours);
    let all = canonical(&mul(&fours, &by_four));
    let product = lanes::unpack(&all)[0];
    if crate::p256::limbs::is_zero(&product) {
        return None;
    }
    // (x 2^260)^-1 * 2^780 / 2^260 = x^-1 2^260
    let inverse: Limbs = MODULUS.invert(&product);
    let inverse = mul(&lanes::broadcast(&lanes::split_one(&inverse)), &lanes::broadcast(&R3));
    Some(mul(&mul(&mul(&inverse, &by_four), &by_two), &by_one))
}
