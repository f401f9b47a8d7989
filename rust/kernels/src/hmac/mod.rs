//! HMAC-SHA-256 (RFC 2104, FIPS 198-1) of one template with many ids in it, under one key.

mod portable;
#[cfg(target_arch = "x86_64")]
mod sha_ni;
mod template;

use crate::sha256::{BLOCK, Blocks, INITIAL, State, bytes, compress, finish};
use crate::stack;
use std::fmt;
use template::Template;
use zeroize::{Zeroize, ZeroizeOnDrop};

const INNER_PAD: u8 = 0x36;
const OUTER_PAD: u8 = 0x5c;

/// The states after the padded key's block, RFC 2104 section 4: as secret as the key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key {
    inner: State,
    outer: State,
}

impl Key {
    /// A key of any length; one longer than 64 bytes is hashed first, RFC 2104 section 2.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        if key.len() > BLOCK {
            let mut digest = finish(INITIAL, Blocks::new([key, &[], &[], &[]]));
            block[..digest.len()].copy_from_slice(&digest);
            digest.zeroize();
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let key = Self { inner: padded(&block, INNER_PAD), outer: padded(&block, OUTER_PAD) };
        block.zeroize();
        key
    }

    /// HMAC-SHA-256 of one message.
    #[must_use]
    pub fn authenticate(&self, message: &[u8]) -> [u8; 32] {
        let mut inner = finish(self.inner, Blocks::after(BLOCK as u64, [message, &[], &[], &[]]));
        let mac = finish(self.outer, Blocks::after(BLOCK as u64, [&inner, &[], &[], &[]]));
        inner.zeroize();
        mac
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("hmac::Key(..)")
    }
}

fn padded(key: &[u8; BLOCK], pad: u8) -> State {
    let mut block = key.map(|byte| byte ^ pad);
    let mut state = INITIAL;
    compress(&mut state, std::slice::from_ref(&block));
    block.zeroize();
    state
}

/// HMAC-SHA-256 over `template` with the 8 bytes at `at` replaced by each id; the first `width` bytes of the MAC of
/// `ids[i]` go to `out[i * width..]`. The template and the ids are public; only the key and the MACs are secret.
///
/// # Panics
/// When `at + 8` exceeds the template, `width` is not 1 to 32, or `out` is not `ids.len() * width` bytes.
pub fn derive_many(key: &Key, template: &[u8], at: usize, ids: &[[u8; 8]], width: usize, out: &mut [u8]) {
    assert!((1..=32).contains(&width), "a MAC has 32 bytes, {width} were asked");
    assert_eq!(out.len(), ids.len() * width, "{width} bytes for each id");
    if ids.is_empty() {
        return;
    }
    stack::wiped(|| derive(key, Template::new(key.inner, template, at), ids, width, out));
}

fn derive(key: &Key, mut template: Template, ids: &[[u8; 8]], width: usize, out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if crate::features::chosen().sha_ni {
        // SAFETY: the processor has what the function was compiled for.
        return unsafe { sha_ni::derive(&template, &key.outer, ids, width, out) };
    }
    portable::derive(&mut template, &key.outer, ids, width, out);
}

/// The MAC that ends an HMAC: the outer hash of the inner one.
fn outer_hash(outer: &State, inner: &State) -> [u8; 32] {
    let mut block = [0; BLOCK];
    block[..32].copy_from_slice(&bytes(inner));
    block[32] = 0x80;
    block[BLOCK - 8..].copy_from_slice(&((BLOCK as u64 + 32) * 8).to_be_bytes());
    let mut state = *outer;
    compress(&mut state, std::slice::from_ref(&block));
    let mac = bytes(&state);
    block.zeroize();
    state.zeroize();
    mac
}

#[cfg(test)]
mod tests;
