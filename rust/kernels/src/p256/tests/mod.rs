//! Every kernel against the p256 crate, against Wycheproof, and on crafted scalars.

mod signatures;
