//! The strict reader of CBOR against one by recursion, and the writer as its mirror.
#![no_main]

use itron_core_fuzz_checks::targets::cbor::check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| check(data));
