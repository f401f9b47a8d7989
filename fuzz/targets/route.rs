//! Arbitrary rows of a route under arbitrary tables of needs.
#![no_main]

use itron_core_fuzz_checks::targets::route::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| check(data));
