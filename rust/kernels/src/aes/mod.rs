//! AES (FIPS 197) of many rows at once, each under a key of its own, in the modes that messages use.
//!
//! A key that is used for one short message costs as much as the message: its round keys are computed for eight rows side by
//! side, and so is each chain in which a block waits for the one before it.

#[cfg(target_arch = "x86_64")]
mod aes_ni;
#[cfg(target_arch = "x86_64")]
mod ghash;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod portable;

use crate::stack;

/// Bytes of a block.
const BLOCK: usize = 16;

/// A block of AES, or a key of AES-128.
pub type Block = [u8; BLOCK];

/// A key.
#[derive(Clone, Copy)]
pub enum Key<'a> {
    /// Of AES-128.
    Aes128(&'a [u8; 16]),
    /// Of AES-256.
    Aes256(&'a [u8; 32]),
}

impl<'a> Key<'a> {
    /// `None` for a key of another length.
    #[must_use]
    pub fn new(key: &'a [u8]) -> Option<Self> {
        let short = key.try_into().ok().map(Self::Aes128);
        short.or_else(|| key.try_into().ok().map(Self::Aes256))
    }
}

/// A message to decrypt in place by AES-128-CBC (NIST SP 800-38A section 6.2).
pub struct Cbc<'a> {
    /// The row's key.
    pub key: &'a Block,
    /// The block before the first.
    pub iv: Block,
    /// Whole blocks.
    pub data: &'a mut [u8],
}

/// A message to which a key stream is added in place, counter mode (NIST SP 800-38A section 6.5).
pub struct Ctr<'a> {
    /// The row's key.
    pub key: Key<'a>,
    /// The first counter block, of which the last 32 bits count.
    pub counter: Block,
    /// The message.
    pub data: &'a mut [u8],
}

/// A message to authenticate by AES-128-CMAC (NIST SP 800-38B, RFC 4493).
pub struct Cmac<'a> {
    /// The row's key.
    pub key: &'a Block,
    /// The message.
    pub message: &'a [u8],
}

/// A message to check, and to decrypt in place if its tag is right: AES-GCM (NIST SP 800-38D section 7.2).
pub struct Gcm<'a> {
    /// The row's key.
    pub key: Key<'a>,
    /// The nonce.
    pub nonce: [u8; 12],
    /// What is authenticated only.
    pub aad: &'a [u8],
    /// What is decrypted.
    pub data: &'a mut [u8],
    /// The tag, or the first bytes of it.
    pub tag: &'a [u8],
}

/// Calls the kernel of this processor, and wipes the stack after it.
macro_rules! dispatch {
    ($kernel:ident($($argument:ident),*), $($feature:ident),+) => {
        stack::wiped(|| {
            #[cfg(target_arch = "x86_64")]
            {
                let features = crate::features::chosen();
                if $(features.$feature)&&+ {
                    // SAFETY: the processor has what the function was compiled for.
                    return unsafe { aes_ni::$kernel($($argument),*) };
                }
            }
            portable::$kernel($($argument),*)
        })
    };
}

/// Decrypts each row's message in place.
///
/// # Panics
/// If a message is not of whole blocks.
pub fn cbc_decrypt(rows: &mut [Cbc<'_>]) {
    assert!(rows.iter().all(|row| row.data.len().is_multiple_of(BLOCK)), "a message of whole blocks");
    dispatch!(cbc_decrypt(rows), aes_ni);
}

/// Adds each row's key stream to its message in place.
pub fn ctr_apply(rows: &mut [Ctr<'_>]) {
    dispatch!(ctr_apply(rows), aes_ni);
}

/// Writes the MAC of each row's message.
///
/// # Panics
/// If there are not as many rows as MACs.
pub fn cmac(rows: &[Cmac<'_>], macs: &mut [Block]) {
    assert_eq!(rows.len(), macs.len(), "a MAC for each row");
    dispatch!(cmac(rows, macs), aes_ni);
}

/// Replaces two messages of a block by their AES-128-CMACs under the row's key.
///
/// # Panics
/// If there are not as many keys as messages.
pub fn cmac_of_two(keys: &[&Block], messages: &mut [[Block; 2]]) {
    assert_eq!(keys.len(), messages.len(), "a key for each row");
    dispatch!(cmac_of_two(keys, messages), aes_ni);
}

/// Checks each row's tag, and decrypts the messages whose tag is right in place; nothing of the others is decrypted. Tags are
/// compared in constant time. Says of each row whether its tag is right.
///
/// # Panics
/// If a tag has no bytes, or more than 16.
#[must_use]
pub fn gcm_open(rows: &mut [Gcm<'_>]) -> Vec<bool> {
    assert!(rows.iter().all(|row| (1..=BLOCK).contains(&row.tag.len())), "a tag of 1 to 16 bytes");
    let mut genuine = vec![false; rows.len()];
    let verdicts = &mut genuine[..];
    dispatch!(gcm_open(rows, verdicts), aes_ni, pclmulqdq);
    genuine
}

/// The last block of what GHASH sums up: both lengths in bits.
fn lengths(aad: &[u8], data: &[u8]) -> Block {
    let (aad, data) = (8 * aad.len() as u64, 8 * data.len() as u64);
    (u128::from(aad) << 64 | u128::from(data)).to_be_bytes()
}

/// A nonce of 12 bytes as a counter block.
fn counter_block(nonce: &[u8; 12], count: u32) -> Block {
    let mut block = [0; BLOCK];
    block[..12].copy_from_slice(nonce);
    block[12..].copy_from_slice(&count.to_be_bytes());
    block
}

/// The block that begins at `at`, zeros after the end of `bytes`.
#[cfg(target_arch = "x86_64")]
#[inline]
fn padded(bytes: &[u8], at: usize) -> Block {
    let rest = &bytes[at..];
    rest.first_chunk().copied().unwrap_or_else(|| {
        let mut block = [0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        block
    })
}

#[cfg(test)]
mod tests;
