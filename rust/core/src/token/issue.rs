//! Issuing, the mirror of verifying: what the reader would refuse is not written.

use crate::code::{Check, Code};
use crate::crypto::algorithm::Algorithm;
use crate::crypto::public_key::PublicKey;
use crate::crypto::signatures;
use crate::format::claims::Claims;
use crate::format::cose::{self, Envelope, Header, MAX_PROTECTED, MIN_TOKEN};
use crate::format::token_type::TokenType;
use crate::parallel::chunks::Workers;
use crate::parallel::scratch::Scratch;
use crate::parallel::stop::Stop;

/// A token that waits for its signature.
#[derive(Clone, Debug)]
pub struct Unsigned {
    protected: Vec<u8>,
    payload: Vec<u8>,
    token_type: TokenType,
    algorithm: Algorithm,
}

impl Unsigned {
    /// A token of `claims`, to be signed by `key`.
    ///
    /// # Errors
    /// The code with which the reader would refuse the claims, whatever their signature.
    pub fn new(claims: &Claims<'_>, token_type: TokenType, key: &PublicKey, max_lifetime: u64) -> Check<Self> {
        let payload = claims.to_bytes();
        Claims::read(&payload, token_type)?.check(token_type, max_lifetime)?;
        let algorithm = key.algorithm();
        let protected = Header::to_bytes(algorithm.cose(), key.kid(), token_type);
        let unsigned = Self { protected, payload, token_type, algorithm };
        unsigned.check_sizes()?;
        Ok(unsigned)
    }

    fn check_sizes(&self) -> Check<()> {
        let (max_token, max_payload) = self.token_type.size_limits();
        let size = self.token(&vec![0; self.algorithm.signature_bytes()]).len();
        let too_large =
            size > max_token || self.payload.len() > max_payload || self.protected.len() as u64 > MAX_PROTECTED;
        match (too_large, size < MIN_TOKEN) {
            (true, _) => Err(Code::TooLarge),
            (_, true) => Err(Code::TooSmall),
            _ => Ok(()),
        }
    }

    /// The bytes to sign: the `Sig_structure` of RFC 9052 section 4.4.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        cose::sig_structure(&self.protected, &self.payload)
    }

    /// The token with this signature, which is not asked here: see [`verify_issued`].
    #[must_use]
    pub fn token(&self, signature: &[u8]) -> Vec<u8> {
        cose::write(&self.protected, &self.payload, signature)
    }
}

/// Whether each token carries a signature of `key`: 0, 300, 301 or 302 for each. Tokens as [`Unsigned::token`] wrote them.
///
/// # Errors
/// [`Stop`], and no token is answered.
pub fn verify_issued<'w>(
    tokens: &[Vec<u8>],
    key: &PublicKey,
    workers: impl Into<Workers<'w>>,
) -> Result<Vec<i16>, Stop> {
    let fetch = |row: usize, scratch: &mut Scratch| scratch.push(&tokens[row]);
    signatures::verify_many(tokens.len(), tokens.len() as u64, workers, fetch, |&token, scratch| {
        let envelope = Envelope::read(scratch.get(token), usize::MAX)?;
        Ok((key, envelope.signature, envelope.signed()))
    })
}
