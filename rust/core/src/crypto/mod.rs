//! Layer 2, keys: public keys whose weak forms are refused on the way in, signatures, and derived keys.

pub mod algorithm;
pub mod ed25519;
pub mod kdf;
pub mod kernels;
pub mod ml_dsa;
pub mod p256;
pub mod public_key;
pub mod signatures;
pub mod tables;
pub mod weak_key;
