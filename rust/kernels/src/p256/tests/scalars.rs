//! Sums with crafted u1 and u2: equal and opposite points, infinity, zero and extreme digits, x between n and p.

use super::super::equation::Scalars;
use super::super::limbs::{self, Limbs};
use super::super::table::{Table, WINDOWS};
use super::super::{field, scalar};
use super::{Random, cases, divides, kernels};
use ::p256::elliptic_curve::ff::PrimeField;
use ::p256::elliptic_curve::group::Group;
use ::p256::elliptic_curve::sec1::{FromSec1Point, ToSec1Point};
use ::p256::{AffinePoint, ProjectivePoint, Scalar, Sec1Point};

pub(super) fn to_scalar(limbs: &Limbs) -> Scalar {
    Option::from(Scalar::from_repr(limbs::to_be_bytes(limbs).into())).expect("below n")
}

pub(super) fn from_scalar(scalar: &Scalar) -> Limbs {
    limbs::from_be_bytes(&scalar.to_repr().into())
}

/// x of a point as an integer, or `None` for infinity.
fn x_of(point: &ProjectivePoint) -> Option<Limbs> {
    let encoded = point.to_affine().to_sec1_point(false);
    encoded.x().map(|x| limbs::from_be_bytes(&(*x).into()))
}

pub(super) fn coordinates(point: &ProjectivePoint) -> [u8; 64] {
    point.to_affine().to_sec1_point(false).as_bytes()[1..].try_into().expect("not infinity")
}

fn reduce(x: &Limbs) -> Limbs {
    if limbs::less_than(x, &scalar::N) { *x } else { limbs::sub(x, &scalar::N).0 }
}

/// Scalars at which additions of comb terms meet equal points, opposite ones and infinity.
fn edges() -> Vec<Limbs> {
    let minus = |k: u64| limbs::sub(&scalar::N, &[k, 0, 0, 0]).0;
    let power = |bit: usize| std::array::from_fn(|i| if bit / 64 == i { 1 << (bit % 64) } else { 0 });
    let mut edges: Vec<Limbs> = (0..5).map(|k| [k, 0, 0, 0]).chain((1..5).map(minus)).collect();
    for bit in [5, 6, 7, 8, 11, 12, 13, 24, 52, 63, 64, 104, 128, 156, 192, 208, 240, 252, 255] {
        let power = power(bit);
        edges.extend([power, limbs::sub(&power, &[1, 0, 0, 0]).0, limbs::add(&power, &[1, 0, 0, 0]).0]);
        edges.push(limbs::sub(&scalar::N, &power).0);
    }
    let half = from_scalar(&(Scalar::ONE * Scalar::from(2u64).invert().expect("not zero")));
    edges.extend([half, limbs::sub(&half, &[1, 0, 0, 0]).0]);
    edges
}

pub(super) struct Crafted {
    pub(super) scalars: Scalars,
    pub(super) valid: bool,
}

/// The row for u1 and u2 and the key `secret * G`, with the right r, or a wrong one for every third `number`.
pub(super) fn craft(u1: &Limbs, u2: &Limbs, secret: &Scalar, number: usize) -> Crafted {
    let sum = ProjectivePoint::mul_by_generator(&(to_scalar(u1) + to_scalar(u2) * secret));
    let x = x_of(&sum).map(|x| reduce(&x));
    let wrong = number % 3 == 2;
    let r = x.map_or([1, 0, 0, 0], |x| if wrong { [x[0] ^ 2, x[1], x[2], x[3]] } else { x });
    let scalars = Scalars { u1: *u1, u2: *u2, r, well_formed: true };
    Crafted { scalars, valid: x.is_some() && !wrong }
}

fn check(table: &Table, crafted: &[Crafted], chunk: usize) {
    for (name, kernel) in kernels() {
        for crafted in crafted.chunks(chunk) {
            let tables = vec![table; crafted.len()];
            let scalars: Vec<_> = crafted.iter().map(|crafted| crafted.scalars).collect();
            let mut verdicts = vec![false; crafted.len()];
            kernel(&tables, &scalars, &mut verdicts);
            for (crafted, verdict) in crafted.iter().zip(verdicts) {
                assert_eq!(verdict, crafted.valid, "{name}, window {}: {:x?}", table.window(), crafted.scalars);
            }
        }
    }
}

#[test]
fn edge_scalars_with_keys_next_to_g_are_summed_right() {
    let two_to = |bits: u64| (0..bits).fold(Scalar::ONE, |power, _| power + power);
    let keys = [Scalar::ONE, -Scalar::ONE, two_to(1), -two_to(1), Scalar::from(3u64), two_to(12), -two_to(8)];
    let edges = edges();
    for (number, secret) in keys.iter().enumerate() {
        let key = coordinates(&ProjectivePoint::mul_by_generator(secret));
        let pairs = edges.iter().enumerate().flat_map(|(i, u1)| edges.iter().map(move |u2| (i, u1, u2)));
        // A seventh of all pairs for each key, another for each.
        let crafted: Vec<_> = pairs
            .enumerate()
            .filter(|(pair, _)| pair % 7 == number)
            .map(|(pair, (_, u1, u2))| craft(u1, u2, secret, pair / 7))
            .collect();
        for window in [4, 8, 12] {
            let table = Table::new(&key, window).expect("a point");
            for chunk in [1, 3, 9, 100, 700] {
                check(&table, &crafted, chunk);
            }
        }
    }
}

#[test]
fn sums_to_equal_and_opposite_halves_are_right() {
    let mut random = Random(5);
    let secret = to_scalar(&random.below(&scalar::N));
    let inverse = secret.invert().expect("not zero");
    let key = coordinates(&ProjectivePoint::mul_by_generator(&secret));
    // u2 Q = +-u1 G: the last addition doubles, or ends at infinity.
    let crafted: Vec<_> = (0..cases() / 20)
        .map(|number| {
            let u1 = random.below(&scalar::N);
            let u2 = to_scalar(&u1) * inverse;
            craft(&u1, &from_scalar(&if number % 2 == 0 { u2 } else { -u2 }), &secret, number)
        })
        .collect();
    for window in [5, 10] {
        let table = Table::new(&key, window).expect("a point");
        for chunk in [1, 2, 8, 64, 512, 2048] {
            check(&table, &crafted, chunk);
        }
    }
}

#[test]
fn random_scalars_are_summed_right_in_every_window() {
    let mut random = Random(6);
    let secret = to_scalar(&random.below(&scalar::N));
    let key = coordinates(&ProjectivePoint::mul_by_generator(&secret));
    let crafted: Vec<_> = (0..cases() / 4)
        .map(|number| craft(&random.below(&scalar::N), &random.below(&scalar::N), &secret, number))
        .collect();
    for window in WINDOWS.filter(|&window| window <= 13) {
        let table = Table::new(&key, window).expect("a point");
        let chunk = 1 + random.next() as usize % crafted.len();
        check(&table, &crafted, chunk);
    }
}

/// A point with x between n and p stands for r = x - n; one with a small x for r = x.
#[test]
fn r_plus_n_below_p_is_accepted_and_no_other_r() {
    let one = [1, 0, 0, 0];
    let mut found = 0;
    for k in 1..40 {
        for (x, r) in [(limbs::add(&scalar::N, &[k, 0, 0, 0]).0, [k, 0, 0, 0]), ([k, 0, 0, 0], [k, 0, 0, 0])] {
            assert!(limbs::less_than(&x, &field::P));
            let encoded = [&[2], &limbs::to_be_bytes(&x)[..]].concat();
            let encoded = Sec1Point::from_bytes(&encoded).expect("compressed");
            let Some(point) = Option::<AffinePoint>::from(AffinePoint::from_sec1_point(&encoded)) else { continue };
            found += 1;
            let key = ProjectivePoint::from(point) - ProjectivePoint::GENERATOR;
            let table = Table::new(&coordinates(&key), 6).expect("a point");
            let row = |r: Limbs, valid| Crafted { scalars: Scalars { u1: one, u2: one, r, well_formed: true }, valid };
            let crafted = [row(r, true), row([k + 1, 0, 0, 0], false), row([r[0], 1, 0, 0], false)];
            check(&table, &crafted, 3);
            let many: Vec<_> = (0..20).map(|i| row([k + i % 3, 0, 0, 0], i % 3 == 0)).collect();
            check(&table, &many, 20);
        }
    }
    assert!(found > 20, "{found} points");
}

#[test]
fn divisions_are_those_of_the_p256_crate() {
    let mut random = Random(7);
    for length in (1..18).chain([cases() / 4]) {
        let digests: Vec<_> = (0..length).map(|_| random.limbs()).collect();
        let mut one_to_n = || loop {
            let scalar = random.below(&scalar::N);
            if !limbs::is_zero(&scalar) {
                return scalar;
            }
        };
        let s: Vec<_> = (0..length).map(|_| one_to_n()).collect();
        let rows: Vec<_> =
            (0..length).map(|_| Scalars { r: one_to_n(), well_formed: true, ..Scalars::default() }).collect();
        for (name, divide) in divides() {
            let mut rows = rows.clone();
            divide(&digests, &mut s.clone(), &mut rows);
            for ((row, digest), s) in rows.iter().zip(&digests).zip(&s) {
                let inverse = to_scalar(s).invert().expect("not zero");
                assert_eq!(row.u1, from_scalar(&(to_scalar(&reduce(digest)) * inverse)), "{name}");
                assert_eq!(row.u2, from_scalar(&(to_scalar(&row.r) * inverse)), "{name}");
            }
        }
    }
}

#[test]
fn infinity_is_never_a_valid_sum() {
    assert!(bool::from(ProjectivePoint::IDENTITY.is_identity()));
    let table = Table::new(&coordinates(&ProjectivePoint::GENERATOR), 7).expect("a point");
    let minus_one = limbs::sub(&scalar::N, &[1, 0, 0, 0]).0;
    for (u1, u2) in [([1, 0, 0, 0], minus_one), (minus_one, [1, 0, 0, 0]), ([0; 4], [0; 4])] {
        // Any r, and what a naive comparison of Z = 0 or of (0, 0) would take for right.
        let rows: Vec<_> = [[0; 4], [1, 0, 0, 0], minus_one]
            .map(|r| Crafted { scalars: Scalars { u1, u2, r, well_formed: true }, valid: false })
            .into_iter()
            .collect();
        check(&table, &rows, 1);
        check(&table, &rows, 3);
    }
}
