//! Verification one row after the other, with one inversion a call.

use super::point::{Extended, IDENTITY};
use super::scalar;
use super::table::Table;
use super::window::{Digit, MAX_ROWS, Words};
use super::{OneOffRow, Row, base};
use crate::Message;
use crate::field25519::portable::{ONE, Tight, invert_all};
use crate::sha512;
use curve25519_dalek::{EdwardsPoint, Scalar, edwards::CompressedEdwardsY};

/// h = SHA-512(R | A | M) modulo L (RFC 8032, section 5.1.7, step 2).
pub(crate) fn challenge(signature: &[u8; 64], public_key: &[u8; 32], message: &Message<'_>) -> Words {
    let [a, b, c, d] = *message;
    let hash = sha512::portable::hash([&signature[..32], public_key, a, b, c, d]);
    let (words, _) = hash.as_chunks::<8>();
    scalar::reduce(&std::array::from_fn(|i| u64::from_le_bytes(words[i])))
}

/// As [`super::verify`].
pub(crate) fn verify(rows: &[Row<'_>], verdicts: &mut [bool]) {
    let mut inverses = vec![ONE; rows.len()];
    let mut prefixes = inverses.clone();
    let points: Vec<Extended> = rows.iter().map(|row| combination(row).unwrap_or(IDENTITY)).collect();
    for (inverse, point) in inverses.iter_mut().zip(&points) {
        *inverse = point.z;
    }
    invert_all(&mut inverses, &mut prefixes);
    for (((row, verdict), point), inverse) in rows.iter().zip(verdicts).zip(&points).zip(&inverses) {
        *verdict = matches(row, point, inverse);
    }
}

fn matches(row: &Row<'_>, point: &Extended, inverse_of_z: &Tight) -> bool {
    scalar::from_signature(row.signature).is_some() && point.encode(inverse_of_z) == row.signature[..32]
}

/// [S]B - [h]A, `None` when S is not below L.
fn combination(row: &Row<'_>) -> Option<Extended> {
    let s = scalar::from_signature(row.signature)?;
    Some(combine(row.table, &s, &challenge(row.signature, row.table.public_key(), &row.message)))
}

/// [s]B + [h]P for the point P of the table.
pub(crate) fn combine(table: &Table, s: &Words, h: &Words) -> Extended {
    let (base, key) = (Digits::of(base(), s), Digits::of(table, h));
    key.add_to(base.add_to(IDENTITY))
}

/// A scalar's digits and the entries they stand for, on their way to the cache.
struct Digits<'a> {
    table: &'a Table,
    digits: [Digit; MAX_ROWS],
}

impl<'a> Digits<'a> {
    fn of(table: &'a Table, scalar: &Words) -> Self {
        let window = table.digits();
        let biased = window.biased(scalar);
        let mut digits = [Digit { magnitude: 0, negative: false }; MAX_ROWS];
        for (row, digit) in digits[..window.rows()].iter_mut().enumerate() {
            *digit = window.digit(&biased, row);
            if digit.magnitude != 0 {
                table.row(row)[digit.magnitude - 1].prefetch();
            }
        }
        Self { table, digits }
    }

    fn add_to(&self, mut sum: Extended) -> Extended {
        for (row, digit) in self.digits[..self.table.digits().rows()].iter().enumerate() {
            if digit.magnitude != 0 {
                sum = sum.add_entry(&self.table.row(row)[digit.magnitude - 1], digit.negative);
            }
        }
        sum
    }
}

/// As [`super::verify_one_off`], by curve25519-dalek.
pub(crate) fn verify_one_off(rows: &[OneOffRow<'_>], verdicts: &mut [bool]) {
    for (row, verdict) in rows.iter().zip(verdicts) {
        *verdict = verify_by_dalek(row).is_some_and(|encoded| encoded == row.signature[..32]);
    }
}

/// The encoding of [S]B - [h]A, `None` when S is not below L or A no canonical encoding.
fn verify_by_dalek(row: &OneOffRow<'_>) -> Option<[u8; 32]> {
    let s = to_dalek(&scalar::from_signature(row.signature)?)?;
    let point = CompressedEdwardsY(*row.public_key).decompress()?;
    if point.compress().as_bytes() != row.public_key {
        return None;
    }
    let h = to_dalek(&challenge(row.signature, row.public_key, &row.message))?;
    Some(EdwardsPoint::vartime_double_scalar_mul_basepoint(&h, &-point, &s).compress().to_bytes())
}

fn to_dalek(words: &Words) -> Option<Scalar> {
    let mut bytes = [0; 32];
    let (chunks, _) = bytes.as_chunks_mut::<8>();
    for (chunk, word) in chunks.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    Scalar::from_canonical_bytes(bytes).into()
}
