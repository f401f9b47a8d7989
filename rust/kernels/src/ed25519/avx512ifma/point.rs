//! Points of edwards25519, eight at a time.

use super::super::entry::Entry;
use crate::field25519::P;
use crate::field25519::avx512ifma::{Element, Lanes, load};
use crate::transpose::transpose;
use std::arch::x86_64::*;

/// Eight points (X : Y : Z : T), as what the next addition starts from: Y + X, Y - X, Z and T.
#[derive(Clone, Copy)]
pub(super) struct Points {
    pub(super) plus: Element,
    pub(super) minus: Element,
    pub(super) z: Element,
    pub(super) t: Element,
}

/// Eight points (X : Y : Z), from which they are doubled.
#[derive(Clone, Copy)]
pub(super) struct Projective {
    plus: Element,
    minus: Element,
    z: Element,
}

/// Eight points of which X = EF, Y = GH, Z = FG and T = EH.
struct Completed {
    e: Element,
    f: Element,
    g: Element,
    h: Element,
}

/// Eight affine points, as (y + x)/2, (y - x)/2 and dxy; or eight projective ones, as Y + X, Y - X and 2dT beside 2Z.
pub(super) struct Addends {
    pub(super) plus: Element,
    pub(super) minus: Element,
    pub(super) dxy: Element,
}

/// The addresses of eight entries; of an entry to be negated, the address of its second line.
pub(super) type Addresses = Lanes;

/// The bit that exchanges an entry's lines.
pub(super) const NEGATED: u64 = 64;
const _: () = assert!(size_of::<Entry>() == 2 * NEGATED as usize && align_of::<Entry>() == size_of::<Entry>());

impl Addends {
    /// # Safety
    ///
    /// Each address is that of either line of an [`Entry`] that may be read.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    #[inline]
    pub(super) unsafe fn load(addresses: &Addresses) -> Self {
        let lines = |other: u64| {
            transpose(std::array::from_fn(|i| {
                let line = std::ptr::with_exposed_provenance((addresses[i] ^ other) as usize);
                // SAFETY: a line is 64 bytes long and aligned to that; the caller vouches for the entry.
                unsafe { _mm512_load_si512(line) }
            }))
        };
        let [p0, p1, p2, p3, p4, u0, u1, u2] = lines(0);
        let [m0, m1, m2, m3, m4, v0, v1, v2] = lines(NEGATED);
        let negated = _mm512_test_epi64_mask(load(addresses), _mm512_set1_epi64(NEGATED as i64));
        // In negated lanes u and v have changed places, and 2p - dxy is wanted: carried limbs leave it in 0..2^52.
        let pick = |limb: usize, plain, swapped| {
            _mm512_mask_sub_epi64(plain, negated, _mm512_set1_epi64((2 * P[limb]) as i64), swapped)
        };
        let dxy = [pick(0, u0, v0), pick(1, u1, v1), pick(2, u2, v2), pick(3, v0, u0), pick(4, v1, u1)];
        Self {
            plus: Element::from_vectors([p0, p1, p2, p3, p4]),
            minus: Element::from_vectors([m0, m1, m2, m3, m4]),
            dxy: Element::from_vectors(dxy),
        }
    }

    /// The two lines of an entry, lane by lane.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn to_lines(&self) -> ([__m512i; 8], [__m512i; 8]) {
        let [p0, p1, p2, p3, p4] = self.plus.vectors();
        let [m0, m1, m2, m3, m4] = self.minus.vectors();
        let [t0, t1, t2, t3, t4] = self.dxy.vectors();
        let first = transpose([p0, p1, p2, p3, p4, t0, t1, t2]);
        (first, transpose([m0, m1, m2, m3, m4, t3, t4, _mm512_setzero_si512()]))
    }

    /// The points themselves, with Z = 1: x = (y + x)/2 - (y - x)/2, and so on.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    #[inline]
    pub(super) fn to_points(&self) -> Points {
        let (plus, minus) = (self.plus.widen(), self.minus.widen());
        Points::of_affine(&plus.sub(&minus).carry(), &plus.add(&minus).carry())
    }
}

impl Points {
    /// The same rearrangement of lanes in every coordinate.
    #[inline]
    pub(super) fn map(&self, rearrange: impl Fn(__m512i) -> __m512i) -> Self {
        let apply = |element: &Element| Element::from_vectors(element.vectors().map(&rearrange));
        Self { plus: apply(&self.plus), minus: apply(&self.minus), z: apply(&self.z), t: apply(&self.t) }
    }

    /// The neutral point, in every lane.
    #[target_feature(enable = "avx512f")]
    pub(super) fn neutral() -> Self {
        let (zero, one) = (Element::splat(&[0; 5]), Element::splat(&[1, 0, 0, 0, 0]));
        Self { plus: one, minus: one, z: one, t: zero }
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn of_affine(x: &Element, y: &Element) -> Self {
        let plus = y.widen().add(&x.widen()).carry();
        let minus = y.widen().sub(&x.widen()).carry();
        Self { plus, minus, z: Element::splat(&[1, 0, 0, 0, 0]), t: x.mul(y) }
    }

    /// -P of each point.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn negate(&self) -> Self {
        let zero = Element::splat(&[0; 5]).widen();
        Self { plus: self.minus, minus: self.plus, z: self.z, t: zero.sub(&self.t.widen()).carry() }
    }

    /// Mixed addition: seven products, and eight rounds of carries.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    #[inline]
    pub(super) fn add_affine(&self, other: &Addends) -> Self {
        let c = self.t.mul_wide(&other.dxy);
        let f = self.z.widen().sub(&c).carry();
        let g = self.z.widen().add(&c).carry();
        let a = self.minus.mul_wide(&other.minus);
        let b = self.plus.mul_wide(&other.plus);
        let e = b.sub(&a).carry();
        let h = b.add(&a).carry();
        Completed { e, f, g, h }.to_points()
    }

    /// Addition of projective points, given their 2Z: eight products.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    #[inline]
    pub(super) fn add_projective(&self, other: &Addends, double_z: &Element) -> Self {
        let c = self.t.mul_wide(&other.dxy);
        let d = self.z.mul_wide(double_z);
        let f = d.sub(&c).carry();
        let g = d.add(&c).carry();
        let a = self.minus.mul_wide(&other.minus);
        let b = self.plus.mul_wide(&other.plus);
        let e = b.sub(&a).carry();
        let h = b.add(&a).carry();
        Completed { e, f, g, h }.to_points()
    }

    /// What [`Points::add_projective`] takes: Y + X, Y - X, 2dT, and 2Z.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn addends(&self, double_d: &Element) -> (Addends, Element) {
        (Addends { plus: self.plus, minus: self.minus, dxy: self.t.mul(double_d) }, self.z.double())
    }

    /// Addition of any points: nine products.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn add(&self, other: &Self, double_d: &Element) -> Self {
        let (addends, double_z) = other.addends(double_d);
        self.add_projective(&addends, &double_z)
    }

    /// 2^count times the points, `count` being at least 1.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn double_times(&self, count: u32) -> Self {
        let mut points = Projective { plus: self.plus, minus: self.minus, z: self.z };
        for _ in 1..count {
            points = points.double().to_projective();
        }
        points.double().to_points()
    }
}

impl Projective {
    /// The double, by three squares and a product.
    ///
    /// In terms of P = Y + X and M = Y - X, with E, F, G, H twice those of RFC 8032, and E and G negated:
    /// E = P^2 - M^2, F = 4 Z^2 - 2PM, G = 2PM, H = P^2 + M^2.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    #[inline]
    fn double(&self) -> Completed {
        let zz = self.z.square_wide().double().double();
        let pm = self.plus.mul_wide(&self.minus).double();
        let f = zz.sub(&pm).carry();
        let g = pm.carry();
        let pp = self.plus.square_wide();
        let mm = self.minus.square_wide();
        let e = pp.sub(&mm).carry();
        let h = pp.add(&mm).carry();
        Completed { e, f, g, h }
    }
}

impl Completed {
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    #[inline]
    fn to_points(&self) -> Points {
        // T before X and Y, for it is what the next addition starts with.
        let (z, t) = (self.f.mul(&self.g), self.e.mul(&self.h));
        let (plus, minus) = self.sum_and_difference();
        Points { plus, minus, z, t }
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    #[inline]
    fn to_projective(&self) -> Projective {
        let z = self.f.mul(&self.g);
        let (plus, minus) = self.sum_and_difference();
        Projective { plus, minus, z }
    }

    /// Y + X and Y - X, summed before they are carried.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    #[inline]
    fn sum_and_difference(&self) -> (Element, Element) {
        let x = self.e.mul_wide(&self.f);
        let y = self.g.mul_wide(&self.h);
        (y.add(&x).carry(), y.sub(&x).carry())
    }
}
