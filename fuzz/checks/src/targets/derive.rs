//! SHA-256, HMAC and CMAC of many messages, lanes and portable, against the libraries.

use crate::derivation;
use crate::source::{Source, lengthened};

/// As the module says.
pub fn check(data: &[u8]) {
    let data = lengthened(data, 2_048);
    let mut source = Source::new(&data);
    match source.byte() % 3 {
        0 => derivation::check_digests(&mut source),
        1 => derivation::check_hmac(&mut source),
        _ => derivation::check_cmac(&mut source),
    }
}
