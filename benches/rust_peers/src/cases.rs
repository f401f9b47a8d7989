//! Authorizations of one issuer, as a route has them: some 180 bytes, a device each, one in a thousand forged.

use itron_core::crypto::algorithm::Algorithm;
use itron_core::crypto::public_key::PublicKey;
use itron_core::format::claims::Claims;
use itron_core::format::device::audience;
use itron_core::format::scope::Scope;
use itron_core::format::token_type::TokenType;
use itron_core::token::issue::Unsigned;

/// Seconds since 1970 at which the tokens are issued and asked.
pub const NOW: u64 = 1_795_000_000;
/// The type of every token.
pub const TOKEN_TYPE: TokenType = TokenType::Authorization;
/// One row in so many has one bit of its signature flipped.
const FORGED_IN: usize = 1_000;
const FIRST_DEVICE: u64 = 100_000_000;

/// A row: what is signed, by which key, and whether that is true.
pub struct Case {
    /// The whole token.
    pub token: Vec<u8>,
    /// The exact signed bytes.
    pub message: Vec<u8>,
    /// R || S, or r || s.
    pub signature: [u8; 64],
    /// Whether the signature is the issuer's.
    pub valid: bool,
}

/// Rows of one issuer.
pub struct Cases {
    /// The issuer's key.
    pub public_key: PublicKey,
    /// In the order of the devices.
    pub rows: Vec<Case>,
}

impl Cases {
    /// `count` rows signed by `sign`. They live as long as the program: every contestant borrows them.
    pub fn new(algorithm: Algorithm, raw: &[u8], count: usize, sign: impl Fn(&[u8]) -> [u8; 64]) -> &'static Self {
        let public_key = PublicKey::from_raw(algorithm, raw).expect("an honest key");
        let rows = (0..count).map(|row| case(row, &public_key, &sign)).collect();
        Box::leak(Box::new(Self { public_key, rows }))
    }

    /// The right answers.
    #[must_use]
    pub fn verdicts(&self) -> Vec<bool> {
        self.rows.iter().map(|row| row.valid).collect()
    }
}

fn case(row: usize, public_key: &PublicKey, sign: impl Fn(&[u8]) -> [u8; 64]) -> Case {
    let device = FIRST_DEVICE + row as u64;
    let audience = audience(device);
    let claims = Claims {
        audience: Some(&audience),
        device,
        issued_at: NOW,
        expires_at: NOW + 86_400,
        cti: Some((u128::from(device) << 64 | 7).to_be_bytes()),
        scope: Some(Scope::from_actions(0b1_1111)),
        session_seconds: Some(3_600),
        epoch: Some(4),
        ..Claims::default()
    };
    let unsigned = Unsigned::new(&claims, TOKEN_TYPE, public_key, TOKEN_TYPE.hard_lifetime()).expect("usual claims");
    let message = unsigned.message();
    let mut signature = sign(&message);
    let valid = row % FORGED_IN != FORGED_IN - 1;
    // The halves in turn; never a bit that would make the form wrong, so that the equation is what refuses.
    signature[if (row / FORGED_IN).is_multiple_of(2) { 40 } else { 8 }] ^= u8::from(!valid);
    Case { token: unsigned.token(&signature), message, signature, valid }
}
