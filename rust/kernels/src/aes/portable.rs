//! Row by row, by the `aes` crate and those on top of it: constant-time, and each schedule is wiped when it is dropped.

use super::{Block, Cbc, Cmac, Ctr, Gcm, Key, counter_block, lengths};
use crate::verdict::equal;
use aes::cipher::consts::U16;
use aes::cipher::{Array, BlockCipherEncrypt, BlockModeDecrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128Dec, Aes128Enc, Aes256Enc};
use cmac::Mac;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use zeroize::Zeroize;

pub(super) fn cbc_decrypt(rows: &mut [Cbc<'_>]) {
    for row in rows {
        let (blocks, _) = Array::slice_as_chunks_mut(row.data);
        cbc::Decryptor::<Aes128Dec>::new(row.key.into(), &row.iv.into()).decrypt_blocks(blocks);
    }
}

pub(super) fn ctr_apply(rows: &mut [Ctr<'_>]) {
    for row in rows {
        stream(row.key, &row.counter, row.data);
    }
}

fn stream(key: Key<'_>, counter: &Block, data: &mut [u8]) {
    match key {
        Key::Aes128(key) => ctr::Ctr32BE::<Aes128Enc>::new(key.into(), counter.into()).apply_keystream(data),
        Key::Aes256(key) => ctr::Ctr32BE::<Aes256Enc>::new(key.into(), counter.into()).apply_keystream(data),
    }
}

pub(super) fn cmac(rows: &[Cmac<'_>], macs: &mut [Block]) {
    for (row, mac) in rows.iter().zip(macs) {
        *mac = mac_of(row.key, row.message);
    }
}

pub(super) fn cmac_of_two(keys: &[&Block], messages: &mut [[Block; 2]]) {
    for (key, messages) in keys.iter().zip(messages) {
        *messages = messages.map(|message| mac_of(key, &message));
    }
}

fn mac_of(key: &Block, message: &[u8]) -> Block {
    let mut mac = <cmac::Cmac<Aes128Enc> as KeyInit>::new(key.into());
    mac.update(message);
    mac.finalize().into_bytes().into()
}

pub(super) fn gcm_open(rows: &mut [Gcm<'_>], genuine: &mut [bool]) {
    for (row, genuine) in rows.iter_mut().zip(genuine) {
        let mut expected = tag_of(row);
        *genuine = equal(&expected[..row.tag.len()], row.tag);
        expected.zeroize();
        if *genuine {
            stream(row.key, &counter_block(&row.nonce, 2), row.data);
        }
    }
}

pub(super) fn tag_of(row: &Gcm<'_>) -> Block {
    match row.key {
        Key::Aes128(key) => tag(&Aes128Enc::new(key.into()), row),
        Key::Aes256(key) => tag(&Aes256Enc::new(key.into()), row),
    }
}

fn tag(cipher: &impl BlockCipherEncrypt<BlockSize = U16>, row: &Gcm<'_>) -> Block {
    let mut blocks = [Block::default(), counter_block(&row.nonce, 1)];
    cipher.encrypt_blocks(Array::cast_slice_from_core_mut(&mut blocks));
    let mut ghash = GHash::new(&blocks[0].into());
    ghash.update_padded(row.aad);
    ghash.update_padded(row.data);
    ghash.update(&[lengths(row.aad, row.data).into()]);
    let mut sum: Block = ghash.finalize().into();
    let tag = std::array::from_fn(|at| sum[at] ^ blocks[1][at]);
    sum.zeroize();
    blocks.zeroize();
    tag
}
