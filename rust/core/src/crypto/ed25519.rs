//! Ed25519 (RFC 8032): which keys and which forms of a signature are valid, by the rule of the format.
//!
//! Cofactorless equation; S < L; A and R canonical; A neither of small order nor with a torsion component; R not of small
//! order. The equation itself is the kernels' work.

use super::weak_key::WeakKey;
use curve25519_dalek::edwards::CompressedEdwardsY;

/// p = 2^255 - 19, little-endian.
const P: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// L = 2^252 + 27742317777372353535851937790883648493, little-endian.
const L: [u8; 32] = *b"\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14\
    \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10";

/// The y of the points of order 8, little-endian, their sign bit clear: y and -y.
const ORDER_8: [[u8; 32]; 2] = [
    *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\
    \x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
    *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\
    \xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
];

/// Whether a < b, both little-endian.
#[inline]
fn is_below(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

/// The y of an encoded point, and whether its sign bit is set.
#[inline]
fn split_sign(encoded: &[u8; 32]) -> ([u8; 32], bool) {
    let mut y = *encoded;
    y[31] &= 0x7f;
    (y, encoded[31] >> 7 == 1)
}

/// Whether x = 0: y is 1 or -1.
#[inline]
fn has_zero_x(y: &[u8; 32]) -> bool {
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = P;
    minus_one[0] -= 1;
    *y == one || *y == minus_one
}

/// y < p, and no sign on x = 0.
#[inline]
fn is_canonical(encoded: &[u8; 32]) -> bool {
    let (y, sign) = split_sign(encoded);
    is_below(&y, &P) && !(sign && has_zero_x(&y))
}

/// S < L, and R is canonical.
#[must_use]
#[inline]
pub fn is_well_formed(signature: &[u8; 64]) -> bool {
    let (r, s) = halves(signature);
    // Nearly every S is told from L, and every y from p, by its last byte.
    let s_below = s[31] < 0x10 || is_below(s, &L);
    let r_canonical = (r[31] & 0x7f != 0x7f && r[31] & 0x7f != 0) || is_canonical(r);
    s_below && r_canonical
}

/// Whether R is one of the eight points of small order, in its canonical encoding.
#[must_use]
#[inline]
pub fn has_small_order_r(signature: &[u8; 64]) -> bool {
    let (y, _) = split_sign(halves(signature).0);
    // The last byte tells nearly every other point from them.
    matches!(y[31], 0x00 | 0x05 | 0x7a | 0x7f) && (has_zero_x(&y) || y == [0; 32] || ORDER_8.contains(&y))
}

fn halves(signature: &[u8; 64]) -> (&[u8; 32], &[u8; 32]) {
    let (r, s) = signature.split_at(32);
    (
        r.try_into().expect("INVARIANT: the first half is 32 bytes"),
        s.try_into().expect("INVARIANT: and so is the second"),
    )
}

/// Reads a public key that may be verified with.
///
/// # Errors
/// [`WeakKey`] when it is not 32 bytes, not a canonical point, of small order, or has a torsion component.
pub fn read_key(raw: &[u8]) -> Result<[u8; 32], WeakKey> {
    let wrong = WeakKey::Length { got: raw.len(), expected: "32 for Ed25519" };
    let encoded: [u8; 32] = raw.try_into().map_err(|_| wrong)?;
    let point =
        CompressedEdwardsY(encoded).decompress().filter(|_| is_canonical(&encoded)).ok_or(WeakKey::NotOnCurve)?;
    if point.is_small_order() || !point.is_torsion_free() { Err(WeakKey::Torsion) } else { Ok(encoded) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::constants::EIGHT_TORSION;

    #[test]
    fn points_of_small_order_are_known_as_r_and_refused_as_a() {
        for point in EIGHT_TORSION {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(point.compress().as_bytes());
            assert!(has_small_order_r(&signature) && is_well_formed(&signature));
            assert_eq!(read_key(point.compress().as_bytes()), Err(WeakKey::Torsion));
        }
    }

    #[test]
    fn a_torsion_component_is_refused() {
        let base = curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
        assert_eq!(read_key(base.compress().as_bytes()), Ok(base.compress().0));
        assert_eq!(read_key((base + EIGHT_TORSION[1]).compress().as_bytes()), Err(WeakKey::Torsion));
    }

    #[test]
    fn forms_are_judged_at_their_bounds() {
        let with = |r: [u8; 32], s: [u8; 32]| is_well_formed(&[r, s].concat().try_into().unwrap());
        let mut below_l = L;
        below_l[0] -= 1;
        let base = *curve25519_dalek::constants::ED25519_BASEPOINT_COMPRESSED.as_bytes();
        assert!(with(base, below_l) && !with(base, L) && !with(base, [0xff; 32]));
        let mut below_p = P;
        below_p[0] -= 1;
        let signed = |mut y: [u8; 32]| {
            y[31] |= 0x80;
            with(y, below_l)
        };
        let mut one = [0; 32];
        one[0] = 1;
        assert!(!signed(one) && !signed(below_p) && !signed(P) && signed([0; 32]));
        assert!(with(one, below_l) && with(below_p, below_l) && !with(P, below_l));
    }
}
