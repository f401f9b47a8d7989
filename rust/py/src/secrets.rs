//! `MasterKey`, `DerivedKeys`: opaque, wiped when dropped; repr, pickle, copy and == give nothing away.

use crate::arguments::{bytes_like, length_given};
use crate::arrow::{ByteRows, Column, Out};
use crate::derive::Source;
use crate::errors::{input, key_refused, secret_stays, stopped};
use crate::given;
use itron_core::crypto::kdf;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A master key, from which each device's keys are derived.
#[pyclass(module = "itron_core", frozen)]
pub struct MasterKey(pub Arc<kdf::MasterKey>);

fn master_key(bytes: &[u8]) -> MasterKey {
    MasterKey(Arc::new(kdf::MasterKey::from_bytes(bytes)))
}

#[pymethods]
impl MasterKey {
    /// A new key of `length` bytes from the system's randomness: 32 fits every kdf but kbkdf-cmac-aes128, which takes 16.
    #[staticmethod]
    #[pyo3(signature = (length=32))]
    fn generate(#[pyo3(from_py_with = length_given)] length: usize) -> PyResult<Self> {
        if !(16..=64).contains(&length) {
            return Err(input(format!("length: got {length}, wanted 16..64 bytes")));
        }
        let mut bytes = Zeroizing::new(vec![0; length]);
        getrandom::fill(&mut bytes).map_err(|error| key_refused(format!("no randomness: {error}")))?;
        Ok(master_key(&bytes))
    }

    /// From its bytes: 32 for kbkdf-cmac-aes256, 16 for kbkdf-cmac-aes128, at least 16 for the others.
    #[staticmethod]
    #[pyo3(signature = (data))]
    fn from_bytes(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        let data = Zeroizing::new(bytes_like(data, "master key")?);
        match data.len() {
            0..16 => Err(key_refused(format!("master key: got {} bytes, wanted at least 16", data.len()))),
            _ => Ok(master_key(&data)),
        }
    }

    fn __repr__(&self) -> &'static str {
        "MasterKey(...)"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(secret_stays("MasterKey"))
    }

    fn __copy__(&self) -> PyResult<()> {
        Err(secret_stays("MasterKey"))
    }

    fn __deepcopy__(&self, _memo: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(secret_stays("MasterKey"))
    }
}

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
        #[pyo3(from_py_with = given::index)] index: isize,
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
        Out::binary(self.keys.chunks(self.length).map(Some)).map(Column::new).map_err(stopped)
    }

    /// The key check values as a memoryview of uint8, shape (n, 4): they tell master, utility, device and version.
    fn check_values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let values = py.detach(|| self.source.check_values())?;
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
