//! Lanes against fiat-crypto's arithmetic, limbs at the bounds of what each operation takes.

use super::avx512ifma::{Element, Lanes, Sum};
use super::portable::{SQRT_MINUS_ONE, Tight};
use super::{Limbs, MASK, P};
use crate::features;
use proptest::prelude::*;

/// The most that a carried limb can be.
const CARRIED: u64 = MASK + 19 * (1 << 13);

/// Limbs that carries and reductions turn on.
fn limb(limit: u64) -> impl Strategy<Value = u64> {
    let edges = [0, 1, 18, 19, 20, MASK - 19, MASK - 18, MASK - 1, MASK, MASK + 1, CARRIED, limit - 1, limit];
    prop_oneof![proptest::sample::select(edges.to_vec()).prop_map(move |edge| edge.min(limit)), 0..=limit]
}

fn limbs(limit: u64) -> impl Strategy<Value = Limbs> {
    let any = proptest::array::uniform5(limb(limit));
    // p and its neighbours, as they are, and with 2^51 borrowed from the limb above.
    let near_p = (0..38u64, proptest::bool::ANY).prop_map(|(add, borrowed)| {
        let mut limbs = P;
        limbs[0] -= 19;
        limbs[0] += add;
        if borrowed {
            limbs[1] -= 1;
            limbs[0] += MASK + 1;
        }
        limbs
    });
    prop_oneof![4 => any, 1 => near_p, 1 => Just([limit; 5]), 1 => Just(P.map(|limb| (2 * limb).min(limit)))]
}

fn eight(limit: u64) -> impl Strategy<Value = [Limbs; 8]> {
    proptest::array::uniform8(limbs(limit))
}

/// Any five limbs of 64 bits, by fiat-crypto.
fn reference(limbs: Limbs) -> Tight {
    let low = Tight::from_limbs(limbs.map(|limb| limb & MASK));
    let [h0, h1, h2, h3, h4] = limbs.map(|limb| limb >> super::RADIX);
    low.add(&Tight::from_limbs([19 * h4, h0, h1, h2, h3])).carry()
}

fn to_lanes(limbs: &[Limbs; 8]) -> [Lanes; 5] {
    std::array::from_fn(|limb| std::array::from_fn(|lane| limbs[lane][limb]))
}

/// Asserts that lanes hold what is expected, and are carried.
fn assert_same(lanes: Element, expected: impl Fn(usize) -> Tight) {
    // SAFETY: the callers asked for the features first.
    let limbs = unsafe { lanes.to_lanes() };
    for lane in 0..8 {
        let limbs = limbs.map(|limb| limb[lane]);
        assert!(limbs.iter().all(|&limb| limb <= CARRIED), "{limbs:x?} are not carried");
        assert_eq!(reference(limbs).to_bytes(), expected(lane).to_bytes(), "lane {lane}");
    }
}

const OPERAND: u64 = (1 << 52) - 1;

proptest! {
    #[test]
    fn products_and_squares_agree(a in eight(OPERAND), b in eight(OPERAND)) {
        prop_assume!(features::detected().avx512ifma);
        // SAFETY: the features were detected.
        unsafe {
            let (x, y) = (Element::from_lanes(&to_lanes(&a)), Element::from_lanes(&to_lanes(&b)));
            assert_same(x.mul(&y), |lane| reference(a[lane]).mul(&reference(b[lane])));
            assert_same(x.square(), |lane| reference(a[lane]).square());
            assert_same(x.double(), |lane| reference(a[lane]).add(&reference(a[lane])).carry());
        }
    }

    #[test]
    fn sums_and_differences_of_products_agree(a in eight(OPERAND), b in eight(OPERAND)) {
        prop_assume!(features::detected().avx512ifma);
        // SAFETY: the features were detected.
        unsafe {
            let (x, y) = (Element::from_lanes(&to_lanes(&a)), Element::from_lanes(&to_lanes(&b)));
            let (xy, yy) = (x.mul_wide(&y), y.square_wide());
            let product = |lane: usize| reference(a[lane]).mul(&reference(b[lane]));
            let square = |lane: usize| reference(b[lane]).square();
            assert_same(xy.add(&yy).carry(), |lane| product(lane).add(&square(lane)).carry());
            assert_same(xy.sub(&yy).carry(), |lane| product(lane).sub(&square(lane)).carry());
            assert_same(x.widen().sub(&xy).carry(), |lane| reference(a[lane]).sub(&product(lane)).carry());
            // As the doubling of points has it: four squares less two products.
            let four = yy.double().double();
            assert_same(four.sub(&xy.double()).carry(), |lane| {
                let twice = |x: Tight| x.add(&x).carry();
                twice(twice(square(lane))).sub(&twice(product(lane))).carry()
            });
        }
    }

    #[test]
    fn any_64_bits_a_limb_are_carried(a in eight(u64::MAX)) {
        prop_assume!(features::detected().avx512ifma);
        // SAFETY: the features were detected.
        unsafe {
            let sum: Sum = Element::from_lanes(&to_lanes(&a)).widen();
            assert_same(sum.carry(), |lane| reference(a[lane]));
        }
    }

    #[test]
    fn canonical_limbs_are_those_of_the_smallest_representative(a in eight(OPERAND)) {
        prop_assume!(features::detected().avx512ifma);
        // SAFETY: the features were detected.
        unsafe {
            let x = Element::from_lanes(&to_lanes(&a));
            let limbs = x.canonical().to_lanes();
            let (zeros, odds) = (x.zeros(), x.odds());
            for (lane, &value) in a.iter().enumerate() {
                let expected = reference(value);
                assert_eq!(limbs.map(|limb| limb[lane]), expected.canonical().limbs(), "lane {lane}");
                assert_eq!(zeros >> lane & 1 == 1, expected.to_bytes() == [0; 32], "lane {lane}");
                assert_eq!(odds >> lane & 1 == 1, expected.is_odd(), "lane {lane}");
            }
        }
    }

    #[test]
    fn powers_for_square_roots_agree(a in eight(OPERAND)) {
        prop_assume!(features::detected().avx512ifma);
        // SAFETY: the features were detected.
        unsafe {
            let x = Element::from_lanes(&to_lanes(&a));
            assert_same(x.power_p_minus_5_over_8(), |lane| reference(a[lane]).power_p_minus_5_over_8());
        }
    }

    #[test]
    fn inverses_are_inverses(a in limbs(OPERAND)) {
        let x = reference(a);
        let product = x.mul(&x.invert());
        let is_zero = x.to_bytes() == [0; 32];
        assert_eq!(product.to_bytes()[0], u8::from(!is_zero));
        assert_eq!(product.to_bytes()[1..], [0; 31]);
    }
}

#[test]
fn the_square_root_of_minus_one_squares_to_it() {
    assert_eq!(SQRT_MINUS_ONE.square().add(&Tight::from_limbs([1, 0, 0, 0, 0])).carry().to_bytes(), [0; 32]);
}
