//! SHA-256, HMAC and CMAC of many messages, lanes and portable, against the libraries.
#![no_main]

use itron_core_fuzz_checks::portable;
use itron_core_fuzz_checks::targets::derive::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: portable::choose(), |data: &[u8]| check(data));
