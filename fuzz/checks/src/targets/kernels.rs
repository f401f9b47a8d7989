//! Signatures on every path: lanes and portable, by table and without, against the libraries.

use crate::source::{Source, lengthened};
use crate::{ed25519, p256};

/// As the module says.
pub fn check(data: &[u8]) {
    let data = lengthened(data, 2_048);
    let mut source = Source::new(&data);
    if source.flag() { ed25519::check(&mut source) } else { p256::check(&mut source) }
}
