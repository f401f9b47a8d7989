//! SHA-256 blocks by the `sha2` crate, one stream. It looks for SHA instructions itself; its software rounds alone are
//! chosen at build time with `--cfg sha2_256_backend="soft"`.

use super::State;

/// FIPS 180-4 section 6.2.2, over whole blocks.
pub fn compress(state: &mut State, blocks: &[[u8; 64]]) {
    sha2::block_api::compress256(state, blocks);
}
