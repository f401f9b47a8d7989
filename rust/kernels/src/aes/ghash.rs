//! GHASH (NIST SP 800-38D section 6.4) of eight rows at once, by PCLMULQDQ: a row's next product waits for the one before it,
//! those of other rows do not.

use super::lanes::{LANES, Lanes, load};
use super::{BLOCK, lengths, padded};
use std::arch::x86_64::*;

/// What is summed up for a row: the padded AAD, the padded message, and both lengths.
#[derive(Clone, Copy, Default)]
pub(super) struct Input<'a> {
    pub aad: &'a [u8],
    pub data: &'a [u8],
}

impl Input<'_> {
    /// How many blocks.
    pub fn blocks(&self) -> usize {
        self.aad.len().div_ceil(BLOCK) + self.data.len().div_ceil(BLOCK) + 1
    }

    #[inline]
    #[target_feature(enable = "avx,aes,pclmulqdq")]
    fn block(&self, at: usize) -> __m128i {
        let aad = self.aad.len().div_ceil(BLOCK);
        let block = if at < aad {
            padded(self.aad, at * BLOCK)
        } else if (at - aad) * BLOCK < self.data.len() {
            padded(self.data, (at - aad) * BLOCK)
        } else {
            lengths(self.aad, self.data)
        };
        reversed(load(&block))
    }
}

/// The bytes from the last to the first: GHASH's bits as those of a number.
#[inline]
#[target_feature(enable = "avx,aes,pclmulqdq")]
pub(super) fn reversed(block: __m128i) -> __m128i {
    _mm_shuffle_epi8(block, _mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0))
}

/// The sums of all rows under their keys (the zero block, encrypted), each as the bytes of a block.
#[target_feature(enable = "avx,aes,pclmulqdq")]
pub(super) fn sums(keys: &Lanes, rows: &[Input<'_>; LANES]) -> Lanes {
    let zero = _mm_setzero_si128();
    let (mut keys, mut sums) = (*keys, [zero; LANES]);
    for key in &mut keys {
        *key = times_x(reversed(*key));
    }
    let blocks = rows.map(|row| row.blocks());
    let most = blocks.into_iter().max().unwrap_or_default();
    for step in 0..most {
        // Rows of fewer blocks begin later: nothing times a key is nothing.
        let mut added = [zero; LANES];
        for lane in 0..LANES {
            if let Some(at) = (step + blocks[lane]).checked_sub(most) {
                added[lane] = rows[lane].block(at);
            }
        }
        for lane in 0..LANES {
            sums[lane] = product(_mm_xor_si128(sums[lane], added[lane]), keys[lane]);
        }
    }
    for sum in &mut sums {
        *sum = reversed(*sum);
    }
    sums
}

/// x times the element, in POLYVAL's field (RFC 8452 appendix A), without a branch on its secret top bit.
#[inline]
#[target_feature(enable = "avx,aes,pclmulqdq")]
fn times_x(element: __m128i) -> __m128i {
    // All ones where the top bit is set, in every word.
    let carry = _mm_shuffle_epi32::<0xff>(_mm_srai_epi32::<31>(element));
    let doubled = _mm_add_epi64(element, element);
    let into_high = _mm_slli_si128::<8>(_mm_srli_epi64::<63>(element));
    let reduction = _mm_set_epi64x(0xc200_0000_0000_0000_u64 as i64, 1);
    _mm_xor_si128(_mm_or_si128(doubled, into_high), _mm_and_si128(carry, reduction))
}

/// a times b times x^-128 in POLYVAL's field: RFC 8452 section 3.
#[inline]
#[target_feature(enable = "avx,aes,pclmulqdq")]
fn product(a: __m128i, b: __m128i) -> __m128i {
    let middle = _mm_xor_si128(_mm_clmulepi64_si128::<0x01>(a, b), _mm_clmulepi64_si128::<0x10>(a, b));
    let low = _mm_xor_si128(_mm_clmulepi64_si128::<0x00>(a, b), _mm_slli_si128::<8>(middle));
    let high = _mm_xor_si128(_mm_clmulepi64_si128::<0x11>(a, b), _mm_srli_si128::<8>(middle));
    // Twice the low word is cancelled by a multiple of x^128 + x^127 + x^126 + x^121 + 1.
    let polynomial = _mm_set_epi64x(0, 0xc200_0000_0000_0000_u64 as i64);
    let mut rest = low;
    for _ in 0..2 {
        rest = _mm_xor_si128(_mm_shuffle_epi32::<0x4e>(rest), _mm_clmulepi64_si128::<0x00>(rest, polynomial));
    }
    _mm_xor_si128(high, rest)
}
