//! Arguments that several calls share, read and checked once.

use crate::errors::input;
use crate::keyring::token_type_unknown;
use crate::revocations::Revocations;
use crate::time::Now;
use itron_core::code::{Check, Code};
use itron_core::format::text::TextReader;
use itron_core::format::token_type::TokenType;
use itron_core::token::revocations::Revocations as Snapshot;
use itron_core::token::verify::{Call, MAX_SKEW};
use pyo3::buffer::PyBuffer;
use pyo3::conversion::FromPyObjectOwned;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyString};
use std::borrow::Cow;
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
        let unknown = || token_type_unknown(token_type);
        let token_type = TokenType::from_name(token_type).ok_or_else(unknown)?;
        if token_type == TokenType::Revocation {
            return Err(input(
                "token type: got \"revocation\", wanted a type of one row; read snapshots by Revocations.from_token",
            ));
        }
        Ok(Self {
            token_type,
            now: Now::read(now)?.seconds,
            skew: self::skew(skew, MAX_SKEW)?,
            max_lifetime: self::max_lifetime(max_lifetime, token_type)?,
            legacy_algorithms,
            revocations: self::revocations(revocations)?,
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

/// An int that fits `T`, from an argument of that name (no bool, no float).
fn int<'py, T: FromPyObjectOwned<'py>>(given: &Bound<'py, PyAny>, name: &str, wanted: &str) -> PyResult<T> {
    let number = if given.is_instance_of::<PyBool>() { None } else { given.extract().ok() };
    number.ok_or_else(|| input(format!("{name}: got {given}, wanted {wanted}")))
}

const SIGNED: &str = "an int of 64 bits";
const UNSIGNED: &str = "an int of 64 bits from 0 up";

/// The argument `skew`, still of any size.
pub fn skew_given(given: &Bound<'_, PyAny>) -> PyResult<i64> {
    int(given, "skew", SIGNED)
}

/// The argument `max_lifetime`, still of any size.
pub fn max_lifetime_given(given: &Bound<'_, PyAny>) -> PyResult<i64> {
    int(given, "max_lifetime", SIGNED)
}

/// The argument `max_lifetime` where None means the default, still of any size.
pub fn max_lifetime_or_none(given: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    if given.is_none() { Ok(None) } else { max_lifetime_given(given).map(Some) }
}

/// The argument `newer_than`.
pub fn newer_than_or_none(given: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
    if given.is_none() { Ok(None) } else { int(given, "newer_than", UNSIGNED).map(Some) }
}

/// The argument `key_version`.
pub fn key_version_given(given: &Bound<'_, PyAny>) -> PyResult<u64> {
    int(given, "key_version", UNSIGNED)
}

/// The argument `length`, still of any size.
pub fn length_given(given: &Bound<'_, PyAny>) -> PyResult<usize> {
    int(given, "length", UNSIGNED)
}

/// A `max_lifetime` in seconds, of the tokens of this type; None is the type's own.
pub fn max_lifetime(given: Option<i64>, token_type: TokenType) -> PyResult<u64> {
    let most = token_type.hard_lifetime();
    let Some(given) = given else { return Ok(token_type.default_lifetime()) };
    let wanted = || input(format!("max_lifetime: got {given}, wanted 1..{most} seconds"));
    u64::try_from(given).ok().filter(|given| (1..=most).contains(given)).ok_or_else(wanted)
}

/// A skew in whole seconds.
pub fn skew(given: i64, most: u64) -> PyResult<u64> {
    let wanted = || input(format!("skew: got {given}, wanted 0..{most} seconds"));
    u64::try_from(given).ok().filter(|&skew| skew <= most).ok_or_else(wanted)
}

/// A `Revocations`, or None.
pub fn revocations(given: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Arc<Snapshot>>> {
    let read = |given: &Bound<'_, PyAny>| {
        let wanted = |_| input(format!("revocations: got {}, wanted Revocations", given.get_type()));
        given.cast::<Revocations>().map(|snapshot| Arc::clone(&snapshot.get().0)).map_err(wanted)
    };
    given.map(read).transpose()
}

/// The number of an action.
pub fn action_number(action: &Bound<'_, PyAny>) -> PyResult<u8> {
    let number = crate::time::int(action).and_then(|number| crate::enums::numbered(crate::enums::ACTION, number));
    number.ok_or_else(|| input(format!("action: got {action}, wanted an Action")))
}

/// How many threads: as many as there are cores for, or those given, at least 1.
pub fn threads(given: Option<&Bound<'_, PyAny>>) -> PyResult<usize> {
    const MOST: usize = 1_024;
    let Some(given) = given.filter(|given| !given.is_none()) else {
        return Ok(itron_core::parallel::chunks::available_threads());
    };
    let count = if given.is_instance_of::<PyBool>() { None } else { given.extract::<usize>().ok() };
    let wanted = || input(format!("threads: got {given}, wanted None or 1..{MOST}"));
    count.filter(|count| (1..=MOST).contains(count)).ok_or_else(wanted)
}

/// A token, as bytes or as their text; or the code that it has without being read.
pub fn token_given<'a>(
    given: &'a Bound<'_, PyAny>,
    name: &str,
    token_type: TokenType,
) -> PyResult<Check<Cow<'a, [u8]>>> {
    if given.is_none() {
        return Ok(Err(Code::NoToken));
    }
    if let Ok(bytes) = given.cast::<PyBytes>() {
        return Ok(Ok(Cow::Borrowed(bytes.as_bytes())));
    }
    let Ok(text) = given.cast::<PyString>() else { return bytes_like(given, name).map(|bytes| Ok(Cow::Owned(bytes))) };
    Ok(match text.to_str() {
        Ok("") => Err(Code::NoToken),
        Ok(text) => TextReader::decode(text.as_bytes(), token_type.size_limits().0).map(Cow::Owned),
        Err(_) => Err(Code::TextUnreadable),
    })
}

/// The content of any bytes-like object; text is none.
pub fn bytes_like(given: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<u8>> {
    let copied = PyBuffer::<u8>::get(given).and_then(|buffer| buffer.to_vec(given.py()));
    copied.map_err(|_| input(format!("{name}: got {}, wanted bytes", given.get_type())))
}
