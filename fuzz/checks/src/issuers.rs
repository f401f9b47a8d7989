//! Issuers of every algorithm and real tokens of theirs, the same in every run.

use ed25519_dalek::Signer;
use itron_core::crypto::algorithm::Algorithm;
use itron_core::crypto::public_key::PublicKey;
use itron_core::format::claims::{Claims, Confirmation, CoseKey, ReadingKey};
use itron_core::format::device;
use itron_core::format::scope::Scope;
use itron_core::format::token_type::{TokenType, TypeSet};
use itron_core::token::issue::Unsigned;
use itron_core::token::keyring::{Entry, Keyring};
use ml_dsa::signature::Keypair;
use ml_dsa::{MlDsa44, MlDsa65};
use std::sync::LazyLock;

/// When all tokens are in force, in seconds since 1970.
pub const NOW: u64 = 1_795_000_000;
/// The devices that tokens are for, one of each kind of id and its ends.
pub const DEVICES: [u64; 4] = [100_000_001, 0, (1 << 48) - 1, 0x001d_2400_0000_0001];

/// A signing key.
pub enum Issuer {
    /// Ed25519.
    Ed25519(Box<ed25519_dalek::SigningKey>),
    /// ESP256.
    Esp256(Box<p256::ecdsa::SigningKey>),
    /// ML-DSA-44.
    MlDsa44(Box<ml_dsa::SigningKey<MlDsa44>>),
    /// ML-DSA-65.
    MlDsa65(Box<ml_dsa::SigningKey<MlDsa65>>),
}

impl Issuer {
    fn new(algorithm: Algorithm, seed: u8) -> Self {
        match algorithm {
            Algorithm::Ed25519 => Self::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]))),
            Algorithm::Esp256 => {
                Self::Esp256(Box::new(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).expect("a scalar below n")))
            }
            Algorithm::MlDsa44 => Self::MlDsa44(Box::new(ml_dsa::SigningKey::from_seed(&[seed; 32].into()))),
            Algorithm::MlDsa65 => Self::MlDsa65(Box::new(ml_dsa::SigningKey::from_seed(&[seed; 32].into()))),
        }
    }

    /// The key that verifies.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        match self {
            Self::Ed25519(key) => PublicKey::from_raw(Algorithm::Ed25519, key.verifying_key().as_bytes()),
            Self::Esp256(key) => {
                PublicKey::from_raw(Algorithm::Esp256, key.verifying_key().to_sec1_point(false).as_bytes())
            }
            Self::MlDsa44(key) => PublicKey::from_raw(Algorithm::MlDsa44, &key.verifying_key().encode()),
            Self::MlDsa65(key) => PublicKey::from_raw(Algorithm::MlDsa65, &key.verifying_key().encode()),
        }
        .expect("a sound key")
    }

    /// The signature over `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Self::Esp256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            Self::MlDsa44(key) => key.sign(message).encode().to_vec(),
            Self::MlDsa65(key) => key.sign(message).encode().to_vec(),
        }
    }

    /// The token of `claims`.
    #[must_use]
    pub fn token(&self, claims: &Claims<'_>, token_type: TokenType) -> Vec<u8> {
        let unsigned = Unsigned::new(claims, token_type, &self.public_key(), token_type.hard_lifetime());
        let unsigned = unsigned.expect("claims that are read");
        unsigned.token(&self.sign(&unsigned.message()))
    }
}

/// A token as it was issued.
pub struct Genuine {
    /// The whole token.
    pub token: Vec<u8>,
    /// What it is.
    pub token_type: TokenType,
    /// The place of its issuer in [`ISSUERS`].
    pub issuer: usize,
}

/// One of each algorithm, and two that are in no keyring.
pub static ISSUERS: LazyLock<[Issuer; 6]> = LazyLock::new(|| {
    [
        (Algorithm::Ed25519, 1),
        (Algorithm::Esp256, 2),
        (Algorithm::MlDsa44, 5),
        (Algorithm::MlDsa65, 6),
        (Algorithm::Ed25519, 3),
        (Algorithm::Esp256, 4),
    ]
    .map(|(algorithm, seed)| Issuer::new(algorithm, seed))
});
/// How many of [`ISSUERS`] are known.
pub const KNOWN: usize = 4;

/// The keyring of the known issuers, without ceilings, for every type.
pub static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    let token_types = TypeSet::FOR_DEVICES.with(TokenType::Delegation).with(TokenType::Revocation);
    let entry = |issuer: &Issuer| Entry { token_types, ..Entry::plain(issuer.public_key()) };
    let entries = ISSUERS[..KNOWN].iter().map(entry).collect();
    Keyring::new(entries).expect("four keys")
});

/// Tokens of every type from every issuer.
pub static GENUINE: LazyLock<Vec<Genuine>> = LazyLock::new(|| {
    let mut genuine = Vec::new();
    for (issuer, signer) in ISSUERS.iter().enumerate() {
        for token_type in TokenType::ALL {
            let devices = if token_type.is_for_one_device() { &DEVICES[..] } else { &DEVICES[..1] };
            for (sequence, &device) in devices.iter().enumerate() {
                let token = issue(signer, token_type, device, sequence as u64);
                genuine.push(Genuine { token, token_type, issuer });
            }
        }
    }
    genuine
});

fn issue(issuer: &Issuer, token_type: TokenType, device: u64, sequence: u64) -> Vec<u8> {
    let audience = device::audience(device);
    let opens = sequence % 2 == 1;
    let common = Claims { issued_at: NOW, expires_at: NOW + 3_600, ..Claims::default() };
    let for_device = Claims {
        audience: Some(&audience),
        device,
        cti: Some((u128::from(device) << 64 | u128::from(sequence)).to_be_bytes()),
        epoch: Some(4),
        scope: Some(Scope::from_actions(0b1_1111 | 0b11 << 8)),
        ..common
    };
    let claims = match token_type {
        TokenType::Authorization => Claims { session_seconds: Some(3_600), ..for_device },
        TokenType::SecureCommand => Claims {
            scope: Some(Scope::from_actions(if opens { 1 << 24 } else { 1 << 16 })),
            session_seconds: opens.then_some(600),
            command: Some(b"\x01\x02\x03"),
            subject: Some("worker 7"),
            ..for_device
        },
        TokenType::ReadingKey => Claims {
            reading_key: Some(ReadingKey { kdf: 1, key_version: 3, check_value: [1, 2, 3, 4] }),
            confirmation: Some(Confirmation::Kid([7; 8])),
            not_before: Some(NOW - 60),
            ..for_device
        },
        TokenType::Delegation => Claims {
            issuer: Some("utility"),
            cti: Some([9; 16]),
            confirmation: Some(Confirmation::Key(delegated())),
            scope: for_device.scope,
            types: Some(TypeSet::NONE.with(TokenType::ReadingKey).with(TokenType::Authorization)),
            types_order: [2, 0, 0, 0, 0],
            ..common
        },
        TokenType::Revocation => Claims {
            issuer: Some("utility"),
            version: Some(12),
            revoked: Some([
                b"\x81\x48\x01\x02\x03\x04\x05\x06\x07\x08",
                b"\x81\x84\x65\x65\x72\x74\x3a\x37\x05\x00\x04",
                b"\x80",
            ]),
            ..common
        },
    };
    issuer.token(&claims, token_type)
}

fn delegated() -> CoseKey<'static> {
    let key = ed25519_dalek::SigningKey::from_bytes(&[5; 32]);
    CoseKey::Okp(key.verifying_key().to_bytes())
}
