//! Public keys: parsed and judged once, known by their thumbprint.

use super::{ed25519, p256};
use sha2::{Digest, Sha256};

/// A signature algorithm of the profile (fully specified: RFC 9864).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519, COSE -19.
    Ed25519,
    /// ECDSA on P-256 with SHA-256, COSE -9.
    Esp256,
}

impl Algorithm {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ed25519, Self::Esp256];

    /// The name of RFC 9864.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::Esp256 => "ESP256",
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
        }
    }

    /// The deprecated, polymorphic number of RFC 9053 that also fits its keys: `EdDSA`, ES256.
    #[must_use]
    pub const fn legacy_cose(self) -> i64 {
        match self {
            Self::Ed25519 => -8,
            Self::Esp256 => -7,
        }
    }
}

/// Why a public key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeakKey {
    /// Of a wrong length, in bytes.
    Length(usize),
    /// No canonical encoding of a point of the curve.
    NotOnCurve,
    /// Of small order, or with a torsion component.
    Torsion,
}

impl std::fmt::Display for WeakKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length(got) => {
                write!(f, "got {got} bytes, wanted 32 for Ed25519, 65 (SEC1, uncompressed) or 64 (x||y) for ESP256")
            }
            Self::NotOnCurve => f.write_str("the bytes are no canonical encoding of a point of the curve"),
            Self::Torsion => f.write_str("the point is of small order or has a torsion component"),
        }
    }
}

/// A public key that may be verified with.
#[derive(Clone)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// 32 bytes for Ed25519, then zeros; x || y for ESP256.
    bytes: [u8; 64],
    kid: [u8; 8],
}

impl PublicKey {
    /// Reads 32 bytes for Ed25519; 65 (SEC1, uncompressed) or 64 (x || y) for ESP256.
    ///
    /// # Errors
    /// [`WeakKey`] for a key that no token may be verified with.
    pub fn from_raw(algorithm: Algorithm, raw: &[u8]) -> Result<Self, WeakKey> {
        let mut bytes = [0; 64];
        match algorithm {
            Algorithm::Ed25519 => {
                let encoded: &[u8; 32] = raw.try_into().map_err(|_| WeakKey::Length(raw.len()))?;
                ed25519::check_key(encoded)?;
                bytes[..32].copy_from_slice(encoded);
            }
            Algorithm::Esp256 => {
                let coordinates = match raw {
                    [4, coordinates @ ..] if coordinates.len() == 64 => coordinates,
                    _ => raw,
                };
                bytes = coordinates.try_into().map_err(|_| WeakKey::Length(raw.len()))?;
                p256::check_key(&bytes)?;
            }
        }
        Ok(Self { algorithm, bytes, kid: thumbprint(algorithm, &bytes) })
    }

    /// The algorithm that the key decides.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The first 8 bytes of the SHA-256 COSE Key Thumbprint (RFC 9679).
    #[must_use]
    pub const fn kid(&self) -> [u8; 8] {
        self.kid
    }

    /// 32 bytes for Ed25519, 65 (SEC1, uncompressed) for ESP256.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        match self.algorithm {
            Algorithm::Ed25519 => self.bytes[..32].to_vec(),
            Algorithm::Esp256 => [&[4], &self.bytes[..]].concat(),
        }
    }

    /// The Ed25519 encoding; of another algorithm's key, meaningless bytes.
    pub(crate) fn ed25519(&self) -> &[u8; 32] {
        self.bytes.first_chunk().expect("INVARIANT: 64 bytes have a first 32")
    }

    /// x || y.
    pub(crate) const fn coordinates(&self) -> &[u8; 64] {
        &self.bytes
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        (self.algorithm, self.bytes) == (other.algorithm, other.bytes)
    }
}

impl Eq for PublicKey {}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({}, kid {:02x?})", self.algorithm.name(), self.kid)
    }
}

/// SHA-256 over the thumbprint's `COSE_Key` (RFC 9679 section 4), whose bytes are fixed but for the coordinates.
fn thumbprint(algorithm: Algorithm, bytes: &[u8; 64]) -> [u8; 8] {
    let digest = match algorithm {
        // {1: 1 (OKP), -1: 6 (Ed25519), -2: x}
        Algorithm::Ed25519 => {
            Sha256::new().chain_update(b"\xa3\x01\x01\x20\x06\x21\x58\x20").chain_update(&bytes[..32]).finalize()
        }
        // {1: 2 (EC2), -1: 1 (P-256), -2: x, -3: y}
        Algorithm::Esp256 => Sha256::new()
            .chain_update(b"\xa4\x01\x02\x20\x01\x21\x58\x20")
            .chain_update(&bytes[..32])
            .chain_update(b"\x22\x58\x20")
            .chain_update(&bytes[32..])
            .finalize(),
    };
    *digest.first_chunk().expect("INVARIANT: 32 bytes have a first 8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kid_of_the_worked_example() {
        let raw =
            b"\xd7\x5a\x98\x01\x82\xb1\x0a\xb7\xd5\x4b\xfe\xd3\xc9\x64\x07\x3a\x0e\xe1\x72\xf3\xda\xa6\x23\x25\xaf\
            \x02\x1a\x68\xf7\x07\x51\x1a";
        let key = PublicKey::from_raw(Algorithm::Ed25519, raw).unwrap();
        assert_eq!(key.kid(), *b"\x86\x6e\xef\xbd\x67\x18\xc8\x84");
        assert_eq!(key.raw(), raw);
    }
}
