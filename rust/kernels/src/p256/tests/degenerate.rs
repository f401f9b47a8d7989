//! Rows made so that, within their sum, a point meets its equal or its opposite: where affine additions have no
//! slope and Jacobian ones leave Z = 0.
//!
//! The kernels deal a row's terms out in turn to some number of partial sums. For any such number the discrete logarithm of
//! the key can be chosen so that two of these, at some step, are one point.

use super::super::digits::{self, NEGATIVE, Odd};
use super::super::equation::Scalars;
use super::super::limbs::{self, Limbs};
use super::super::point::Affine;
use super::super::scalar;
use super::super::table::{GENERATOR_WINDOW, Table};
use super::scalars::{Crafted, coordinates, craft, from_scalar, to_scalar};
use super::{Random, kernels, one_off_kernels};
use ::p256::elliptic_curve::group::Group;
use ::p256::{ProjectivePoint, Scalar};

const WINDOW: u32 = 5;

/// The terms of a scalar: every digit with its power of two.
fn terms(scalar: &Limbs, window: u32) -> Vec<Scalar> {
    let odd = Odd::new(scalar);
    let base = (0..window).fold(Scalar::ONE, |power, _| power + power);
    let mut power = Scalar::ONE;
    let digit = |i| {
        let code = odd.code(i, window);
        let magnitude = Scalar::from(u64::from(2 * (code & !NEGATIVE) + 1));
        let term = power * if code & NEGATIVE == 0 { magnitude } else { -magnitude };
        power *= base;
        term
    };
    (0..digits::count(window)).map(digit).collect()
}

/// A sum `fixed * G + of_key * Q`.
#[derive(Clone, Copy, Default)]
struct Sum {
    fixed: Scalar,
    of_key: Scalar,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.fixed += other.fixed;
        self.of_key += other.of_key;
    }

    /// The logarithm of the key with which `self` is `sign` times `other`.
    fn meets(self, other: Self, sign: Scalar) -> Option<Scalar> {
        let inverse = (self.of_key - sign * other.of_key).invert();
        Option::<Scalar>::from(inverse).map(|inverse| (sign * other.fixed - self.fixed) * inverse)
    }
}

fn all_terms(u1: &Limbs, u2: &Limbs) -> Vec<Sum> {
    let of_generator = terms(u1, GENERATOR_WINDOW).into_iter().map(|fixed| Sum { fixed, of_key: Scalar::ZERO });
    let of_key = terms(u2, WINDOW).into_iter().map(|of_key| Sum { fixed: Scalar::ZERO, of_key });
    of_generator.chain(of_key).collect()
}

/// Logarithms of keys for which the terms, dealt out to `width` sums, meet at `random` places: a sum and the next of
/// its terms, and two whole sums of one merging.
fn secrets(terms: &[Sum], width: usize, random: &mut Random) -> Vec<Scalar> {
    let mut secrets = Vec::new();
    let signs = [Scalar::ONE, -Scalar::ONE];
    let slot = random.next() as usize % width;
    let mut of_slot: Vec<_> = terms[slot..].iter().step_by(width).copied().collect();
    let mut sum = of_slot.remove(0);
    let step = random.next() as usize % of_slot.len();
    for (number, term) in of_slot.iter().enumerate() {
        if number >= step && term.of_key != Scalar::ZERO {
            secrets.extend(signs.iter().filter_map(|&sign| sum.meets(*term, sign)));
            break;
        }
        sum.add(*term);
    }
    let mut sums = vec![Sum::default(); width];
    for (number, term) in terms.iter().enumerate() {
        sums[number % width].add(*term);
    }
    while sums.len() > 1 {
        let half = sums.len().div_ceil(2);
        let right = sums.split_off(half);
        let place = random.next() as usize % right.len();
        secrets.extend(signs.iter().filter_map(|&sign| sums[place].meets(right[place], sign)));
        sums.iter_mut().zip(right).for_each(|(left, right)| left.add(right));
    }
    secrets
}

struct Row {
    table: Table,
    crafted: Crafted,
}

fn row(u1: &Limbs, u2: &Limbs, secret: &Scalar, number: usize) -> Option<Row> {
    let key = ProjectivePoint::mul_by_generator(secret);
    let table = (*secret != Scalar::ZERO).then(|| Table::new(&coordinates(&key), WINDOW).expect("a point"))?;
    Some(Row { table, crafted: craft(u1, u2, secret, number) })
}

fn check(rows: &[Row], chunk: usize) {
    for (name, kernel) in kernels() {
        for rows in rows.chunks(chunk) {
            let tables: Vec<_> = rows.iter().map(|row| &row.table).collect();
            let scalars: Vec<Scalars> = rows.iter().map(|row| row.crafted.scalars).collect();
            // Repeated, so that every row has met every number of partial sums.
            for times in [1, 5, 40] {
                let mut verdicts = vec![false; rows.len() * times];
                kernel(&tables.repeat(times), &scalars.repeat(times), &mut verdicts);
                for (verdict, row) in verdicts.iter().zip(rows.iter().cycle()) {
                    assert_eq!(*verdict, row.crafted.valid, "{name}, {chunk} rows: {:x?}", row.crafted.scalars);
                }
            }
        }
    }
}

#[test]
fn points_that_meet_within_a_sum_are_added_right() {
    let mut random = Random(31);
    let mut rows = Vec::new();
    for width in 1..=24 {
        for _ in 0..2 {
            let (u1, u2) = (random.below(&scalar::N), random.below(&scalar::N));
            for secret in secrets(&all_terms(&u1, &u2), width, &mut random) {
                rows.extend(row(&u1, &u2, &secret, rows.len()));
            }
        }
    }
    let valid = rows.iter().filter(|row| row.crafted.valid).count();
    assert!(valid > 100 && rows.len() - valid > 50, "{valid} of {} valid", rows.len());
    for chunk in [1, 2, 7, 9, 16, 30, 64, 130] {
        check(&rows, chunk);
    }
}

/// The tree of eight lanes, as a single row is summed: lanes l and l ^ 1, then pairs, then fours.
#[test]
fn lanes_that_meet_in_the_tree_of_a_single_row_are_added_right() {
    let mut random = Random(32);
    let mut rows = Vec::new();
    for _ in 0..12 {
        let (u1, u2) = (random.below(&scalar::N), random.below(&scalar::N));
        let mut lanes = [Sum::default(); 8];
        for (number, term) in all_terms(&u1, &u2).into_iter().enumerate() {
            lanes[number % 8].add(term);
        }
        for distance in [1, 2, 4] {
            let lane = random.next() as usize % 8;
            for sign in [Scalar::ONE, -Scalar::ONE] {
                let secret = lanes[lane].meets(lanes[lane ^ distance], sign);
                rows.extend(secret.and_then(|secret| row(&u1, &u2, &secret, rows.len())));
            }
            let before = lanes;
            (0..8).for_each(|lane| lanes[lane].add(before[lane ^ distance]));
        }
    }
    assert!(rows.len() > 60);
    check(&rows, 1);
    check(&rows, 8);
}

#[test]
fn one_off_sums_of_equal_opposite_and_infinite_points_are_right() {
    let mut random = Random(33);
    let mut keys = Vec::new();
    let mut crafted = Vec::new();
    let mut add = |u1: &Limbs, u2: &Limbs, secret: Scalar| {
        if secret != Scalar::ZERO {
            let key = coordinates(&ProjectivePoint::mul_by_generator(&secret));
            keys.push(Affine::from_bytes(&key));
            crafted.push(craft(u1, u2, &secret, crafted.len()));
        }
    };
    for _ in 0..40 {
        let (u1, u2) = (random.below(&scalar::N), random.below(&scalar::N));
        if limbs::is_zero(&u2) {
            continue;
        }
        let ratio = to_scalar(&u1) * to_scalar(&u2).invert().expect("not zero");
        add(&u1, &u2, ratio);
        add(&u1, &u2, -ratio);
        // No multiple of G at all, and none of Q, though no signature asks for that.
        add(&limbs::ZERO, &u2, to_scalar(&u2));
        add(&u1, &limbs::ZERO, to_scalar(&u2));
        // The smallest multiples of Q, and their opposites.
        for k in 1..4 {
            let small = Scalar::from(random.next() % 40 + k);
            add(&u1, &from_scalar(&small), to_scalar(&u2));
            add(&u1, &from_scalar(&-small), to_scalar(&u2));
        }
    }
    assert!(crafted.iter().any(|crafted| crafted.valid) && crafted.iter().any(|crafted| !crafted.valid));
    let scalars: Vec<Scalars> = crafted.iter().map(|crafted| crafted.scalars).collect();
    for (name, kernel) in one_off_kernels() {
        for chunk in [1, 3, 8, 17, 300] {
            for ((keys, scalars), crafted) in keys.chunks(chunk).zip(scalars.chunks(chunk)).zip(crafted.chunks(chunk)) {
                let mut verdicts = vec![false; keys.len()];
                kernel(keys, scalars, &mut verdicts);
                for (verdict, crafted) in verdicts.into_iter().zip(crafted) {
                    assert_eq!(verdict, crafted.valid, "{name}: {:x?}", crafted.scalars);
                }
            }
        }
    }
}
