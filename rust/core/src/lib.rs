//! Bytes, keys, and time as a number: tokens are read, verified, decided and written. No Python, no Arrow, no clock, no files.
//!
//! The layers, each of which names only those after it: [`route`] (what a device needs against what is in hand) and [`reading`]
//! (protected readings); [`token`] (meaning); [`crypto`] (keys), [`mod@format`] (bytes), [`time`] and [`parallel`] (chunks and
//! threads), which never name each other but that [`crypto`] works in chunks; [`code`].
#![forbid(unsafe_code)]

pub mod code;
pub mod crypto;
pub mod format;
pub mod names;
pub mod parallel;
pub mod reading;
pub mod route;
pub mod time;
pub mod token;
