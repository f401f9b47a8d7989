//! Points in eight lanes, in Jacobian coordinates: x = X / Z^2, y = Y / Z^3.
//!
//! The additions fail where both points have the same x, and where one is infinity. They need not be watched: in either
//! case the sum's Z is zero, and whatever is computed from a point with Z = 0 has Z = 0 again. So a Z other than zero at the
//! end says that all was right.
//!
//! Additions hold on any curve y^2 = x^3 + a x + b, doubling for a = -3 only. All coordinates are below 2p.
//!
//! K groups of eight are worked on step by step together: one multiplication's latency is then the other's work.

use super::each::{self, Groups};
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(super) struct Jacobian<const K: usize> {
    pub(super) x: Groups<K>,
    pub(super) y: Groups<K>,
    pub(super) z: Groups<K>,
}

impl<const K: usize> Jacobian<K> {
    /// The sum of two affine points, 4M + 2S; coordinates below 2p.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn from_sum(x1: &Groups<K>, y1: &Groups<K>, x2: &Groups<K>, y2: &Groups<K>) -> Self {
        let (h, r) = (each::sub(x2, x1), each::sub(y2, y1));
        // h is below 4p: brought below 2p, as a coordinate is.
        let mut sum = Self { x: *x1, y: *y1, z: each::reduce_columns(&h) };
        sum.finish(&h, &r);
        sum
    }

    /// Adds an affine point, x below 4p and y at most 2p: 8M + 3S.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn add_affine(&mut self, x: &Groups<K>, y: &Groups<K>) {
        let zz = each::square(&self.z);
        let u2 = each::mul(x, &zz);
        let s2 = each::mul(y, &each::mul(&zz, &self.z));
        let (h, r) = (each::sub(&u2, &self.x), each::sub(&s2, &self.y));
        self.z = each::mul(&self.z, &h);
        self.finish(&h, &r);
    }

    /// 12M + 4S
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn add(&self, other: &Self) -> Self {
        let (zz1, zz2) = (each::square(&self.z), each::square(&other.z));
        let (u1, u2) = (each::mul(&self.x, &zz2), each::mul(&other.x, &zz1));
        let s1 = each::mul(&self.y, &each::mul(&zz2, &other.z));
        let s2 = each::mul(&other.y, &each::mul(&zz1, &self.z));
        let (h, r) = (each::sub(&u2, &u1), each::sub(&s2, &s1));
        let mut sum = Self { x: u1, y: s1, z: each::mul(&each::mul(&self.z, &other.z), &h) };
        sum.finish(&h, &r);
        sum
    }

    /// "dbl-2001-b", for a = -3: 3M + 5S.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn double(&mut self) {
        let delta = each::square(&self.z);
        let gamma = each::square(&self.y);
        let beta = each::mul(&self.x, &gamma);
        // (x - delta)(x + delta), both factors below 4p, and three times that: 6p, brought below 2p.
        let product = each::mul_columns(&each::sub(&self.x, &delta), &each::add(&self.x, &delta));
        let twice = each::add_columns(&product, &product);
        let alpha = each::reduce_columns(&each::add_columns(&twice, &product));
        // 4 beta, below 8p
        let beta4 = each::reduce_columns(&each::shift_left::<2, K>(&beta));
        // alpha^2 - 8 beta = alpha^2 - 2 (4 beta) + 8p
        let x = each::sub_columns(&each::square_columns(&alpha), &each::shift_left::<1, K>(&beta4));
        self.x = each::reduce_plus_8p(&x);
        // (y + z)^2 - gamma - delta + 8p
        let z = each::square_columns(&each::add(&self.y, &self.z));
        self.z = each::reduce_plus_8p(&each::sub_columns(&z, &each::add_columns(&gamma, &delta)));
        // alpha (4 beta - x) - 8 gamma^2 + 8p, with 4 gamma^2 brought below 2p first
        let gamma4 = each::reduce_columns(&each::shift_left::<2, K>(&each::square(&gamma)));
        let y = each::mul_columns(&alpha, &each::sub(&beta4, &self.x));
        self.y = each::reduce_plus_8p(&each::sub_columns(&y, &each::shift_left::<1, K>(&gamma4)));
    }

    /// Group 0 of a single one, in the lanes of `mask` that of `other`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn select(&self, mask: __mmask8, other: &Self) -> Self {
        Self {
            x: each::select(mask, &self.x, &other.x),
            y: each::select(mask, &self.y, &other.y),
            z: each::select(mask, &self.z, &other.z),
        }
    }

    /// Lane l is lane `l ^ DISTANCE`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn exchange<const DISTANCE: i64>(&self) -> Self {
        Self {
            x: each::exchange::<DISTANCE, K>(&self.x),
            y: each::exchange::<DISTANCE, K>(&self.y),
            z: each::exchange::<DISTANCE, K>(&self.z),
        }
    }

    /// From x = u1 and y = s1 of one point and the common Z times h to the sum with the other, where h = u2 - u1 and
    /// r = s2 - s1, both below 4p: 3M + 2S here.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn finish(&mut self, h: &Groups<K>, r: &Groups<K>) {
        let hh = each::square(h);
        let hhh = each::mul(&hh, h);
        let v = each::mul(&self.x, &hh);
        // r^2 - hhh - 2 v + 8p
        let x = each::sub_columns(&each::square_columns(r), &each::add_columns(&hhh, &each::shift_left::<1, K>(&v)));
        self.x = each::reduce_plus_8p(&x);
        // r (v - x) - s1 hhh + 8p
        let taken = each::mul(&self.y, &hhh);
        let y = each::mul_columns(r, &each::sub(&v, &self.x));
        self.y = each::reduce_plus_8p(&each::sub_columns(&y, &taken));
    }
}
