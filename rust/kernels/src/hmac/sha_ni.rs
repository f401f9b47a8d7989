//! Four ids at a time, by the SHA instructions.
//!
//! The inner state never leaves the registers' layout: its words are the first half of the outer hash's block. The rounds
//! before the id's own words are the same for every id and done once.

use super::Template;
use crate::sha256::State;
use crate::sha256::sha_ni::{
    FEW, LANES, Packed, Words, add, pack, rounds, rounds_before, unpack, words, write, write_half,
};
use core::arch::x86_64::{_mm_cvtsi64_si128, _mm_or_si128, _mm_set_epi32, _mm_shuffle_epi8};
use zeroize::Zeroize;

/// A block of the template, and where an id's bytes go in it.
struct Block {
    words: Words,
    /// For each byte of the words the id's byte that is put there; none if the top bit is set.
    places: Words,
}

struct Prepared {
    /// Before the first block.
    state: Packed,
    /// In the first block, after the groups of rounds before `from`.
    begun: Packed,
    from: usize,
    blocks: Vec<Block>,
    outer: Packed,
}

impl Prepared {
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn new(template: &Template, outer: &State) -> Self {
        let mut places = vec![[0x80; 64]; template.blocks.len()];
        for (byte, place) in places.as_flattened_mut()[template.at..].iter_mut().take(8).enumerate() {
            *place = byte as u8;
        }
        let block = |(block, places)| Block { words: words(block), places: words(places) };
        let blocks: Vec<_> = template.blocks.iter().zip(&places).map(block).collect();
        let state = pack(&template.state);
        let from = template.at / 16;
        Self { state, begun: rounds_before(state, &blocks[0].words, from), from, blocks, outer: pack(outer) }
    }

    /// The MACs of `N` ids.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn derive<const N: usize>(&self, ids: &[[u8; 8]; N]) -> [Packed; N] {
        let mut before = [self.state; N];
        let mut states = [self.begun; N];
        let mut from = self.from;
        for block in &self.blocks {
            let mut words = ids.map(|id| block.with(id));
            rounds(&mut states, &mut words, from);
            for (state, before) in states.iter_mut().zip(&mut before) {
                *state = add(*state, *before);
                *before = *state;
            }
            from = 0;
        }
        let mut words = states.map(|state| outer_block(state));
        let mut macs = [self.outer; N];
        rounds(&mut macs, &mut words, 0);
        macs.map(|mac| add(mac, self.outer))
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.state.zeroize();
        self.begun.zeroize();
        self.outer.zeroize();
    }
}

impl Block {
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn with(&self, id: [u8; 8]) -> Words {
        let id = _mm_cvtsi64_si128(i64::from_le_bytes(id));
        let mut words = self.words;
        for (words, places) in words.iter_mut().zip(self.places) {
            *words = _mm_or_si128(*words, _mm_shuffle_epi8(id, places));
        }
        words
    }
}

/// The outer hash's second block: 32 bytes of inner hash, the padding, and the length of 96 bytes in bits.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn outer_block(inner: Packed) -> Words {
    let [first, second] = unpack(inner);
    [first, second, _mm_set_epi32(0, 0, 0, i32::MIN), _mm_set_epi32(96 * 8, 0, 0, 0)]
}

/// The first `width` bytes of each MAC, side by side.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub fn derive(template: &Template, outer: &State, ids: &[[u8; 8]], width: usize, out: &mut [u8]) {
    let prepared = Prepared::new(template, outer);
    let (fours, rest) = ids.as_chunks::<LANES>();
    let (out, out_of_rest) = out.split_at_mut(fours.len() * LANES * width);
    for (ids, out) in fours.iter().zip(out.chunks_exact_mut(LANES * width)) {
        cut(&prepared.derive(ids), width, out);
    }
    if rest.len() > FEW {
        let mut ids = [[0; 8]; LANES];
        ids[..rest.len()].copy_from_slice(rest);
        cut(&prepared.derive(&ids), width, out_of_rest);
    } else {
        for (id, out) in rest.iter().zip(out_of_rest.chunks_exact_mut(width)) {
            cut(&prepared.derive(&[*id]), width, out);
        }
    }
}

/// The first `width` bytes of each MAC, as many as there is room for.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn cut(macs: &[Packed], width: usize, out: &mut [u8]) {
    match width {
        16 => macs.iter().zip(out.as_chunks_mut().0).for_each(|(mac, out)| write_half(*mac, out)),
        32 => macs.iter().zip(out.as_chunks_mut().0).for_each(|(mac, out)| write(*mac, out)),
        _ => cut_bytes(macs, width, out),
    }
}

#[target_feature(enable = "sha,sse4.1,ssse3")]
fn cut_bytes(macs: &[Packed], width: usize, out: &mut [u8]) {
    let mut bytes = [0; 32];
    for (mac, out) in macs.iter().zip(out.chunks_exact_mut(width)) {
        write(*mac, &mut bytes);
        out.copy_from_slice(&bytes[..width]);
    }
    bytes.zeroize();
}
