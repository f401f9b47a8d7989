//! Layer 3, meaning: keyrings and revocations are data; the order of checks stands above them, and above it delegations and
//! snapshots, which are tokens themselves. Issuing is the mirror of verifying.

pub mod delegation;
pub mod details;
pub mod issue;
pub mod keyring;
pub mod revocations;
pub mod snapshot;
pub mod verify;
