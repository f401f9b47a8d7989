//! Ed25519 by the same rows: ours by table, without, and from the token on; ed25519-dalek one by one and in one batch;
//! aws-lc-rs; ring.
//!
//! The rules differ at their edges only, where no honest signer comes: `verify` of ed25519-dalek is cofactorless and takes
//! keys and R of small order (`verify_strict` does not), `verify_batch` tells of no single row, and where torsion is in play its
//! answer may differ from `verify`'s.

use crate::cases::{Case, Cases, NOW, TOKEN_TYPE};
use crate::contest::{Contest, Contestant};
use crate::with_c;
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey, verify_batch};
use itron_core::crypto::algorithm::Algorithm;
use itron_core::parallel::scratch::Scratch;
use itron_core::token::keyring::{Entry, Keyring};
use itron_core::token::verify::{Call, Question, copied, verify_many};
use itron_core_kernels::ed25519::{OneOffRow, Row, Table, verify, verify_one_off};
use itron_core_kernels::features;

/// The contest's name.
pub const NAME: &str = "Ed25519";
/// Ours by table: the one that the others are compared with.
pub const OURS: &str = "itron_core, table of the key";
/// One by one.
pub const DALEK: &str = "ed25519-dalek verify";
/// All at once.
pub const DALEK_BATCH: &str = "ed25519-dalek verify_batch";

fn signer(key: u8) -> SigningKey {
    SigningKey::from_bytes(&[key; 32])
}

/// Rows of the issuer.
#[must_use]
pub fn cases(count: usize) -> &'static Cases {
    let signer = signer(7);
    Cases::new(Algorithm::Ed25519, signer.verifying_key().as_bytes(), count, |message| signer.sign(message).to_bytes())
}

/// The key as the kernels take it.
#[must_use]
pub fn key(cases: &Cases) -> [u8; 32] {
    cases.public_key.raw().try_into().expect("32 bytes")
}

/// The window that a key of many rows gets.
#[must_use]
pub fn window() -> u32 {
    if features::chosen().avx512ifma { 12 } else { 11 }
}

/// All contestants of this process.
#[must_use]
pub fn contest(rows: usize) -> Contest {
    let cases = cases(rows);
    let ours_and_pure = [by_table(cases), from_tokens(cases), one_off(cases), dalek(cases), dalek_batch(cases)];
    let contestants = ours_and_pure.into_iter().chain(with_c::contestants(cases)).collect();
    Contest { what: NAME, rows, contestants }
}

/// Rows for the kernels.
#[must_use]
pub fn rows<'a>(cases: &'a Cases, table: &'a Table) -> Vec<Row<'a>> {
    let row = |case: &'a Case| Row { table, signature: &case.signature, message: [&case.message, &[], &[], &[]] };
    cases.rows.iter().map(row).collect()
}

fn by_table(cases: &'static Cases) -> Contestant {
    let table = Box::leak(Box::new(Table::new(&key(cases), window()).expect("a canonical key")));
    let rows = rows(cases, table);
    Contestant::new(OURS, rows.len(), cases.verdicts(), move |verdicts| verify(&rows, verdicts))
}

/// Strict reading, the signature, the claims; every answer a column.
pub(crate) fn from_tokens(cases: &'static Cases) -> Contestant {
    let keyring = Keyring::new(vec![Entry::plain(cases.public_key.clone())]).expect("one key");
    let call = Call::new(TOKEN_TYPE, NOW);
    let question = |row: usize| Question { token: Ok(&cases.rows[row].token), ..Question::default() };
    Contestant::new("itron_core, whole tokens", cases.rows.len(), cases.verdicts(), move |verdicts| {
        let fetch = |row: usize, scratch: &mut Scratch| copied(&question(row), scratch);
        let columns = verify_many(&keyring, &call, cases.rows.len(), 1, fetch).expect("memory");
        for (verdict, code) in verdicts.iter_mut().zip(columns.code) {
            *verdict = code == 0;
        }
    })
}

/// Rows for the kernels, as if each had a key of its own.
#[must_use]
pub fn one_off_rows<'a>(cases: &'a Cases, key: &'a [u8; 32]) -> Vec<OneOffRow<'a>> {
    let row = |case: &'a Case| OneOffRow {
        public_key: key,
        signature: &case.signature,
        message: [&case.message, &[], &[], &[]],
    };
    cases.rows.iter().map(row).collect()
}

fn one_off(cases: &'static Cases) -> Contestant {
    let rows = one_off_rows(cases, Box::leak(Box::new(key(cases))));
    Contestant::new("itron_core, no table", rows.len(), cases.verdicts(), move |verdicts| {
        verify_one_off(&rows, verdicts);
    })
}

fn dalek(cases: &'static Cases) -> Contestant {
    let key = VerifyingKey::from_bytes(&key(cases)).expect("a canonical key");
    Contestant::one_by_one(DALEK, cases, move |message, signature| {
        key.verify(message, &Signature::from_bytes(signature)).is_ok()
    })
}

/// One answer for all rows that are not forged: with a forged one among them it refuses them all, as is asked once.
fn dalek_batch(cases: &'static Cases) -> Contestant {
    let key = VerifyingKey::from_bytes(&key(cases)).expect("a canonical key");
    let verify = move |forged_too: bool| {
        let rows = || cases.rows.iter().filter(|case| case.valid || forged_too);
        let messages: Vec<_> = rows().map(|case| &case.message[..]).collect();
        let signatures: Vec<_> = rows().map(|case| Signature::from_bytes(&case.signature)).collect();
        verify_batch(&messages, &signatures, &vec![key; messages.len()]).is_ok()
    };
    let forged = cases.rows.iter().any(|case| !case.valid);
    assert_eq!(verify(true), !forged, "{DALEK_BATCH}: wrong answer for forged rows");
    let valid = cases.rows.iter().filter(|case| case.valid).count();
    Contestant::new(DALEK_BATCH, valid, vec![true], move |verdict| verdict[0] = verify(false))
}
