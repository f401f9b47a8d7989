//! Items of a list that stand for no value.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDateTime, PyFloat, PyInt, PyString};

/// Whether an item stands for no value: None, or what pandas and `NumPy` have in its place (NaN, NA, `NaT`).
pub(super) fn is_missing(item: &Bound<'_, PyAny>) -> bool {
    if item.is_none() {
        return true;
    }
    // What most lists hold, by a look at the type alone.
    if item.is_exact_instance_of::<PyString>()
        || item.is_exact_instance_of::<PyInt>()
        || item.is_exact_instance_of::<PyBytes>()
        || item.is_exact_instance_of::<PyBool>()
    {
        return false;
    }
    if let Ok(float) = item.cast::<PyFloat>() {
        return float.value().is_nan();
    }
    // `NaT` is a datetime, too.
    !item.is_exact_instance_of::<PyDateTime>()
        && item.get_type().fully_qualified_name().is_ok_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with("pandas.") && (name.ends_with(".NAType") || name.ends_with(".NaTType"))
        })
}
