//! SHA-256 (FIPS 180-4) of many messages.

use crate::Message;
use sha2::{Digest, Sha256};

/// SHA-256 of each message into the digest of the same place.
///
/// # Panics
/// When `digests` is shorter or longer than `messages`.
pub fn digest_many(messages: &[Message<'_>], digests: &mut [[u8; 32]]) {
    assert_eq!(messages.len(), digests.len(), "one digest a message");
    for (message, digest) in messages.iter().zip(digests) {
        let mut hash = Sha256::new();
        for piece in message {
            hash.update(piece);
        }
        *digest = hash.finalize().into();
    }
}
