//! SHA-512 (FIPS 180-4) of messages that lie in pieces.

pub(crate) mod portable;
