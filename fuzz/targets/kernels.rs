//! Signatures on every path: lanes and portable, by table and without, against the libraries.
#![no_main]

use itron_core_fuzz::source::{Source, lengthened};
use itron_core_fuzz::{ed25519, p256, portable};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: portable::choose(), |data: &[u8]| {
    let data = lengthened(data, 2_048);
    let mut source = Source::new(&data);
    if source.flag() { ed25519::check(&mut source) } else { p256::check(&mut source) }
});
