//! Derivations a second, on one core, beside the same work by the `hmac` and `cmac` crates; the answers are compared.

use cmac::Cmac;
use hmac::{Hmac, KeyInit, Mac};
use itron_core_kernels::{cmac as cmac_kernel, hmac as hmac_kernel, sha256};
use sha2::{Digest, Sha256};
use std::time::Instant;

const IDS: usize = 10_000;
const RUNS: usize = 150;
/// Counter, label, context and length of a key of 16 bytes for a utility of 8.
const TEMPLATE: usize = 53;
const AT: usize = 39;

/// The best of several runs over all ids, in ids a second.
fn rate(mut work: impl FnMut()) -> f64 {
    let seconds = (0..RUNS).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    });
    f64::from(IDS as u32) / seconds.fold(f64::INFINITY, f64::min)
}

fn report(what: &str, ours: f64, peer: f64) {
    println!("{what:<34} {:>8.2} M/s   {:>8.2} M/s   {:>6.1}x", ours / 1e6, peer / 1e6, ours / peer);
}

fn with_peer<M: Mac + Clone>(mac: &M, template: &[u8], ids: &[[u8; 8]], width: usize, out: &mut [u8]) {
    let mut message = template.to_vec();
    for (id, out) in ids.iter().zip(out.chunks_exact_mut(width)) {
        message[AT..AT + 8].copy_from_slice(id);
        let mut mac = mac.clone();
        mac.update(&message);
        out.copy_from_slice(&mac.finalize().into_bytes()[..width]);
    }
}

fn compare<M: Mac + Clone>(
    what: &str,
    peer: &M,
    width: usize,
    template: &[u8],
    derive: impl Fn(&[[u8; 8]], &mut [u8]),
) {
    let ids: Vec<[u8; 8]> = (0..IDS as u64).map(u64::to_be_bytes).collect();
    let mut ours = vec![0; IDS * width];
    let mut theirs = ours.clone();
    let rates = (rate(|| derive(&ids, &mut ours)), rate(|| with_peer(peer, template, &ids, width, &mut theirs)));
    assert!(ours == theirs, "{what}: other keys than the peer's");
    report(what, rates.0, rates.1);
}

fn digests(length: usize) {
    let bytes: Vec<u8> = (0..=255).cycle().take(length * IDS).collect();
    let messages: Vec<_> =
        bytes.chunks_exact(length).map(|m| [&m[..length / 3], &m[length / 3..], &[][..], &[]]).collect();
    let mut ours = vec![[0; 32]; IDS];
    let mut theirs = ours.clone();
    let rates = (
        rate(|| sha256::digest_many(&messages, &mut ours)),
        rate(|| {
            for (message, digest) in bytes.chunks_exact(length).zip(&mut theirs) {
                *digest = Sha256::digest(message).into();
            }
        }),
    );
    assert!(ours == theirs, "other digests than the peer's");
    report(&format!("SHA-256 of {length} bytes"), rates.0, rates.1);
}

fn main() {
    let (long, short) = ([7; 32], [9; 16]);
    let template: Vec<u8> = (0..TEMPLATE as u8).collect();
    println!("{:<34} {:>12}   {:>12}", "", "ours", "RustCrypto");
    let key = hmac_kernel::Key::new(&long);
    let peer = Hmac::<Sha256>::new_from_slice(&long).expect("any length");
    for (length, width) in [(TEMPLATE, 16), (TEMPLATE, 32), (80, 16)] {
        let mut template = template.clone();
        template.resize(length, 1);
        compare(&format!("HMAC-SHA-256, {length} bytes to {width}"), &peer, width, &template, |ids, out| {
            hmac_kernel::derive_many(&key, &template, AT, ids, width, out);
        });
    }
    let key = cmac_kernel::Key::new(&short).expect("16 bytes");
    let peer = Cmac::<aes::Aes128>::new_from_slice(&short).expect("16 bytes");
    compare("AES-128-CMAC, 53 bytes to 16", &peer, 16, &template, |ids, out| {
        cmac_kernel::derive_many(&key, &template, AT, ids, 16, 16, out);
    });
    let key = cmac_kernel::Key::new(&long).expect("32 bytes");
    let peer = Cmac::<aes::Aes256>::new_from_slice(&long).expect("32 bytes");
    compare("AES-256-CMAC, 53 bytes to 16", &peer, 16, &template, |ids, out| {
        cmac_kernel::derive_many(&key, &template, AT, ids, 16, 16, out);
    });
    [55, 180, 1000].into_iter().for_each(digests);
}
