//! The options that `verify_token` and `verify_tokens` share, read and checked once.

use crate::arguments::time::Now;
use crate::arguments::{self, token_type_named};
use crate::errors::input;
use crate::keys::revocations::revocations_or_none;
use itron_core::format::token_type::TokenType;
use itron_core::token::revocations::Revocations as Snapshot;
use itron_core::token::verify::{Call, MAX_SKEW};
use pyo3::prelude::*;
use std::sync::Arc;

/// The options of a verification, without a borrow of Python's.
pub struct VerifyOptions {
    token_type: TokenType,
    now: u64,
    skew: u64,
    max_lifetime: u64,
    legacy_algorithms: bool,
    revocations: Option<Arc<Snapshot>>,
}

impl VerifyOptions {
    /// Checks the options of `verify_tokens` and its twins.
    pub fn read(
        now: &Bound<'_, PyAny>,
        token_type: &str,
        revocations: Option<&Bound<'_, PyAny>>,
        skew: i64,
        max_lifetime: Option<i64>,
        legacy_algorithms: bool,
    ) -> PyResult<Self> {
        if token_type == TokenType::Revocation.name() {
            return Err(input(
                "token type: got \"revocation\", expected a type of one row; read snapshots by Revocations.from_token",
            ));
        }
        let token_type = token_type_named(token_type, |each| each != TokenType::Revocation)?;
        Ok(Self {
            token_type,
            now: Now::read(now)?.seconds,
            skew: arguments::skew(skew, MAX_SKEW)?,
            max_lifetime: arguments::max_lifetime(max_lifetime, token_type)?,
            legacy_algorithms,
            revocations: revocations_or_none(revocations)?,
        })
    }

    /// The call that they make.
    pub fn call(&self) -> Call<'_> {
        Call {
            token_type: self.token_type,
            now: self.now,
            skew: self.skew,
            max_lifetime: self.max_lifetime,
            legacy_algorithms: self.legacy_algorithms,
            revocations: self.revocations.as_deref(),
        }
    }
}
