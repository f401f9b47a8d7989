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
        finish(x1, y1, &h, &r, &each::reduce_columns(&h))
    }

    /// Adds an affine point, x below 4p and y at most 2p: 8M + 3S.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn add_affine(&self, x: &Groups<K>, y: &Groups<K>) -> Self {
        let zz = each::square(&self.z);
        let u2 = each::mul(x, &zz);
        let s2 = each::mul(y, &each::mul(&zz, &self.z));
        let (h, r) = (each::sub(&u2, &self.x), each::sub(&s2, &self.y));
        finish(&self.x, &self.y, &h, &r, &each::mul(&self.z, &h))
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
        finish(&u1, &s1, &h, &r, &each::mul(&each::mul(&self.z, &other.z), &h))
    }

    /// "dbl-2001-b", for a = -3: 3M + 5S.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn double(&self) -> Self {
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
        let x = each::reduce_plus_8p(&x);
        // (y + z)^2 - gamma - delta + 8p
        let z = each::square_columns(&each::add(&self.y, &self.z));
        let z = each::reduce_plus_8p(&each::sub_columns(&z, &each::add_columns(&gamma, &delta)));
        // alpha (4 beta - x) - 8 gamma^2 + 8p, with 4 gamma^2 brought below 2p first
        let gamma4 = each::reduce_columns(&each::shift_left::<2, K>(&each::square(&gamma)));
        let y = each::mul_columns(&alpha, &each::sub(&beta4, &x));
        let y = each::reduce_plus_8p(&each::sub_columns(&y, &each::shift_left::<1, K>(&gamma4)));
        Self { x, y, z }
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
}

/// The sum, from u1 = x1 and s1 = y1 (below 2p) and h = x2 - x1 and r = y2 - y1 (below 4p), over a common Z: 3M + 2S here.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn finish<const K: usize>(
    u1: &Groups<K>,
    s1: &Groups<K>,
    h: &Groups<K>,
    r: &Groups<K>,
    z: &Groups<K>,
) -> Jacobian<K> {
    let hh = each::square(h);
    let hhh = each::mul(&hh, h);
    let v = each::mul(u1, &hh);
    // r^2 - hhh - 2 v + 8p
    let x = each::sub_columns(&each::square_columns(r), &each::add_columns(&hhh, &each::shift_left::<1, K>(&v)));
    let x = each::reduce_plus_8p(&x);
    // r (v - x) - s1 hhh + 8p
    let y = each::mul_columns(r, &each::sub(&v, &x));
    let y = each::reduce_plus_8p(&each::sub_columns(&y, &each::mul(s1, &hhh)));
    Jacobian { x, y, z: *z }
}
