//! What the fuzz targets do, each in [`targets`], and what they share: inputs read as choices, issuers with real tokens, and
//! the models that answers are held to.
#![allow(clippy::missing_panics_doc, reason = "a check fails by panicking")]

pub mod aes;
pub mod derivation;
pub mod documents;
pub mod ed25519;
pub mod issuers;
pub mod p256;
pub mod portable;
pub mod readings;
pub mod routes;
pub mod source;
pub mod targets;
pub mod tokens;
