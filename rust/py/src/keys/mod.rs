//! Keys as Python sees them: public keys and keyrings, what is revoked, and the secrets that other keys are derived from.

pub mod derived_keys;
mod jwk;
pub mod keyring;
pub mod kid;
pub mod master_key;
pub mod public_key;
pub mod revocations;
