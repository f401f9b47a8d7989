//! ECDSA on P-256 with SHA-256 by the same rows: ours by table, without, and from the token on; p256; aws-lc-rs; ring.

use crate::cases::{Case, Cases};
use crate::contest::{Contest, Contestant};
use crate::ed25519::from_tokens;
use crate::with_c;
use itron_core::crypto::algorithm::Algorithm;
use itron_core_kernels::p256::{OneOffRow, Row, Table, verify, verify_one_off};
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};

/// The contest's name.
pub const NAME: &str = "ESP256";
/// The window that a key of many rows gets.
pub const WINDOW: u32 = 13;
pub use crate::ed25519::OURS;

/// Rows of the issuer.
#[must_use]
pub fn cases(count: usize) -> &'static Cases {
    let signer = SigningKey::from_slice(&[7; 32]).expect("a scalar below n");
    let sign = |message: &[u8]| -> [u8; 64] {
        let signature: Signature = signer.sign(message);
        signature.to_bytes().into()
    };
    Cases::new(Algorithm::Esp256, signer.verifying_key().to_sec1_point(false).as_bytes(), count, sign)
}

/// x || y, as the kernels take it.
#[must_use]
pub fn key(cases: &Cases) -> [u8; 64] {
    *cases.public_key.raw().last_chunk().expect("x and y")
}

/// All contestants of this process.
#[must_use]
pub fn contest(rows: usize) -> Contest {
    let cases = cases(rows);
    let ours_and_pure = [by_table(cases), from_tokens(cases), one_off(cases), p256(cases)];
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
    let table = Box::leak(Box::new(Table::new(&key(cases), WINDOW).expect("a point")));
    let rows = rows(cases, table);
    Contestant::new(OURS, rows.len(), cases.verdicts(), move |verdicts| verify(&rows, verdicts))
}

/// Rows for the kernels, as if each had a key of its own.
#[must_use]
pub fn one_off_rows<'a>(cases: &'a Cases, key: &'a [u8; 64]) -> Vec<OneOffRow<'a>> {
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

fn p256(cases: &'static Cases) -> Contestant {
    let key = VerifyingKey::from_sec1_bytes(&cases.public_key.raw()).expect("a point");
    Contestant::one_by_one("p256", cases, move |message, signature| {
        Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
    })
}
