//! What each window of a table costs and brings: `core`'s sizes of tables were chosen by these figures.

use crate::cases::Cases;
use crate::clock::now;
use crate::{ed25519, esp256};
use itron_core_kernels::features;
use itron_core_kernels::{ed25519 as ed25519_kernels, p256 as p256_kernels};

/// Rows of a call.
const COUNTS: [usize; 6] = [1, 8, 64, 512, 2_048, 10_000];
/// Seconds for each figure.
const BUDGET: f64 = 0.3;

/// Prints the figures of both algorithms with the kernels in use.
pub fn print() {
    println!("kernels: {:?}", features::chosen());
    let most = *COUNTS.last().expect("some counts");
    ed25519_windows(ed25519::cases(most));
    esp256_windows(esp256::cases(most));
}

fn ed25519_windows(cases: &Cases) {
    let key = ed25519::key(cases);
    print_head(ed25519::NAME);
    for window in [6, 8, 9, 10, 11, 12] {
        let table = || ed25519_kernels::Table::new(&key, window).expect("a canonical key");
        let (build, table) = (best(|| drop(table())), table());
        let rows = ed25519::rows(cases, &table);
        print_row(&name(window, table.size_in_bytes(), build), cases, |verdicts| {
            ed25519_kernels::verify(&rows[..verdicts.len()], verdicts);
        });
    }
    let rows = ed25519::one_off_rows(cases, &key);
    print_row("none", cases, |verdicts| ed25519_kernels::verify_one_off(&rows[..verdicts.len()], verdicts));
}

fn esp256_windows(cases: &Cases) {
    let key = esp256::key(cases);
    print_head(esp256::NAME);
    for window in [6, 8, 10, 11, 12, 13, 14] {
        let table = || p256_kernels::Table::new(&key, window).expect("a point");
        let (build, table) = (best(|| drop(table())), table());
        let rows = esp256::rows(cases, &table);
        print_row(&name(window, table.size_in_bytes(), build), cases, |verdicts| {
            p256_kernels::verify(&rows[..verdicts.len()], verdicts);
        });
    }
    let rows = esp256::one_off_rows(cases, &key);
    print_row("none", cases, |verdicts| p256_kernels::verify_one_off(&rows[..verdicts.len()], verdicts));
}

fn print_head(algorithm: &str) {
    print!("\n{:<30}", format!("{algorithm}: ns a row, of calls of"));
    println!("{}", COUNTS.map(|count| format!("{count:>8}")).concat());
}

fn name(window: u32, bytes: usize, build: f64) -> String {
    format!("{window:>2} bits, {:>5} KiB, {:>6.2} ms", bytes >> 10, build * 1e3)
}

fn print_row(name: &str, cases: &Cases, mut verify: impl FnMut(&mut [bool])) {
    let figures = COUNTS.map(|count| {
        let mut verdicts = vec![false; count];
        let seconds = best(|| verify(&mut verdicts));
        assert_eq!(verdicts, cases.verdicts()[..count], "wrong verdicts");
        format!("{:>8.0}", seconds * 1e9 / count as f64)
    });
    println!("{name:<30}{}", figures.concat());
}

/// Seconds of the best run within the budget.
fn best(mut work: impl FnMut()) -> f64 {
    let (begin, mut best) = (now(), f64::MAX);
    while now() - begin < BUDGET {
        let start = now();
        work();
        best = best.min(now() - start);
    }
    best
}
