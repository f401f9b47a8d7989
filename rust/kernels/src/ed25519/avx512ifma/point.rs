//! Points of edwards25519, eight at a time.

use super::super::table::Entry;
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

/// Eight affine points, as (y + x)/2, (y - x)/2 and dxy.
pub(super) struct Addends {
    plus: Element,
    minus: Element,
    dxy: Element,
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
        // In negated lanes u and v have changed places, and 2p - dxy is wanted: its limbs are below 2^52.
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

    /// The points themselves, with Z = 1: x = (y + x)/2 - (y - x)/2, and so on.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    #[inline]
    pub(super) fn to_points(&self) -> Points {
        let (plus, minus) = (self.plus.widen(), self.minus.widen());
        let x = plus.sub(&minus).carry();
        let y = plus.add(&minus).carry();
        Points {
            plus: plus.add(&plus).carry(),
            minus: minus.add(&minus).carry(),
            z: Element::splat(&[1, 0, 0, 0, 0]),
            t: x.mul(&y),
        }
    }
}

impl Points {
    /// The same rearrangement of lanes in every coordinate.
    #[inline]
    pub(super) fn map(&self, rearrange: impl Fn(__m512i) -> __m512i) -> Self {
        let apply = |element: &Element| Element::from_vectors(element.vectors().map(&rearrange));
        Self { plus: apply(&self.plus), minus: apply(&self.minus), z: apply(&self.z), t: apply(&self.t) }
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
        Self::of_completed(&e, &f, &g, &h)
    }

    /// Addition, for the points that one verification is the sum of: nine products.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn add(&self, other: &Self, double_d: &Element) -> Self {
        let a = self.minus.mul_wide(&other.minus);
        let b = self.plus.mul_wide(&other.plus);
        let c = self.t.mul(&other.t).mul_wide(double_d);
        let z = self.z.mul_wide(&other.z);
        let z = z.add(&z);
        let (e, f, g, h) = (b.sub(&a).carry(), z.sub(&c).carry(), z.add(&c).carry(), b.add(&a).carry());
        Self::of_completed(&e, &f, &g, &h)
    }

    /// X = EF, Y = GH, Z = FG, T = EH; Y + X and Y - X are summed before they are carried.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    #[inline]
    fn of_completed(e: &Element, f: &Element, g: &Element, h: &Element) -> Self {
        // Z first, which needs what was ready first; T before X and Y, for it is what the next addition starts with.
        let z = f.mul(g);
        let t = e.mul(h);
        let x = e.mul_wide(f);
        let y = g.mul_wide(h);
        Self { plus: y.add(&x).carry(), minus: y.sub(&x).carry(), z, t }
    }
}
