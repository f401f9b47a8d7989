//! `derive_keys`, `derive_key`: from a master key to each device's key.

use crate::arguments::{bytes_like, key_version_given, length_given, threads};
use crate::arrow::{AnyColumn, BinaryColumn, Kind};
use crate::bulk;
use crate::errors::{self, input};
use crate::given;
use crate::secrets::{DerivedKeys, MasterKey};
use itron_core::crypto::kdf::{self, Derivation, Kdf, KdfError, Label};
use itron_core::format::device;
use itron_core::parallel::scratch::Scratch;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The arguments that say what is derived.
struct What {
    kdf: Kdf,
    label: Label,
    utility: Vec<u8>,
    key_version: u64,
    extra: Option<Vec<u8>>,
    length: usize,
}

impl What {
    fn derivation(&self) -> Derivation<'_> {
        Derivation {
            kdf: self.kdf,
            label: self.label,
            utility: &self.utility,
            key_version: self.key_version,
            extra: self.extra.as_deref(),
            length: self.length,
        }
    }

    fn read(
        utility: &Bound<'_, PyAny>,
        label: &str,
        key_version: u64,
        length: usize,
        kdf: &str,
        extra: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self {
            kdf: Kdf::from_name(kdf).ok_or_else(|| input(format!("kdf: got {kdf:?}, wanted {}", kdf_names())))?,
            label: Label::from_name(label)
                .ok_or_else(|| input(format!("label: got {label:?}, wanted {}", label_names())))?,
            utility: self::utility(utility)?,
            key_version,
            extra: extra.map(|extra| bytes_like(extra, "extra")).transpose()?,
            length,
        })
    }
}

/// The argument `utility`: bytes, or ASCII text; its length is checked where keys are derived.
pub fn utility(given: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    match given.extract::<String>() {
        Ok(text) if text.is_ascii() => Ok(text.into_bytes()),
        _ => match given.cast::<PyBytes>() {
            Ok(bytes) => Ok(bytes.as_bytes().to_vec()),
            Err(_) => Err(input(format!("utility: got {given}, wanted bytes or ASCII text, 1..16"))),
        },
    }
}

fn kdf_names() -> String {
    Kdf::ALL.map(Kdf::name).join(", ")
}

fn label_names() -> String {
    Label::ALL.map(Label::name).join(", ")
}

/// Derives the key of each device, in one flat buffer.
#[pyfunction]
#[pyo3(signature = (master, device_ids, *, utility, label="read-enc", key_version=1, length=16, kdf="kbkdf-hmac-sha256", extra=None, threads=None))]
#[allow(clippy::too_many_arguments, reason = "the call of the public interface")]
pub fn derive_keys(
    py: Python<'_>,
    #[pyo3(from_py_with = given::master)] master: &Bound<'_, MasterKey>,
    device_ids: &Bound<'_, PyAny>,
    utility: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = given::label)] label: &str,
    #[pyo3(from_py_with = key_version_given)] key_version: u64,
    #[pyo3(from_py_with = length_given)] length: usize,
    #[pyo3(from_py_with = given::kdf)] kdf: &str,
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

/// From what keys were derived.
pub struct Source {
    master: Arc<kdf::MasterKey>,
    what: What,
    ids: Vec<[u8; 8]>,
    threads: usize,
}

impl Source {
    fn keys(&self, py: Python<'_>) -> PyResult<Zeroizing<Vec<u8>>> {
        let derivation = self.what.derivation();
        let mut keys = room(&self.master, &derivation, self.ids.len())?;
        let derived = bulk::run(py, self.threads, |workers| {
            match kdf::derive_all(&self.master, &derivation, &self.ids, workers, &mut keys) {
                Err(KdfError::Stopped(stop)) => Err(stop),
                done => Ok(done),
            }
        })?;
        derived.map_err(|error| input(error.to_string()))?;
        Ok(keys)
    }

    /// Four bytes a device.
    pub fn check_values(&self) -> PyResult<Vec<u8>> {
        let mut values = itron_core::parallel::columns::zeros(self.ids.len() * 4).map_err(errors::stopped)?;
        kdf::check_values(&self.master, &self.what.derivation(), &self.ids, &mut values)
            .map_err(|error| input(error.to_string()))?;
        Ok(values)
    }
}

/// Room for the keys of `devices` devices, once their length is known to be a right one.
fn room(master: &kdf::MasterKey, derivation: &Derivation<'_>, devices: usize) -> PyResult<Zeroizing<Vec<u8>>> {
    let length = kdf::output_length(master, derivation, devices).map_err(|error| input(error.to_string()))?;
    itron_core::parallel::columns::zeros(length).map(Zeroizing::new).map_err(errors::stopped)
}

/// Derives one key.
#[pyfunction]
#[pyo3(signature = (master, device_id, *, utility, label="read-enc", key_version=1, length=16, kdf="kbkdf-hmac-sha256", extra=None))]
#[allow(clippy::too_many_arguments, reason = "the call of the public interface")]
pub fn derive_key<'py>(
    py: Python<'py>,
    #[pyo3(from_py_with = given::master)] master: &Bound<'py, MasterKey>,
    device_id: &Bound<'py, PyAny>,
    utility: &Bound<'py, PyAny>,
    #[pyo3(from_py_with = given::label)] label: &str,
    #[pyo3(from_py_with = key_version_given)] key_version: u64,
    #[pyo3(from_py_with = length_given)] length: usize,
    #[pyo3(from_py_with = given::kdf)] kdf: &str,
    extra: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let what = What::read(utility, label, key_version, length, kdf, extra)?;
    let wanted = || input(format!("device_id: got {device_id}, wanted an aud of a device or 8 bytes"));
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
                input(format!("device_ids: got {got:?} in row {row}, wanted an aud of a device or 8 bytes"))
            })?);
        }
        Ok(ids)
    })
}
