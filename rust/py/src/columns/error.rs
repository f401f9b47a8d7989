//! Why an input cannot be taken: what came, and what was expected.

use std::fmt;

use crate::errors::{input, is_out_of_memory, out_of_memory};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

/// An input that cannot be read as the column or table that was asked for.
///
/// The first field is the whole sentence; the second is what the producer raised, where it raised something.
#[derive(Debug)]
pub struct InputError(pub String, pub Option<PyErr>);

/// What the readers of this module return.
pub type Result<T> = std::result::Result<T, InputError>;

/// Columns that hold secrets. Their producer's exception may quote a value, so it is neither repeated nor kept as the cause.
const SECRETS: [&str; 3] = ["keys", "authentication_keys", "command"];

impl InputError {
    /// An error without a cause.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into(), None)
    }

    /// What a producer raised while it was asked for `doing`.
    pub fn raised(py: Python<'_>, name: &str, doing: &str, cause: PyErr) -> Self {
        let kind = cause.get_type(py).qualname().map_or_else(|_| "an exception".to_owned(), |kind| kind.to_string());
        if SECRETS.contains(&name) && cause.is_instance_of::<PyException>(py) && !is_out_of_memory(py, &cause) {
            return Self(format!("{name}: {doing} raised {kind}, whose text is not shown: it may hold a secret"), None);
        }
        let message = format!("{name}: {doing} raised {kind}: {}", cause.value(py));
        Self(message, Some(cause))
    }

    /// Memory that a column needs cannot be had.
    pub fn out_of_memory() -> Self {
        Self("not enough memory".to_owned(), Some(out_of_memory()))
    }

    /// The exception of the sentence, with what the producer raised as its cause.
    ///
    /// An interrupt or a lack of memory says nothing about the input: it is passed on unchanged.
    fn into_exception(self, py: Python<'_>) -> PyErr {
        let Self(message, cause) = self;
        let Some(cause) = cause else { return input(message) };
        if !cause.is_instance_of::<PyException>(py) || is_out_of_memory(py, &cause) {
            return cause;
        }
        let error = input(message);
        error.set_cause(py, Some(cause));
        error
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InputError {}

impl From<InputError> for PyErr {
    fn from(error: InputError) -> Self {
        Python::attach(|py| error.into_exception(py))
    }
}

/// Refuses columns of one call whose lengths differ: pairs of a column's name and its rows.
///
/// # Errors
/// Names the first column and the first one that differs from it.
pub fn same_length(columns: &[(&str, usize)]) -> Result<usize> {
    let Some(&(first, rows)) = columns.first() else { return Ok(0) };
    match columns.iter().find(|(_, other)| *other != rows) {
        None => Ok(rows),
        Some((name, other)) => {
            Err(InputError::new(format!("{name}: got {other} rows, expected {rows}, as many as {first} has")))
        }
    }
}
