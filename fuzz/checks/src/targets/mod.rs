//! What each fuzz target does with an input: libFuzzer makes inputs in `targets/`, and `tests/seeds.rs` gives it the seeds.

pub mod cbor;
pub mod claims;
pub mod cose;
pub mod derive;
pub mod kernels;
pub mod route;
pub mod token;
pub mod windows;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Target; 8] = [
    ("cbor", cbor::check),
    ("claims", claims::check),
    ("cose", cose::check),
    ("derive", derive::check),
    ("kernels", kernels::check),
    ("route", route::check),
    ("token", token::check),
    ("windows", windows::check),
];
