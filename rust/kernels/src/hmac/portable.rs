//! One id after the other.

use super::{Template, outer_hash};
use crate::sha256::{State, compress};
use zeroize::Zeroize;

/// The first `width` bytes of each MAC, side by side.
pub fn derive(template: &mut Template, outer: &State, ids: &[[u8; 8]], width: usize, out: &mut [u8]) {
    let at = template.at;
    for (id, out) in ids.iter().zip(out.chunks_exact_mut(width)) {
        template.blocks.as_flattened_mut()[at..at + 8].copy_from_slice(id);
        let mut inner = template.state;
        compress(&mut inner, &template.blocks);
        let mut mac = outer_hash(outer, &inner);
        out.copy_from_slice(&mac[..width]);
        inner.zeroize();
        mac.zeroize();
    }
}
