//! One entry of a table: a point as it is added.

use crate::field25519::Limbs;
use crate::field25519::portable::{D, HALF, Tight};

/// An affine point as (y + x)/2, (y - x)/2 and dxy, in two cache lines.
///
/// Swapping the lines exchanges the first two, which with the sign of dxy is all that negating the point takes:
/// lanes negate by their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(128))]
pub(crate) struct Entry {
    /// (y + x)/2, then limbs 0, 1, 2 of dxy.
    pub(crate) first: [u64; 8],
    /// (y - x)/2, then limbs 3, 4 of dxy and a zero.
    pub(crate) second: [u64; 8],
}

impl Entry {
    pub(crate) const fn new(plus: Limbs, minus: Limbs, dxy: Limbs) -> Self {
        Self {
            first: [plus[0], plus[1], plus[2], plus[3], plus[4], dxy[0], dxy[1], dxy[2]],
            second: [minus[0], minus[1], minus[2], minus[3], minus[4], dxy[3], dxy[4], 0],
        }
    }

    #[inline]
    pub(crate) fn plus(&self) -> Tight {
        let [l0, l1, l2, l3, l4, ..] = self.first;
        Tight::from_limbs([l0, l1, l2, l3, l4])
    }

    #[inline]
    pub(crate) fn minus(&self) -> Tight {
        let [l0, l1, l2, l3, l4, ..] = self.second;
        Tight::from_limbs([l0, l1, l2, l3, l4])
    }

    #[inline]
    pub(crate) fn dxy(&self) -> Tight {
        let [.., l0, l1, l2] = self.first;
        let [.., l3, l4, _] = self.second;
        Tight::from_limbs([l0, l1, l2, l3, l4])
    }

    /// Asks for both cache lines, where the processor can be asked.
    #[inline]
    pub(crate) fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: prefetching is a hint, and both addresses lie within the entry.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(self.first.as_ptr().cast());
                _mm_prefetch::<_MM_HINT_T0>(self.second.as_ptr().cast());
            }
        }
    }

    /// The entry of the affine point (X/Z, Y/Z), its limbs below 2^51.
    pub(crate) fn of_point(x: &Tight, y: &Tight, inverse_of_z: &Tight) -> Self {
        let (x, y) = (x.mul(inverse_of_z), y.mul(inverse_of_z));
        let plus = y.add(&x).mul(&HALF.relax());
        let minus = y.sub(&x).mul(&HALF.relax());
        let dxy = x.mul(&y).mul(&D);
        Self::new(plus.canonical().limbs(), minus.canonical().limbs(), dxy.canonical().limbs())
    }
}
