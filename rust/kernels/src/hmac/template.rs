//! A message in which only 8 bytes change: what comes before them is hashed once.

use crate::sha256::{BLOCK, Blocks, State, compress};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The inner hash of an HMAC up to the block of the id, and the padded blocks from there on.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Template {
    /// The state before the first of `blocks`.
    pub state: State,
    /// The rest of the message and its padding; the id's bytes are zero.
    pub blocks: Vec<[u8; BLOCK]>,
    /// Where the id lies in `blocks`, counted in bytes from the first.
    pub at: usize,
}

impl Template {
    /// `message` with an id of 8 bytes at `at`, hashed from `inner`, the state after the key's block.
    pub fn new(inner: State, message: &[u8], at: usize) -> Self {
        let (before, after) = parts(message, at);
        let (hashed, begun) = before.as_chunks::<BLOCK>();
        let mut state = inner;
        compress(&mut state, hashed);
        let earlier = (BLOCK * (1 + hashed.len())) as u64;
        let blocks = collect(Blocks::after(earlier, [begun, &[0; 8], after, &[]]));
        Self { state, blocks, at: begun.len() }
    }
}

fn parts(message: &[u8], at: usize) -> (&[u8], &[u8]) {
    let (before, rest) = message.split_at_checked(at).unwrap_or((message, &[]));
    assert!(rest.len() >= 8, "an id of 8 bytes at {at} of a message of {}", message.len());
    (before, &rest[8..])
}

fn collect(mut blocks: Blocks<'_>) -> Vec<[u8; BLOCK]> {
    let mut collected = Vec::new();
    while !blocks.finished() {
        let mut room = [0; BLOCK];
        collected.push(*blocks.next(&mut room));
    }
    collected
}
