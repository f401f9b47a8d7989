//! `derive_keys`, `derive_key`: from a master key to each device's key.

use crate::arguments::{self, key_version_given, length_given, threads};
use crate::columns::input::{AnyColumn, BinaryColumn, Kind};
use crate::errors::{self, input};
use crate::keys::derived_keys::{DerivedKeys, Source, What, room};
use crate::keys::master_key::{self, MasterKey};
use itron_core::crypto::kdf;
use itron_core::format::device;
use itron_core::parallel::scratch::Scratch;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::sync::Arc;

/// Derives the key of each device, in one flat buffer.
#[pyfunction]
#[pyo3(signature = (master, device_ids, *, utility, label="read-enc", key_version=1, length=16, kdf="kbkdf-hmac-sha256", extra=None, threads=None))]
#[allow(clippy::too_many_arguments, reason = "the call of the public interface")]
pub fn derive_keys(
    py: Python<'_>,
    #[pyo3(from_py_with = master_key::master)] master: &Bound<'_, MasterKey>,
    device_ids: &Bound<'_, PyAny>,
    utility: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = arguments::label)] label: &str,
    #[pyo3(from_py_with = key_version_given)] key_version: u64,
    #[pyo3(from_py_with = length_given)] length: usize,
    #[pyo3(from_py_with = arguments::kdf)] kdf: &str,
    extra: Option<&Bound<'_, PyAny>>,
    threads: Option<&Bound<'_, PyAny>>,
) -> PyResult<DerivedKeys> {
    let what = What::read(utility, label, key_version, length, kdf, extra)?;
    let threads = self::threads(threads)?;
    let ids = ids(device_ids)?;
    let source = Source { master: Arc::clone(&master.get().0), what, ids, threads };
    let keys = source.keys(py)?;
    Ok(DerivedKeys { keys, length, source })
}

/// Derives one key.
#[pyfunction]
#[pyo3(signature = (master, device_id, *, utility, label="read-enc", key_version=1, length=16, kdf="kbkdf-hmac-sha256", extra=None))]
#[allow(clippy::too_many_arguments, reason = "the call of the public interface")]
pub fn derive_key<'py>(
    py: Python<'py>,
    #[pyo3(from_py_with = master_key::master)] master: &Bound<'py, MasterKey>,
    device_id: &Bound<'py, PyAny>,
    utility: &Bound<'py, PyAny>,
    #[pyo3(from_py_with = arguments::label)] label: &str,
    #[pyo3(from_py_with = key_version_given)] key_version: u64,
    #[pyo3(from_py_with = length_given)] length: usize,
    #[pyo3(from_py_with = arguments::kdf)] kdf: &str,
    extra: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let what = What::read(utility, label, key_version, length, kdf, extra)?;
    let wanted = || input(format!("device_id: got {device_id}, expected an aud of a device or 8 bytes"));
    let id = if let Ok(text) = device_id.cast::<PyString>() {
        text.to_str().ok().and_then(|text| device::parse(text.as_bytes())).map(u64::to_be_bytes)
    } else {
        device_id.cast::<PyBytes>().ok().and_then(|bytes| bytes.as_bytes().try_into().ok())
    };
    let (id, derivation) = (id.ok_or_else(wanted)?, what.derivation());
    let mut key = room(&master.get().0, &derivation, 1)?;
    kdf::derive_many(&master.get().0, &derivation, &[id], &mut key).map_err(|error| input(error.to_string()))?;
    Ok(PyBytes::new(py, &key))
}

/// Device ids: aud strings, or 8 bytes each.
fn ids(column: &Bound<'_, PyAny>) -> PyResult<Vec<[u8; 8]>> {
    let py = column.py();
    let column = BinaryColumn::bytes_or_text(py, &AnyColumn::new(column, "device_ids")?)?;
    let of_text = column.kind() == Kind::Text;
    let id = |value: &[u8]| if of_text { device::parse(value).map(u64::to_be_bytes) } else { value.try_into().ok() };
    py.detach(|| {
        let mut ids = Vec::new();
        ids.try_reserve_exact(column.len()).map_err(|_| errors::out_of_memory())?;
        let mut scratch = Scratch::default();
        for row in 0..column.len() {
            scratch.clear();
            // A longer one is no device's, whatever follows.
            let value = column.fetch(row, device::LONGEST + 1, &mut scratch).map_err(errors::stopped)?;
            let value = value.map(|value| scratch.get(value));
            ids.push(value.and_then(id).ok_or_else(|| {
                let got = value.map_or("null".into(), String::from_utf8_lossy);
                input(format!("device_ids: got {got:?} in row {row}, expected an aud of a device or 8 bytes"))
            })?);
        }
        Ok(ids)
    })
}
