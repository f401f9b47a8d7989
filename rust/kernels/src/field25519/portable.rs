//! Field elements on fiat-crypto's arithmetic, whose bounds are machine-checked.

use super::{D_BYTES, HALF_BYTES, Limbs, SQRT_MINUS_ONE_BYTES};
use crate::inverse::Modulus;
use fiat_crypto::curve25519_64 as fiat;

/// p, for inverses.
const MODULUS: Modulus = Modulus::new(&[u64::MAX - 18, u64::MAX, u64::MAX, u64::MAX >> 1]);

/// An element with limbs of at most 2^51: what products and carries give.
#[derive(Clone, Copy)]
pub(crate) struct Tight(fiat::fiat_25519_tight_field_element);

/// An element with limbs of at most 3 * 2^51: what a sum or difference gives and a product takes.
#[derive(Clone, Copy)]
pub(crate) struct Loose(fiat::fiat_25519_loose_field_element);

pub(crate) const ZERO: Tight = Tight::from_limbs([0; 5]);
pub(crate) const ONE: Tight = Tight::from_limbs([1, 0, 0, 0, 0]);
pub(crate) const HALF: Tight = Tight::from_bytes(&HALF_BYTES);
pub(crate) const D: Tight = Tight::from_bytes(&D_BYTES);
pub(crate) const SQRT_MINUS_ONE: Tight = Tight::from_bytes(&SQRT_MINUS_ONE_BYTES);

impl Tight {
    /// Limbs of at most 2^51 each.
    #[inline]
    pub(crate) const fn from_limbs(limbs: Limbs) -> Self {
        Self(fiat::fiat_25519_tight_field_element(limbs))
    }

    /// Limbs of at most 2^51 each; not necessarily the smallest representative.
    #[inline]
    pub(crate) const fn limbs(&self) -> Limbs {
        self.0.0
    }

    /// The number of the low 255 bits, little-endian, modulo p.
    pub(crate) const fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut low = *bytes;
        low[31] &= 0x7f;
        let mut limbs = fiat::fiat_25519_tight_field_element([0; 5]);
        fiat::fiat_25519_from_bytes(&mut limbs, &low);
        Self(limbs)
    }

    /// The representative in 0..p, little-endian.
    #[inline]
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        fiat::fiat_25519_to_bytes(&mut bytes, &self.0);
        bytes
    }

    /// The same element, its limbs those of the representative in 0..p.
    pub(crate) fn canonical(self) -> Self {
        Self::from_bytes(&self.to_bytes())
    }

    #[inline]
    pub(crate) fn relax(&self) -> Loose {
        Loose(fiat::fiat_25519_loose_field_element(self.limbs()))
    }

    #[inline]
    pub(crate) fn add(&self, other: &Self) -> Loose {
        let mut sum = fiat::fiat_25519_loose_field_element([0; 5]);
        fiat::fiat_25519_add(&mut sum, &self.0, &other.0);
        Loose(sum)
    }

    #[inline]
    pub(crate) fn sub(&self, other: &Self) -> Loose {
        let mut difference = fiat::fiat_25519_loose_field_element([0; 5]);
        fiat::fiat_25519_sub(&mut difference, &self.0, &other.0);
        Loose(difference)
    }

    pub(crate) fn negate(&self) -> Self {
        ZERO.sub(self).carry()
    }

    #[inline]
    pub(crate) fn mul(&self, other: &Self) -> Self {
        self.relax().mul(&other.relax())
    }

    #[inline]
    pub(crate) fn square(&self) -> Self {
        self.relax().square()
    }

    /// self^(2^count)
    fn square_times(&self, count: u32) -> Self {
        (0..count).fold(*self, |power, _| power.square())
    }

    /// self^(2^250 - 1)
    fn power_2_250_minus_1(&self) -> Self {
        let square = self.square();
        let to_9 = square.square_times(2).mul(self);
        let ones_5 = to_9.mul(&square).square().mul(&to_9);
        let ones_10 = ones_5.square_times(5).mul(&ones_5);
        let ones_20 = ones_10.square_times(10).mul(&ones_10);
        let ones_40 = ones_20.square_times(20).mul(&ones_20);
        let ones_50 = ones_40.square_times(10).mul(&ones_10);
        let ones_100 = ones_50.square_times(50).mul(&ones_50);
        let ones_200 = ones_100.square_times(100).mul(&ones_100);
        ones_200.square_times(50).mul(&ones_50)
    }

    /// 1 / self, and 0 for 0.
    pub(crate) fn invert(&self) -> Self {
        Self::from_words(&MODULUS.invert(&self.to_words()))
    }

    /// self^((p - 5) / 8), of which square roots are made (RFC 8032, section 5.1.3).
    pub(crate) fn power_p_minus_5_over_8(&self) -> Self {
        self.power_2_250_minus_1().square_times(2).mul(self)
    }

    /// The representative in 0..p.
    fn to_words(self) -> [u64; 4] {
        let bytes = self.to_bytes();
        let (words, _) = bytes.as_chunks::<8>();
        std::array::from_fn(|i| u64::from_le_bytes(words[i]))
    }

    /// The element of a number below p.
    fn from_words(words: &[u64; 4]) -> Self {
        let mut bytes = [0; 32];
        let (chunks, _) = bytes.as_chunks_mut::<8>();
        for (chunk, word) in chunks.iter_mut().zip(words) {
            *chunk = word.to_le_bytes();
        }
        Self::from_bytes(&bytes)
    }

    /// Whether two elements are the same modulo p.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }

    /// The sign of RFC 8032: the lowest bit of the representative in 0..p.
    pub(crate) fn is_odd(&self) -> bool {
        self.to_bytes()[0] & 1 == 1
    }
}

impl Loose {
    #[inline]
    pub(crate) fn mul(&self, other: &Self) -> Tight {
        let mut product = fiat::fiat_25519_tight_field_element([0; 5]);
        fiat::fiat_25519_carry_mul(&mut product, &self.0, &other.0);
        Tight(product)
    }

    #[inline]
    pub(crate) fn square(&self) -> Tight {
        let mut square = fiat::fiat_25519_tight_field_element([0; 5]);
        fiat::fiat_25519_carry_square(&mut square, &self.0);
        Tight(square)
    }

    #[inline]
    pub(crate) fn carry(&self) -> Tight {
        let mut carried = fiat::fiat_25519_tight_field_element([0; 5]);
        fiat::fiat_25519_carry(&mut carried, &self.0);
        Tight(carried)
    }
}

/// Inverts every element in place with one inversion and three products each (Montgomery's trick). None may be 0.
pub(crate) fn invert_all(elements: &mut [Tight], prefixes: &mut [Tight]) {
    let mut product = ONE;
    for (element, prefix) in elements.iter().zip(&mut *prefixes) {
        *prefix = product;
        product = product.mul(element);
    }
    let mut inverse = product.invert();
    for (element, prefix) in elements.iter_mut().zip(prefixes).rev() {
        let next = inverse.mul(element);
        *element = inverse.mul(prefix);
        inverse = next;
    }
}
