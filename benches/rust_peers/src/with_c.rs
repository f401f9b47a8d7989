//! The libraries that a C compiler builds a part of: each is a feature of its own.

use crate::cases::Cases;
use crate::contest::Contestant;
#[cfg(any(feature = "aws-lc", feature = "ring"))]
use itron_core::crypto::algorithm::Algorithm;

/// Those that were built in, for the algorithm of the rows.
pub fn contestants(cases: &'static Cases) -> Vec<Contestant> {
    let built_in = Vec::<fn(&'static Cases) -> Contestant>::from([
        #[cfg(feature = "aws-lc")]
        aws_lc,
        #[cfg(feature = "ring")]
        ring,
    ]);
    built_in.into_iter().map(|library| library(cases)).collect()
}

#[cfg(feature = "aws-lc")]
fn aws_lc(cases: &'static Cases) -> Contestant {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
    let key = match cases.public_key.algorithm() {
        Algorithm::Ed25519 => ParsedPublicKey::new(&ED25519, cases.public_key.raw()),
        Algorithm::Esp256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, cases.public_key.raw()),
        Algorithm::MlDsa44 | Algorithm::MlDsa65 => unreachable!("the cases are of the two curves"),
    };
    let key = key.expect("an honest key");
    Contestant::one_by_one("aws-lc-rs", cases, move |message, signature| key.verify_sig(message, signature).is_ok())
}

#[cfg(feature = "ring")]
fn ring(cases: &'static Cases) -> Contestant {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm};
    let algorithm: &dyn VerificationAlgorithm = match cases.public_key.algorithm() {
        Algorithm::Ed25519 => &ED25519,
        Algorithm::Esp256 => &ECDSA_P256_SHA256_FIXED,
        Algorithm::MlDsa44 | Algorithm::MlDsa65 => unreachable!("the cases are of the two curves"),
    };
    let key = UnparsedPublicKey::new(algorithm, cases.public_key.raw());
    Contestant::one_by_one("ring", cases, move |message, signature| key.verify(message, signature).is_ok())
}
