//! Blocks of eight rows side by side.

use super::Block;
use std::arch::x86_64::__m128i;
use std::mem::transmute;

/// Rows side by side: as many as the processor computes rounds of while it waits for one.
pub(super) const LANES: usize = 8;

/// One block of each row.
pub(super) type Lanes = [__m128i; LANES];

#[inline]
#[target_feature(enable = "avx,aes")]
pub(super) fn load(block: &Block) -> __m128i {
    // SAFETY: any 16 bytes are a vector.
    unsafe { transmute::<Block, __m128i>(*block) }
}
