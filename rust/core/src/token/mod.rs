//! Layer 3, meaning: keyrings, revocations, windows, the order of checks, and issuing as its mirror.

pub mod details;
pub mod issue;
pub mod keyring;
pub mod revocation;
pub mod verify;
pub mod window;
