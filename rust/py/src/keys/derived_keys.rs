//! `DerivedKeys`: opaque, wiped when dropped; repr, pickle, copy and == give nothing away.

use crate::arguments::{self, bytes_like};
use crate::bulk;
use crate::columns::output::{ByteRows, Column, Out};
use crate::errors::{input, secret_stays, stopped};
use itron_core::crypto::kdf::{self, CHECK_VALUE, Derivation, Kdf, KdfError, Label};
use itron_core::parallel::columns::zeros;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Devices between two looks at signals: a few milliseconds.
const PIECE: usize = 1 << 14;

/// The keys of many devices, in one buffer.
#[pyclass(module = "itron_core", frozen)]
pub struct DerivedKeys {
    pub keys: Zeroizing<Vec<u8>>,
    pub length: usize,
    /// From what they were derived, for the check values.
    pub source: Source,
}

impl DerivedKeys {
    /// How many keys.
    pub fn rows(&self) -> usize {
        self.keys.len() / self.length
    }

    /// The key of a row.
    pub fn row(&self, row: usize) -> &[u8] {
        &self.keys[row * self.length..][..self.length]
    }
}

#[pymethods]
impl DerivedKeys {
    fn __len__(&self) -> usize {
        self.rows()
    }

    /// One device's key.
    #[pyo3(signature = (index, /))]
    fn key<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = arguments::index)] index: isize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let rows = self.__len__();
        let place = if index < 0 { index.checked_add_unsigned(rows) } else { Some(index) };
        let place = place.and_then(|place| usize::try_from(place).ok()).filter(|&place| place < rows);
        let place = place.ok_or_else(|| PyIndexError::new_err(format!("key {index} of {rows}")))?;
        Ok(PyBytes::new(py, self.row(place)))
    }

    /// All keys as a memoryview of uint8, shape (n, length). Its memory is wiped when nothing refers to it.
    fn to_buffer<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        ByteRows::new(self.keys.to_vec(), self.__len__(), self.length).view(py)
    }

    /// All keys as a binary column.
    fn to_arrow(&self) -> PyResult<Column> {
        Out::binary(self.keys.chunks(self.length).map(Some)).map(Column::secret).map_err(stopped)
    }

    /// The key check values as a memoryview of uint8, shape (n, 4): they tell master, utility, device and version.
    fn check_values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let values = self.source.check_values(py)?;
        ByteRows::new(values, self.__len__(), 4).view(py)
    }

    fn __repr__(&self) -> String {
        format!("DerivedKeys({} keys of {} bytes)", self.__len__(), self.length)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(secret_stays("DerivedKeys"))
    }

    fn __copy__(&self) -> PyResult<()> {
        Err(secret_stays("DerivedKeys"))
    }

    fn __deepcopy__(&self, _memo: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(secret_stays("DerivedKeys"))
    }
}

/// The arguments that say what is derived.
pub struct What {
    kdf: Kdf,
    label: Label,
    utility: Vec<u8>,
    key_version: u64,
    extra: Option<Vec<u8>>,
    length: usize,
}

impl What {
    /// The same, as the core takes it.
    pub fn derivation(&self) -> Derivation<'_> {
        Derivation {
            kdf: self.kdf,
            label: self.label,
            utility: &self.utility,
            key_version: self.key_version,
            extra: self.extra.as_deref(),
            length: self.length,
        }
    }

    /// Reads the arguments of `derive_keys` and `derive_key`.
    pub fn read(
        utility: &Bound<'_, PyAny>,
        label: &str,
        key_version: u64,
        length: usize,
        kdf: &str,
        extra: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self {
            kdf: Kdf::from_name(kdf).ok_or_else(|| input(format!("kdf: got {kdf:?}, expected {}", kdf_names())))?,
            label: Label::from_name(label)
                .ok_or_else(|| input(format!("label: got {label:?}, expected {}", label_names())))?,
            utility: self::utility(utility)?,
            key_version,
            extra: extra.map(|extra| bytes_like(extra, "extra")).transpose()?,
            length,
        })
    }
}

/// From what keys were derived.
pub struct Source {
    /// The master key.
    pub master: Arc<kdf::MasterKey>,
    /// What is derived.
    pub what: What,
    /// The devices.
    pub ids: Vec<[u8; 8]>,
    /// Threads that derive.
    pub threads: usize,
}

impl Source {
    /// The keys, one after the other.
    pub fn keys(&self, py: Python<'_>) -> PyResult<Zeroizing<Vec<u8>>> {
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
    pub fn check_values(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        let mut values = zeros(self.ids.len() * CHECK_VALUE).map_err(stopped)?;
        let derivation = self.what.derivation();
        let derived = bulk::run(py, 1, |workers| {
            for (ids, values) in self.ids.chunks(PIECE).zip(values.chunks_mut(PIECE * CHECK_VALUE)) {
                workers.check()?;
                if let Err(error) = kdf::check_values(&self.master, &derivation, ids, values) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        })?;
        derived.map_err(|error| input(error.to_string()))?;
        Ok(values)
    }
}

/// Room for the keys of `devices` devices, once their length is known to be a right one.
pub fn room(master: &kdf::MasterKey, derivation: &Derivation<'_>, devices: usize) -> PyResult<Zeroizing<Vec<u8>>> {
    let length = kdf::output_length(master, derivation, devices).map_err(|error| input(error.to_string()))?;
    zeros(length).map(Zeroizing::new).map_err(stopped)
}

/// The argument `utility`: bytes, or ASCII text; its length is checked where keys are derived.
pub fn utility(given: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    match given.extract::<String>() {
        Ok(text) if text.is_ascii() => Ok(text.into_bytes()),
        _ => match given.cast::<PyBytes>() {
            Ok(bytes) => Ok(bytes.as_bytes().to_vec()),
            Err(_) => Err(input(format!("utility: got {given}, expected bytes or ASCII text, 1..16"))),
        },
    }
}

fn kdf_names() -> String {
    Kdf::ALL.map(Kdf::name).join(", ")
}

fn label_names() -> String {
    Label::ALL.map(Label::name).join(", ")
}
