//! Integers mod n, the order of the group: portable Montgomery arithmetic with 2^256.

use super::limbs::{self, Limbs, adc, mac};
use crate::inverse::Modulus;

/// n
pub(crate) const N: Limbs =
    [0xf3b9_cac2_fc63_2551, 0xbce6_faad_a717_9e84, 0xffff_ffff_ffff_ffff, 0xffff_ffff_0000_0000];
/// n, to invert by
pub(crate) const MODULUS: Modulus = Modulus::new(&N);
/// -n^-1 mod 2^64
const N_PRIME: u64 = 0xccd1_c8aa_ee00_bc4f;
/// 2^512 mod n
pub(crate) const R2: Limbs =
    [0x8324_4c95_be79_eea2, 0x4699_799c_49bd_6fa6, 0x2845_b239_2b6b_ec59, 0x66e1_2d94_f3d9_5620];

/// A scalar in 1..n, or `None`. Both halves of a signature are such.
#[inline]
pub(crate) fn from_be_bytes(bytes: &[u8; 32]) -> Option<Limbs> {
    let integer = limbs::from_be_bytes(bytes);
    (limbs::less_than(&integer, &N) && !limbs::is_zero(&integer)).then_some(integer)
}

/// `a * b / 2^256 mod n`, fully reduced, for `a < 2^256` and `b < n`.
#[inline]
pub(crate) const fn montgomery_mul(a: &Limbs, b: &Limbs) -> Limbs {
    let mut t = limbs::wide_mul(a, b);
    let mut carry_in = 0;
    let mut i = 0;
    while i < 4 {
        let m = t[i].wrapping_mul(N_PRIME);
        let (_, c) = mac(t[i], m, N[0], 0);
        let (t1, c) = mac(t[i + 1], m, N[1], c);
        let (t2, c) = mac(t[i + 2], m, N[2], c);
        let (t3, c) = mac(t[i + 3], m, N[3], c);
        let (t4, c) = adc(t[i + 4], c, carry_in);
        (t[i + 1], t[i + 2], t[i + 3], t[i + 4]) = (t1, t2, t3, t4);
        carry_in = c;
        i += 1;
    }
    // (a b + m n) / 2^256 < n + n
    limbs::reduce_once(&[t[4], t[5], t[6], t[7]], carry_in, &N)
}

/// Replaces each s of `scalars` by `s^-1 * 2^256 mod n`, with one inversion for all. None may be zero.
/// `prefix` is scratch of the same length.
pub(crate) fn invert_all(scalars: &mut [Limbs], prefix: &mut [Limbs]) {
    let Some((&first, rest)) = scalars.split_first() else { return };
    prefix[0] = first;
    for i in 0..rest.len() {
        prefix[i + 1] = montgomery_mul(&prefix[i], &rest[i]);
    }
    let mut running = invert(&prefix[scalars.len() - 1]);
    for i in (1..scalars.len()).rev() {
        let inverse = montgomery_mul(&prefix[i - 1], &running);
        running = montgomery_mul(&scalars[i], &running);
        scalars[i] = inverse;
    }
    scalars[0] = running;
}

/// With `a` a product of k plain scalars by `montgomery_mul`, `a = s1 .. sk / 2^(256 (k - 1))`: `a^-1 * 2^256`,
/// from which multiplication by the others gives `sk^-1 * 2^256` again.
fn invert(a: &Limbs) -> Limbs {
    montgomery_mul(&MODULUS.invert(a), &R2)
}

/// `n - a`, for `a` in 0..=n.
#[inline]
pub(crate) const fn negate(a: &Limbs) -> Limbs {
    limbs::sub(&N, a).0
}
