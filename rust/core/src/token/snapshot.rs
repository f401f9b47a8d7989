//! Revocation snapshots: tokens that say what is revoked, read under the snapshot in force.

use super::keyring::Keyring;
use super::revocations::Revocations;
use super::verify::{Call, verify_one};
use crate::code::{Check, Code};
use crate::format::claims::Claims;
use crate::format::cose::Envelope;
use crate::format::token_type::TokenType;
use sha2::{Digest, Sha256};

/// Why a snapshot is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// The first check that failed.
    Refused(Code),
    /// Older than the version that was accepted last.
    Older {
        /// Its version.
        version: u64,
        /// The version accepted last.
        accepted: u64,
    },
    /// Of the version in force, with other bytes.
    Differs(u64),
}

impl From<Code> for SnapshotError {
    fn from(code: Code) -> Self {
        Self::Refused(code)
    }
}

impl std::fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(code) => write!(f, "{} ({})", code.name(), *code as i16),
            Self::Older { version, accepted } => write!(f, "got version {version}, expected {accepted} or later"),
            Self::Differs(version) => {
                write!(f, "got other bytes of version {version}, which is in force; expected a later version")
            }
        }
    }
}

/// How a snapshot is read.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// Seconds since 1970.
    pub now: u64,
    /// The longest `exp - iat` accepted, in seconds.
    pub max_lifetime: u64,
    /// The version accepted last, if the caller names it: a lower one is refused.
    pub newer_than: Option<u64>,
    /// The snapshot in force: it names the revoked signers, and its version is accepted again only as the same bytes.
    pub in_force: Option<&'a Revocations>,
}

/// Reads a signed snapshot.
///
/// # Errors
/// The first check that refuses it, or a version that is not accepted.
pub fn read(token: &[u8], keyring: &Keyring, reading: &Reading<'_>) -> Result<Revocations, SnapshotError> {
    let &Reading { now, max_lifetime, newer_than, in_force } = reading;
    let call = Call { max_lifetime, revocations: in_force, ..Call::new(TokenType::Revocation, now) };
    let verdict = verify_one(keyring, &call, token);
    let (Code::Ok, Some(claims)) = (verdict.code, verdict.claims) else { return Err(verdict.code.into()) };
    let read = Revocations::of_claims(&claims, Sha256::digest(token).into());
    let version = read.version;
    let accepted = newer_than.max(in_force.map(|snapshot| snapshot.version));
    if let Some(accepted) = accepted.filter(|&accepted| version < accepted) {
        return Err(SnapshotError::Older { version, accepted });
    }
    match in_force.filter(|snapshot| snapshot.version == version) {
        Some(snapshot) if !read.is_again(snapshot) => Err(SnapshotError::Differs(version)),
        _ => Ok(read),
    }
}

/// What a snapshot revokes that was verified when it was accepted: its signer and its times are not checked again.
///
/// # Errors
/// The bytes are not a snapshot.
pub fn accepted(token: &[u8]) -> Check<Revocations> {
    let (_, max_payload) = TokenType::Revocation.size_limits();
    let envelope = Envelope::read(token, max_payload)?;
    let claims = Claims::read(envelope.payload, TokenType::Revocation)?;
    Ok(Revocations::of_claims(&claims, Sha256::digest(token).into()))
}
