//! The strict reader of CBOR against one by recursion, and the writer as its mirror.
#![no_main]

use itron_core::format::cbor::MAX_DEPTH;
use itron_core_fuzz::documents;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for depth in 0..=MAX_DEPTH {
        documents::check(data, depth);
    }
    documents::check_pairs(data);
});
