//! Windows of whole columns, lanes and portable, against plain integers that cannot wrap.
#![no_main]

use itron_core_fuzz_checks::portable;
use itron_core_fuzz_checks::targets::windows::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: portable::choose(), |data: &[u8]| check(data));
