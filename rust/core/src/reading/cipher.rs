//! AES in the modes that readings use, all by `RustCrypto`: constant-time, and each schedule is wiped when it is dropped.
//!
//! Keys of a wrong length are a caller's fault: they were checked with the rest of the row, so each function refuses them.

use aes::cipher::{Array, BlockCipherEncrypt, BlockModeDecrypt, BlockSizeUser, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128Dec, Aes128Enc, Aes256Enc};
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::{U8, U12, U13, U16};
use aes_gcm::{AesGcm, TagSize};
use ccm::Ccm;
use cmac::{Cmac, Mac};
use zeroize::Zeroize;

/// A block of AES.
pub(super) type Block = [u8; 16];

/// Decrypts whole blocks in place: AES-128-CBC (NIST SP 800-38A section 6.2).
#[inline]
pub(super) fn cbc_decrypt(key: &Block, iv: &Block, data: &mut [u8]) {
    let (blocks, rest) = Array::slice_as_chunks_mut(data);
    debug_assert!(rest.is_empty(), "whole blocks");
    cbc::Decryptor::<Aes128Dec>::new(key.into(), iv.into()).decrypt_blocks(blocks);
}

/// Adds the key stream in place: AES-128 or AES-256 in counter mode, the last 32 bits of `counter` counting (NIST SP 800-38A section 6.5).
#[must_use]
#[inline]
pub(super) fn ctr_apply(key: &[u8], counter: &Block, data: &mut [u8]) -> Option<()> {
    match key.len() {
        16 => ctr::Ctr32BE::<Aes128Enc>::new_from_slices(key, counter).ok()?.apply_keystream(data),
        32 => ctr::Ctr32BE::<Aes256Enc>::new_from_slices(key, counter).ok()?.apply_keystream(data),
        _ => return None,
    }
    Some(())
}

/// AES-128-CMAC (NIST SP 800-38B) of pieces one after another.
#[inline]
pub(super) fn cmac<'a>(key: &Block, pieces: impl IntoIterator<Item = &'a [u8]>) -> Block {
    let mut mac = <Cmac<Aes128Enc> as KeyInit>::new(key.into());
    for piece in pieces {
        mac.update(piece);
    }
    mac.finalize().into_bytes().into()
}

/// Two AES-128-CMACs of one block each under one key.
#[inline]
pub(super) fn cmac_of_two(key: &Block, messages: &[Block; 2]) -> [Block; 2] {
    let mac = <Cmac<Aes128Enc> as KeyInit>::new(key.into());
    let first = mac.clone().chain_update(messages[0]).finalize().into_bytes().into();
    [first, mac.chain_update(messages[1]).finalize().into_bytes().into()]
}

/// Checks the tag of 8 bytes, then decrypts in place: AES-128-CCM with a nonce of 13 bytes (NIST SP 800-38C). Where the tag is wrong,
/// what was decrypted is wiped.
#[must_use]
#[inline]
pub(super) fn ccm_open(key: &Block, nonce: &[u8; 13], aad: &[u8], data: &mut [u8], tag: &[u8; 8]) -> bool {
    let ccm = Ccm::<Aes128Enc, U8, U13>::new(key.into());
    let opened = ccm.decrypt_inout_detached(nonce.into(), aad, (&mut *data).into(), tag.into()).is_ok();
    if !opened {
        data.zeroize();
    }
    opened
}

/// A tag of AES-GCM, with the length that it was cut to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tag<'a> {
    Twelve(&'a [u8; 12]),
    Sixteen(&'a [u8; 16]),
}

/// Checks the tag, then decrypts in place: AES-128-GCM or AES-256-GCM with a nonce of 12 bytes (NIST SP 800-38D). Where the tag is
/// wrong, nothing is decrypted.
#[must_use]
#[inline]
pub(super) fn gcm_open(key: &[u8], nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: Tag<'_>) -> bool {
    match (key.len(), tag) {
        (16, Tag::Twelve(tag)) => gcm_open_with::<Aes128Enc, U12>(key, nonce, aad, data, tag),
        (16, Tag::Sixteen(tag)) => gcm_open_with::<Aes128Enc, U16>(key, nonce, aad, data, tag),
        (32, Tag::Twelve(tag)) => gcm_open_with::<Aes256Enc, U12>(key, nonce, aad, data, tag),
        (32, Tag::Sixteen(tag)) => gcm_open_with::<Aes256Enc, U16>(key, nonce, aad, data, tag),
        _ => false,
    }
}

#[inline]
fn gcm_open_with<A, T>(key: &[u8], nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8]) -> bool
where
    A: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit,
    T: TagSize,
{
    let (Ok(gcm), Ok(tag)) = (AesGcm::<A, U12, T>::new_from_slice(key), tag.try_into()) else { return false };
    gcm.decrypt_inout_detached(nonce.into(), aad, data.into(), tag).is_ok()
}

/// Encrypts in place and returns the tag of 16 bytes, as [`gcm_open`] takes them. `None` for a key of another length.
#[must_use]
pub(super) fn gcm_seal(key: &[u8], nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> Option<[u8; 16]> {
    let tag = match key.len() {
        16 => {
            AesGcm::<Aes128Enc, U12>::new_from_slice(key).ok()?.encrypt_inout_detached(nonce.into(), aad, data.into())
        }
        32 => {
            AesGcm::<Aes256Enc, U12>::new_from_slice(key).ok()?.encrypt_inout_detached(nonce.into(), aad, data.into())
        }
        _ => return None,
    };
    tag.ok().map(Into::into)
}
