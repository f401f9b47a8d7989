//! Payloads and scopes: what is accepted is written again as it was.
#![no_main]

use itron_core_fuzz_checks::targets::claims::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| check(data));
