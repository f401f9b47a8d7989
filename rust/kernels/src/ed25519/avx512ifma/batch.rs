//! Sums of many rows, turned into verdicts with one inversion.

use super::point::Points;
use super::rows::{Signed, words_in_lanes};
use crate::field25519::avx512ifma::{Element, load};
use crate::field25519::portable::{ONE, Tight, invert_all};
use crate::field25519::{Limbs, MASK};
use std::arch::x86_64::*;

/// Groups of eight lanes that share an inversion: enough to make it cheap, few enough to stay in the cache.
pub(super) const GROUPS: usize = 64;

/// What is left of eight rows when their points are summed.
struct Summed {
    plus: Element,
    minus: Element,
    double_z: Element,
    /// The product of all 2Z before this one.
    prefix: Element,
    /// A bit for each lane that may be true.
    valid: u8,
}

/// Groups whose encodings are still to be compared.
pub(super) struct Batch {
    groups: Vec<Summed>,
    product: Element,
    /// Whether every group so far had the same point in all of its lanes.
    same_lanes: bool,
}

impl Batch {
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(groups: usize) -> Self {
        let product = Element::splat(&ONE.limbs());
        Self { groups: Vec::with_capacity(groups.min(GROUPS)), product, same_lanes: true }
    }

    /// Takes the sums of a group; lanes whose bit in `valid` is clear are refused whatever their points.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn push(&mut self, points: &Points, valid: u8, same_lanes: bool) {
        let (prefix, double_z) = (self.product, points.z.double());
        self.product = prefix.mul(&double_z);
        self.same_lanes &= same_lanes;
        self.groups.push(Summed { plus: points.plus, minus: points.minus, double_z, prefix, valid });
    }

    /// Calls `verdict` for each group, the last first, with a bit for each lane whose encoded point is its row's R. `signed`
    /// gives the rows of a group. The batch is empty again afterwards.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn finish<'a>(&mut self, signed: impl Fn(usize) -> [Signed<'a>; 8], mut verdict: impl FnMut(usize, u8)) {
        let mut inverse = invert_lanes(&self.product, if self.same_lanes { 1 } else { 8 });
        for (index, group) in self.groups.drain(..).enumerate().rev() {
            let inverse_of_double_z = inverse.mul(&group.prefix);
            inverse = inverse.mul(&group.double_z);
            verdict(index, group.valid & matches(&group, &inverse_of_double_z, &signed(index)));
        }
        self.product = Element::splat(&ONE.limbs());
        self.same_lanes = true;
    }
}

/// 1/x in each lane, by one inversion. No lane may be 0; the first `distinct` lanes, 1 or 8, repeat.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn invert_lanes(elements: &Element, distinct: usize) -> Element {
    let limbs = elements.canonical().to_lanes();
    let mut lanes: [Tight; 8] =
        std::array::from_fn(|lane| Tight::from_limbs(std::array::from_fn(|limb| limbs[limb][lane])));
    invert_all(&mut lanes[..distinct], &mut [ONE; 8]);
    let limbs: [Limbs; 8] = lanes.map(|lane| lane.limbs());
    Element::from_lanes(&std::array::from_fn(|limb| std::array::from_fn(|lane| limbs[lane % distinct][limb])))
}

/// A bit for each lane whose encoded point is its signature's R.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn matches(group: &Summed, inverse_of_double_z: &Element, rows: &[Signed<'_>; 8]) -> u8 {
    let (plus, minus) = (group.plus.widen(), group.minus.widen());
    let x = plus.sub(&minus).carry().mul(inverse_of_double_z);
    let mut y = plus.add(&minus).carry().mul(inverse_of_double_z).canonical().vectors();
    y[4] = _mm512_mask_or_epi64(y[4], x.odds(), y[4], _mm512_set1_epi64(SIGN as i64));
    let r = to_limbs(words_in_lanes(&rows.map(|row| row.r())).map(|lanes| load(&lanes)));
    let differs =
        (0..5).fold(_mm512_setzero_si512(), |differs, i| _mm512_or_si512(differs, _mm512_xor_si512(y[i], r[i])));
    _mm512_testn_epi64_mask(differs, differs)
}

/// Where bit 255 of an encoded point comes to lie in its fifth limb: the sign of x.
pub(super) const SIGN: u64 = 1 << 51;

/// 32 bytes as four words, cut into limbs of 51 bits; the last has 52.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn to_limbs([w0, w1, w2, w3]: [__m512i; 4]) -> [__m512i; 5] {
    let mask = _mm512_set1_epi64(MASK as i64);
    let join = |low, high| _mm512_and_si512(_mm512_or_si512(low, high), mask);
    [
        _mm512_and_si512(w0, mask),
        join(_mm512_srli_epi64::<51>(w0), _mm512_slli_epi64::<13>(w1)),
        join(_mm512_srli_epi64::<38>(w1), _mm512_slli_epi64::<26>(w2)),
        join(_mm512_srli_epi64::<25>(w2), _mm512_slli_epi64::<39>(w3)),
        _mm512_srli_epi64::<12>(w3),
    ]
}
