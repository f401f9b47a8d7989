//! Signatures on every path, and messages under AES: lanes and portable, by table and without, against the libraries.

use crate::source::{Source, lengthened};
use crate::{aes, ed25519, p256};

/// As the module says.
pub fn check(data: &[u8]) {
    let data = lengthened(data, 2_048);
    let mut source = Source::new(&data);
    match source.byte() {
        0xc0.. => aes::check(&mut source),
        odd if odd & 1 == 1 => ed25519::check(&mut source),
        _ => p256::check(&mut source),
    }
}
