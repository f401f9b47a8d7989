//! Arbitrary rows of a route under arbitrary tables of needs.

use crate::routes;
use crate::source::{Source, lengthened};

/// As the module says.
pub fn check(data: &[u8]) {
    routes::check(&mut Source::new(&lengthened(data, 2_048)));
}
