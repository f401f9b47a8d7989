//! From signatures to scalars: which rows are well formed, and u1 = e / s, u2 = r / s mod n for all of them with one
//! inversion (FIPS 186-5 section 6.4.2).

use super::limbs::{self, Limbs};
use super::scalar;
use crate::{Message, sha256};

/// Messages hashed by one call.
const HASHED: usize = 64;

/// What is left to check of a row: x([u1]G + [u2]Q) mod n = r.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scalars {
    pub(crate) u1: Limbs,
    pub(crate) u2: Limbs,
    pub(crate) r: Limbs,
    /// False when r or s is 0 or at least n. Such a row has some scalars and is refused.
    pub(crate) well_formed: bool,
}

/// A row, of whatever kind.
pub(crate) trait Signed {
    fn signature(&self) -> &[u8; 64];
    fn message(&self) -> Message<'_>;
}

/// The digests of up to any number of messages, as integers below 2^256.
fn hash(rows: &[impl Signed], digests: &mut [Limbs]) {
    for (rows, digests) in rows.chunks(HASHED).zip(digests.chunks_mut(HASHED)) {
        let mut messages: [Message<'_>; HASHED] = [[&[]; 4]; HASHED];
        let mut bytes = [[0; 32]; HASHED];
        for (message, row) in messages.iter_mut().zip(rows) {
            *message = row.message();
        }
        sha256::digest_many(&messages[..rows.len()], &mut bytes[..rows.len()]);
        for (digest, bytes) in digests.iter_mut().zip(&bytes) {
            *digest = limbs::from_be_bytes(bytes);
        }
    }
}

/// Sets u1 and u2 of `scalars` from their r, the digests and every s (lost thereafter): slices of one length.
pub(crate) type Divide = fn(digests: &[Limbs], s: &mut [Limbs], scalars: &mut [Scalars]);

/// Fills `scalars` from `rows`; slices of one length.
pub(crate) fn prepare(rows: &[impl Signed], scalars: &mut [Scalars], divide: Divide) {
    let mut digests = vec![limbs::ZERO; rows.len()];
    let mut denominators = vec![limbs::ZERO; rows.len()];
    hash(rows, &mut digests);
    for ((row, scalars), s) in rows.iter().zip(&mut *scalars).zip(&mut denominators) {
        (scalars.r, *s, scalars.well_formed) = read(row.signature());
    }
    divide(&digests, &mut denominators, scalars);
}

/// The portable [`Divide`].
pub(crate) fn divide(digests: &[Limbs], s: &mut [Limbs], scalars: &mut [Scalars]) {
    let mut scratch = vec![limbs::ZERO; s.len()];
    scalar::invert_all(s, &mut scratch);
    for ((scalars, digest), inverse) in scalars.iter_mut().zip(digests).zip(s) {
        scalars.u1 = scalar::montgomery_mul(digest, inverse);
        scalars.u2 = scalar::montgomery_mul(&scalars.r, inverse);
    }
}

/// (r, s, well formed), with ones in the place of an ill-formed pair.
#[inline]
pub(crate) fn read(signature: &[u8; 64]) -> (Limbs, Limbs, bool) {
    const ONE: Limbs = [1, 0, 0, 0];
    let (halves, _) = signature.as_chunks::<32>();
    match (scalar::from_be_bytes(&halves[0]), scalar::from_be_bytes(&halves[1])) {
        (Some(r), Some(s)) => (r, s, true),
        _ => (ONE, ONE, false),
    }
}

/// r + n when that is a possible x coordinate, which for r in 1..n means r < p - n.
#[inline]
pub(crate) fn second_x(r: &Limbs) -> Option<Limbs> {
    let (sum, carry) = limbs::add(r, &scalar::N);
    (carry == 0 && limbs::less_than(&sum, &super::field::P)).then_some(sum)
}
