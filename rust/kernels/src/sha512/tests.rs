//! The lanes against the sha2 crate.

use super::{avx512, portable};
use crate::features;

/// The hashes of eight messages, from the lanes.
fn hash_lanes(messages: &[[&[u8]; 3]; 8]) -> [[u8; 64]; 8] {
    // SAFETY: the callers asked for the features first; the state is eight vectors of eight words.
    let words: [[u64; 8]; 8] = unsafe { std::mem::transmute(avx512::hash(messages)) };
    std::array::from_fn(|lane| {
        let mut hash = [0; 64];
        for (bytes, word) in hash.chunks_exact_mut(8).zip(&words) {
            bytes.copy_from_slice(&word[lane].to_be_bytes());
        }
        hash
    })
}

#[test]
fn lanes_agree_with_sha2_at_every_mix_of_lengths() {
    if !features::detected().avx512ifma {
        return;
    }
    let text: Vec<u8> = (0..600u32).map(|i| (i * i % 251) as u8).collect();
    for length in 0..=400 {
        // Lane i is a number of bytes on that takes every lane past every other's block boundaries.
        let messages: [[&[u8]; 3]; 8] = std::array::from_fn(|i| {
            let length = (length + i * 57) % 401;
            let (cut, again) = (length * i / 8, length - length / (i + 1));
            let (cut, again) = (cut.min(again), cut.max(again));
            [&text[i..i + cut], &text[i + cut..i + again], &text[i + again..i + length]]
        });
        assert_eq!(hash_lanes(&messages), messages.map(portable::hash), "length {length}");
    }
}
