//! Field and scalars against fiat-crypto's machine-checked arithmetic, at the limits of their limbs.

use super::super::field::{self, Fe};
use super::super::limbs::Limbs;
use super::super::scalar;
use super::{Random, cases};
use fiat_crypto::p256_64::*;
use fiat_crypto::p256_scalar_64::*;

type Fiat = fiat_p256_montgomery_domain_field_element;

fn fiat(operation: impl Fn(&mut Fiat)) -> Limbs {
    let mut out = fiat_p256_montgomery_domain_field_element([0; 4]);
    operation(&mut out);
    out.0
}

#[test]
fn field_operations_are_fiats() {
    let mut random = Random(1);
    for _ in 0..cases() * 10 {
        let (a, b) = (random.below(&field::P), random.below(&field::P));
        let (x, y) = (fiat_p256_montgomery_domain_field_element(a), fiat_p256_montgomery_domain_field_element(b));
        assert_eq!(Fe(a).mul(&Fe(b)).0, fiat(|out| fiat_p256_mul(out, &x, &y)), "{a:x?} * {b:x?}");
        assert_eq!(Fe(a).square().0, fiat(|out| fiat_p256_square(out, &x)), "{a:x?}^2");
        assert_eq!(Fe(a).add(&Fe(b)).0, fiat(|out| fiat_p256_add(out, &x, &y)), "{a:x?} + {b:x?}");
        assert_eq!(Fe(a).sub(&Fe(b)).0, fiat(|out| fiat_p256_sub(out, &x, &y)), "{a:x?} - {b:x?}");
        assert_eq!(Fe(a).neg().0, fiat(|out| fiat_p256_opp(out, &x)), "-{a:x?}");
    }
}

#[test]
fn field_elements_go_in_and_out_as_fiats_do() {
    let mut random = Random(2);
    for _ in 0..cases() {
        let a = random.below(&field::P);
        let plain = fiat_p256_non_montgomery_domain_field_element(a);
        assert_eq!(Fe::from_integer(&a).0, fiat(|out| fiat_p256_to_montgomery(out, &plain)));
        assert_eq!(Fe::from_integer(&a).to_integer(), a);
        // Integers from p up are reduced: r + n and x coordinates come in without a comparison.
        let any = random.limbs();
        let reduced = if super::limbs::less_than(&any, &field::P) { any } else { super::limbs::sub(&any, &field::P).0 };
        assert_eq!(Fe::from_integer(&any).to_integer(), reduced);
    }
}

#[test]
fn inverses_times_their_numbers_are_one() {
    let mut random = Random(3);
    for _ in 0..cases() / 2 {
        let a = random.below(&field::P);
        let product = Fe(a).invert().mul(&Fe(a));
        assert_eq!(product, if a == [0; 4] { Fe::ZERO } else { Fe::ONE }, "{a:x?}");
        let a = random.below(&scalar::N);
        let inverse = scalar::MODULUS.invert(&a);
        // a * a^-1 / 2^256, times 2^512 / 2^256
        let one = scalar_to_montgomery(&scalar::montgomery_mul(&a, &inverse));
        assert_eq!(one, [u64::from(a != [0; 4]), 0, 0, 0], "{a:x?}");
    }
}

fn scalar_to_montgomery(a: &Limbs) -> Limbs {
    let mut out = fiat_p256_scalar_montgomery_domain_field_element([0; 4]);
    fiat_p256_scalar_to_montgomery(&mut out, &fiat_p256_scalar_non_montgomery_domain_field_element(*a));
    out.0
}

#[test]
fn scalar_multiplication_is_fiats_and_takes_digests_above_n() {
    let mut random = Random(4);
    for _ in 0..cases() * 10 {
        let (a, b) = (random.limbs(), random.below(&scalar::N));
        // fiat asks for numbers below n.
        let reduced = if super::limbs::less_than(&a, &scalar::N) { a } else { super::limbs::sub(&a, &scalar::N).0 };
        let mut out = fiat_p256_scalar_montgomery_domain_field_element([0; 4]);
        fiat_p256_scalar_mul(
            &mut out,
            &fiat_p256_scalar_montgomery_domain_field_element(reduced),
            &fiat_p256_scalar_montgomery_domain_field_element(b),
        );
        assert_eq!(scalar::montgomery_mul(&a, &b), out.0, "{a:x?} * {b:x?}");
    }
}
