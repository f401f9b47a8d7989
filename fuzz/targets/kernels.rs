//! Signatures on every path, and messages under AES: lanes and portable, by table and without, against the libraries.
#![no_main]

use itron_core_fuzz_checks::portable;
use itron_core_fuzz_checks::targets::kernels::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: portable::choose(), |data: &[u8]| check(data));
