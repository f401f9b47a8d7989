//! `Revocations`: a snapshot of what is revoked, from its parts or from its signed form.

use super::keyring::{self, Keyring};
use crate::arguments::time::{Now, seconds};
use crate::arguments::{
    self, bytes_like, max_lifetime, max_lifetime_given, newer_than_or_none, object_reader, token_given,
};
use crate::errors::{self, input};
use itron_core::format::{device, token_type::TokenType};
use itron_core::token::revocations::{Revocations as Snapshot, Watermarks};
use itron_core::token::snapshot::{self, Reading};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyMapping, PyTuple, PyType};
use std::borrow::Cow;
use std::sync::Arc;

/// The issuers, devices and tokens that are no longer valid, as one snapshot with a version and an expiry.
#[pyclass(module = "itron_core", frozen)]
#[derive(Clone)]
pub struct Revocations(pub Arc<Snapshot>);

#[pymethods]
impl Revocations {
    #[new]
    #[pyo3(signature = (*, issuers=None, devices=None, tokens=None, version, expires_at))]
    fn new<'py>(
        issuers: Option<&Bound<'py, PyAny>>,
        devices: Option<&Bound<'py, PyAny>>,
        tokens: Option<&Bound<'py, PyAny>>,
        version: &Bound<'_, PyAny>,
        expires_at: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let mut snapshot = Snapshot {
            version: unsigned(version)
                .ok_or_else(|| input(format!("version: got {version}, expected an int of 64 bits from 0 up")))?,
            expires_at: seconds(expires_at, "expires_at")?,
            ..Snapshot::default()
        };
        let items = |given: Option<&Bound<'py, PyAny>>, name: &str| {
            given.map(|given| arguments::items(given, name, "a collection")).transpose()
        };
        for kid in items(issuers, "issuers")?.into_iter().flatten() {
            snapshot.issuers.insert(fixed(&kid?, "issuers")?);
        }
        for pair in items(tokens, "tokens")?.into_iter().flatten() {
            let pair = pair?;
            let wrong = |_| arguments::wrong(&pair, "tokens", "pairs of a kid (8 bytes) and a cti (16 bytes)");
            let (kid, cti): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract().map_err(wrong)?;
            snapshot.tokens.insert((fixed(&kid, "tokens")?, fixed(&cti, "tokens")?));
        }
        if let Some(devices) = devices {
            let expected = "a mapping of aud to (min_sequence, min_iat, min_epoch), ints from 0 up";
            let devices = devices.cast::<PyMapping>().map_err(|_| arguments::wrong(devices, "devices", expected))?;
            for pair in devices.items()?.iter() {
                let (aud, marks): (String, (u64, u64, u64)) =
                    pair.extract().map_err(|_| input(format!("devices: got {pair}, expected {expected}")))?;
                device::parse(aud.as_bytes())
                    .ok_or_else(|| input(format!("devices: got {aud:?}, expected a device id, ert: or eui64:")))?;
                snapshot.devices.insert(aud, [marks.0, marks.1, marks.2]);
            }
        }
        Ok(Self(Arc::new(snapshot)))
    }

    /// Read a signed snapshot under the one in force (`revocations`), which names the revoked signers.
    ///
    /// Raises `TokenRefused` with its code, and `ItronCoreError` for a version below `newer_than` or below the one in force,
    /// and for other bytes of the version in force.
    #[staticmethod]
    #[pyo3(signature = (token, keyring, *, now, newer_than=None, revocations=None, max_lifetime=86_400))]
    #[allow(clippy::too_many_arguments, reason = "the call of the public interface")]
    fn from_token(
        py: Python<'_>,
        token: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = keyring::keyring)] keyring: &Bound<'_, Keyring>,
        now: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = newer_than_or_none)] newer_than: Option<u64>,
        revocations: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = max_lifetime_given)] max_lifetime: i64,
    ) -> PyResult<Self> {
        let now = Now::read(now)?.seconds;
        let max_lifetime = self::max_lifetime(Some(max_lifetime), TokenType::Revocation)?;
        let in_force = revocations_or_none(revocations)?;
        let token = signed_form(token)?;
        let keys = Arc::clone(&keyring.get().keys);
        let reading = Reading { now, max_lifetime, newer_than, in_force: in_force.as_deref() };
        let snapshot = py.detach(|| snapshot::read(&token, &keys, &reading));
        snapshot.map(|snapshot| Self(Arc::new(snapshot))).map_err(errors::snapshot)
    }

    /// Rises with each snapshot.
    #[getter]
    fn version(&self) -> u64 {
        self.0.version
    }

    /// Seconds since 1970, from which on the snapshot is no longer valid.
    #[getter]
    fn expires_at(&self) -> u64 {
        self.0.expires_at
    }

    /// Revoked kids, rising.
    #[getter]
    fn issuers<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.0.issuers.iter().map(|kid| PyBytes::new(py, kid)).collect()
    }

    /// (`min_sequence`, `min_iat`, `min_epoch`) by aud.
    #[getter]
    fn devices<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let devices = PyDict::new(py);
        for (aud, marks) in &self.0.devices {
            let [sequence, issued_at, epoch]: Watermarks = *marks;
            devices.set_item(aud, (sequence, issued_at, epoch))?;
        }
        Ok(devices)
    }

    /// Revoked tokens as (kid, cti), rising.
    #[getter]
    fn tokens<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        self.0.tokens.iter().map(|(kid, cti)| (PyBytes::new(py, kid), PyBytes::new(py, cti))).collect()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.0 == other.get().0)
    }

    fn __hash__(&self) -> u64 {
        self.0.version ^ self.0.expires_at.rotate_left(32)
    }

    fn __repr__(&self) -> String {
        let Snapshot { issuers, devices, tokens, version, expires_at, .. } = &*self.0;
        let counts = [issuers.len(), devices.len(), tokens.len()];
        let [issuers, devices, tokens] = counts;
        format!(
            "Revocations(version={version}, expires_at={expires_at}, {issuers} issuers, {devices} devices, {tokens} tokens)"
        )
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, this) = (slf.py(), slf.get());
        let digest = this.0.digest.map(|digest| PyBytes::new(py, &digest));
        let arguments =
            (this.issuers(py), this.devices(py)?, this.tokens(py), this.version(), this.expires_at(), digest);
        Ok((PyType::new::<Self>(py).getattr("_restore")?, arguments.into_pyobject(py)?))
    }

    /// What pickle calls.
    #[staticmethod]
    #[pyo3(signature = (issuers, devices, tokens, version, expires_at, digest))]
    fn _restore(
        issuers: &Bound<'_, PyAny>,
        devices: &Bound<'_, PyAny>,
        tokens: &Bound<'_, PyAny>,
        version: &Bound<'_, PyAny>,
        expires_at: &Bound<'_, PyAny>,
        digest: Option<[u8; 32]>,
    ) -> PyResult<Self> {
        let Self(made) = Self::new(Some(issuers), Some(devices), Some(tokens), version, expires_at)?;
        Ok(Self(Arc::new(Snapshot { digest, ..Arc::unwrap_or_clone(made) })))
    }
}

/// Return what a snapshot says that the caller verified when it took it: for `revocations=` of `Revocations.from_token`,
/// however long ago it expired. Raises `TokenRefused` for bytes that are not a snapshot.
#[pyfunction]
#[pyo3(signature = (token))]
pub fn accepted_revocations(token: &Bound<'_, PyAny>) -> PyResult<Revocations> {
    let token = signed_form(token)?;
    snapshot::accepted(&token).map(|snapshot| Revocations(Arc::new(snapshot))).map_err(errors::token_refused)
}

/// A signed snapshot, as bytes or as their text.
fn signed_form<'a>(token: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    token_given(token, "token", TokenType::Revocation)?.map_err(errors::token_refused)
}

/// An int (no bool) of 64 bits from 0 up.
fn unsigned(value: &Bound<'_, PyAny>) -> Option<u64> {
    if value.is_instance_of::<PyBool>() { None } else { value.extract().ok() }
}

fn fixed<const N: usize>(value: &Bound<'_, PyAny>, name: &str) -> PyResult<[u8; N]> {
    let bytes = bytes_like(value, name)?;
    let got = bytes.len();
    bytes.try_into().map_err(|_| input(format!("{name}: got {got} bytes, expected {N}")))
}

/// A `Revocations`, or None.
pub fn revocations_or_none(given: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Arc<Snapshot>>> {
    let read = |given: &Bound<'_, PyAny>| {
        let wanted = |_| input(format!("revocations: got {}, expected Revocations", given.get_type()));
        given.cast::<Revocations>().map(|snapshot| Arc::clone(&snapshot.get().0)).map_err(wanted)
    };
    given.map(read).transpose()
}

object_reader!(revocations: Revocations);
