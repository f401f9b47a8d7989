//! What the fuzz targets share: inputs read as choices, issuers with real tokens, and the models that answers are held to.

pub mod derivation;
pub mod documents;
pub mod ed25519;
pub mod issuers;
pub mod p256;
pub mod portable;
pub mod routes;
pub mod source;
pub mod tokens;
