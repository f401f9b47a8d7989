//! The strict reader of CBOR against one by recursion, and the writer as its mirror.

use crate::documents;
use itron_core::format::cbor::MAX_DEPTH;

/// As the module says.
pub fn check(data: &[u8]) {
    for depth in 0..=MAX_DEPTH {
        documents::check(data, depth);
    }
    documents::check_pairs(data);
}
