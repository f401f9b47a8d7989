//! `cpu_features`: what this machine offers, and which kernel each operation uses.

use crate::errors::{input, second_interpreter};
use itron_core::crypto::kernels;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::OnceLock;

const VARIABLE: &str = "ITRON_CORE_KERNELS";

/// Refuses an interpreter of this process other than the first one.
pub fn check_interpreter(py: Python<'_>) -> PyResult<()> {
    static FIRST: OnceLock<usize> = OnceLock::new();
    // Each interpreter has its own builtins, which live as long as it does.
    let this = py.import("builtins")?.as_ptr().addr();
    if *FIRST.get_or_init(|| this) == this { Ok(()) } else { Err(second_interpreter()) }
}

/// Refuses a value of the environment variable that means nothing.
pub fn check_environment() -> PyResult<()> {
    match std::env::var_os(VARIABLE) {
        Some(value) if value != "auto" && value != "portable" => {
            Err(input(format!("{VARIABLE}: got {}, wanted auto or portable", value.to_string_lossy())))
        }
        _ => Ok(()),
    }
}

/// "detected": names of what the processor offers; "kernels": operation to the kernel in use.
#[pyfunction]
pub fn cpu_features(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let features = PyDict::new(py);
    features.set_item("detected", kernels::detected())?;
    let in_use = PyDict::new(py);
    for (operation, kernel) in kernels::in_use() {
        in_use.set_item(operation, kernel)?;
    }
    features.set_item("kernels", in_use)?;
    Ok(features)
}
