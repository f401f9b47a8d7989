//! `MasterKey`: opaque, wiped when dropped; repr, pickle, copy and == give nothing away.

use crate::arguments::{bytes_like, length_given, object_reader};
use crate::errors::{input, key_refused, secret_stays};
use itron_core::crypto::kdf;
use pyo3::prelude::*;
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
            return Err(input(format!("length: got {length}, expected 16..64 bytes")));
        }
        let mut bytes = Zeroizing::new(vec![0; length]);
        getrandom::fill(&mut bytes)
            .map_err(|error| key_refused(format!("the system gives no random bytes: {error}")))?;
        Ok(master_key(&bytes))
    }

    /// From its bytes: 32 for kbkdf-cmac-aes256, 16 for kbkdf-cmac-aes128, at least 16 for the others.
    #[staticmethod]
    #[pyo3(signature = (data))]
    fn from_bytes(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        let data = Zeroizing::new(bytes_like(data, "master key")?);
        match data.len() {
            0..16 => Err(key_refused(format!("master key: got {} bytes, expected at least 16", data.len()))),
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

object_reader!(master: MasterKey);
