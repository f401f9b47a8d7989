//! Every seed through its target, without a fuzzer: what was found once is not found again.

use itron_core_fuzz_checks::portable;
use itron_core_fuzz_checks::targets::{ALL, Target};
use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    portable::choose();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder fuzz/");
    let names: BTreeSet<_> = ALL.iter().map(|(name, _)| PathBuf::from(name)).collect();
    assert_eq!(names_in(&root.join("targets")), names, "fuzz/targets/ has other files than there are targets");
    assert_eq!(names_in(&root.join("seeds")), names, "fuzz/seeds/ has other folders than there are targets");
    let failed: usize = ALL.iter().map(|target| replay(target, &root.join("seeds"))).sum();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The stems of what is in a folder.
fn names_in(folder: &Path) -> BTreeSet<PathBuf> {
    entries(folder).iter().map(|path| path.file_stem().expect("a name").into()).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    paths
}

/// How many seeds fail; the panic's own message stands above each name.
fn replay((name, check): &Target, seeds: &Path) -> usize {
    let seeds = entries(&seeds.join(name));
    assert!(!seeds.is_empty(), "{name} has no seeds");
    let fails = |path: &&PathBuf| {
        let input = fs::read(path).expect("a readable seed");
        catch_unwind(|| check(&input)).inspect_err(|_| eprintln!("failed: {}", path.display())).is_err()
    };
    let failed = seeds.iter().filter(fails).count();
    println!("{name}: {} seeds, {failed} failed", seeds.len());
    failed
}
