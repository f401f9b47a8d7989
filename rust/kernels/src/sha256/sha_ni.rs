//! SHA-256 by the SHA instructions, several streams interleaved: one alone waits for its own rounds.
//!
//! `sha256rnds2` does two rounds, starts every second cycle and ends four cycles later; the words of a message are
//! expanded on other ports meanwhile.

use super::{BLOCK, Blocks, INITIAL, State};
use crate::Message;
use core::arch::asm;
use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_loadu_si128, _mm_set_epi8, _mm_set_epi32, _mm_setzero_si128,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32,
    _mm_storeu_si128, _mm_unpackhi_epi64, _mm_unpacklo_epi64,
};
use zeroize::Zeroize;

/// Streams that fill the pipeline.
pub const LANES: usize = 4;
/// Fewer messages than these are hashed sooner one after the other.
pub const FEW: usize = 2;
/// Groups of four rounds.
const GROUPS: usize = 16;

/// FIPS 180-4 section 4.2.2, four a group.
#[rustfmt::skip]
static CONSTANTS: [[u32; 4]; GROUPS] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5], [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3], [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc], [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7], [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13], [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3], [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5], [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208], [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

/// A state as the instructions take it: `abef` and `cdgh`, the first letter in the highest word.
#[derive(Clone, Copy)]
pub struct Packed(pub [__m128i; 2]);

impl Zeroize for Packed {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

/// The sixteen words of a block, the first in the lowest word of the first vector.
pub type Words = [__m128i; 4];

/// Sixteen bytes, the first the lowest.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn load(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the reference is good for 16 bytes, and the load asks for no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn store(bytes: &mut [u8; 16], value: __m128i) {
    // SAFETY: the reference is good for 16 bytes, and the store asks for no alignment.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), value) }
}

/// The bytes of each word turned round.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn swapped(words: __m128i) -> __m128i {
    _mm_shuffle_epi8(words, _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3))
}

/// The words of a block.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub fn words(block: &[u8; BLOCK]) -> Words {
    let mut words = [_mm_setzero_si128(); 4];
    for (words, bytes) in words.iter_mut().zip(block.as_chunks().0) {
        *words = swapped(load(bytes));
    }
    words
}

/// A state from its words a to h.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub fn pack(state: &State) -> Packed {
    let [a, b, c, d, e, f, g, h] = state.map(|word| word as i32);
    Packed([_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h)])
}

/// The words a to d and e to h, as they would stand in a block.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub fn unpack(Packed([abef, cdgh]): Packed) -> [__m128i; 2] {
    let (feba, hgdc) = (_mm_shuffle_epi32(abef, 0x1b), _mm_shuffle_epi32(cdgh, 0x1b));
    [_mm_unpacklo_epi64(feba, hgdc), _mm_unpackhi_epi64(feba, hgdc)]
}

/// The 32 bytes of a state.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub fn write(state: Packed, out: &mut [u8; 32]) {
    for (bytes, half) in out.as_chunks_mut().0.iter_mut().zip(unpack(state)) {
        store(bytes, swapped(half));
    }
}

/// The first 16 bytes of a state.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub fn write_half(state: Packed, out: &mut [u8; 16]) {
    store(out, swapped(unpack(state)[0]));
}

/// Rounds 4 `group` to 4 `group` + 3, FIPS 180-4 section 6.2.2 step 3.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn four_rounds(Packed([abef, cdgh]): Packed, words: __m128i, group: usize) -> Packed {
    let [first, second, third, fourth] = CONSTANTS[group].map(|word| word as i32);
    let sums = _mm_add_epi32(words, _mm_set_epi32(fourth, third, second, first));
    let middle = _mm_sha256rnds2_epu32(cdgh, abef, sums);
    let abef = _mm_sha256rnds2_epu32(abef, middle, _mm_shuffle_epi32(sums, 0x0e));
    Packed([abef, middle])
}

/// The words of the group four on, FIPS 180-4 section 6.2.2 step 1, in place of those of `GROUP`; `last` is the vector
/// before them.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn expand<const GROUP: usize>(words: &mut Words, last: &mut __m128i) {
    let ahead = |groups: usize| words[(GROUP + groups) % 4];
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(ahead(0), ahead(1)), _mm_alignr_epi8(*last, ahead(2), 4));
    *last = _mm_sha256msg2_epu32(sum, *last);
    words[GROUP % 4] = *last;
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn group<const GROUP: usize, const N: usize>(
    states: &mut [Packed; N],
    words: &mut [Words; N],
    last: &mut [__m128i; N],
    from: usize,
) {
    // Only the first four groups can have been done before, so the others have no branch.
    let rounds = GROUP >= 4 || GROUP >= from;
    for lane in 0..N {
        in_memory(words);
        if rounds {
            states[lane] = four_rounds(states[lane], words[lane][GROUP % 4], GROUP);
        }
        if GROUP < 12 {
            expand::<GROUP>(&mut words[lane], &mut last[lane]);
        }
    }
}

/// Holds the compiler to the order in which lanes are written down here, and to words in memory: it would spread four
/// streams over more registers than there are, and lose a tenth of the speed to moving states about.
#[inline]
fn in_memory<const N: usize>(words: &mut [Words; N]) {
    // SAFETY: there is no instruction in it.
    unsafe { asm!("/* {0} */", in(reg) words.as_mut_ptr(), options(nostack, preserves_flags)) };
}

/// The rounds of a block from group `from` (0 to 3) on, in every lane. The words are used up; adding the chaining value is
/// left to the caller.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub fn rounds<const N: usize>(states: &mut [Packed; N], words: &mut [Words; N], from: usize) {
    let mut last = words.map(|words| words[3]);
    // Copies, whose address nobody has, stay in registers.
    let mut lanes = *states;
    group::<0, N>(&mut lanes, words, &mut last, from);
    group::<1, N>(&mut lanes, words, &mut last, from);
    group::<2, N>(&mut lanes, words, &mut last, from);
    group::<3, N>(&mut lanes, words, &mut last, from);
    group::<4, N>(&mut lanes, words, &mut last, from);
    group::<5, N>(&mut lanes, words, &mut last, from);
    group::<6, N>(&mut lanes, words, &mut last, from);
    group::<7, N>(&mut lanes, words, &mut last, from);
    group::<8, N>(&mut lanes, words, &mut last, from);
    group::<9, N>(&mut lanes, words, &mut last, from);
    group::<10, N>(&mut lanes, words, &mut last, from);
    group::<11, N>(&mut lanes, words, &mut last, from);
    group::<12, N>(&mut lanes, words, &mut last, from);
    group::<13, N>(&mut lanes, words, &mut last, from);
    group::<14, N>(&mut lanes, words, &mut last, from);
    group::<15, N>(&mut lanes, words, &mut last, from);
    *states = lanes;
}

/// The rounds of the groups before `from` (0 to 3), which are to be the same in every lane.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub fn rounds_before(state: Packed, words: &Words, from: usize) -> Packed {
    (0..from).fold(state, |state, group| four_rounds(state, words[group], group))
}

/// FIPS 180-4 section 6.2.2 step 4.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub fn add(Packed(state): Packed, Packed(before): Packed) -> Packed {
    Packed([_mm_add_epi32(state[0], before[0]), _mm_add_epi32(state[1], before[1])])
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn compress<const N: usize>(states: &mut [Packed; N], words: &mut [Words; N]) {
    let before = *states;
    rounds(states, words, 0);
    for (state, before) in states.iter_mut().zip(before) {
        *state = add(*state, before);
    }
}

/// A message on its way through a lane.
struct Lane<'a> {
    blocks: Blocks<'a>,
    row: usize,
}

/// SHA-256 of each message; as many digests as messages.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub fn digest_many(messages: &[Message<'_>], digests: &mut [[u8; 32]]) {
    let initial = pack(&INITIAL);
    let mut waiting = messages.iter().enumerate().map(|(row, message)| Lane { blocks: Blocks::new(*message), row });
    let mut states = [initial; LANES];
    let mut lanes: [Option<Lane<'_>>; LANES] = std::array::from_fn(|_| waiting.next());
    let mut room = [0; BLOCK];
    while lanes.iter().flatten().count() > FEW {
        // An idle lane hashes nothing that is read.
        let mut blocks = [[_mm_setzero_si128(); 4]; LANES];
        for (lane, block) in lanes.iter_mut().zip(&mut blocks) {
            if let Some(lane) = lane {
                *block = words(lane.blocks.next(&mut room));
            }
        }
        compress(&mut states, &mut blocks);
        for (lane, state) in lanes.iter_mut().zip(&mut states) {
            if let Some(Lane { row, .. }) = lane.take_if(|lane| lane.blocks.finished()) {
                write(*state, &mut digests[row]);
                *state = initial;
                *lane = waiting.next();
            }
        }
    }
    for (lane, state) in lanes.into_iter().zip(states) {
        if let Some(lane) = lane {
            let digest = &mut digests[lane.row];
            finish(state, lane.blocks, digest);
        }
    }
}

/// One message to its end.
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn finish(state: Packed, mut blocks: Blocks<'_>, digest: &mut [u8; 32]) {
    let mut room = [0; BLOCK];
    let mut state = [state];
    while !blocks.finished() {
        let mut block = [words(blocks.next(&mut room))];
        compress(&mut state, &mut block);
    }
    write(state[0], digest);
}
