//! Hashes and MACs of many messages against the libraries.

use crate::portable::portable;
use crate::source::{Source, pieces};
use aes::{Aes128, Aes256};
use cmac::Cmac;
use hmac::{Hmac, KeyInit, Mac};
use itron_core_kernels as kernels;
use sha2::{Digest, Sha256};

/// Digests of messages of any length, cut anywhere.
pub fn check_digests(source: &mut Source<'_>) {
    let count = source.below(70);
    let messages: Vec<_> = (0..count)
        .map(|_| {
            let length = source.below(300);
            (source.noise(length), source.cuts(length))
        })
        .collect();
    let cut: Vec<_> = messages.iter().map(|(message, cuts)| pieces(message, *cuts)).collect();
    let (mut digests, mut plain) = (vec![[0; 32]; count], vec![[0; 32]; count]);
    kernels::sha256::digest_many(&cut, &mut digests);
    portable::sha256::digest_many(&cut, &mut plain);
    assert_eq!(digests, plain);
    for ((message, _), digest) in messages.iter().zip(digests) {
        assert_eq!(digest[..], Sha256::digest(message)[..]);
    }
}

/// A message with a place for ids, and the ids.
struct Template {
    message: Vec<u8>,
    at: usize,
    ids: Vec<[u8; 8]>,
}

impl Template {
    fn new(source: &mut Source<'_>) -> Self {
        let length = 8 + source.below(250);
        let message = source.noise(length);
        let at = source.below(length - 7);
        let count = source.below(150);
        let mut ids = source.noise(8 * count).as_chunks().0.to_vec();
        if let Some(id) = ids.first_mut() {
            *id = source.array();
        }
        Self { message, at, ids }
    }

    fn macs<M: Mac + KeyInit>(&self, key: &[u8]) -> Vec<Vec<u8>> {
        let mac = |id: &[u8; 8]| {
            let mut message = self.message.clone();
            message[self.at..self.at + 8].copy_from_slice(id);
            let mac = <M as KeyInit>::new_from_slice(key).expect("a key of the right length");
            mac.chain_update(message).finalize().into_bytes().to_vec()
        };
        self.ids.iter().map(mac).collect()
    }
}

/// HMAC-SHA-256 under a key of any length.
pub fn check_hmac(source: &mut Source<'_>) {
    let length = source.below(140);
    let key = source.noise(length);
    let template = Template::new(source);
    let (message, at, ids) = (&template.message, template.at, &template.ids);
    let width = 1 + source.below(32);
    let (mut macs, mut plain) = (vec![0; ids.len() * width], vec![0; ids.len() * width]);
    kernels::hmac::derive_many(&kernels::hmac::Key::new(&key), message, at, ids, width, &mut macs);
    portable::hmac::derive_many(&portable::hmac::Key::new(&key), message, at, ids, width, &mut plain);
    assert_eq!(macs, plain);
    for (mac, wanted) in macs.chunks(width).zip(template.macs::<Hmac<Sha256>>(&key)) {
        assert_eq!(mac, &wanted[..width]);
    }
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).expect("any length");
    let wanted = mac.chain_update(message).finalize().into_bytes();
    assert_eq!(kernels::hmac::Key::new(&key).authenticate(message)[..], wanted[..]);
}

/// AES-CMAC, its outputs apart, and what lies between them left alone.
pub fn check_cmac(source: &mut Source<'_>) {
    let length = source.choose(&[16, 32]);
    let key = source.noise(length);
    let template = Template::new(source);
    let (message, at, ids) = (&template.message, template.at, &template.ids);
    let width = 1 + source.below(16);
    let stride = width + source.below(20);
    let least = (ids.len() * stride).saturating_sub(stride - width);
    let mut macs = vec![0xa5; least + source.below(40)];
    let mut wanted = macs.clone();
    let kernel = kernels::cmac::Key::new(&key).expect("16 or 32 bytes");
    kernels::cmac::derive_many(&kernel, message, at, ids, stride, width, &mut macs);
    let by_crate = if length == 16 { template.macs::<Cmac<Aes128>>(&key) } else { template.macs::<Cmac<Aes256>>(&key) };
    for (place, mac) in wanted.chunks_mut(stride).zip(by_crate) {
        place[..width].copy_from_slice(&mac[..width]);
    }
    assert_eq!(macs, wanted);
}
