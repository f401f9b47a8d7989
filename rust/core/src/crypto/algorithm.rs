//! The signature algorithms of the profile.

/// A signature algorithm of the profile (fully specified: RFC 9864, RFC 9964).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519, COSE -19.
    Ed25519,
    /// ECDSA on P-256 with SHA-256, COSE -9.
    Esp256,
    /// ML-DSA-44, COSE -48.
    MlDsa44,
    /// ML-DSA-65, COSE -49.
    MlDsa65,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ed25519, Self::Esp256, Self::MlDsa44, Self::MlDsa65];

    /// The name of RFC 9864 or RFC 9964.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::Esp256 => "ESP256",
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
        }
    }

    /// The algorithm of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.name() == name)
    }

    /// Its COSE number.
    #[must_use]
    pub const fn cose(self) -> i64 {
        match self {
            Self::Ed25519 => -19,
            Self::Esp256 => -9,
            Self::MlDsa44 => -48,
            Self::MlDsa65 => -49,
        }
    }

    /// The algorithm with this COSE number.
    #[must_use]
    pub fn from_cose(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.cose() == number)
    }

    /// The deprecated, polymorphic number of RFC 9053 that also fits its keys: `EdDSA`, ES256.
    #[must_use]
    pub const fn legacy_cose(self) -> Option<i64> {
        match self {
            Self::Ed25519 => Some(-8),
            Self::Esp256 => Some(-7),
            Self::MlDsa44 | Self::MlDsa65 => None,
        }
    }

    /// Bytes of a signature.
    #[must_use]
    pub const fn signature_bytes(self) -> usize {
        match self {
            Self::Ed25519 | Self::Esp256 => 64,
            Self::MlDsa44 => 2_420,
            Self::MlDsa65 => 3_309,
        }
    }
}
