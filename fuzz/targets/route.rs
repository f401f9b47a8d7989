//! Arbitrary rows of a route under arbitrary tables of needs.
#![no_main]

use itron_core_fuzz::routes;
use itron_core_fuzz::source::{Source, lengthened};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| routes::check(&mut Source::new(&lengthened(data, 2_048))));
