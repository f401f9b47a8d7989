//! ML-DSA (FIPS 204; for COSE, RFC 9964): pure, with an empty context.
//!
//! What depends on the key alone is computed once: the matrix A in the NTT domain, the NTT of t1, and the hash of the key.
//! That is about half of a verification. Public keys and signatures are public: nothing here takes constant time.

use super::weak_key::WeakKey;
use itron_core_kernels::Message;
use ml_dsa::signature::MultipartVerifier;
use ml_dsa::{EncodedVerifyingKey, KeyInit, MlDsa44, MlDsa65, MlDsaParams, Signature, VerifyingKey};
use std::sync::Arc;

/// A parameter set of the profile.
pub trait Parameters: MlDsaParams + Send + Sync + 'static {
    /// Rows and columns of the matrix A: k and l.
    const MATRIX: (usize, usize);
    /// What a key's length must be, for an error.
    const KEY_LENGTH: &'static str;
}

impl Parameters for MlDsa44 {
    const MATRIX: (usize, usize) = (4, 4);
    const KEY_LENGTH: &'static str = "1312 for ML-DSA-44";
}

impl Parameters for MlDsa65 {
    const MATRIX: (usize, usize) = (6, 5);
    const KEY_LENGTH: &'static str = "1952 for ML-DSA-65";
}

/// Bytes of a polynomial: 256 coefficients of 32 bits.
const POLYNOMIAL: usize = 256 * 4;

/// Reads a public key: its length is all that can be wrong with it (FIPS 204 section 5.2).
///
/// # Errors
/// [`WeakKey::Length`].
pub fn read_key<P: Parameters>(raw: &[u8]) -> Result<Arc<[u8]>, WeakKey> {
    let wrong = WeakKey::Length { got: raw.len(), expected: P::KEY_LENGTH };
    if raw.len() == size_of::<EncodedVerifyingKey<P>>() { Ok(raw.into()) } else { Err(wrong) }
}

/// A public key with all that is computed of it once.
pub struct Prepared<P: Parameters>(VerifyingKey<P>);

impl<P: Parameters> Prepared<P> {
    /// Prepares a key; `None` for bytes of another length.
    #[must_use]
    pub fn new(encoded: &[u8]) -> Option<Self> {
        Some(Self(VerifyingKey::new_from_slice(encoded).ok()?))
    }

    /// Bytes that a prepared key holds: the matrix, t1 and its NTT, and two hashes.
    #[must_use]
    pub const fn size() -> usize {
        let (rows, columns) = P::MATRIX;
        (rows * columns + 2 * rows) * POLYNOMIAL + 96
    }

    /// Whether `signature` is this key's over `message`. A signature that cannot be decoded is nobody's.
    #[must_use]
    pub fn verify(&self, message: &Message<'_>, signature: &[u8]) -> bool {
        Signature::<P>::try_from(signature).is_ok_and(|signature| self.0.multipart_verify(message, &signature).is_ok())
    }
}
