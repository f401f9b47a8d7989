//! Verification without a table of Q, portable: G by its table, Q by signed digits of five bits and doublings.

use super::digits::{self, NEGATIVE, Odd};
use super::equation::Scalars;
use super::generator;
use super::point::{self, Affine, Jacobian};
use super::portable::has_x;

/// Bits a digit of u2.
const WINDOW: u32 = 5;
/// Odd multiples of Q kept: 1, 3, .. 31.
const MULTIPLES: usize = 1 << (WINDOW - 1);

/// Verdicts for rows without tables; slices of one length. `None` stands for a key that is no point.
pub(crate) fn verify(keys: &[Option<Affine>], scalars: &[Scalars], verdicts: &mut [bool]) {
    for ((key, scalars), verdict) in keys.iter().zip(scalars).zip(verdicts) {
        *verdict = verify_one(*key, scalars);
    }
}

/// Whether x([u1]G + [u2]Q) mod n = r. `None` stands for a key that is no point.
pub(crate) fn verify_one(key: Option<Affine>, scalars: &Scalars) -> bool {
    let Some(key) = key.filter(|_| scalars.well_formed) else { return false };
    let mut sum = variable_base(&key, scalars);
    let generator = generator();
    let odd = Odd::new(&scalars.u1);
    for i in 0..digits::count(generator.window()) {
        sum = sum.add_affine(&generator.multiple(i, odd.code(i, generator.window())));
    }
    has_x(&sum, &scalars.r)
}

/// [u2]Q, from the top digit down.
fn variable_base(key: &Affine, scalars: &Scalars) -> Jacobian {
    let multiples = odd_multiples(key);
    let odd = Odd::new(&scalars.u2);
    let mut sum = Jacobian::INFINITY;
    for i in (0..digits::count(WINDOW)).rev() {
        for _ in 0..WINDOW {
            sum = sum.double();
        }
        let code = odd.code(i, WINDOW);
        let multiple = &multiples[(code & !NEGATIVE) as usize];
        sum = sum.add_affine(&multiple.negate_if(code & NEGATIVE != 0));
    }
    sum
}

fn odd_multiples(key: &Affine) -> Vec<Affine> {
    let twice = Jacobian::from(*key).double();
    let first = Jacobian::from(*key);
    let multiples: Vec<_> = std::iter::successors(Some(first), |last| Some(last.add(&twice))).take(MULTIPLES).collect();
    point::to_affine(&multiples)
}
