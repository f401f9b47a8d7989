//! `cpu_features`: what this machine offers, and which kernel each operation uses.

use crate::errors::input;
use itron_core::crypto::kernels;
use pyo3::prelude::*;
use pyo3::types::PyDict;

const VARIABLE: &str = "ITRON_CORE_KERNELS";

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
