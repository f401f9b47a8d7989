//! Scalars as sums of odd digits: `k = sum d_i * 2^(w i)` with every `d_i` odd and `|d_i| < 2^w`.
//!
//! No digit is zero, so no addition of a comb is ever skipped, and a digit depends on its own w + 1 bits only.
//! For odd k below 2^L write `k = sum s_j * 2^j` over j < L with `s_j` plus or minus one: plus where bit j + 1 of `k + 2^L`
//! is set. The w signs of window i, taken together, are its digit. An even k is replaced by n - k, which is odd, and
//! all signs turn round.

use super::limbs::Limbs;
use super::scalar;

/// Sign bit of a code; the rest is the index of `|d|`, `(|d| - 1) / 2`.
pub(crate) const NEGATIVE: u32 = 1 << 31;

/// How many digits of `window` bits a scalar has.
pub(crate) const fn count(window: u32) -> usize {
    256usize.div_ceil(window as usize)
}

/// A scalar made odd. Zero becomes n, whose digits sum to zero in the group.
#[derive(Clone, Copy)]
pub(crate) struct Odd {
    magnitude: Limbs,
    negative: bool,
}

impl Odd {
    /// Of a scalar in 0..n.
    #[inline]
    pub(crate) fn new(scalar: &Limbs) -> Self {
        let negative = scalar[0] & 1 == 0;
        let magnitude = if negative { scalar::negate(scalar) } else { *scalar };
        Self { magnitude, negative }
    }

    /// Code of digit `i`: [`NEGATIVE`] and the index of the odd multiple within its window.
    #[inline]
    pub(crate) fn code(&self, i: usize, window: u32) -> u32 {
        let bits = self.bits(i, window);
        let half = 1 << (window - 1);
        // d = 2 bits - (2^w - 1), so that the index is bits - half, or its mirror below half. Without branches: half of
        // them would be guessed wrong.
        let mirror = u32::from(bits >= half).wrapping_sub(1);
        let sign = (mirror & NEGATIVE) ^ (u32::from(self.negative) << 31);
        ((bits ^ mirror) & (half - 1)) | sign
    }

    /// Bits `w i + 1 ..= w i + w` of the magnitude plus 2^(w count).
    #[inline]
    fn bits(&self, i: usize, window: u32) -> u32 {
        let start = window as usize * i + 1;
        let (limb, shift) = (start / 64, start % 64);
        let low = self.magnitude.get(limb).map_or(0, |limb| limb >> shift);
        let high = self.magnitude.get(limb + 1).map_or(0, |limb| limb << 1 << (63 - shift));
        let mask = (1 << window) - 1;
        let top = u32::from(i + 1 == count(window)) << (window - 1);
        ((low | high) as u32 & mask) | top
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering;

    /// The sum of all digits, by Horner's rule in 320-bit two's complement.
    fn value(odd: &Odd, window: u32) -> [u64; 5] {
        let mut sum = [0u64; 5];
        for i in (0..count(window)).rev() {
            for _ in 0..window {
                let copy = sum;
                for (j, limb) in sum.iter_mut().enumerate() {
                    *limb = copy[j] << 1 | if j > 0 { copy[j - 1] >> 63 } else { 0 };
                }
            }
            let code = odd.code(i, window);
            let magnitude = i128::from(2 * (code & !NEGATIVE) + 1);
            let digit = if code & NEGATIVE == 0 { magnitude } else { -magnitude };
            let mut carry = digit;
            for limb in &mut sum {
                let wide = i128::from(*limb) + carry;
                *limb = wide as u64;
                carry = wide >> 64;
            }
        }
        sum
    }

    #[test]
    fn digits_of_every_window_sum_to_the_scalar() {
        let mut scalars = vec![[0; 4], [1, 0, 0, 0], [2, 0, 0, 0], scalar::negate(&[1, 0, 0, 0])];
        scalars.extend((0..256).map(|bit| {
            let mut power = [0; 4];
            power[bit / 64] = 1 << (bit % 64);
            power
        }));
        scalars.extend((0..255).map(|bit: usize| {
            std::array::from_fn(|i| match (bit / 64).cmp(&i) {
                Ordering::Greater => u64::MAX,
                Ordering::Equal => (1 << (bit % 64)) - 1,
                Ordering::Less => 0,
            })
        }));
        for window in 2..=16 {
            for scalar in &scalars {
                let odd = Odd::new(scalar);
                let [a, b, c, d, sign] = value(&odd, window);
                let expected = if odd.negative { scalar::negate(scalar) } else { *scalar };
                // `negative` turns every digit round, so the digits sum to -(n - k).
                if odd.negative {
                    let (negated, _) = super::super::limbs::sub(&[0; 4], &[a, b, c, d]);
                    assert_eq!((negated, sign), (expected, u64::MAX));
                } else {
                    assert_eq!(([a, b, c, d], sign), (expected, 0));
                }
            }
        }
    }
}
