//! Every contest in one run: `peers [--rounds N] [--rows N] [--dalek-avx512 PROGRAM] [--json FILE]`.
//!
//! ed25519-dalek chooses its backend when it is compiled, so its AVX-512 one is this same program built with
//! `--cfg curve25519_dalek_backend="avx512"`; it answers over a pipe, in its turn of each round.

use itron_core_kernels::features;
use itron_core_peers::contest::{Contest, Contestant, Measured};
use itron_core_peers::{derivation, ed25519, esp256};
use serde_json::{Value, json};
use std::path::PathBuf;

struct Arguments {
    rounds: usize,
    rows: usize,
    dalek_avx512: Option<PathBuf>,
    json: Option<PathBuf>,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Self {
        let mut read = Self { rounds: 15, rows: 10_000, dalek_avx512: None, json: None };
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_else(|| panic!("{word}: its value is missing"));
            match word.as_str() {
                "--rounds" => read.rounds = value.parse().expect("a number of rounds"),
                "--rows" => read.rows = value.parse().expect("a number of rows"),
                "--dalek-avx512" => read.dalek_avx512 = Some(value.into()),
                "--json" => read.json = Some(value.into()),
                _ => panic!("{word}: unknown"),
            }
        }
        read
    }
}

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [answer, contest, contestant, rows] = &words[..]
        && answer == "answer"
    {
        return here(contest, rows.parse().expect("a number of rows"))
            .contestants
            .into_iter()
            .find(|one| one.name == *contestant)
            .expect("a contestant of this contest")
            .serve();
    }
    let arguments = Arguments::read(words.into_iter());
    let mut report = Vec::new();
    for mut contest in contests(&arguments) {
        let measured = contest.measure(arguments.rounds);
        print(&contest, &measured);
        report.push(as_json(&contest, &measured));
    }
    let report = json!({ "kernels": kernels(), "rounds": arguments.rounds, "contests": report });
    arguments.json.map_or(Ok(()), |path| std::fs::write(path, format!("{report:#}\n")))
}

/// A contest of signatures, without those in other processes.
fn here(contest: &str, rows: usize) -> Contest {
    if contest == ed25519::NAME { ed25519::contest(rows) } else { esp256::contest(rows) }
}

fn contests(arguments: &Arguments) -> Vec<Contest> {
    let rows = arguments.rows;
    let mut signatures = [here(ed25519::NAME, rows), here(esp256::NAME, rows)];
    let own = std::env::current_exe().expect("this program");
    for contest in &mut signatures {
        let portable = [("ITRON_CORE_KERNELS", "portable")];
        let name = format!("{}, portable", ed25519::OURS);
        let portable = Contestant::elsewhere(&name, &own, &portable, contest.what, ed25519::OURS, rows);
        contest.contestants.insert(1, portable);
    }
    if let Some(program) = &arguments.dalek_avx512 {
        for name in [ed25519::DALEK, ed25519::DALEK_BATCH] {
            let there = Contestant::elsewhere(&format!("{name}, AVX-512"), program, &[], ed25519::NAME, name, rows);
            signatures[0].contestants.push(there);
        }
    }
    signatures.into_iter().chain(derivation::contests(rows)).collect()
}

fn kernels() -> &'static str {
    if features::chosen().avx512ifma { "avx512ifma" } else { "portable" }
}

fn print(contest: &Contest, measured: &[Measured]) {
    println!("\n{}, {} rows\n{:<42}{:>12}{:>16}", contest.what, contest.rows, "", "ns a row", "times ours");
    for Measured { name, nanoseconds, ratio } in measured {
        println!("{name:<42}{nanoseconds:>12.1}{ratio:>16.2}");
    }
}

fn as_json(contest: &Contest, measured: &[Measured]) -> Value {
    let measured: Vec<_> = measured
        .iter()
        .map(|one| {
            let rounded = |figure: f64| (figure * 100.0).round() / 100.0;
            json!({ "name": one.name, "ns_a_row": rounded(one.nanoseconds), "times_ours": rounded(one.ratio) })
        })
        .collect();
    json!({ "what": contest.what, "rows": contest.rows, "contestants": measured })
}
