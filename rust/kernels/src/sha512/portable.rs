//! One message after the other.

use sha2::{Digest, Sha512};

/// SHA-512 of the concatenation of the pieces.
pub(crate) fn hash<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> [u8; 64] {
    let mut hasher = Sha512::new();
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.finalize().into()
}
