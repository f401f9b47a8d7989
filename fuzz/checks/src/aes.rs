//! Messages under AES, each row with a key of its own: lanes against portable, and the tags of GCM against the portable GHASH.

use crate::portable::portable;
use crate::source::Source;
use aes::Aes128;
use cmac::Cmac;
use hmac::{KeyInit, Mac};
use itron_core_kernels::aes as lanes;
use portable::aes as plain;

/// A row: a key of either length, a nonce or first block, what is authenticated only, a message, a tag.
struct Row {
    key: Vec<u8>,
    block: [u8; 16],
    aad: Vec<u8>,
    message: Vec<u8>,
    tag: Vec<u8>,
}

impl Row {
    fn new(source: &mut Source<'_>) -> Self {
        let (key, aad, message) = (source.choose(&[16, 32]), source.below(70), source.below(300));
        let mut block: [u8; 16] = source.noise(16).try_into().expect("16 bytes");
        if source.once_in(4) {
            // A counter that overflows its 32 bits within the message.
            block[12..].copy_from_slice(&u32::MAX.wrapping_sub(source.byte().into()).to_be_bytes());
        }
        let tag = source.choose(&[12, 16, 1, 4, 8]);
        Self {
            key: source.noise(key),
            block,
            aad: source.noise(aad),
            message: source.noise(message),
            tag: source.noise(tag),
        }
    }

    fn short_key(&self) -> &[u8; 16] {
        self.key.first_chunk().expect("at least 16 bytes")
    }

    fn nonce(&self) -> [u8; 12] {
        *self.block.first_chunk().expect("12 of 16 bytes")
    }

    fn whole_blocks(&self) -> Vec<u8> {
        self.message[..self.message.len() / 16 * 16].to_vec()
    }
}

/// What a call of the lanes and one of the portable twins answer, which is the same.
macro_rules! both {
    (|$set:ident| $call:expr) => {{
        let first = {
            use lanes as $set;
            $call
        };
        let second = {
            use plain as $set;
            $call
        };
        assert_eq!(first, second);
        first
    }};
}

/// As the module says.
pub fn check(source: &mut Source<'_>) {
    let count = source.below(40);
    let mut rows: Vec<_> = (0..count).map(|_| Row::new(source)).collect();
    both!(|set| {
        let mut messages: Vec<_> = rows.iter().map(Row::whole_blocks).collect();
        let each = rows.iter().zip(&mut messages);
        let each = each.map(|(row, data)| set::Cbc { key: row.short_key(), iv: row.block, data });
        set::cbc_decrypt(&mut each.collect::<Vec<_>>());
        messages
    });
    both!(|set| {
        let mut messages: Vec<_> = rows.iter().map(|row| row.message.clone()).collect();
        let each = rows.iter().zip(&mut messages);
        let each = each.map(|(row, data)| {
            let key = set::Key::new(&row.key).expect("16 or 32 bytes");
            set::Ctr { key, counter: row.block, data }
        });
        set::ctr_apply(&mut each.collect::<Vec<_>>());
        messages
    });
    check_macs(&rows);
    let wrong: Vec<_> = rows.iter_mut().map(|row| spoil(source, row)).collect();
    check_gcm(&rows, &wrong);
}

fn check_macs(rows: &[Row]) {
    let macs = both!(|set| {
        let mut macs = vec![[0; 16]; rows.len()];
        let messages = rows.iter().map(|row| set::Cmac { key: row.short_key(), message: &row.message });
        set::cmac(&messages.collect::<Vec<_>>(), &mut macs);
        macs
    });
    for (row, mac) in rows.iter().zip(macs) {
        let library = <Cmac<Aes128> as KeyInit>::new_from_slice(row.short_key()).expect("16 bytes");
        assert_eq!(mac[..], library.chain_update(&row.message).finalize().into_bytes()[..]);
    }
    both!(|set| {
        let keys: Vec<_> = rows.iter().map(Row::short_key).collect();
        let mut pairs: Vec<_> = rows.iter().map(|row| [row.block, *row.short_key()]).collect();
        set::cmac_of_two(&keys, &mut pairs);
        pairs
    });
}

/// Gives most rows their own tag; whether this one keeps its noise.
fn spoil(source: &mut Source<'_>, row: &mut Row) -> bool {
    let wrong = source.once_in(4);
    if !wrong {
        let length = row.tag.len();
        row.tag = tag_of(row)[..length].to_vec();
    }
    wrong
}

/// The tag of 16 bytes by NIST SP 800-38D section 7.1, with GHASH bit by bit.
fn tag_of(row: &Row) -> [u8; 16] {
    let encrypted = |block: [u8; 16]| {
        let (key, mut data) = (plain::Key::new(&row.key).expect("16 or 32 bytes"), [0; 16]);
        plain::ctr_apply(&mut [plain::Ctr { key, counter: block, data: &mut data }]);
        u128::from_be_bytes(data)
    };
    let hash_key = encrypted([0; 16]);
    let padded = |bytes: &[u8]| [bytes, &vec![0; bytes.len().next_multiple_of(16) - bytes.len()]].concat();
    let lengths = [&row.aad, &row.message].map(|bytes| (8 * bytes.len() as u64).to_be_bytes()).concat();
    let input = [padded(&row.aad), padded(&row.message), lengths].concat();
    let blocks = input.as_chunks().0.iter().map(|block| u128::from_be_bytes(*block));
    let sum = blocks.fold(0, |sum, block| times(sum ^ block, hash_key));
    let mut first = [0; 16];
    first[..12].copy_from_slice(&row.nonce());
    first[15] = 1;
    (sum ^ encrypted(first)).to_be_bytes()
}

/// The product in GF(2^128), section 6.3.
fn times(x: u128, mut y: u128) -> u128 {
    (0..128).rev().fold(0, |sum, bit| {
        let sum = sum ^ if x >> bit & 1 == 1 { y } else { 0 };
        y = y >> 1 ^ if y & 1 == 1 { 0xe1 << 120 } else { 0 };
        sum
    })
}

fn check_gcm(rows: &[Row], wrong: &[bool]) {
    let (messages, opened) = both!(|set| {
        let mut messages: Vec<_> = rows.iter().map(|row| row.message.clone()).collect();
        let each = rows.iter().zip(&mut messages).map(|(row, data)| {
            let key = set::Key::new(&row.key).expect("16 or 32 bytes");
            set::Gcm { key, nonce: row.nonce(), aad: &row.aad, data, tag: &row.tag }
        });
        let opened = set::gcm_open(&mut each.collect::<Vec<_>>());
        (messages, opened)
    });
    for ((row, message), (genuine, wrong)) in rows.iter().zip(&messages).zip(opened.into_iter().zip(wrong)) {
        // Noise may be the first byte of a tag by chance, and then it is one.
        assert_eq!(genuine, tag_of(row).starts_with(&row.tag));
        assert!(genuine || *wrong, "a row's own tag opens it");
        assert!(genuine || *message == row.message, "nothing is decrypted");
    }
}
