//! Names near ours, for the columns that Python's side takes by name.

use itron_core::names;
use pyo3::prelude::*;

/// Return the name among `ours` that `name` was probably meant to be; None for one of ours, and for one clearly of others.
#[pyfunction]
#[pyo3(signature = (name, ours, /))]
pub fn near_name(name: &str, ours: Vec<String>) -> Option<String> {
    let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
    names::near(name, &ours).map(str::to_owned)
}
