//! Fixed pieces of work, of which `benches/instructions.py` counts the instructions.
//!
//! `instructions list` prints their names, `instructions features` what the processor seems to have, and
//! `instructions NAME ROUNDS` does one of them so many times: what two rounds take beyond one is the work without its
//! preparation. Nothing depends on time, threads, or hashing with random keys, so the counts are the same in every run.

#![allow(clippy::unwrap_used, reason = "what fails here fails by panicking")]

use ed25519_dalek::Signer;
use itron_core::crypto::algorithm::Algorithm;
use itron_core::crypto::kdf::{Derivation, Kdf, Label, MasterKey, derive_many};
use itron_core::crypto::public_key::PublicKey;
use itron_core::format::claims::Claims;
use itron_core::format::cose::{Envelope, Header};
use itron_core::format::device::audience;
use itron_core::format::scope::Scope;
use itron_core::format::token_type::TokenType;
use itron_core::time::{Bounds, Unit};
use itron_core::token::issue::Unsigned;
use itron_core_kernels::{ed25519, p256 as p256_kernels, sha256};
use std::hint::black_box;

const NOW: u64 = 1_795_000_000;
const TOKEN_TYPE: TokenType = TokenType::Authorization;
/// Rows of a call by table, ids of a derivation, tokens, digests.
const MANY: usize = 64;
/// Rows of a call without tables.
const FEW: usize = 8;
/// Rows of windows.
const WINDOWS: usize = 10_000;
/// Bits of a table's digits: large enough to be one that is used, small enough to be built slowly.
const WINDOW: u32 = 8;

/// A piece of work: its name, what it handles in a round, and its rounds.
type Work = (&'static str, usize, fn(usize));

const WORKS: [Work; 13] = [
    ("Ed25519, table of the key, a row", MANY, ed25519_table),
    ("Ed25519, no table, a row", FEW, ed25519_one_off),
    ("Ed25519, building a table of window 8", 1, ed25519_build),
    ("ESP256, table of the key, a row", MANY, p256_table),
    ("ESP256, no table, a row", FEW, p256_one_off),
    ("ESP256, building a table of window 8", 1, p256_build),
    ("SHA-256 of 180 bytes", MANY, digests),
    ("kdf 1, HMAC-SHA-256, a key of 16 bytes", MANY, |rounds| derive(Kdf::HmacSha256, &[7; 32], rounds)),
    ("kdf 2, AES-256-CMAC, a key of 16 bytes", MANY, |rounds| derive(Kdf::CmacAes256, &[7; 32], rounds)),
    ("kdf 3, HKDF-SHA-256, a key of 16 bytes", MANY, |rounds| derive(Kdf::HkdfSha256, &[7; 32], rounds)),
    ("kdf 4, AES-128-CMAC, a key of 16 bytes", MANY, |rounds| derive(Kdf::CmacAes128, &[7; 16], rounds)),
    ("windows, 1,000 rows", WINDOWS / 1_000, windows),
    ("a token read strictly, without its signature", MANY, tokens),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => WORKS.iter().for_each(|(name, rows, _)| println!("{rows}\t{name}")),
        ["features"] => println!("{}", features().join(" ")),
        [name, rounds] => {
            let (.., work) = WORKS.iter().find(|work| work.0 == *name).expect("a name from the list");
            work(rounds.parse().expect("a number of rounds"));
        }
        _ => panic!("list, features, or NAME ROUNDS"),
    }
}

/// What decides which code the libraries beneath choose.
fn features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let all = [
            ("aes", is_x86_feature_detected!("aes")),
            ("avx", is_x86_feature_detected!("avx")),
            ("avx2", is_x86_feature_detected!("avx2")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("bmi2", is_x86_feature_detected!("bmi2")),
            ("erms", is_x86_feature_detected!("ermsb")),
            ("sha", is_x86_feature_detected!("sha")),
            ("vaes", is_x86_feature_detected!("vaes")),
        ];
        all.into_iter().filter(|&(_, has)| has).map(|(name, _)| name).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    vec![std::env::consts::ARCH]
}

struct Signed {
    message: Vec<u8>,
    signature: [u8; 64],
}

impl Signed {
    fn pieces(&self) -> [&[u8]; 4] {
        [&self.message, &[], &[], &[]]
    }
}

fn message(row: usize) -> Vec<u8> {
    (0..180).map(|at| (at * 7 + row * 31) as u8).collect()
}

fn ed25519_signed(count: usize) -> ([u8; 32], Vec<Signed>) {
    let signer = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let signed = |row| {
        let message = message(row);
        Signed { signature: signer.sign(&message).to_bytes(), message }
    };
    (signer.verifying_key().to_bytes(), (0..count).map(signed).collect())
}

fn p256_signed(count: usize) -> ([u8; 64], Vec<Signed>) {
    let signer = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
    let signed = |row| {
        let message = message(row);
        let signature: p256::ecdsa::Signature = signer.sign(&message);
        Signed { signature: signature.to_bytes().into(), message }
    };
    let point = signer.verifying_key().to_sec1_point(false);
    (*point.as_bytes().last_chunk().unwrap(), (0..count).map(signed).collect())
}

/// `verify` so many times, and each time all rows must be valid.
fn all_valid(rounds: usize, rows: usize, verify: impl Fn(&mut [bool])) {
    let mut verdicts = vec![false; rows];
    for _ in 0..rounds {
        verdicts.fill(false);
        verify(black_box(&mut verdicts));
        assert!(verdicts.iter().all(|&valid| valid));
    }
}

fn ed25519_table(rounds: usize) {
    let (key, signed) = ed25519_signed(MANY);
    let table = ed25519::Table::new(&key, WINDOW).unwrap();
    let rows: Vec<_> = signed
        .iter()
        .map(|signed| ed25519::Row { table: &table, signature: &signed.signature, message: signed.pieces() })
        .collect();
    all_valid(rounds, MANY, |verdicts| ed25519::verify(&rows, verdicts));
}

fn ed25519_one_off(rounds: usize) {
    let (key, signed) = ed25519_signed(FEW);
    let rows: Vec<_> = signed
        .iter()
        .map(|signed| ed25519::OneOffRow { public_key: &key, signature: &signed.signature, message: signed.pieces() })
        .collect();
    all_valid(rounds, FEW, |verdicts| ed25519::verify_one_off(&rows, verdicts));
}

fn ed25519_build(rounds: usize) {
    let (key, _) = ed25519_signed(0);
    (0..rounds).for_each(|_| drop(black_box(ed25519::Table::new(&key, WINDOW).unwrap())));
}

fn p256_table(rounds: usize) {
    let (key, signed) = p256_signed(MANY);
    let table = p256_kernels::Table::new(&key, WINDOW).unwrap();
    let rows: Vec<_> = signed
        .iter()
        .map(|signed| p256_kernels::Row { table: &table, signature: &signed.signature, message: signed.pieces() })
        .collect();
    all_valid(rounds, MANY, |verdicts| p256_kernels::verify(&rows, verdicts));
}

fn p256_one_off(rounds: usize) {
    let (key, signed) = p256_signed(FEW);
    let rows: Vec<_> = signed
        .iter()
        .map(|signed| p256_kernels::OneOffRow {
            public_key: &key,
            signature: &signed.signature,
            message: signed.pieces(),
        })
        .collect();
    all_valid(rounds, FEW, |verdicts| p256_kernels::verify_one_off(&rows, verdicts));
}

fn p256_build(rounds: usize) {
    let (key, _) = p256_signed(0);
    (0..rounds).for_each(|_| drop(black_box(p256_kernels::Table::new(&key, WINDOW).unwrap())));
}

fn digests(rounds: usize) {
    let messages: Vec<_> = (0..MANY).map(message).collect();
    let messages: Vec<_> = messages.iter().map(|message| [&message[..60], &message[60..], &[][..], &[]]).collect();
    let mut digests = [[0; 32]; MANY];
    (0..rounds).for_each(|_| sha256::digest_many(&messages, black_box(&mut digests)));
}

fn derive(kdf: Kdf, master: &[u8], rounds: usize) {
    let master = MasterKey::from_bytes(master);
    let derivation =
        Derivation { kdf, label: Label::ReadEnc, utility: b"utility7", key_version: 3, extra: None, length: 16 };
    let ids: Vec<_> = (0..MANY as u64).map(u64::to_be_bytes).collect();
    let mut keys = [0; 16 * MANY];
    (0..rounds).for_each(|_| derive_many(&master, &derivation, &ids, black_box(&mut keys)).unwrap());
}

fn windows(rounds: usize) {
    let (before, after): (Vec<_>, Vec<_>) = (0..WINDOWS as i64).map(|row| (row, row + 5_000)).unzip();
    let bounds = Bounds::new(7_000_000_000_000, 120, Unit::Second, Unit::Second);
    let mut bits = vec![0; WINDOWS.div_ceil(8)];
    (0..rounds).for_each(|_| bounds.contains_all(&before, &after, black_box(&mut bits)));
}

fn tokens(rounds: usize) {
    let tokens: Vec<_> = (0..MANY as u64).map(token).collect();
    for _ in 0..rounds {
        for token in &tokens {
            let (max_token, max_payload) = TOKEN_TYPE.size_limits();
            assert!(token.len() <= max_token);
            let envelope = Envelope::read(black_box(token), max_payload).unwrap();
            black_box(Header::read_usual(envelope.protected, TOKEN_TYPE).unwrap());
            let claims = Claims::read(envelope.payload, TOKEN_TYPE).unwrap();
            black_box(&claims).check(TOKEN_TYPE, TOKEN_TYPE.default_lifetime()).unwrap();
        }
    }
}

fn token(row: u64) -> Vec<u8> {
    let device = 100_000_000 + row;
    let audience = audience(device);
    let claims = Claims {
        audience: Some(&audience),
        device,
        issued_at: NOW,
        expires_at: NOW + 3_600,
        cti: Some((u128::from(device) << 64 | 7).to_be_bytes()),
        scope: Some(Scope::from_actions(0b1_1111)),
        session_seconds: Some(3_600),
        epoch: Some(4),
        ..Claims::default()
    };
    let signer = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let key = PublicKey::from_raw(Algorithm::Ed25519, signer.verifying_key().as_bytes()).unwrap();
    let unsigned = Unsigned::new(&claims, TOKEN_TYPE, &key, TOKEN_TYPE.default_lifetime()).unwrap();
    unsigned.token(&signer.sign(&unsigned.message()).to_bytes())
}
