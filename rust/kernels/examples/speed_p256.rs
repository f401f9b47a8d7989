//! Verifications a second and core of both twins, beside the p256 crate in the same run. Every answer is checked.
//!
//! `cargo run --release --example speed_p256 [seconds per figure]`

#![allow(clippy::cast_precision_loss, reason = "rates are printed with three digits that matter")]

use itron_core_kernels::p256::{self, OneOffRow, Row, Table};
use p256_crate::ecdsa::signature::{Signer, Verifier};
use p256_crate::ecdsa::{Signature, SigningKey};
use std::time::Duration;

extern crate p256 as p256_crate;

const ROWS: usize = 16_384;
/// About what the signed bytes of a token are.
const MESSAGE: usize = 180;

struct Case {
    public_key: [u8; 64],
    signature: [u8; 64],
    message: Vec<u8>,
    valid: bool,
}

/// Row i is signed by key i mod `keys`; one in a thousand is corrupted.
fn cases(keys: usize) -> Vec<Case> {
    let signers: Vec<_> =
        (1..=keys).map(|key| SigningKey::from_slice(&[key as u8; 32]).expect("a scalar below n")).collect();
    (0..ROWS)
        .map(|number| {
            let message: Vec<u8> = (0..MESSAGE).map(|i| (i + number * 7) as u8 ^ (number >> (i % 14)) as u8).collect();
            let signer = &signers[number % keys];
            let signature: Signature = signer.sign(&message);
            let mut signature: [u8; 64] = signature.to_bytes().into();
            let valid = number % 1000 != 13;
            signature[40] ^= u8::from(!valid);
            Case { public_key: public_key(signer), signature, message, valid }
        })
        .collect()
}

fn public_key(signer: &SigningKey) -> [u8; 64] {
    signer.verifying_key().to_sec1_point(false).as_bytes()[1..].try_into().expect("64 bytes")
}

/// Seconds of processor time that this thread has used: other programs' turns do not count.
#[cfg(target_os = "linux")]
fn now() -> f64 {
    #[repr(C)]
    struct Timespec {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
    }
    const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: the structure is as the C library lays it out on 64-bit Linux, and outlives the call.
    assert_eq!(unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    time.seconds as f64 + time.nanoseconds as f64 * 1e-9
}

/// Seconds since the first call.
#[cfg(not(target_os = "linux"))]
fn now() -> f64 {
    static BEGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    BEGIN.get_or_init(std::time::Instant::now).elapsed().as_secs_f64()
}

/// The best rate of several passes within `budget`, in rows a second.
fn rate(budget: Duration, rows: usize, mut pass: impl FnMut()) -> f64 {
    pass();
    let begin = now();
    let mut best = f64::MAX;
    while now() - begin < budget.as_secs_f64() {
        let start = now();
        let mut passes = 0;
        while passes == 0 || now() - start < 0.001 {
            pass();
            passes += 1;
        }
        best = best.min((now() - start) / f64::from(passes));
    }
    rows as f64 / best
}

fn known(twin: fn(&[Row<'_>], &mut [bool]), cases: &[Case], tables: &[Table], budget: Duration) -> f64 {
    let rows: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(number, case)| Row {
            table: &tables[number % tables.len()],
            signature: &case.signature,
            message: [&case.message, &[], &[], &[]],
        })
        .collect();
    let mut verdicts = vec![false; rows.len()];
    let rate = rate(budget, rows.len(), || twin(&rows, &mut verdicts));
    assert!(cases.iter().zip(&verdicts).all(|(case, &verdict)| case.valid == verdict));
    rate
}

fn one_off(twin: fn(&[OneOffRow<'_>], &mut [bool]), cases: &[Case], budget: Duration) -> f64 {
    let rows: Vec<_> = cases
        .iter()
        .map(|case| OneOffRow {
            public_key: &case.public_key,
            signature: &case.signature,
            message: [&case.message, &[], &[], &[]],
        })
        .collect();
    let mut verdicts = vec![false; rows.len()];
    let rate = rate(budget, rows.len(), || twin(&rows, &mut verdicts));
    assert!(cases.iter().zip(&verdicts).all(|(case, &verdict)| case.valid == verdict));
    rate
}

fn peer(cases: &[Case], signer: &SigningKey, budget: Duration) -> f64 {
    let key = signer.verifying_key();
    let verdict = |case: &Case| {
        Signature::from_slice(&case.signature).is_ok_and(|signature| key.verify(&case.message, &signature).is_ok())
    };
    rate(budget, cases.len(), || assert!(cases.iter().all(|case| verdict(case) == case.valid)))
}

fn main() {
    let seconds = std::env::args().nth(1).map_or(0.3, |argument| argument.parse().expect("seconds"));
    let budget = Duration::from_secs_f64(seconds);
    let one = cases(1);
    let signer = SigningKey::from_slice(&[1; 32]).expect("a scalar below n");
    println!("{:>28} {:>11.0}/s", "p256 crate", peer(&one[..256], &signer, budget));
    for (name, twin) in p256::twins() {
        println!("{name}, one key, rows a call: {:?}", [1, 8, 64, 512, 2048, ROWS]);
        for window in [6, 8, 10, 11, 12, 13, 14] {
            let start = now();
            let table = [Table::new(&one[0].public_key, window).expect("a point")];
            let build = 1e3 * (now() - start);
            print!("  window {window:>2}, {:>6} KiB, built in {build:>6.2} ms:", table[0].size_in_bytes() >> 10);
            for count in [1, 8, 64, 512, 2048, ROWS] {
                print!(" {:>9.0}", known(twin.verify, &one[..count], &table, budget));
            }
            println!();
        }
        let eight = cases(8);
        for window in [8, 10, 12] {
            let tables: Vec<_> =
                (0..8).map(|key| Table::new(&eight[key].public_key, window).expect("a point")).collect();
            println!("  window {window:>2}, eight keys: {:>9.0}", known(twin.verify, &eight, &tables, budget));
        }
        for count in [1, 8, 64, 2048] {
            println!(
                "  one-off, {count:>4} rows a call: {:>9.0}",
                one_off(twin.verify_one_off, &eight[..count], budget)
            );
        }
    }
}
