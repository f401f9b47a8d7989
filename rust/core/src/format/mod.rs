//! Layer 1, bytes: strict readers over borrowed slices, and their mirror.

pub mod cbor;
pub mod claims;
pub mod cose;
pub mod device;
pub mod scope;
pub mod text;
pub mod token_type;
