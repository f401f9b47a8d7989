//! Telegrams of DLMS/COSEM, opened.
#![no_main]

use itron_core_fuzz_checks::portable;
use itron_core_fuzz_checks::targets::reading_dlms::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: portable::choose(), |data: &[u8]| check(data));
