//! Revocations: which issuers, devices and tokens are no longer valid, as one snapshot with a version and an expiry.

use super::keyring::Entry;
use crate::code::{Check, Code};
use crate::format::cbor::{Major, Writer};
use crate::format::claims::{Claims, Revoked};
use crate::format::token_type::TokenType;
use std::collections::{BTreeMap, BTreeSet};

/// The least sequence, iat and epoch of a device's tokens that are still valid.
pub type Watermarks = [u64; 3];

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
    /// The first second in which the snapshot is no longer valid.
    pub expires_at: u64,
    /// SHA-256 of the token that it was read from; `None` for one that was made of its parts.
    pub digest: Option<[u8; 32]>,
}

/// Two snapshots are equal if they revoke the same: the digest only tells their bytes apart.
impl PartialEq for Revocations {
    fn eq(&self, other: &Self) -> bool {
        let parts = |each: &Self| (each.version, each.expires_at);
        parts(self) == parts(other)
            && (&self.issuers, &self.devices, &self.tokens) == (&other.issuers, &other.devices, &other.tokens)
    }
}

impl Eq for Revocations {}

impl Revocations {
    /// Whether this is the snapshot in force: the same bytes, or the same content of one that was made of its parts.
    pub(super) fn is_again(&self, in_force: &Self) -> bool {
        in_force.digest.map_or_else(|| self == in_force, |digest| self.digest == Some(digest))
    }

    /// What a verified snapshot, of this digest, revokes.
    pub(super) fn of_claims(claims: &Claims<'_>, digest: [u8; 32]) -> Self {
        let mut snapshot = Self {
            version: claims.version.unwrap_or_default(),
            expires_at: claims.expires_at,
            digest: Some(digest),
            ..Self::default()
        };
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

    /// Checks a token of this type against the snapshot at `now`; `epoch` is the device's, if the caller knows it. An expired
    /// snapshot never refuses its own successor.
    ///
    /// # Errors
    /// The lowest of 600 to 604 that applies: why the token is no longer valid.
    pub fn check(
        snapshot: Option<&Self>,
        entry: &Entry,
        claims: &Claims<'_>,
        token_type: TokenType,
        now: u64,
        epoch: Option<i64>,
    ) -> Check<()> {
        let of_device = token_type.is_for_one_device();
        let kid = entry.key.kid();
        if let Some(snapshot) = snapshot {
            if token_type != TokenType::Revocation && now >= snapshot.expires_at {
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
