//! Arguments as they were given: one reader per argument, named after it, so that a wrong type says which one, what came
//! and what was expected. `PyO3`'s own extraction raises other exceptions, which name the argument in a note only.
//!
//! Only what Python and the core know is read here; the reader of a class of ours stands beside that class.

pub mod enums;
pub mod time;

use crate::errors::input;
use itron_core::code::{Check, Code};
use itron_core::format::text::TextReader;
use itron_core::format::token_type::TokenType;
use pyo3::PyClass;
use pyo3::buffer::PyBuffer;
use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt, PyIterator, PyString};
use std::borrow::Cow;

/// An argument of a wrong type.
pub fn wrong(given: &Bound<'_, PyAny>, name: &str, wanted: &str) -> PyErr {
    input(format!("{name}: got {}, expected {wanted}", type_name(given)))
}

/// Text that UTF-8 can write.
pub fn text<'a>(given: &'a Bound<'_, PyAny>, name: &str) -> PyResult<&'a str> {
    let text = given.cast::<PyString>().map_err(|_| wrong(given, name, "str"))?;
    text.to_str()
        .map_err(|_| input(format!("{name}: got a str with a lone surrogate, expected text that UTF-8 can write")))
}

/// Text, or None.
fn text_or_none<'a>(given: &'a Bound<'_, PyAny>, name: &str) -> PyResult<Option<&'a str>> {
    if given.is_none() { Ok(None) } else { text(given, name).map(Some) }
}

/// True or False: what Python counts as true is neither.
fn flag(given: &Bound<'_, PyAny>, name: &str) -> PyResult<bool> {
    given.cast::<PyBool>().map(PyBoolMethods::is_true).map_err(|_| wrong(given, name, "True or False"))
}

/// An object of a class of ours.
pub fn object<'a, 'py, T: PyClass>(given: &'a Bound<'py, PyAny>, name: &str) -> PyResult<&'a Bound<'py, T>> {
    given.cast::<T>().map_err(|_| wrong(given, name, T::NAME))
}

/// A place in a sequence, from its end where it is below zero. An int beyond every sequence is an `IndexError`, as Python has it.
fn place(given: &Bound<'_, PyAny>, name: &str, wanted: &str) -> PyResult<isize> {
    given.extract().map_err(|_| {
        if given.is_instance_of::<PyInt>() {
            PyIndexError::new_err(format!("{name} {given}"))
        } else {
            wrong(given, name, wanted)
        }
    })
}

/// The items of a collection.
pub fn items<'py>(given: &Bound<'py, PyAny>, name: &str, wanted: &str) -> PyResult<Bound<'py, PyIterator>> {
    given.try_iter().map_err(|_| wrong(given, name, wanted))
}

/// Defines the reader of an argument that is text.
macro_rules! texts {
    ($($name:ident)*) => {
        $(
            #[doc = concat!("The argument `", stringify!($name), "`.")]
            pub fn $name<'a>(given: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
                text(given, stringify!($name))
            }
        )*
    };
}

/// Defines the reader of an argument that is an object of a class, beside that class.
macro_rules! object_reader {
    ($name:ident: $class:ty) => {
        #[doc = concat!("The argument `", stringify!($name), "`.")]
        pub fn $name<'a, 'py>(
            given: &'a ::pyo3::Bound<'py, ::pyo3::PyAny>,
        ) -> ::pyo3::PyResult<&'a ::pyo3::Bound<'py, $class>> {
            $crate::arguments::object(given, stringify!($name))
        }
    };
}
pub(crate) use object_reader;

texts! { algorithm audience_prefix kdf label name profile token_type }

/// The argument `audience`, where it is one for all.
pub fn audience<'a>(given: &'a Bound<'_, PyAny>) -> PyResult<Option<&'a str>> {
    text_or_none(given, "audience")
}

/// The argument `legacy_algorithms`.
pub fn legacy_algorithms(given: &Bound<'_, PyAny>) -> PyResult<bool> {
    flag(given, "legacy_algorithms")
}

/// The argument `allow_plain`.
pub fn allow_plain(given: &Bound<'_, PyAny>) -> PyResult<bool> {
    flag(given, "allow_plain")
}

/// The argument `progress`: a callable, or None.
pub fn progress<'a, 'py>(given: Option<&'a Bound<'py, PyAny>>) -> PyResult<Option<&'a Bound<'py, PyAny>>> {
    match given {
        Some(given) if !given.is_callable() => Err(wrong(given, "progress", "None or a callable")),
        _ => Ok(given),
    }
}

/// The argument `index`.
pub fn index(given: &Bound<'_, PyAny>) -> PyResult<isize> {
    place(given, "index", "an int")
}

/// The argument `row`.
pub fn row(given: &Bound<'_, PyAny>) -> PyResult<isize> {
    place(given, "row", "an int")
}

/// The row of a column, where a slice was none.
pub fn row_or_slice(given: &Bound<'_, PyAny>) -> PyResult<isize> {
    place(given, "row", "an int or a slice")
}

/// The argument `issuer`, where there must be one.
pub fn issuer<'a>(given: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    text(given, "issuer")
}

/// The argument `issuer`, where there may be none.
pub fn issuer_or_none<'a>(given: &'a Bound<'_, PyAny>) -> PyResult<Option<&'a str>> {
    text_or_none(given, "issuer")
}

/// An int that fits `T`, from an argument of that name (no bool, no float).
fn int<'py, T: FromPyObjectOwned<'py>>(given: &Bound<'py, PyAny>, name: &str, wanted: &str) -> PyResult<T> {
    let number = if given.is_instance_of::<PyBool>() { None } else { given.extract().ok() };
    number.ok_or_else(|| input(format!("{name}: got {given}, expected {wanted}")))
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
    let wanted = || input(format!("max_lifetime: got {given}, expected 1..{most} seconds"));
    u64::try_from(given).ok().filter(|given| (1..=most).contains(given)).ok_or_else(wanted)
}

/// A skew in whole seconds.
pub fn skew(given: i64, most: u64) -> PyResult<u64> {
    let wanted = || input(format!("skew: got {given}, expected 0..{most} seconds"));
    u64::try_from(given).ok().filter(|&skew| skew <= most).ok_or_else(wanted)
}

/// How many threads: as many as there are cores for, or those given, at least 1.
pub fn threads(given: Option<&Bound<'_, PyAny>>) -> PyResult<usize> {
    const MOST: usize = 1_024;
    let Some(given) = given.filter(|given| !given.is_none()) else {
        return Ok(itron_core::parallel::chunks::available_threads());
    };
    let count = if given.is_instance_of::<PyBool>() { None } else { given.extract::<usize>().ok() };
    let wanted = || input(format!("threads: got {given}, expected None or 1..{MOST}"));
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
    copied.map_err(|_| input(format!("{name}: got {}, expected bytes", given.get_type())))
}

/// The token type of a name, if the call takes it; the error lists those that it takes.
pub fn token_type_named(name: &str, takes: impl Fn(TokenType) -> bool) -> PyResult<TokenType> {
    TokenType::from_name(name).filter(|&named| takes(named)).ok_or_else(|| {
        let names: Vec<_> = TokenType::ALL.iter().filter(|&&each| takes(each)).map(|each| each.name()).collect();
        input(format!("token type: got {name:?}, expected one of {}", names.join(", ")))
    })
}

/// The name of an object's type, for messages.
#[must_use]
pub fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().fully_qualified_name().map_or_else(|_| "an object".to_owned(), |name| name.to_string())
}
