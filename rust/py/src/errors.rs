//! The only file that names exceptions: they are born in Python, and every failure becomes one here.

use itron_core::code::Code;
use itron_core::crypto::weak_key::WeakKey;
use itron_core::parallel::stop::Stop;
use itron_core::token::delegation::DelegationError;
use itron_core::token::snapshot::SnapshotError;
use pyo3::prelude::*;

mod python {
    #![allow(missing_docs, reason = "what they mean is said where they are born")]
    pyo3::import_exception!(itron_core.errors, InputError);
    pyo3::import_exception!(itron_core.errors, KeyRefused);
    pyo3::import_exception!(itron_core.errors, TokenRefused);
    pyo3::import_exception!(itron_core.errors, ItronCoreError);
}

/// A call that cannot be made: what came, and what was expected.
pub fn input(message: impl Into<String>) -> PyErr {
    python::InputError::new_err(message.into())
}

/// An import in a second interpreter of one process: exceptions and threads are shared by all of them.
pub fn second_interpreter() -> PyErr {
    pyo3::exceptions::PyImportError::new_err(
        "itron_core: this process has imported it in another interpreter; import it in one, or use a process for each",
    )
}

/// Memory that cannot be had.
pub fn memory(error: std::collections::TryReserveError) -> PyErr {
    pyo3::exceptions::PyMemoryError::new_err(error.to_string())
}

/// A key that cannot be used.
pub fn key_refused(message: impl Into<String>) -> PyErr {
    python::KeyRefused::new_err(message.into())
}

/// A valid call that is refused for another reason than a bad token.
pub fn refused(message: impl Into<String>) -> PyErr {
    python::ItronCoreError::new_err(message.into())
}

/// A token that was refused where only a good one can be returned.
pub fn token_refused(code: Code) -> PyErr {
    python::TokenRefused::new_err(code as i16)
}

/// Memory that cannot be had.
pub fn out_of_memory() -> PyErr {
    pyo3::exceptions::PyMemoryError::new_err("not enough memory for the call")
}

/// A call that ended before its rows did.
pub fn stopped(stop: Stop) -> PyErr {
    match stop {
        Stop::OutOfMemory => out_of_memory(),
        Stop::Interrupted => pyo3::exceptions::PyKeyboardInterrupt::new_err(()),
    }
}

/// Whether an exception says that memory cannot be had.
pub fn is_out_of_memory(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<pyo3::exceptions::PyMemoryError>(py)
}

/// Pickling or copying what holds a secret.
pub fn secret_stays(what: &str) -> PyErr {
    pyo3::exceptions::PyTypeError::new_err(format!("a {what} holds secrets and cannot be pickled or copied"))
}

/// Pickling what is neither pickled nor made by Python: without this, the oldest protocols write what cannot be read.
pub fn no_pickle(class: &str) -> PyErr {
    input(format!("{class} cannot be pickled: pass on its bytes or its Arrow columns"))
}

/// A public key that no token may be verified with.
pub fn weak_key(weak: WeakKey) -> PyErr {
    key_refused(format!("public key: {weak}"))
}

/// A keyring that cannot be made.
pub fn keyring(error: &DelegationError) -> PyErr {
    match error {
        DelegationError::Refused(_, code) => token_refused(*code),
        _ => key_refused(format!("keyring: {error}")),
    }
}

/// A snapshot that is not taken.
pub fn snapshot(error: SnapshotError) -> PyErr {
    match error {
        SnapshotError::Refused(code) => token_refused(code),
        _ => refused(format!("snapshot: {error}")),
    }
}
