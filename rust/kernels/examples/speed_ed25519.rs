//! Ed25519 verifications a second and core, by window and number of rows, beside ed25519-dalek in the same run.
//!
//! `cargo run --release -p itron-core-kernels --example speed_ed25519 [seconds per figure] [windows]`;
//! set `ITRON_CORE_KERNELS=portable` for the portable kernels. Each verdict is checked, one row in 1,000 is spoiled.

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use itron_core_kernels::ed25519::{OneOffRow, Row, Table, verify, verify_one_off};
use itron_core_kernels::features;
use std::hint::black_box;
use std::time::{Duration, Instant};

const MESSAGE: usize = 180;
const COUNTS: [usize; 8] = [1, 2, 4, 8, 64, 512, 2048, 16384];
/// Rows that the caller gives at a time.
const CHUNK: usize = 2048;

struct Signed {
    public_key: [u8; 32],
    signature: [u8; 64],
    message: [u8; MESSAGE],
    valid: bool,
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0.5);
    let budget = Duration::from_secs_f64(seconds);
    println!("kernels: {:?}, detected: {:?}", features::chosen(), features::detected());
    let samples: Vec<Signed> = (0..16384).map(|i| signed(i, 1)).collect();
    let dalek = dalek_rate(&samples[..512], budget);
    println!("{:<28}{dalek:>10.0} /s", "ed25519-dalek, one key");
    let mut windows: Vec<u32> = std::env::args().skip(2).filter_map(|text| text.parse().ok()).collect();
    if windows.is_empty() {
        windows = vec![6, 8, 9, 10, 11, 12];
    }
    for window in windows {
        with_window(&samples, window, dalek, budget);
    }
    eight_keys(dalek, budget);
    one_off(dalek, budget);
}

fn signed(index: usize, keys: usize) -> Signed {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&((index % keys) as u64).to_le_bytes());
    let key = SigningKey::from_bytes(&seed);
    let mut message = [index as u8; MESSAGE];
    message[..8].copy_from_slice(&(index as u64).to_le_bytes());
    let mut signature = key.sign(&message).to_bytes();
    let valid = index % 1000 != 999;
    if !valid {
        signature[index % 64] ^= 1;
    }
    Signed { public_key: key.verifying_key().to_bytes(), signature, message, valid }
}

/// Runs of `work` a second: the best of those within the budget.
fn best_rate(budget: Duration, mut work: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    let end = Instant::now() + budget;
    while Instant::now() < end {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed());
    }
    1.0 / best.as_secs_f64()
}

fn dalek_rate(samples: &[Signed], budget: Duration) -> f64 {
    let key = VerifyingKey::from_bytes(&samples[0].public_key).expect("a valid key");
    let rate = best_rate(budget, || {
        for signed in samples {
            let signature = Signature::from_bytes(&signed.signature);
            assert_eq!(key.verify(&signed.message, &signature).is_ok(), signed.valid);
        }
    });
    rate * samples.len() as f64
}

fn rows<'a>(samples: &'a [Signed], tables: &'a [Table]) -> Vec<Row<'a>> {
    let rows = samples.iter().map(|signed| {
        let table = tables.iter().find(|table| *table.public_key() == signed.public_key).expect("each key has a table");
        Row { table, signature: &signed.signature, message: [&signed.message, &[], &[], &[]] }
    });
    rows.collect()
}

fn check(samples: &[Signed], verdicts: &[bool]) {
    assert!(samples.iter().map(|signed| signed.valid).eq(verdicts.iter().copied()), "wrong verdicts");
}

/// Rows a second over all chunks, each at the best of its times: a pause that the system makes falls on one chunk only.
fn rate_of(samples: &[Signed], tables: &[Table], budget: Duration) -> f64 {
    let rows = rows(samples, tables);
    let mut verdicts = vec![false; rows.len()];
    let mut best = vec![Duration::MAX; rows.len().div_ceil(CHUNK)];
    let end = Instant::now() + budget;
    while Instant::now() < end {
        for ((rows, verdicts), best) in rows.chunks(CHUNK).zip(verdicts.chunks_mut(CHUNK)).zip(&mut best) {
            let start = Instant::now();
            verify(black_box(rows), verdicts);
            *best = start.elapsed().min(*best);
        }
    }
    check(samples, &verdicts);
    rows.len() as f64 / best.iter().sum::<Duration>().as_secs_f64()
}

fn with_window(samples: &[Signed], window: u32, dalek: f64, budget: Duration) {
    let build = best_rate(budget, || drop(black_box(Table::new(&samples[0].public_key, window))));
    let tables = [Table::new(&samples[0].public_key, window).expect("a valid key")];
    println!("window {window}: {} bytes, built in {:.3} ms", tables[0].size_in_bytes(), 1e3 / build);
    for count in COUNTS {
        let rate = rate_of(&samples[..count], &tables, budget);
        let one = 1e6 / rate;
        println!("    n = {count:<8}{rate:>22.0} /s{:>8.1} x dalek{one:>9.3} us", rate / dalek);
    }
}

fn eight_keys(dalek: f64, budget: Duration) {
    let samples: Vec<Signed> = (0..16384).map(|i| signed(i, 8)).collect();
    for window in [8, 10, 12] {
        let tables: Vec<Table> =
            samples[..8].iter().map(|signed| Table::new(&signed.public_key, window).expect("a valid key")).collect();
        let rate = rate_of(&samples, &tables, budget);
        println!("8 keys, window {window:<19}{rate:>10.0} /s{:>8.1} x dalek", rate / dalek);
    }
}

fn one_off(dalek: f64, budget: Duration) {
    let samples: Vec<Signed> = (0..512).map(|i| signed(i, 512)).collect();
    let rows: Vec<_> = samples
        .iter()
        .map(|signed| OneOffRow {
            public_key: &signed.public_key,
            signature: &signed.signature,
            message: [&signed.message, &[], &[], &[]],
        })
        .collect();
    for count in [1, 8, 64, 512] {
        let mut verdicts = vec![false; count];
        let rate = best_rate(budget, || verify_one_off(black_box(&rows[..count]), &mut verdicts)) * count as f64;
        check(&samples[..count], &verdicts);
        println!("one-off keys, n = {count:<10}{rate:>10.0} /s{:>8.1} x dalek", rate / dalek);
    }
}
