//! Results as other kinds: slices of their rows, and tables of other libraries.

use crate::errors::input;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PySlice, PyTuple};

/// The first row and the number of rows that a slice names, which is without a copy.
///
/// # Errors
/// If the start or the end is not an int, or if the step is not 1.
pub fn range(slice: &Bound<'_, PySlice>, rows: usize) -> PyResult<(usize, usize)> {
    let wanted = |_| input(format!("row: got {slice}, expected a slice of ints"));
    let range = slice.indices(rows as isize).map_err(wanted)?;
    if range.step != 1 {
        return Err(PyIndexError::new_err(format!(
            "row: got a slice of step {0}, expected step 1; slice the Arrow table instead: .to_arrow()[::{0}]",
            range.step
        )));
    }
    Ok((range.start as usize, range.slicelength))
}

/// What a function of `itron_core.tables` makes of results: these lines know no other library.
///
/// # Errors
/// What the function raises: `ImportError` for a library that is not installed.
pub fn converted<'py>(
    results: &Bound<'py, PyAny>,
    function: &str,
    arguments: &[Option<&Bound<'py, PyAny>>],
) -> PyResult<Bound<'py, PyAny>> {
    let py = results.py();
    let all = std::iter::once(Some(results)).chain(arguments.iter().copied()).collect::<Vec<_>>();
    py.import("itron_core.tables")?.getattr(function)?.call1(PyTuple::new(py, all)?)
}
