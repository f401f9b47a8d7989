//! ECDSA on P-256 (FIPS 186-5): which keys and which forms of a signature are valid.
//!
//! High s is accepted, so a token's identity is never its signature.

use super::weak_key::WeakKey;
use ::p256::PublicKey;

/// n, the order of the group, big-endian.
const N: [u8; 32] = *b"\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\
    \xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51";

/// Whether r and s lie in 1..n-1.
#[must_use]
#[inline]
pub fn is_well_formed(signature: &[u8; 64]) -> bool {
    let (r, s) = signature.split_at(32);
    // Nearly every scalar is told from 0 and from n by its first four bytes.
    let in_range = |scalar: &[u8]| match scalar {
        [0, 0, 0, 0, ..] | [0xff, 0xff, 0xff, 0xff, ..] => *scalar < N[..] && scalar.iter().any(|&byte| byte != 0),
        _ => true,
    };
    in_range(r) && in_range(s)
}

/// Reads a public key that may be verified with: 65 bytes (SEC1, uncompressed) or x || y. Returns x || y.
///
/// # Errors
/// [`WeakKey`] for another length, or a point that is not on the curve.
pub fn read_key(raw: &[u8]) -> Result<[u8; 64], WeakKey> {
    let coordinates = match raw {
        [4, coordinates @ ..] if coordinates.len() == 64 => coordinates,
        _ => raw,
    };
    let wrong = WeakKey::Length { got: raw.len(), expected: "65 (SEC1, uncompressed) or 64 (x||y) for ESP256" };
    let coordinates: [u8; 64] = coordinates.try_into().map_err(|_| wrong)?;
    let encoded = [&[4], &coordinates[..]].concat();
    PublicKey::from_sec1_bytes(&encoded).map(|_| coordinates).map_err(|_| WeakKey::NotOnCurve)
}
