//! The five types of token, and the `typ` value (RFC 9596) that names each.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TokenType {
    /// Opens a session on a device.
    Authorization = 0,
    /// One command for one device, once.
    SecureCommand = 1,
    /// Names the key version a reader may derive or hold.
    ReadingKey = 2,
    /// An issuing key with its ceilings, signed by a root key.
    Delegation = 3,
    /// A revocation snapshot.
    Revocation = 4,
}

const DAY: u64 = 86_400;

impl TokenType {
    /// All types, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Authorization, Self::SecureCommand, Self::ReadingKey, Self::Delegation, Self::Revocation];

    /// The name used in calls.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorization => "authorization",
            Self::SecureCommand => "secure_command",
            Self::ReadingKey => "reading_key",
            Self::Delegation => "delegation",
            Self::Revocation => "revocation",
        }
    }

    /// The exact `typ` header value.
    #[must_use]
    pub const fn typ(self) -> &'static str {
        match self {
            Self::Authorization => "application/x.mtr-auth+cwt",
            Self::SecureCommand => "application/x.mtr-cmd+cwt",
            Self::ReadingKey => "application/x.mtr-rkey+cwt",
            Self::Delegation => "application/x.mtr-dlg+cwt",
            Self::Revocation => "application/x.mtr-rev+cwt",
        }
    }

    /// The type of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.name() == name)
    }

    /// The type with this `typ` value.
    #[must_use]
    pub fn from_typ(typ: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.typ() == typ)
    }

    /// Whether the token is for one device, named by its `aud`.
    #[must_use]
    pub const fn is_for_one_device(self) -> bool {
        matches!(self, Self::Authorization | Self::SecureCommand | Self::ReadingKey)
    }

    /// The longest `exp - iat` accepted when a call does not say, in seconds.
    #[must_use]
    pub const fn default_lifetime(self) -> u64 {
        match self {
            Self::Authorization | Self::SecureCommand | Self::ReadingKey => 7 * DAY,
            Self::Delegation => 400 * DAY,
            Self::Revocation => DAY,
        }
    }

    /// The longest `exp - iat` that a call may accept, in seconds.
    #[must_use]
    pub const fn hard_lifetime(self) -> u64 {
        match self {
            Self::Authorization | Self::SecureCommand | Self::ReadingKey => 31 * DAY,
            Self::Delegation => 400 * DAY,
            Self::Revocation => 7 * DAY,
        }
    }

    /// Largest token and payload, in bytes. An ML-DSA-65 signature has 3,309; a delegation may carry such a key too.
    #[must_use]
    pub const fn size_limits(self) -> (usize, usize) {
        match self {
            Self::Revocation => (64 << 20, 64 << 20),
            Self::Delegation => (6_144, 2_688),
            Self::Authorization | Self::SecureCommand | Self::ReadingKey => (4_096, 640),
        }
    }
}

/// A set of token types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeSet(u8);

impl TypeSet {
    /// The three types for one device: what a key may sign unless its entry says otherwise.
    pub const FOR_DEVICES: Self =
        Self::NONE.with(TokenType::Authorization).with(TokenType::SecureCommand).with(TokenType::ReadingKey);
    /// No type.
    pub const NONE: Self = Self(0);

    /// This set and `member`.
    #[must_use]
    pub const fn with(self, member: TokenType) -> Self {
        Self(self.0 | 1 << member as u8)
    }

    /// This set less `member`.
    #[must_use]
    pub const fn without(self, member: TokenType) -> Self {
        Self(self.0 & !(1 << member as u8))
    }

    /// Whether `member` is in it.
    #[must_use]
    pub const fn contains(self, member: TokenType) -> bool {
        self.0 >> member as u8 & 1 == 1
    }

    /// Whether all of this set is in `other`.
    #[must_use]
    pub const fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The members, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = TokenType> {
        TokenType::ALL.into_iter().filter(move |&member| self.contains(member))
    }
}
