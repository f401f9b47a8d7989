//! SHA-256 blocks by the `sha2` crate, one stream. It looks for SHA instructions itself; its software rounds alone are
//! chosen at build time with `--cfg sha2_256_backend="soft"`.

use super::{Blocks, INITIAL, State, finish};
use crate::Message;

/// FIPS 180-4 section 6.2.2, over whole blocks.
pub fn compress(state: &mut State, blocks: &[[u8; 64]]) {
    sha2::block_api::compress256(state, blocks);
}

/// SHA-256 of each message; as many digests as messages.
pub fn digest_many(messages: &[Message<'_>], digests: &mut [[u8; 32]]) {
    for (message, digest) in messages.iter().zip(digests) {
        *digest = finish(INITIAL, Blocks::new(*message));
    }
}
