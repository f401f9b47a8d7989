//! What the two programs share: rows of one issuer, contestants that answer them, and the time they take.

pub mod cases;
pub mod clock;
pub mod contest;
pub mod derivation;
pub mod ed25519;
pub mod esp256;
pub mod windows;
mod with_c;
