//! Who a token or a record is about: the id of a device, and what of a token was signed.

use crate::arguments::{self, bytes_like};
use crate::errors::input;
use itron_core::format::{cose::Envelope, device};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Return the 8 bytes that stand for a device's aud (docs/format.md, claim 3). Raises `InputError` for another text.
#[pyfunction]
#[pyo3(signature = (device))]
pub fn device_id<'py>(py: Python<'py>, device: &Bound<'_, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let aud = arguments::text(device, "device")?;
    let id = device::parse(aud.as_bytes()).ok_or_else(|| {
        let is_number = !aud.is_empty() && aud.bytes().all(|digit| digit.is_ascii_digit());
        let write =
            if is_number { "ert: before it" } else { "ert: and a decimal below 2^48, or eui64: and 16 hex digits" };
        input(format!("device: {aud:?} is not a device id; write {write}"))
    })?;
    Ok(PyBytes::new(py, &id.to_be_bytes()))
}

/// Return the bytes of a token before its signature, whatever that one's length: two tokens that say the same are the same here.
/// Of bytes that are not a token, all are returned.
#[pyfunction]
#[pyo3(signature = (token))]
pub fn token_content<'py>(py: Python<'py>, token: &Bound<'_, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let token = bytes_like(token, "token")?;
    let signature = Envelope::read(&token, usize::MAX).map_or(0, |envelope| envelope.signature.len());
    Ok(PyBytes::new(py, &token[..token.len() - signature]))
}
