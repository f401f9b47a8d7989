//! Telegrams of Reading profile 1, opened.
#![no_main]

use itron_core_fuzz_checks::portable;
use itron_core_fuzz_checks::targets::reading_cose::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: portable::choose(), |data: &[u8]| check(data));
