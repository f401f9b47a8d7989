//! Contestants that answer the same rows in turn, round by round, and what each took.

use crate::cases::Cases;
use crate::clock;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A contestant is run again within a round until this many seconds are over: a clock cannot time less.
const LEAST: f64 = 0.02;

/// One of those who do the same work.
pub struct Contestant {
    /// What it is called in the results.
    pub name: String,
    run: Box<dyn FnMut() -> f64>,
}

impl Contestant {
    /// One in this process, whose answers must be `right` each time. `rows` is what its time is divided by.
    pub fn new<T: Clone + Default + PartialEq + 'static>(
        name: &str,
        rows: usize,
        right: Vec<T>,
        mut answer: impl FnMut(&mut [T]) + 'static,
    ) -> Self {
        let name = name.to_owned();
        let complaint = format!("{name}: wrong answers");
        let mut answers = vec![T::default(); right.len()];
        let run = move || {
            let start = clock::now();
            let mut runs = 0;
            while runs == 0 || clock::now() - start < LEAST {
                answer(&mut answers);
                runs += 1;
            }
            let taken = clock::now() - start;
            assert!(answers == right, "{complaint}");
            answers.fill(T::default());
            taken / (runs * rows) as f64
        };
        Self { name, run: Box::new(run) }
    }

    /// One that verifies row by row.
    pub fn one_by_one(name: &str, cases: &'static Cases, verify: impl Fn(&[u8], &[u8; 64]) -> bool + 'static) -> Self {
        Self::new(name, cases.rows.len(), cases.verdicts(), move |verdicts| {
            for (verdict, case) in verdicts.iter_mut().zip(&cases.rows) {
                *verdict = verify(&case.message, &case.signature);
            }
        })
    }

    /// One of the same contest in another process, started with `variables`: another build, or another choice of kernels.
    #[must_use]
    pub fn elsewhere(
        name: &str,
        program: &Path,
        variables: &[(&str, &str)],
        contest: &str,
        contestant: &str,
        rows: usize,
    ) -> Self {
        let mut process = Process::start(program, variables, [contest, contestant, &rows.to_string()]);
        let name = name.to_owned();
        let complaint = format!("{name}: its process ended");
        let run = move || process.round().expect(&complaint);
        Self { name, run: Box::new(run) }
    }

    /// The other end of [`Contestant::elsewhere`]: one round for each line that comes in.
    ///
    /// # Errors
    /// When a pipe breaks.
    pub fn serve(mut self) -> io::Result<()> {
        for line in io::stdin().lines() {
            line?;
            println!("{:e}", (self.run)());
        }
        Ok(())
    }
}

/// A contestant's process, which ends with its input.
struct Process {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Process {
    fn start(program: &Path, variables: &[(&str, &str)], arguments: [&str; 3]) -> Self {
        let mut child = Command::new(program)
            .arg("answer")
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, answers }
    }

    /// Seconds a row, or `None` when the process has ended.
    fn round(&mut self) -> Option<f64> {
        let mut line = String::new();
        self.child.stdin.as_mut()?.write_all(b"\n").ok()?;
        self.answers.read_line(&mut line).ok()?;
        line.trim().parse().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Those who do the same work; the first is the one that the others are compared with.
pub struct Contest {
    /// What is done.
    pub what: &'static str,
    /// How often a run does it.
    pub rows: usize,
    /// Ours first.
    pub contestants: Vec<Contestant>,
}

/// What one contestant took.
pub struct Measured {
    /// As [`Contestant::name`].
    pub name: String,
    /// Nanoseconds a row: the median of the rounds.
    pub nanoseconds: f64,
    /// Times the first contestant's time: the median of the rounds' ratios.
    pub ratio: f64,
}

impl Contest {
    /// Times every contestant once a round. The first round is not counted: it builds tables and fills caches.
    #[must_use]
    pub fn measure(&mut self, rounds: usize) -> Vec<Measured> {
        let mut round = || -> Vec<f64> { self.contestants.iter_mut().map(|one| (one.run)()).collect() };
        round();
        let rounds: Vec<_> = (0..rounds).map(|_| round()).collect();
        let of = |one: usize, figure: fn(f64, f64) -> f64| {
            median(rounds.iter().map(|seconds| figure(seconds[one], seconds[0])).collect())
        };
        let measured = self.contestants.iter().enumerate().map(|(one, contestant)| Measured {
            name: contestant.name.clone(),
            nanoseconds: of(one, |own, _| own * 1e9),
            ratio: of(one, |own, first| own / first),
        });
        measured.collect()
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
    f64::midpoint(low, high)
}
