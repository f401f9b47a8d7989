//! What each fuzz target does with an input: libFuzzer makes inputs in `targets/`, and `tests/seeds.rs` gives it the seeds.

pub mod cbor;
pub mod claims;
pub mod cose;
pub mod derive;
pub mod kernels;
pub mod reading_cose;
pub mod reading_dlms;
pub mod reading_wmbus;
pub mod route;
pub mod token;
pub mod windows;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Target; 11] = [
    ("cbor", cbor::check),
    ("claims", claims::check),
    ("cose", cose::check),
    ("derive", derive::check),
    ("kernels", kernels::check),
    ("reading_cose", reading_cose::check),
    ("reading_dlms", reading_dlms::check),
    ("reading_wmbus", reading_wmbus::check),
    ("route", route::check),
    ("token", token::check),
    ("windows", windows::check),
];
