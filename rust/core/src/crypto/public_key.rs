//! Public keys: parsed and judged once, known by their thumbprint.

use super::algorithm::Algorithm;
use super::weak_key::WeakKey;
use super::{ed25519, ml_dsa, p256};
use ::ml_dsa::{MlDsa44, MlDsa65};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A public key that may be verified with.
#[derive(Clone)]
pub struct PublicKey {
    material: Material,
    thumbprint: [u8; 32],
}

/// The key's bytes.
#[derive(Clone, PartialEq, Eq)]
enum Material {
    Ed25519([u8; 32]),
    /// x || y.
    Esp256([u8; 64]),
    MlDsa44(Arc<[u8]>),
    MlDsa65(Arc<[u8]>),
}

impl PublicKey {
    /// Reads 32 bytes for Ed25519; 65 (SEC1, uncompressed) or 64 (x || y) for ESP256; 1,312 for ML-DSA-44; 1,952 for
    /// ML-DSA-65.
    ///
    /// # Errors
    /// [`WeakKey`] for a key that no token may be verified with.
    pub fn from_raw(algorithm: Algorithm, raw: &[u8]) -> Result<Self, WeakKey> {
        let material = match algorithm {
            Algorithm::Ed25519 => Material::Ed25519(ed25519::read_key(raw)?),
            Algorithm::Esp256 => Material::Esp256(p256::read_key(raw)?),
            Algorithm::MlDsa44 => Material::MlDsa44(ml_dsa::read_key::<MlDsa44>(raw)?),
            Algorithm::MlDsa65 => Material::MlDsa65(ml_dsa::read_key::<MlDsa65>(raw)?),
        };
        Ok(Self { thumbprint: thumbprint(&material), material })
    }

    /// The algorithm that the key decides.
    #[must_use]
    #[inline]
    pub const fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Ed25519(_) => Algorithm::Ed25519,
            Material::Esp256(_) => Algorithm::Esp256,
            Material::MlDsa44(_) => Algorithm::MlDsa44,
            Material::MlDsa65(_) => Algorithm::MlDsa65,
        }
    }

    /// The SHA-256 COSE Key Thumbprint (RFC 9679).
    #[must_use]
    pub const fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }

    /// The first 8 bytes of the thumbprint.
    #[must_use]
    pub const fn kid(&self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.thumbprint;
        [a, b, c, d, e, f, g, h]
    }

    /// 32 bytes for Ed25519, 65 (SEC1, uncompressed) for ESP256, the encoding of FIPS 204 section 7.2 for ML-DSA.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        match &self.material {
            Material::Ed25519(encoded) => encoded.to_vec(),
            Material::Esp256(coordinates) => [&[4], &coordinates[..]].concat(),
            Material::MlDsa44(encoded) | Material::MlDsa65(encoded) => encoded.to_vec(),
        }
    }

    /// The encoding of an Ed25519 key; `None` for another algorithm's.
    pub(crate) const fn ed25519(&self) -> Option<&[u8; 32]> {
        if let Material::Ed25519(encoded) = &self.material { Some(encoded) } else { None }
    }

    /// x || y of an ESP256 key; `None` for another algorithm's.
    pub(crate) const fn coordinates(&self) -> Option<&[u8; 64]> {
        if let Material::Esp256(coordinates) = &self.material { Some(coordinates) } else { None }
    }

    /// The encoding of an ML-DSA key; `None` for another algorithm's.
    pub(crate) fn ml_dsa(&self) -> Option<&[u8]> {
        if let Material::MlDsa44(encoded) | Material::MlDsa65(encoded) = &self.material { Some(encoded) } else { None }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.material == other.material
    }
}

impl Eq for PublicKey {}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({}, kid {:02x?})", self.algorithm().name(), self.kid())
    }
}

/// SHA-256 over the thumbprint's `COSE_Key` (RFC 9679 section 4, RFC 9964), whose bytes are fixed but for the key's own.
fn thumbprint(material: &Material) -> [u8; 32] {
    let hash = |parts: [&[u8]; 4]| parts.iter().fold(Sha256::new(), Digest::chain_update).finalize().into();
    match material {
        // {1: 1 (OKP), -1: 6 (Ed25519), -2: x}
        Material::Ed25519(encoded) => hash([b"\xa3\x01\x01\x20\x06\x21\x58\x20", encoded, b"", b""]),
        // {1: 2 (EC2), -1: 1 (P-256), -2: x, -3: y}
        Material::Esp256(coordinates) => {
            let (x, y) = coordinates.split_at(32);
            hash([b"\xa4\x01\x02\x20\x01\x21\x58\x20", x, b"\x22\x58\x20", y])
        }
        // {1: 7 (AKP), 3: -48 or -49, -1: pub}
        Material::MlDsa44(encoded) => hash([b"\xa3\x01\x07\x03\x38\x2f\x20\x59\x05\x20", encoded, b"", b""]),
        Material::MlDsa65(encoded) => hash([b"\xa3\x01\x07\x03\x38\x30\x20\x59\x07\xa0", encoded, b"", b""]),
    }
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
