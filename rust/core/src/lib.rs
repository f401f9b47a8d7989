//! Bytes, keys, and time as a number: tokens are read, verified, decided and written. No Python, no Arrow, no clock, no files.
//!
//! Layer 1, [`mod@format`]: bytes. Layer 2, [`crypto`]: keys. Layer 3, [`token`]: meaning. Layer 4, [`route`]: what a device needs
//! against what is in hand. Format and crypto never name each other.
#![forbid(unsafe_code)]

pub mod code;
pub mod columns;
pub mod crypto;
pub mod format;
pub mod names;
mod placement;
mod process;
pub mod reading;
pub mod route;
pub mod scratch;
pub mod token;
pub mod work;
