//! AES-CMAC (RFC 4493, NIST SP 800-38B) of one template with many ids in it, under one key.

use crate::stack;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

const BLOCK: usize = 16;
/// Ids in flight: enough for any width of AES the processor has, and small enough for the first cache.
const CHUNK: usize = 64;

type Block = [u8; BLOCK];

/// An AES-128 or AES-256 key schedule with the two subkeys of RFC 4493 section 2.3. Wiped on drop.
#[derive(Clone)]
pub struct Key {
    cipher: Cipher,
    /// K1, for a last block that is full.
    full: Block,
    /// K2, for a last block that is padded.
    padded: Block,
}

// The schedules are wiped by the `aes` crate.
#[derive(Clone)]
enum Cipher {
    Aes128(Aes128),
    Aes256(Aes256),
}

impl Cipher {
    fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128::new_from_slice(key).ok().map(Self::Aes128),
            32 => Aes256::new_from_slice(key).ok().map(Self::Aes256),
            _ => None,
        }
    }

    fn encrypt(&self, blocks: &mut [Block]) {
        let blocks = Array::cast_slice_from_core_mut(blocks);
        match self {
            Self::Aes128(cipher) => cipher.encrypt_blocks(blocks),
            Self::Aes256(cipher) => cipher.encrypt_blocks(blocks),
        }
    }
}

impl Key {
    /// A key of 16 bytes for AES-128 or 32 for AES-256; `None` for any other length.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        let cipher = Cipher::new(key)?;
        let mut zero = Block::default();
        cipher.encrypt(std::slice::from_mut(&mut zero));
        let full = doubled(zero);
        zero.zeroize();
        Some(Self { cipher, full, padded: doubled(full) })
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.full.zeroize();
        self.padded.zeroize();
    }
}

impl ZeroizeOnDrop for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("cmac::Key(..)")
    }
}

/// Twice the element of GF(2^128), RFC 4493 section 2.3, without a branch on its secret top bit.
fn doubled(block: Block) -> Block {
    let value = u128::from_be_bytes(block);
    let reduction = 0x87 & 0u128.wrapping_sub(value >> 127);
    ((value << 1) ^ reduction).to_be_bytes()
}

/// CMAC over `template` with the 8 bytes at `at` replaced by each id; the first `width` bytes of the MAC of `ids[i]` go
/// to `out[i * stride..]` and the bytes between stay as they are, so that two calls write the halves of longer outputs.
/// The template and the ids are public; only the key and the MACs are secret.
///
/// # Panics
/// When `at + 8` exceeds the template, `width` is not 1 to 16 or exceeds `stride`, or `out` ends before the last MAC.
pub fn derive_many(
    key: &Key,
    template: &[u8],
    at: usize,
    ids: &[[u8; 8]],
    stride: usize,
    width: usize,
    out: &mut [u8],
) {
    assert!((1..=BLOCK).contains(&width), "a MAC has 16 bytes, {width} were asked");
    assert!(width <= stride, "MACs of {width} bytes every {stride} overlap");
    let Some(last) = ids.len().checked_sub(1) else { return };
    assert!(out.len() >= last * stride + width, "{} bytes end before the last of {} MACs", out.len(), ids.len());
    stack::wiped(|| derive(key, &Template::new(key, template, at), ids, stride, width, out));
}

fn derive(key: &Key, template: &Template, ids: &[[u8; 8]], stride: usize, width: usize, out: &mut [u8]) {
    let mut room = [Block::default(); CHUNK];
    for (ids, out) in ids.chunks(CHUNK).zip(out.chunks_mut(CHUNK * stride)) {
        let blocks = &mut room[..ids.len()];
        template.encrypt(&key.cipher, ids, blocks);
        let outputs = blocks.iter().zip(out.chunks_mut(stride));
        if width == BLOCK {
            // A copy of known length is one instruction, any other a call.
            outputs.for_each(|(block, out)| out[..BLOCK].copy_from_slice(block));
        } else {
            outputs.for_each(|(block, out)| out[..width].copy_from_slice(&block[..width]));
        }
    }
    room.zeroize();
}

/// A message in which only 8 bytes change: its blocks from the id's on, the last one already under its subkey.
struct Template {
    /// The sum of the chaining value and the first block, zeros in place of its id.
    first: u128,
    /// The further blocks; where the id reaches into the first of them, zero.
    further: Vec<u128>,
    /// Where the id lies in the first block.
    at: usize,
}

impl Template {
    fn new(key: &Key, message: &[u8], at: usize) -> Self {
        let mut blocks = blocks(key, message, at);
        let further = blocks.split_off(at / BLOCK + 1);
        let mut value = Block::default();
        for block in &blocks[..at / BLOCK] {
            chain(&key.cipher, &mut value, *block);
        }
        let first = u128::from_le_bytes(value) ^ blocks[at / BLOCK];
        value.zeroize();
        blocks.zeroize();
        Self { first, further, at: at % BLOCK }
    }

    /// The MAC of each id into the block of the same place.
    fn encrypt(&self, cipher: &Cipher, ids: &[[u8; 8]], blocks: &mut [Block]) {
        let shift = 8 * self.at as u32;
        for (block, id) in blocks.iter_mut().zip(ids) {
            let id = u128::from(u64::from_le_bytes(*id));
            *block = (self.first ^ (id << shift)).to_le_bytes();
        }
        cipher.encrypt(blocks);
        for (index, further) in self.further.iter().enumerate() {
            // Past byte 8 of a block the id's end lies in the next one.
            let spilled = index == 0 && self.at > 8;
            for (block, id) in blocks.iter_mut().zip(ids) {
                let id = u128::from(u64::from_le_bytes(*id));
                let id = if spilled { id >> (128 - shift) } else { 0 };
                let sum = u128::from_le_bytes(*block) ^ further ^ id;
                *block = sum.to_le_bytes();
            }
            cipher.encrypt(blocks);
        }
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        self.first.zeroize();
        self.further.zeroize();
    }
}

/// The blocks of `message`, little-endian, zeros in place of its id, the last one padded and under its subkey:
/// RFC 4493 section 2.4.
fn blocks(key: &Key, message: &[u8], at: usize) -> Vec<u128> {
    assert!(
        at.checked_add(8).is_some_and(|end| end <= message.len()),
        "an id of 8 bytes at {at} of a message of {}",
        message.len()
    );
    let mut bytes = message.to_vec();
    bytes[at..at + 8].fill(0);
    let subkey = if bytes.len().is_multiple_of(BLOCK) { &key.full } else { &key.padded };
    if !bytes.len().is_multiple_of(BLOCK) {
        bytes.push(0x80);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    let mut blocks: Vec<u128> = bytes.as_chunks().0.iter().map(|block| u128::from_le_bytes(*block)).collect();
    if let Some(last) = blocks.last_mut() {
        *last ^= u128::from_le_bytes(*subkey);
    }
    blocks
}

fn chain(cipher: &Cipher, value: &mut Block, block: u128) {
    *value = (u128::from_le_bytes(*value) ^ block).to_le_bytes();
    cipher.encrypt(std::slice::from_mut(value));
}
