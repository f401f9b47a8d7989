//! Scalars, their digits, and sums of chosen scalars in lanes.

use super::super::scalar::{self, L};
use super::super::window::{WINDOWS, Window, Words};
use super::samples::Source;
use curve25519_dalek::Scalar;

/// Scalars below L whose digits are at their edges.
pub(in super::super) fn edges() -> Vec<Words> {
    let mut edges = vec![[0; 4], [1, 0, 0, 0], [2, 0, 0, 0]];
    // L - 1, L - 2, ... and the neighbourhood of 2^252.
    edges.extend((1..4).map(|below| [L[0] - below, L[1], L[2], L[3]]));
    edges.extend([[0, 0, 0, 1 << 60], [1, 0, 0, 1 << 60], [u64::MAX, u64::MAX, u64::MAX, (1 << 60) - 1]]);
    for window in WINDOWS.map(Window::new) {
        // Each digit at -2^(W-1), at 2^(W-1) - 1, at 0 from a carry, and alone.
        let bias = window.bias();
        edges.push(bias);
        edges.push(std::array::from_fn(|i| if i == 0 { bias[0] - 1 } else { bias[i] }));
        edges.push(std::array::from_fn(|i| !bias[i] & if i == 3 { (1 << 60) - 1 } else { u64::MAX }));
        for row in 0..window.rows() {
            let bit = window.bits() as usize * row;
            let mut alone = [0; 4];
            alone[bit / 64] = 1 << (bit % 64);
            edges.push(alone);
        }
    }
    edges.retain(|words| words.iter().rev().lt(L.iter().rev()));
    edges
}

pub(in super::super) fn to_dalek(words: &Words) -> Scalar {
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    Option::from(Scalar::from_canonical_bytes(bytes)).expect("a scalar below L")
}

pub(in super::super) fn random(source: &mut Source) -> Words {
    let bytes = source.bytes();
    scalar::reduce(&std::array::from_fn(|i| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().expect("8 bytes"))))
}

#[test]
fn digits_sum_to_their_scalar_and_stay_within_their_row() {
    let mut source = Source::new(20);
    let mut scalars = edges();
    scalars.extend((0..200).map(|_| random(&mut source)));
    for window in WINDOWS.map(Window::new) {
        let radix = Scalar::from(1u64 << window.bits());
        for words in &scalars {
            let biased = window.biased(words);
            let mut sum = Scalar::ZERO;
            for row in (0..window.rows()).rev() {
                let digit = window.digit(&biased, row);
                assert!(digit.magnitude <= window.row_entries(row), "{words:x?}, row {row} of window {window:?}");
                let magnitude = Scalar::from(digit.magnitude as u64);
                sum = sum * radix + if digit.negative { -magnitude } else { magnitude };
            }
            assert_eq!(sum, to_dalek(words), "window {window:?}");
        }
    }
}

#[test]
fn hashes_are_reduced_as_dalek_reduces_them() {
    let mut source = Source::new(21);
    let mut hashes: Vec<[u8; 64]> = (0..2000).map(|_| source.bytes()).collect();
    // Small multiples of L, and their neighbours, at every place that 64 bytes have for them.
    let l: Vec<u8> = L.iter().flat_map(|word| word.to_le_bytes()).collect();
    for at in 0..=32 {
        let mut hash = [0; 64];
        hash[at..at + 32].copy_from_slice(&l);
        for near in 0..3u8 {
            hash[0] = hash[0].wrapping_add(near);
            hashes.push(hash);
        }
        hash[..at].fill(0xff);
        hashes.push(hash);
        hash[at..].fill(0xff);
        hashes.push(hash);
    }
    hashes.extend([[0; 64], [0xff; 64]]);
    for hash in hashes {
        let words = std::array::from_fn(|i| u64::from_le_bytes(hash[8 * i..8 * i + 8].try_into().expect("8 bytes")));
        let reduced = scalar::reduce(&words);
        assert_eq!(to_dalek(&reduced), Scalar::from_bytes_mod_order_wide(&hash));
    }
}

#[test]
fn s_is_taken_up_to_l_minus_one() {
    for (words, taken) in [
        ([L[0] - 1, L[1], L[2], L[3]], true),
        (L, false),
        ([L[0] + 1, L[1], L[2], L[3]], false),
        ([L[0], L[1] - 1, L[2], L[3]], true),
        ([0, 0, 1, L[3]], false),
        ([u64::MAX; 4], false),
        ([0; 4], true),
    ] {
        let mut signature = [0; 64];
        for (chunk, word) in signature[32..].chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        assert_eq!(scalar::from_signature(&signature), taken.then_some(words));
    }
}
