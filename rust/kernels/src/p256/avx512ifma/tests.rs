//! Lane arithmetic against the portable field, at the limits of its bounds and in every lane.

use super::field;
use super::lanes::{self, Limbs52, MASK, Vectors};
use super::point::Jacobian;
use super::scalar;
use crate::p256::field::Fe;
use crate::p256::limbs::{self, Limbs};
use crate::p256::scalar as portable_scalar;
use crate::p256::tests::{Random, cases};

/// Multiples of p below 2^260 are up to this one.
const MOST: u64 = 16;

/// A number below 2^260 as an element of the portable field.
fn element(number: &Limbs52) -> Fe {
    let low = lanes::join(&[number[0], number[1], number[2], number[3], number[4] & ((1 << 48) - 1)]);
    let high = Fe::from_integer(&[number[4] >> 48, 0, 0, 0]);
    // An element's own limbs are 2^256 times it.
    Fe::from_integer(&low).add(&high.mul(&Fe::from_integer(&Fe::ONE.0)))
}

/// `2^bits` as an element.
fn power(bits: u32) -> Fe {
    (0..bits).fold(Fe::ONE, |power, _| power.double())
}

fn add_p(number: &Limbs52, times: u64) -> Limbs52 {
    let mut sum = *number;
    for _ in 0..times {
        let mut carry = 0;
        for (limb, p) in sum.iter_mut().zip(&field::P) {
            let wide = *limb + p + carry;
            (*limb, carry) = (wide & MASK, wide >> 52);
        }
        assert_eq!(carry, 0, "below 2^260");
    }
    sum
}

/// A number below `multiples * p`, often next to a multiple of p.
fn below(random: &mut Random, multiples: u64) -> Limbs52 {
    let number = lanes::split_one(&random.below(&crate::p256::field::P));
    add_p(&number, random.next() % multiples)
}

fn is_below(number: &Limbs52, multiples: u64) -> bool {
    let bound = add_p(&[0; 5], multiples);
    number.iter().rev().lt(bound.iter().rev())
}

fn eight(random: &mut Random, multiples: u64) -> [Limbs52; 8] {
    std::array::from_fn(|_| below(random, multiples))
}

#[target_feature(enable = "avx512f")]
fn to_lanes(numbers: &[Limbs52; 8]) -> Vectors {
    let mut vectors = lanes::broadcast(&[0; 5]);
    for (i, vector) in vectors.iter_mut().enumerate() {
        *vector = lanes::from_array(&std::array::from_fn(|lane| numbers[lane][i]));
    }
    vectors
}

#[target_feature(enable = "avx512f")]
fn from_lanes(vectors: &Vectors) -> [Limbs52; 8] {
    let mut numbers = [[0; 5]; 8];
    for (i, vector) in vectors.iter().enumerate() {
        for (number, limb) in numbers.iter_mut().zip(lanes::to_array(*vector)) {
            number[i] = limb;
        }
    }
    numbers
}

/// Runs `test` where there is AVX-512 IFMA.
fn with_features(test: unsafe fn()) {
    if crate::features::detected().avx512ifma {
        // SAFETY: the processor has the features.
        unsafe { test() };
    }
}

#[track_caller]
fn check(results: &[Limbs52; 8], multiples: u64, expected: impl Fn(usize) -> Fe) {
    for (lane, result) in results.iter().enumerate() {
        assert!(result.iter().all(|&limb| limb <= MASK), "limbs of {result:x?}");
        assert!(is_below(result, multiples), "{result:x?} is not below {multiples} p");
        assert_eq!(element(result), expected(lane), "lane {lane}: {result:x?}");
    }
}

#[test]
fn products_are_right_and_within_their_bounds() {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn test() {
        let mut random = Random(21);
        let per_260 = power(260).invert();
        for _ in 0..cases() {
            for (most_a, most_b) in [(1, 1), (4, 4), (2, 8), (1, 15), (15, 1)] {
                let (a, b) = (eight(&mut random, most_a), eight(&mut random, most_b));
                let product = from_lanes(&field::mul(&to_lanes(&a), &to_lanes(&b)));
                check(&product, 2, |lane| element(&a[lane]).mul(&element(&b[lane])).mul(&per_260));
                if most_a == most_b {
                    let square = from_lanes(&field::square(&to_lanes(&a)));
                    check(&square, 2, |lane| element(&a[lane]).square().mul(&per_260));
                }
            }
        }
    }
    with_features(test);
}

#[test]
fn products_of_all_ones_and_of_the_highest_limbs_carry_right() {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn test() {
        let per_260 = power(260).invert();
        let edges: [Limbs52; 8] = [
            [MASK; 5],
            [0, 0, 0, 0, MASK],
            [MASK, 0, 0, 0, 0],
            [MASK, MASK, 0, 0, 0],
            [0, MASK, MASK, MASK, 0],
            [1, 0, 0, 0, 0],
            field::P,
            field::P8,
        ];
        for turn in 0..8 {
            let others = std::array::from_fn(|lane| edges[(lane + turn) % 8]);
            let product = from_lanes(&field::mul(&to_lanes(&edges), &to_lanes(&others)));
            // Both may be near 16p here: 16 * 16 / 16 + 1.
            for (lane, product) in product.iter().enumerate() {
                let expected = element(&edges[lane]).mul(&element(&others[lane])).mul(&per_260);
                // A product of two numbers near 2^260 may take the top limb past 52 bits, which the top limb may keep.
                let folded = Fe::from_integer(&[product[4] >> 52, 0, 0, 0]).mul(&power(260));
                let low = [product[0], product[1], product[2], product[3], product[4] & MASK];
                assert_eq!(element(&low).add(&folded), expected, "turn {turn}, lane {lane}");
            }
        }
    }
    with_features(test);
}

#[test]
fn differences_reductions_and_canonical_forms_are_right() {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn test() {
        let mut random = Random(22);
        for _ in 0..cases() {
            let (a, b) = (eight(&mut random, 4), eight(&mut random, 2));
            let difference = from_lanes(&field::sub(&to_lanes(&a), &to_lanes(&b)));
            check(&difference, 6, |lane| element(&a[lane]).sub(&element(&b[lane])));
            let any = eight(&mut random, MOST - 1);
            let reduced = from_lanes(&field::reduce_columns(to_lanes(&any)));
            check(&reduced, 2, |lane| element(&any[lane]));
            let canonical = from_lanes(&field::canonical(&to_lanes(&b)));
            check(&canonical, 1, |lane| element(&b[lane]));
            let zero = field::zero_lanes(&to_lanes(&any));
            for (lane, number) in any.iter().enumerate() {
                assert_eq!(zero >> lane & 1 == 1, element(number).is_zero());
            }
        }
    }
    with_features(test);
}

#[test]
fn multiples_of_p_are_zero_lanes_and_have_no_inverse() {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn test() {
        let mut random = Random(23);
        for lane in 0..8 {
            for times in 0..MOST - 1 {
                let mut numbers = [[1, 0, 0, 0, 0]; 8];
                numbers[lane] = add_p(&[0; 5], times);
                assert_eq!(field::zero_lanes(&to_lanes(&numbers)), 1 << lane);
                if times < 2 {
                    assert!(field::invert(&to_lanes(&numbers)).is_none());
                }
            }
            let mut numbers = eight(&mut random, 2);
            numbers.iter_mut().filter(|number| element(number).is_zero()).for_each(|number| *number = [1, 0, 0, 0, 0]);
            let inverses = from_lanes(&field::invert(&to_lanes(&numbers)).expect("no lane is zero"));
            // Both are 2^260 times what they stand for.
            let one = power(260).mul(&power(260));
            check(&inverses, 2, |lane| element(&numbers[lane]).invert().mul(&one));
        }
    }
    with_features(test);
}

#[test]
fn scalar_products_are_the_portable_ones() {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn test() {
        let mut random = Random(24);
        // 2^260 / 2^256, to compare with a product by 2^-256
        let sixteen = portable_scalar::montgomery_mul(&[16, 0, 0, 0], &portable_scalar::R2);
        for _ in 0..cases() {
            let a: [Limbs; 8] = std::array::from_fn(|_| random.limbs());
            let b: [Limbs; 8] = std::array::from_fn(|_| random.below(&portable_scalar::N));
            let product = scalar::mul(&lanes::gather(8, 0, |lane| a[lane]), &lanes::gather(8, 0, |lane| b[lane]));
            let product = lanes::unpack(&lanes::reduce_once(&product, &scalar::N));
            for lane in 0..8 {
                assert!(limbs::less_than(&product[lane], &portable_scalar::N));
                let scaled = portable_scalar::montgomery_mul(&product[lane], &sixteen);
                assert_eq!(scaled, portable_scalar::montgomery_mul(&a[lane], &b[lane]), "lane {lane}");
            }
        }
    }
    with_features(test);
}

#[test]
fn a_degenerate_addition_leaves_z_zero_for_good() {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn test() {
        let mut random = Random(25);
        let (x, y) = (to_lanes(&eight(&mut random, 2)), to_lanes(&eight(&mut random, 2)));
        let other = to_lanes(&eight(&mut random, 2));
        // The same x twice, whatever the y: the sum's Z is zero, and stays so.
        let mut sum = Jacobian::<1>::from_sum(&[x], &[y], &[x], &[other]);
        assert_eq!(field::zero_lanes(&sum.z[0]), 0xff);
        sum.double();
        sum.add_affine(&[other], &[y]);
        sum = sum.add(&sum.exchange::<1>());
        assert_eq!(field::zero_lanes(&sum.z[0]), 0xff);
    }
    with_features(test);
}
