//! Integers mod n in eight lanes: Montgomery arithmetic with 2^260, five limbs of 52 bits.
//!
//! Values are below 2n unless said otherwise. `mul` of values below A n and B n gives one below
//! (A B / 16 + 1) n, since 16n is at most 2^260.

use super::lanes::{self, Limbs52, Vectors, splat};
use crate::p256::equation::Scalars;
use crate::p256::limbs::{self, Limbs};
use crate::p256::scalar::MODULUS;
use std::arch::x86_64::*;

/// n
pub(super) const N: Limbs52 =
    [0x9_cac2_fc63_2551, 0xa_da71_79e8_4f3b, 0xf_ffff_ffbc_e6fa, 0x0_000f_ffff_ffff, 0xffff_ffff_0000];
/// -n^-1 mod 2^52
const N_PRIME: u64 = 0x1_c8aa_ee00_bc4f;
/// 2^520 mod n
const R2: Limbs52 = [0x5_cc0d_ea6d_c3ba, 0x1_92a0_67d8_a084, 0xb_ec59_6155_71bb, 0x1_fc24_5b23_92b6, 0xe12d_9559_d956];

/// `a * b / 2^260` mod n, below 2n for `a` below 2^256 and `b` below 2n.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul(a: &Vectors, b: &Vectors) -> Vectors {
    let n = lanes::broadcast(&N);
    let mut t = [_mm512_setzero_si512(); 10];
    for i in 0..5 {
        for j in 0..5 {
            t[i + j] = _mm512_madd52lo_epu64(t[i + j], a[i], b[j]);
            t[i + j + 1] = _mm512_madd52hi_epu64(t[i + j + 1], a[i], b[j]);
        }
        // The low 52 bits of column i alone decide q, and vanish with q n.
        let q = _mm512_madd52lo_epu64(_mm512_setzero_si512(), t[i], splat(N_PRIME));
        for j in 0..5 {
            t[i + j] = _mm512_madd52lo_epu64(t[i + j], q, n[j]);
            t[i + j + 1] = _mm512_madd52hi_epu64(t[i + j + 1], q, n[j]);
        }
        t[i + 1] = _mm512_add_epi64(t[i + 1], _mm512_srli_epi64::<52>(t[i]));
    }
    lanes::carry([t[5], t[6], t[7], t[8], t[9]])
}

/// u1 = e / s and u2 = r / s mod n for every row, with one inversion; slices of one length, not empty. `s`
/// holds every s, in 1..n.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn divide(digests: &[Limbs], s: &[Limbs], scalars: &mut [Scalars]) {
    let rows = scalars.len();
    let groups = rows.div_ceil(8);
    let mut denominators = Vec::with_capacity(groups);
    let mut products = Vec::with_capacity(groups);
    for group in 0..groups {
        let denominator = lanes::gather(rows, group, |row| s[row]);
        products.push(products.last().map_or(denominator, |product| mul(&denominator, product)));
        denominators.push(denominator);
    }
    let mut running = invert(&products[groups - 1]);
    for group in (0..groups).rev() {
        let inverse = if group == 0 { running } else { mul(&products[group - 1], &running) };
        running = mul(&denominators[group], &running);
        let e = lanes::gather(rows, group, |row| digests[row]);
        let r = lanes::gather(rows, group, |row| scalars[row].r);
        let u1 = lanes::unpack(&lanes::reduce_once(&mul(&e, &inverse), &N));
        let u2 = lanes::unpack(&lanes::reduce_once(&mul(&r, &inverse), &N));
        for (lane, row) in scalars.iter_mut().skip(8 * group).take(8).enumerate() {
            (row.u1, row.u2) = (u1[lane], u2[lane]);
        }
    }
}

/// As the portable inversion: `a` is a product by `mul` of plain scalars; of its inverse, each further `mul`
/// by the others gives `s^-1 * 2^260`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn invert(a: &Vectors) -> Vectors {
    let by_one = lanes::exchange::<1>(a);
    let pairs = mul(a, &by_one);
    let by_two = lanes::exchange::<2>(&pairs);
    let fours = mul(&pairs, &by_two);
    let by_four = lanes::exchange::<4>(&fours);
    let all = lanes::reduce_once(&mul(&fours, &by_four), &N);
    let inverse = MODULUS.invert(&lanes::unpack(&all)[0]);
    debug_assert!(!limbs::is_zero(&inverse));
    let inverse = mul(&lanes::broadcast(&lanes::split_one(&inverse)), &lanes::broadcast(&R2));
    mul(&mul(&mul(&inverse, &by_four), &by_two), &by_one)
}
