//! The field of p = 2^256 - 2^224 + 2^192 + 2^96 - 1, portable.
//!
//! An element is held as `x * 2^256 mod p`, always fully reduced, so that equal elements have equal limbs.
//! The shape of p (its low 96 bits are ones) makes the Montgomery factor of each limb the limb itself; the
//! tests hold every operation to fiat-crypto's machine-checked one.

use super::limbs::{self, Limbs, adc, mac};
use crate::inverse::Modulus;

/// p
pub(crate) const P: Limbs = [0xffff_ffff_ffff_ffff, 0x0000_0000_ffff_ffff, 0, 0xffff_ffff_0000_0001];
/// p, to invert by
pub(crate) const MODULUS: Modulus = Modulus::new(&P);
/// 2^512 mod p
const R2: Limbs = [0x0000_0000_0000_0003, 0xffff_fffb_ffff_ffff, 0xffff_ffff_ffff_fffe, 0x0000_0004_ffff_fffd];

/// An element, `x * 2^256 mod p`, in 0..p.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fe(pub(crate) Limbs);

impl Fe {
    pub(crate) const ZERO: Self = Self([0; 4]);
    /// 2^256 mod p
    pub(crate) const ONE: Self =
        Self([0x0000_0000_0000_0001, 0xffff_ffff_0000_0000, 0xffff_ffff_ffff_ffff, 0x0000_0000_ffff_fffe]);

    /// The element of an integer below 2^256.
    #[inline]
    pub(crate) const fn from_integer(integer: &Limbs) -> Self {
        // integer * R2 < 2^256 * p, which is all that `reduce` asks for.
        Self(reduce(&limbs::wide_mul(integer, &R2)))
    }

    /// The integer in 0..p.
    pub(crate) const fn to_integer(self) -> Limbs {
        let [a, b, c, d] = self.0;
        reduce(&[a, b, c, d, 0, 0, 0, 0])
    }

    /// `None` for p and above.
    pub(crate) fn from_be_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let integer = limbs::from_be_bytes(bytes);
        limbs::less_than(&integer, &P).then(|| Self::from_integer(&integer))
    }

    pub(crate) const fn is_zero(&self) -> bool {
        limbs::is_zero(&self.0)
    }

    #[inline(always)]
    pub(crate) const fn add(&self, other: &Self) -> Self {
        let (sum, carry) = limbs::add(&self.0, &other.0);
        Self(limbs::reduce_once(&sum, carry, &P))
    }

    #[inline(always)]
    pub(crate) const fn sub(&self, other: &Self) -> Self {
        let (difference, borrow) = limbs::sub(&self.0, &other.0);
        let mask = borrow.wrapping_neg();
        Self(limbs::add(&difference, &[mask, P[1] & mask, 0, P[3] & mask]).0)
    }

    #[inline(always)]
    pub(crate) const fn double(&self) -> Self {
        self.add(self)
    }

    #[inline(always)]
    pub(crate) const fn neg(&self) -> Self {
        Self::ZERO.sub(self)
    }

    /// Without a branch, which would be guessed wrong half the time.
    #[inline(always)]
    pub(crate) fn negate_if(&self, negative: bool) -> Self {
        let negated = self.neg().0;
        let mask = u64::from(negative).wrapping_neg();
        Self(std::array::from_fn(|i| self.0[i] ^ (mask & (self.0[i] ^ negated[i]))))
    }

    #[inline(always)]
    pub(crate) const fn mul(&self, other: &Self) -> Self {
        Self(reduce(&limbs::wide_mul(&self.0, &other.0)))
    }

    #[inline(always)]
    pub(crate) const fn square(&self) -> Self {
        Self(reduce(&limbs::wide_square(&self.0)))
    }

    /// 1 / self; zero for zero. Its time depends on the value.
    pub(crate) fn invert(&self) -> Self {
        // (x 2^256)^-1 * 2^512 * 2^512 / 2^256 / 2^256 = x^-1 2^256
        let inverse = MODULUS.invert(&self.0);
        Self(reduce(&limbs::wide_mul(&reduce(&limbs::wide_mul(&inverse, &R2)), &R2)))
    }
}

/// `t / 2^256 mod p`, fully reduced, for `t < 2^256 * p`.
#[inline(always)]
const fn reduce(t: &[u64; 8]) -> Limbs {
    let [t0, t1, t2, t3, t4, t5, t6, t7] = *t;
    let (t1, t2, t3, u4) = fold(t0, t1, t2, t3);
    let (t2, t3, u4, u5) = fold(t1, t2, t3, u4);
    let (t3, u4, u5, u6) = fold(t2, t3, u4, u5);
    let (u4, u5, u6, u7) = fold(t3, u4, u5, u6);
    // (u4..u7) <= p and (t4..t7) < p, so the sum is below 2p.
    let (sum, carry) = limbs::add(&[t4, t5, t6, t7], &[u4, u5, u6, u7]);
    limbs::reduce_once(&sum, carry, &P)
}

/// Adds `m * p` to `(m, a, b, c)`, whose lowest limb becomes zero and is dropped:
/// `m * p = -m + m * 2^96 + m * (2^64 - 2^32 + 1) * 2^192`. The new top limb has room for the carry, since
/// `(2^256 - 1 + (2^64 - 1) * p) / 2^64 < 2^256`.
#[inline(always)]
const fn fold(m: u64, a: u64, b: u64, c: u64) -> (u64, u64, u64, u64) {
    let (a, carry) = adc(a, m << 32, 0);
    let (b, carry) = adc(b, m >> 32, carry);
    let (c, top) = mac(c, m, P[3], carry);
    (a, b, c, top)
}
