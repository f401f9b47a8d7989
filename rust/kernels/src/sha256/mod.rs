//! SHA-256 (FIPS 180-4) of many messages.

mod blocks;
mod portable;
#[cfg(target_arch = "x86_64")]
pub(crate) mod sha_ni;

use crate::Message;
pub(crate) use blocks::{BLOCK, Blocks};
pub(crate) use portable::compress;
use zeroize::Zeroize;

/// The eight words of the chaining value, a to h.
pub(crate) type State = [u32; 8];

/// The initial chaining value, FIPS 180-4 section 5.3.3.
#[rustfmt::skip]
pub(crate) const INITIAL: State = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
];

/// SHA-256 of each message into the digest of the same place. The messages are public: time depends on their lengths.
///
/// # Panics
/// When `digests` is shorter or longer than `messages`.
pub fn digest_many(messages: &[Message<'_>], digests: &mut [[u8; 32]]) {
    assert_eq!(messages.len(), digests.len(), "one digest a message");
    #[cfg(target_arch = "x86_64")]
    if crate::features::chosen().sha_ni {
        // SAFETY: the processor has what the function was compiled for.
        return unsafe { sha_ni::digest_many(messages, digests) };
    }
    portable::digest_many(messages, digests);
}

/// The digest after the last block; what was copied of the message, and the states, are wiped.
pub(crate) fn finish(mut state: State, mut blocks: Blocks<'_>) -> [u8; 32] {
    let mut room = [0; BLOCK];
    while !blocks.finished() {
        compress(&mut state, std::slice::from_ref(blocks.next(&mut room)));
    }
    let digest = bytes(&state);
    room.zeroize();
    state.zeroize();
    digest
}

/// The state as its 32 bytes, big-endian words.
pub(crate) fn bytes(state: &State) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (four, word) in bytes.as_chunks_mut().0.iter_mut().zip(state) {
        *four = word.to_be_bytes();
    }
    bytes
}
