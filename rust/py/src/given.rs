//! Arguments as they were given: one reader an argument, named after it, so that a wrong type says which one, what came
//! and what was wanted. `PyO3`'s own extraction raises other exceptions, which name the argument in a note only.

use crate::arrow::type_name;
use crate::errors::input;
use pyo3::PyClass;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyIterator, PyString};

/// An argument of a wrong type.
pub fn wrong(given: &Bound<'_, PyAny>, name: &str, wanted: &str) -> PyErr {
    input(format!("{name}: got {}, wanted {wanted}", type_name(given)))
}

/// Text that UTF-8 can write.
pub fn text<'a>(given: &'a Bound<'_, PyAny>, name: &str) -> PyResult<&'a str> {
    let text = given.cast::<PyString>().map_err(|_| wrong(given, name, "str"))?;
    text.to_str()
        .map_err(|_| input(format!("{name}: got a str with a lone surrogate, wanted text that UTF-8 can write")))
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
fn object<'a, 'py, T: PyClass>(given: &'a Bound<'py, PyAny>, name: &str) -> PyResult<&'a Bound<'py, T>> {
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

/// Defines the reader of an argument that is an object of a class.
macro_rules! objects {
    ($($name:ident: $class:ty;)*) => {
        $(
            #[doc = concat!("The argument `", stringify!($name), "`.")]
            pub fn $name<'a, 'py>(given: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, $class>> {
                object(given, stringify!($name))
            }
        )*
    };
}

texts! { algorithm audience_prefix kdf label name profile token_type }

objects! {
    columns: crate::route::RouteColumns;
    entry: crate::keyring::KeyringEntry;
    key: crate::public_key::PublicKey;
    keyring: crate::keyring::Keyring;
    master: crate::secrets::MasterKey;
    policy: crate::route::Policy;
    public_key: crate::public_key::PublicKey;
    readings: crate::readings::ReadingColumns;
    revocations: crate::revocations::Revocations;
}

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
