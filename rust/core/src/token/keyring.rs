//! Keyrings: the keys that tokens may be signed with, each with its ceilings.

use crate::crypto::public_key::PublicKey;
use crate::crypto::signatures;
use crate::format::claims::Claims;
use crate::format::scope::{ALL_ACTIONS, Actions};
use crate::format::token_type::{TokenType, TypeSet};

/// The most keys that one keyring holds.
pub const MAX_KEYS: usize = 4_096;

/// The delegation by which a key entered a keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// The key that signed it.
    pub parent: [u8; 8],
    /// Its id.
    pub cti: [u8; 16],
}

/// A key and what it may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: PublicKey,
    /// The issuer's name.
    pub issuer: Option<String>,
    /// The types of token it may sign.
    pub token_types: TypeSet,
    /// The actions it may grant: the ceiling.
    pub actions: Actions,
    /// What the audience of its tokens begins with.
    pub audience_prefix: String,
    /// The first second in which it may issue.
    pub valid_from: Option<u64>,
    /// The first second in which it may issue no longer.
    pub valid_until: Option<u64>,
    /// How it came to be trusted; `None` for a key that the keyring was made with.
    pub delegation: Option<Delegation>,
}

/// Why a keyring cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyringError {
    /// More keys than a keyring holds.
    TooMany(usize),
    /// Two keys with one kid.
    DuplicateKid([u8; 8]),
}

impl std::fmt::Display for KeyringError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooMany(got) => write!(f, "got {got} keys, expected at most {MAX_KEYS}"),
            Self::DuplicateKid(kid) => {
                f.write_str("got two keys with kid ")?;
                kid.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str(", expected each kid once")
            }
        }
    }
}

/// Keys by their kid. It does not change once made.
#[derive(Clone, Debug)]
pub struct Keyring {
    entries: Vec<Entry>,
    /// Each kid with the index of its entry, sorted.
    by_kid: Vec<(u64, u32)>,
}

impl Keyring {
    /// A keyring of these entries, in this order.
    ///
    /// # Errors
    /// Too many keys, or two with one kid.
    pub fn new(entries: Vec<Entry>) -> Result<Self, KeyringError> {
        if entries.len() > MAX_KEYS {
            return Err(KeyringError::TooMany(entries.len()));
        }
        let kids = entries.iter().map(|entry| u64::from_be_bytes(entry.key.kid()));
        let mut by_kid: Vec<_> = kids.zip(0..).collect();
        by_kid.sort_unstable();
        if let Some(pair) = by_kid.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(KeyringError::DuplicateKid(pair[0].0.to_be_bytes()));
        }
        Ok(Self { entries, by_kid })
    }

    /// The entries, in the order of their indices.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry with this kid, and its index.
    #[must_use]
    #[inline]
    pub fn find(&self, kid: [u8; 8]) -> Option<(u32, &Entry)> {
        let kid = u64::from_be_bytes(kid);
        let place = self.by_kid.binary_search_by_key(&kid, |&(each, _)| each).ok()?;
        let index = self.by_kid[place].1;
        Some((index, &self.entries[index as usize]))
    }

    /// Bytes that this process holds in tables of these keys.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.entries.iter().map(|entry| signatures::table_bytes(&entry.key)).sum()
    }
}

impl Entry {
    /// An entry without ceilings, for the tokens of devices: an entry must name delegations and snapshots to sign them.
    #[must_use]
    pub fn plain(key: PublicKey) -> Self {
        Self {
            key,
            issuer: None,
            token_types: TypeSet::FOR_DEVICES,
            actions: ALL_ACTIONS,
            audience_prefix: String::new(),
            valid_from: None,
            valid_until: None,
            delegation: None,
        }
    }

    /// Whether a token stays inside this entry's ceilings: 410 if not.
    #[must_use]
    pub fn covers(&self, claims: &Claims<'_>, token_type: TokenType) -> bool {
        let audience_fits = match (claims.audience, token_type) {
            // An empty prefix is not compared: memory's own compare may stumble over the address of nothing.
            (Some(audience), _) => self.audience_prefix.is_empty() || audience.starts_with(&self.audience_prefix),
            // A delegation without a prefix takes its parent's; a snapshot is for every device.
            (None, TokenType::Delegation) => true,
            (None, _) => self.audience_prefix.is_empty(),
        };
        let actions_fit = claims.actions() & !self.actions == 0;
        let delegation_fits = token_type != TokenType::Delegation
            || claims.types.is_some_and(|types| types.is_subset_of(self.token_types))
                && self.valid_from.is_none_or(|from| from <= claims.begins_at())
                && self.valid_until.is_none_or(|until| claims.expires_at <= until);
        audience_fits && actions_fit && delegation_fits
    }

    /// Whether the entry may issue at `time`: 411 if not.
    #[must_use]
    pub fn may_issue_at(&self, time: u64) -> bool {
        self.valid_from.is_none_or(|from| from <= time) && self.valid_until.is_none_or(|until| time < until)
    }
}
