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
    let (cases, windows) = (ed25519::cases(most), [6, 8, 9, 10, 11, 12]);
    sweep(ed25519::NAME, cases, &windows, |window| {
        let table = ed25519_kernels::Table::new(&ed25519::key(cases), window).expect("a canonical key");
        (table.size_in_bytes(), table, |table: &ed25519_kernels::Table, verdicts: &mut [bool]| {
            let rows = &ed25519::rows(cases, table)[..verdicts.len()];
            best(|| ed25519_kernels::verify(rows, verdicts))
        })
    });
    let (cases, windows) = (esp256::cases(most), [6, 8, 10, 11, 12, 13, 14]);
    sweep(esp256::NAME, cases, &windows, |window| {
        let table = p256_kernels::Table::new(&esp256::key(cases), window).expect("a point");
        (table.size_in_bytes(), table, |table: &p256_kernels::Table, verdicts: &mut [bool]| {
            let rows = &esp256::rows(cases, table)[..verdicts.len()];
            best(|| p256_kernels::verify(rows, verdicts))
        })
    });
}

/// `table` gives the bytes of a window's table, the table, and what times a call of as many rows as there are verdicts.
fn sweep<T, Time: FnMut(&T, &mut [bool]) -> f64>(
    name: &str,
    cases: &Cases,
    windows: &[u32],
    mut table: impl FnMut(u32) -> (usize, T, Time),
) {
    println!("\n{name}, ns a row, by window and rows a call\n{:>8}{:>10}{:>10}", "window", "KiB", "built, ms");
    for &window in windows {
        let build = best(|| drop(table(window)));
        let (bytes, table, mut time) = table(window);
        print!("{window:>8}{:>10}{:>10.2}", bytes >> 10, build * 1e3);
        for count in COUNTS {
            let mut verdicts = vec![false; count];
            let seconds = time(&table, &mut verdicts);
            assert_eq!(verdicts, cases.verdicts()[..count], "wrong verdicts");
            print!("{:>9.0} ({count})", seconds * 1e9 / count as f64);
        }
        println!();
    }
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
