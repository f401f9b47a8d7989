//! Keys, messages and signatures, the same in every run.

use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha512};

/// Bytes that look random: SHA-512 of a seed and a counter.
pub(in super::super) struct Source {
    seed: u64,
    counter: u64,
}

/// A signed message of some length.
#[derive(Clone)]
pub(in super::super) struct Signed {
    pub(in super::super) public_key: [u8; 32],
    pub(in super::super) signature: [u8; 64],
    pub(in super::super) message: Vec<u8>,
}

impl Source {
    pub(in super::super) fn new(seed: u64) -> Self {
        Self { seed, counter: 0 }
    }

    pub(in super::super) fn bytes(&mut self) -> [u8; 64] {
        self.counter += 1;
        let mut hasher = Sha512::new();
        hasher.update(self.seed.to_le_bytes());
        hasher.update(self.counter.to_le_bytes());
        hasher.finalize().into()
    }

    pub(in super::super) fn seed_bytes(&mut self) -> [u8; 32] {
        *self.bytes().first_chunk().expect("64 bytes hold 32")
    }

    pub(in super::super) fn word(&mut self) -> u64 {
        u64::from_le_bytes(*self.bytes().first_chunk().expect("64 bytes hold 8"))
    }

    /// A number below `limit`.
    pub(in super::super) fn below(&mut self, limit: usize) -> usize {
        (self.word() % limit as u64) as usize
    }

    pub(in super::super) fn message(&mut self, length: usize) -> Vec<u8> {
        let mut message = Vec::with_capacity(length + 64);
        while message.len() < length {
            message.extend_from_slice(&self.bytes());
        }
        message.truncate(length);
        message
    }

    pub(in super::super) fn key(&mut self) -> SigningKey {
        SigningKey::from_bytes(&self.seed_bytes())
    }

    pub(in super::super) fn signed(&mut self, key: &SigningKey, length: usize) -> Signed {
        let message = self.message(length);
        let signature = key.sign(&message).to_bytes();
        Signed { public_key: key.verifying_key().to_bytes(), signature, message }
    }
}

impl Signed {
    /// The message in four uneven pieces.
    pub(in super::super) fn pieces(&self) -> [&[u8]; 4] {
        let (front, back) = self.message.split_at(self.message.len() / 3);
        let (second, third) = back.split_at(back.len() / 2);
        [front, second, &[], third]
    }

    /// What ed25519-dalek says.
    pub(in super::super) fn verdict_of_dalek(&self) -> bool {
        use ed25519_dalek::{Signature, Verifier, VerifyingKey};
        let Ok(key) = VerifyingKey::from_bytes(&self.public_key) else { return false };
        key.verify(&self.message, &Signature::from_bytes(&self.signature)).is_ok()
    }
}
