//! Items of a list that stand for no value.

use pyo3::prelude::*;
use pyo3::types::{PyDateTime, PyFloat, PyString};

/// Whether an item stands for no value: None, or what pandas and `NumPy` have in its place (NaN, NA, `NaT`).
pub(super) fn is_missing(item: &Bound<'_, PyAny>) -> bool {
    if item.is_none() {
        return true;
    }
    if let Ok(float) = item.cast::<PyFloat>() {
        return float.value().is_nan();
    }
    // `NaT` is a datetime, too.
    let may_be = !item.is_exact_instance_of::<PyDateTime>() && !item.is_exact_instance_of::<PyString>();
    may_be
        && item.get_type().fully_qualified_name().is_ok_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with("pandas.") && (name.ends_with(".NAType") || name.ends_with(".NaTType"))
        })
}
