//! Hashes and MACs of many short messages: ours, and the crates that do one after the other.

use crate::contest::{Contest, Contestant};
use cmac::Cmac;
use hmac::{Hmac, KeyInit, Mac};
use itron_core_kernels::{cmac as cmac_kernel, hmac as hmac_kernel, sha256};
use sha2::{Digest, Sha256};

const OURS: &str = "itron_core";
/// Counter, label, context and length of a key of 16 bytes for a utility of 8.
const TEMPLATE: usize = 53;
/// Where the device id lies in it.
const AT: usize = 39;
/// Bytes of each key.
const WIDTH: usize = 16;
/// Bytes of the messages that are hashed, about a token's.
const MESSAGE: usize = 180;

/// All contests.
#[must_use]
pub fn contests(rows: usize) -> Vec<Contest> {
    vec![
        hmac(rows),
        cmac::<Cmac<aes::Aes128>>("AES-128-CMAC", 16, rows),
        cmac::<Cmac<aes::Aes256>>("AES-256-CMAC", 32, rows),
        digests(rows),
    ]
}

fn template() -> Vec<u8> {
    (0..TEMPLATE as u8).collect()
}

fn ids(rows: usize) -> Vec<[u8; 8]> {
    (0..rows as u64).map(u64::to_be_bytes).collect()
}

fn one_by_one<M: Mac + Clone>(mac: &M, ids: &[[u8; 8]], out: &mut [u8]) {
    let mut message = template();
    for (id, out) in ids.iter().zip(out.chunks_exact_mut(WIDTH)) {
        message[AT..AT + 8].copy_from_slice(id);
        let mut mac = mac.clone();
        mac.update(&message);
        out.copy_from_slice(&mac.finalize().into_bytes()[..WIDTH]);
    }
}

fn compare<M: Mac + Clone + 'static>(
    what: &'static str,
    (crate_name, mac): (&str, M),
    rows: usize,
    ours: impl Fn(&[[u8; 8]], &mut [u8]) + 'static,
) -> Contest {
    let ids: &[[u8; 8]] = ids(rows).leak();
    let mut right = vec![0; rows * WIDTH];
    one_by_one(&mac, ids, &mut right);
    let contestants = vec![
        Contestant::new(OURS, rows, right.clone(), move |keys| ours(ids, keys)),
        Contestant::new(crate_name, rows, right, move |keys| one_by_one(&mac, ids, keys)),
    ];
    Contest { what, rows, contestants }
}

fn hmac(rows: usize) -> Contest {
    let master = [7; 32];
    let key = hmac_kernel::Key::new(&master);
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&master).expect("any length");
    compare("HMAC-SHA-256, 53 bytes to 16", ("hmac", mac), rows, move |ids, keys| {
        hmac_kernel::derive_many(&key, &template(), AT, ids, WIDTH, keys);
    })
}

fn cmac<M: Mac + KeyInit + Clone + 'static>(what: &'static str, length: usize, rows: usize) -> Contest {
    let master = &[9; 32][..length];
    let key = cmac_kernel::Key::new(master).expect("16 or 32 bytes");
    let mac = <M as KeyInit>::new_from_slice(master).expect("the cipher's length");
    compare(what, ("cmac", mac), rows, move |ids, keys| {
        cmac_kernel::derive_many(&key, &template(), AT, ids, WIDTH, WIDTH, keys);
    })
}

fn digests(rows: usize) -> Contest {
    let bytes: &[u8] = (0..=250).cycle().take(MESSAGE * rows).collect::<Vec<u8>>().leak();
    let messages: Vec<_> = bytes.chunks_exact(MESSAGE).map(|m| [&m[..60], &m[60..], &[][..], &[]]).collect();
    let one_by_one = |digests: &mut [[u8; 32]]| {
        for (message, digest) in bytes.chunks_exact(MESSAGE).zip(digests) {
            *digest = Sha256::digest(message).into();
        }
    };
    let mut right = vec![[0; 32]; rows];
    one_by_one(&mut right);
    let contestants = vec![
        Contestant::new(OURS, rows, right.clone(), move |digests| sha256::digest_many(&messages, digests)),
        Contestant::new("sha2", rows, right, one_by_one),
    ];
    Contest { what: "SHA-256 of 180 bytes", rows, contestants }
}
