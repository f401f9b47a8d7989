//! Revocations: which issuers, devices and tokens count no longer, as one snapshot with a version and an expiry.

use super::keyring::{Entry, Keyring};
use super::verify::{Call, verify_one};
use crate::code::{Check, Code};
use crate::format::cbor::{Major, Writer};
use crate::format::claims::{Claims, Revoked};
use crate::format::cose::Envelope;
use crate::format::token_type::TokenType;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The least sequence, iat and epoch of a device's tokens that still count.
pub type Watermarks = [u64; 3];

/// Why a snapshot is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// The first check that failed.
    Refused(Code),
    /// Older than the version that was taken last.
    Older {
        /// Its version.
        version: u64,
        /// The version taken last.
        taken: u64,
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
            Self::Older { version, taken } => write!(f, "got version {version}, expected {taken} or later"),
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
    /// The version taken last, where the caller names it: a lower one is refused.
    pub newer_than: Option<u64>,
    /// The snapshot in force: it says which signers count no longer, and its version is taken again only as the same bytes.
    pub in_force: Option<&'a Revocations>,
}

/// A revocation snapshot.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    /// Revoked kids.
    pub issuers: BTreeSet<[u8; 8]>,
    /// Watermarks by audience.
    pub devices: BTreeMap<String, Watermarks>,
    /// Revoked tokens by kid and cti.
    pub tokens: BTreeSet<([u8; 8], [u8; 16])>,
    /// Rises with each snapshot.
    pub version: u64,
    /// The second in which the snapshot counts no longer.
    pub expires_at: u64,
    /// SHA-256 of the token that it was read from; `None` for one that was made of its parts.
    pub digest: Option<[u8; 32]>,
}

/// Two snapshots are equal when they revoke the same: the digest says only where one came from.
impl PartialEq for Revocations {
    fn eq(&self, other: &Self) -> bool {
        let parts = |each: &Self| (each.version, each.expires_at);
        parts(self) == parts(other)
            && (&self.issuers, &self.devices, &self.tokens) == (&other.issuers, &other.devices, &other.tokens)
    }
}

impl Eq for Revocations {}

impl Revocations {
    /// Reads a signed snapshot.
    ///
    /// # Errors
    /// The first check that refuses it, or a version that is not taken.
    pub fn read(token: &[u8], keyring: &Keyring, reading: &Reading<'_>) -> Result<Self, SnapshotError> {
        let &Reading { now, max_lifetime, newer_than, in_force } = reading;
        let call = Call { max_lifetime, revocations: in_force, ..Call::new(TokenType::Revocation, now) };
        let verdict = verify_one(keyring, &call, token);
        let (Code::Ok, Some(claims)) = (verdict.code, verdict.claims) else { return Err(verdict.code.into()) };
        let read = Self { digest: Some(Sha256::digest(token).into()), ..Self::of_claims(&claims) };
        let version = read.version;
        let taken = newer_than.max(in_force.map(|snapshot| snapshot.version));
        if let Some(taken) = taken.filter(|&taken| version < taken) {
            return Err(SnapshotError::Older { version, taken });
        }
        match in_force.filter(|snapshot| snapshot.version == version) {
            Some(snapshot) if !read.is_again(snapshot) => Err(SnapshotError::Differs(version)),
            _ => Ok(read),
        }
    }

    /// What a snapshot says that was verified when it was accepted: its signer and its times are not asked again.
    ///
    /// # Errors
    /// The bytes are not a snapshot.
    pub fn accepted(token: &[u8]) -> Check<Self> {
        let (_, max_payload) = TokenType::Revocation.size_limits();
        let envelope = Envelope::read(token, max_payload)?;
        let claims = Claims::read(envelope.payload, TokenType::Revocation)?;
        Ok(Self { digest: Some(Sha256::digest(token).into()), ..Self::of_claims(&claims) })
    }

    /// Whether this is the snapshot in force: the same bytes, or the same content of one that was made of its parts.
    fn is_again(&self, in_force: &Self) -> bool {
        in_force.digest.map_or_else(|| self == in_force, |digest| self.digest == Some(digest))
    }

    fn of_claims(claims: &Claims<'_>) -> Self {
        let mut snapshot =
            Self { version: claims.version.unwrap_or_default(), expires_at: claims.expires_at, ..Self::default() };
        for (index, list) in claims.revoked.unwrap_or_default().into_iter().enumerate() {
            for row in Revoked::rows(list, index) {
                snapshot.insert(row);
            }
        }
        snapshot
    }

    fn insert(&mut self, row: Revoked<'_>) {
        match row {
            Revoked::Issuer(kid) => {
                self.issuers.extend(<[u8; 8]>::try_from(kid));
            }
            Revoked::Device(aud, watermarks) => {
                self.devices.insert(aud.to_owned(), watermarks);
            }
            Revoked::Token(kid, cti) => {
                self.tokens.extend(kid.try_into().ok().zip(cti.try_into().ok()));
            }
        }
    }

    /// The three lists as the claims of a snapshot carry them.
    #[must_use]
    pub fn lists(&self) -> [Vec<u8>; 3] {
        let mut lists = [Writer::default(), Writer::default(), Writer::default()];
        lists[0].head(Major::Array, self.issuers.len() as u64);
        for kid in &self.issuers {
            lists[0].byte_string(kid);
        }
        lists[1].head(Major::Array, self.devices.len() as u64);
        for (aud, watermarks) in &self.devices {
            lists[1].head(Major::Array, 4).text(aud);
            for &watermark in watermarks {
                lists[1].unsigned(watermark);
            }
        }
        lists[2].head(Major::Array, self.tokens.len() as u64);
        for (kid, cti) in &self.tokens {
            lists[2].head(Major::Array, 2).byte_string(kid).byte_string(cti);
        }
        lists.map(Writer::into_bytes)
    }

    /// Asks the snapshot of a token: the lowest of 600 to 604. An expired one never refuses its own successor.
    ///
    /// # Errors
    /// Why the token counts no longer. `epoch` is the device's, where the caller knows it.
    pub fn check(
        snapshot: Option<&Self>,
        entry: &Entry,
        claims: &Claims<'_>,
        call: &Call<'_>,
        epoch: Option<i64>,
    ) -> Check<()> {
        let of_device = call.token_type.is_for_one_device();
        let kid = entry.key.kid();
        if let Some(snapshot) = snapshot {
            if call.token_type != TokenType::Revocation && call.now >= snapshot.expires_at {
                return Err(Code::SnapshotStale);
            }
            let revoked = |kid: &[u8; 8]| snapshot.issuers.contains(kid);
            if revoked(&kid) || entry.delegation.is_some_and(|delegation| revoked(&delegation.parent)) {
                return Err(Code::IssuerRevoked);
            }
            if of_device && snapshot.is_below_watermarks(claims) {
                return Err(Code::DeviceRevoked);
            }
        }
        let is_stale = |device: i64| claims.epoch.is_some_and(|epoch| i64::from(epoch) < device);
        if of_device && epoch.is_some_and(is_stale) {
            return Err(Code::EpochStale);
        }
        let revoked = |id: ([u8; 8], [u8; 16])| snapshot.is_some_and(|snapshot| snapshot.tokens.contains(&id));
        let delegation = entry.delegation.map(|delegation| (delegation.parent, delegation.cti));
        let is_revoked = claims.cti.is_some_and(|cti| revoked((kid, cti))) || delegation.is_some_and(revoked);
        if is_revoked { Err(Code::TokenRevoked) } else { Ok(()) }
    }

    fn is_below_watermarks(&self, claims: &Claims<'_>) -> bool {
        let watermarks = claims.audience.and_then(|aud| self.devices.get(aud));
        watermarks.is_some_and(|&[sequence, issued_at, epoch]| {
            claims.sequence().is_some_and(|got| got < sequence)
                || claims.issued_at < issued_at
                || claims.epoch.is_some_and(|got| u64::from(got) < epoch)
        })
    }
}
