//! Eight messages at a time, one a lane, whatever their lengths.

use super::blocks::{BLOCK, Blocks};
use super::constants::{INITIAL, K};
use crate::transpose::transpose;
use std::arch::x86_64::*;

/// Sixteen words of a block, eight lanes each.
type Schedule = [__m512i; 16];

/// SHA-512 of eight messages, each the concatenation of its pieces: the hash's eight words, most significant byte first as
/// FIPS 180-4 has them, message i in lane i.
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn hash<const N: usize>(messages: &[[&[u8]; N]; 8]) -> [__m512i; 8] {
    let mut lanes = messages.map(Blocks::new);
    let mut buffer = [[0; BLOCK]; 8];
    let counts: [u64; 8] = std::array::from_fn(|i| lanes[i].count() as u64);
    let most = counts.iter().copied().max().unwrap_or(0);
    // SAFETY: the array is 64 bytes long, and the load asks for no alignment.
    let counts = unsafe { _mm512_loadu_si512(counts.as_ptr().cast()) };
    let mut state = INITIAL.map(|word| _mm512_set1_epi64(word as i64));
    for block in 0..most {
        for (lane, bytes) in lanes.iter_mut().zip(&mut buffer) {
            lane.next(bytes);
        }
        let next = compress(&state, load_blocks(&buffer));
        // Shorter messages keep their state.
        let going = _mm512_cmpgt_epu64_mask(counts, _mm512_set1_epi64(block as i64));
        state = std::array::from_fn(|i| _mm512_mask_mov_epi64(state[i], going, next[i]));
    }
    state
}

/// Eight blocks, their words big-endian.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn load_blocks(blocks: &[[u8; BLOCK]; 8]) -> Schedule {
    let half = |offset: usize| {
        // SAFETY: 64 bytes at 0 and at 64 lie within each block, and the load asks for no alignment.
        transpose(std::array::from_fn(|i| unsafe { _mm512_loadu_si512(blocks[i].as_ptr().add(offset).cast()) }))
    };
    let (front, back) = (half(0), half(64));
    std::array::from_fn(|i| swap_bytes(if i < 8 { front[i] } else { back[i - 8] }))
}

/// Each 64-bit word with its bytes in the other order.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
pub(crate) fn swap_bytes(words: __m512i) -> __m512i {
    let order = _mm512_set4_epi32(0x0809_0a0b, 0x0c0d_0e0f, 0x0001_0203, 0x0405_0607);
    _mm512_shuffle_epi8(words, order)
}

/// The compression function (FIPS 180-4, section 6.4.2).
#[target_feature(enable = "avx512f")]
fn compress(state: &[__m512i; 8], mut w: Schedule) -> [__m512i; 8] {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (round, constants) in K.as_chunks::<16>().0.iter().enumerate() {
        if round > 0 {
            extend(&mut w);
        }
        for (word, &k) in w.iter().zip(constants) {
            let t1 = add(add(add(h, big_sigma1(e)), choose(e, f, g)), add(_mm512_set1_epi64(k as i64), *word));
            let t2 = add(big_sigma0(a), majority(a, b, c));
            (h, g, f, e, d, c, b, a) = (g, f, e, add(d, t1), c, b, a, add(t1, t2));
        }
    }
    let last = [a, b, c, d, e, f, g, h];
    std::array::from_fn(|i| add(state[i], last[i]))
}

/// The next sixteen words of the schedule.
#[target_feature(enable = "avx512f")]
#[inline]
fn extend(w: &mut Schedule) {
    for i in 0..16 {
        let sum = add(w[i], w[(i + 9) % 16]);
        w[i] = add(sum, add(small_sigma0(w[(i + 1) % 16]), small_sigma1(w[(i + 14) % 16])));
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn add(x: __m512i, y: __m512i) -> __m512i {
    _mm512_add_epi64(x, y)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn xor3(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0x96>(x, y, z)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn choose(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0xca>(x, y, z)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn majority(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0xe8>(x, y, z)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn big_sigma0(x: __m512i) -> __m512i {
    xor3(_mm512_ror_epi64::<28>(x), _mm512_ror_epi64::<34>(x), _mm512_ror_epi64::<39>(x))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn big_sigma1(x: __m512i) -> __m512i {
    xor3(_mm512_ror_epi64::<14>(x), _mm512_ror_epi64::<18>(x), _mm512_ror_epi64::<41>(x))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn small_sigma0(x: __m512i) -> __m512i {
    xor3(_mm512_ror_epi64::<1>(x), _mm512_ror_epi64::<8>(x), _mm512_srli_epi64::<7>(x))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn small_sigma1(x: __m512i) -> __m512i {
    xor3(_mm512_ror_epi64::<19>(x), _mm512_ror_epi64::<61>(x), _mm512_srli_epi64::<6>(x))
}
