//! Points in eight lanes, in Jacobian coordinates: x = X / Z^2, y = Y / Z^3.
//!
//! The additions fail where both points have the same x, and where one is infinity. They need not be watched: in either
//! case the sum's Z is zero, and whatever is computed from a point with Z = 0 has Z = 0 again. So a Z other than zero at the
//! end says that all was right.
//!
//! Additions hold on any curve y^2 = x^3 + a x + b, doubling for a = -3 only. All coordinates are below 2p.

use super::field;
use super::lanes::{self, Vectors};
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(super) struct Jacobian {
    pub(super) x: Vectors,
    pub(super) y: Vectors,
    pub(super) z: Vectors,
}

impl Jacobian {
    /// The sum of two affine points, 4M + 2S; coordinates below 2p.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn from_sum(x1: &Vectors, y1: &Vectors, x2: &Vectors, y2: &Vectors) -> Self {
        let (h, r) = (field::sub(x2, x1), field::sub(y2, y1));
        // h is below 4p: brought below 2p, as a coordinate is.
        finish(x1, y1, &h, &r, &field::reduce_columns(h))
    }

    /// Adds an affine point, x below 4p and y at most 2p: 8M + 3S.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn add_affine(&self, x: &Vectors, y: &Vectors) -> Self {
        let zz = field::square(&self.z);
        let u2 = field::mul(x, &zz);
        let s2 = field::mul(y, &field::mul(&zz, &self.z));
        let (h, r) = (field::sub(&u2, &self.x), field::sub(&s2, &self.y));
        finish(&self.x, &self.y, &h, &r, &field::mul(&self.z, &h))
    }

    /// 12M + 4S
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn add(&self, other: &Self) -> Self {
        let (zz1, zz2) = (field::square(&self.z), field::square(&other.z));
        let (u1, u2) = (field::mul(&self.x, &zz2), field::mul(&other.x, &zz1));
        let s1 = field::mul(&self.y, &field::mul(&zz2, &other.z));
        let s2 = field::mul(&other.y, &field::mul(&zz1, &self.z));
        let (h, r) = (field::sub(&u2, &u1), field::sub(&s2, &s1));
        finish(&u1, &s1, &h, &r, &field::mul(&field::mul(&self.z, &other.z), &h))
    }

    /// "dbl-2001-b", for a = -3: 3M + 5S.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn double(&self) -> Self {
        let delta = field::square(&self.z);
        let gamma = field::square(&self.y);
        let beta = field::mul(&self.x, &gamma);
        // (x - delta)(x + delta), both factors below 4p, and three times that: 6p, brought below 2p.
        let sum = lanes::carry(lanes::add(&self.x, &delta));
        let product = field::mul_columns(&field::sub(&self.x, &delta), &sum);
        let alpha = field::reduce_columns(lanes::add(&lanes::add(&product, &product), &product));
        // 4 beta, below 8p
        let beta4 = field::reduce_columns(shift_left::<2>(&beta));
        // alpha^2 - 8 beta = alpha^2 - 2 (4 beta) + 8p
        let x = lanes::sub(&field::square_columns(&alpha), &shift_left::<1>(&beta4));
        let x = field::reduce_columns(lanes::add(&x, &lanes::broadcast(&field::P8)));
        // (y + z)^2 - gamma - delta + 8p
        let z = field::square_columns(&lanes::carry(lanes::add(&self.y, &self.z)));
        let z = lanes::sub(&z, &lanes::add(&gamma, &delta));
        let z = field::reduce_columns(lanes::add(&z, &lanes::broadcast(&field::P8)));
        // alpha (4 beta - x) - 8 gamma^2, with 4 gamma^2 brought below 2p first
        let gamma4 = field::reduce_columns(shift_left::<2>(&field::square(&gamma)));
        let y = field::mul_columns(&alpha, &field::sub(&beta4, &x));
        let y = lanes::sub(&y, &shift_left::<1>(&gamma4));
        let y = field::reduce_columns(lanes::add(&y, &lanes::broadcast(&field::P8)));
        Self { x, y, z }
    }

    /// The same point, in the lanes of `mask` that of `other`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn select(&self, mask: __mmask8, other: &Self) -> Self {
        Self {
            x: lanes::select(mask, &self.x, &other.x),
            y: lanes::select(mask, &self.y, &other.y),
            z: lanes::select(mask, &self.z, &other.z),
        }
    }

    /// Lane l is lane `l ^ DISTANCE`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn exchange<const DISTANCE: i64>(&self) -> Self {
        Self {
            x: lanes::exchange::<DISTANCE>(&self.x),
            y: lanes::exchange::<DISTANCE>(&self.y),
            z: lanes::exchange::<DISTANCE>(&self.z),
        }
    }
}

/// The sum, from u1 = x1 and s1 = y1 (below 2p) and h = x2 - x1 and r = y2 - y1 (below 4p), over a common Z: 3M + 2S here.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn finish(u1: &Vectors, s1: &Vectors, h: &Vectors, r: &Vectors, z: &Vectors) -> Jacobian {
    let hh = field::square(h);
    let hhh = field::mul(&hh, h);
    let v = field::mul(u1, &hh);
    // r^2 - hhh - 2 v + 8p
    let x = lanes::sub(&field::square_columns(r), &lanes::add(&hhh, &shift_left::<1>(&v)));
    let x = field::reduce_columns(lanes::add(&x, &lanes::broadcast(&field::P8)));
    // r (v - x) - s1 hhh + 2p
    let y = field::mul_columns(r, &field::sub(&v, &x));
    let y = lanes::sub(&y, &field::mul(s1, &hhh));
    let y = field::reduce_columns(lanes::add(&y, &lanes::broadcast(&field::P2)));
    Jacobian { x, y, z: *z }
}

/// `2^BITS` times an element, as columns.
#[inline]
#[target_feature(enable = "avx512f")]
fn shift_left<const BITS: u32>(a: &Vectors) -> Vectors {
    let mut shifted = *a;
    for i in 0..5 {
        shifted[i] = _mm512_slli_epi64::<BITS>(a[i]);
    }
    shifted
}
