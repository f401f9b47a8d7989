//! Delegations: tokens by which a key of a keyring lets another key in.

use super::keyring::{Delegation, Entry, Keyring, KeyringError};
use super::verify::{Call, Verdict, verify_one};
use crate::code::Code;
use crate::crypto::algorithm::Algorithm;
use crate::crypto::public_key::PublicKey;
use crate::crypto::weak_key::WeakKey;
use crate::format::claims::{Claims, Confirmation, CoseKey};
use crate::format::token_type::{TokenType, TypeSet};

/// Why delegations cannot be added to a keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DelegationError {
    /// The delegation at this index was refused.
    Refused(usize, Code),
    /// The delegation at this index carries a key that cannot be used.
    Weak(usize, WeakKey),
    /// No keyring can hold the result.
    Keyring(KeyringError),
}

impl From<KeyringError> for DelegationError {
    fn from(error: KeyringError) -> Self {
        Self::Keyring(error)
    }
}

impl std::fmt::Display for DelegationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(at, code) => write!(f, "delegation {at} is refused: {} {}", *code as i16, code.name()),
            Self::Weak(at, weak) => write!(f, "delegation {at} carries an unusable key: {weak}"),
            Self::Keyring(error) => error.fmt(f),
        }
    }
}

/// The keyring of `keyring`'s entries, followed by the keys that `tokens` delegate to.
///
/// # Errors
/// A delegation is refused at `now`, or its key cannot be used; or the keyring cannot be made.
pub fn with_delegations<'t>(
    keyring: &Keyring,
    tokens: impl IntoIterator<Item = &'t [u8]>,
    now: u64,
) -> Result<Keyring, DelegationError> {
    let call = Call::new(TokenType::Delegation, now);
    let mut entries = keyring.entries().to_vec();
    for (at, token) in tokens.into_iter().enumerate() {
        let verdict = verify_one(keyring, &call, token);
        let (Code::Ok, Some(claims)) = (verdict.code, verdict.claims) else {
            return Err(DelegationError::Refused(at, verdict.code));
        };
        entries.push(delegated(keyring, &verdict, &claims).map_err(|weak| DelegationError::Weak(at, weak))?);
    }
    Ok(Keyring::new(entries)?)
}

/// A delegation without a key of ours, which its claims rule out.
const NO_KEY: WeakKey = WeakKey::Length { got: 0, expected: "the key of a delegation" };

/// The entry of the key that a verified delegation names.
fn delegated(keyring: &Keyring, verdict: &Verdict<Claims<'_>>, claims: &Claims<'_>) -> Result<Entry, WeakKey> {
    let key = match claims.confirmation {
        Some(Confirmation::Key(CoseKey::Okp(x))) => PublicKey::from_raw(Algorithm::Ed25519, &x)?,
        Some(Confirmation::Key(CoseKey::Ec2(x, y))) => PublicKey::from_raw(Algorithm::Esp256, &[x, y].concat())?,
        Some(Confirmation::Key(CoseKey::Akp(alg, public))) => {
            let algorithm = Algorithm::from_cose(alg).ok_or(NO_KEY)?;
            PublicKey::from_raw(algorithm, public)?
        }
        Some(Confirmation::Kid(_)) | None => return Err(NO_KEY),
    };
    let parent = verdict.key.map(|index| &keyring.entries()[index as usize]);
    let inherited = || parent.map_or("", |parent| &parent.audience_prefix);
    Ok(Entry {
        key,
        issuer: claims.issuer.map(str::to_owned),
        // A delegated key signs no delegation: the chain is root, issuing key, token.
        token_types: claims.types.unwrap_or(TypeSet::NONE).without(TokenType::Delegation),
        actions: claims.actions(),
        audience_prefix: claims.audience.unwrap_or_else(inherited).to_owned(),
        valid_from: Some(claims.begins_at()),
        valid_until: Some(claims.expires_at),
        delegation: verdict.kid.zip(claims.cti).map(|(parent, cti)| Delegation { parent, cti }),
    })
}
