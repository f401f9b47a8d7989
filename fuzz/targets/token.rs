//! Whole tokens through verification: arbitrary bytes, parts of genuine tokens, and edited documents that were signed.
#![no_main]

use itron_core_fuzz_checks::targets::token::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| check(data));
