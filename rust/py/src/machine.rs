//! `cpu_features`: what this machine offers, and which kernel each operation uses.

use crate::errors::{input, second_interpreter};
use itron_core::crypto::kernels;
use itron_core::parallel::placement;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::OnceLock;

/// Refuses an interpreter of this process other than the first one.
pub fn check_interpreter(py: Python<'_>) -> PyResult<()> {
    static FIRST: OnceLock<usize> = OnceLock::new();
    // Each interpreter has its own builtins, which live as long as it does.
    let this = py.import("builtins")?.as_ptr().addr();
    if *FIRST.get_or_init(|| this) == this { Ok(()) } else { Err(second_interpreter()) }
}

/// Reads the environment variables of the extension, and refuses a value that means nothing.
pub fn check_environment() -> PyResult<()> {
    // The kernels read theirs when they are first used.
    choice("ITRON_CORE_KERNELS", ["auto", "portable"])?;
    if choice("ITRON_CORE_PLACEMENT", ["auto", "off"])? == 1 {
        placement::turn_off();
    }
    Ok(())
}

/// Which of two values a variable has; the first one if it is not set.
fn choice(variable: &str, values: [&str; 2]) -> PyResult<usize> {
    let Some(got) = std::env::var_os(variable) else { return Ok(0) };
    let [usual, other] = values;
    let unknown = || input(format!("{variable}: got {}, expected {usual} or {other}", got.to_string_lossy()));
    values.iter().position(|value| got == *value).ok_or_else(unknown)
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
