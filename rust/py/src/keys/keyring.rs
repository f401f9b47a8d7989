//! `KeyringEntry`, `Keyring`: the keys that tokens may be signed with, from keys, JWKS and PEM, pickled by their public bytes.

use super::public_key::{self, PublicKey};
use super::{jwk, kid};
use crate::arguments::time::{Now, seconds};
use crate::arguments::{self, object_reader, token_given, token_type_named};
use crate::columns::input::{AnyColumn, TokenColumn, is_arrow};
use crate::errors::{self, input, key_refused, stopped, token_refused};
use itron_core::format::scope::ALL_ACTIONS;
use itron_core::format::token_type::{TokenType, TypeSet};
use itron_core::parallel::scratch::Scratch;
use itron_core::token::delegation::with_delegations;
use itron_core::token::keyring::{Delegation, Entry, Keyring as Keys};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFrozenSet, PyString, PyTuple, PyType};
use std::borrow::Cow;
use std::sync::Arc;

/// A key, and what it may sign.
#[pyclass(module = "itron_core", frozen)]
#[derive(Clone)]
pub struct KeyringEntry(pub Entry);

#[pymethods]
impl KeyringEntry {
    #[new]
    #[pyo3(signature = (key, *, issuer=None, token_types=None, actions=None, audience_prefix="", valid_from=None, valid_until=None))]
    fn new(
        #[pyo3(from_py_with = public_key::key)] key: &Bound<'_, PublicKey>,
        #[pyo3(from_py_with = arguments::issuer_or_none)] issuer: Option<&str>,
        token_types: Option<&Bound<'_, PyAny>>,
        actions: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = arguments::audience_prefix)] audience_prefix: &str,
        valid_from: Option<&Bound<'_, PyAny>>,
        valid_until: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self(Entry {
            issuer: issuer.map(str::to_owned),
            token_types: token_types.map_or(Ok(TypeSet::FOR_DEVICES), type_set)?,
            actions: actions.map_or(Ok(ALL_ACTIONS), action_set)?,
            audience_prefix: audience_prefix.to_owned(),
            valid_from: valid_from.map(|time| seconds(time, "valid_from")).transpose()?,
            valid_until: valid_until.map(|time| seconds(time, "valid_until")).transpose()?,
            ..Entry::plain(key.get().0.clone())
        }))
    }

    /// The key.
    #[getter]
    fn key(&self) -> PublicKey {
        PublicKey(self.0.key.clone())
    }

    /// The issuer's name.
    #[getter]
    fn issuer(&self) -> Option<&str> {
        self.0.issuer.as_deref()
    }

    /// The types of token it may sign, by name.
    #[getter]
    fn token_types<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyFrozenSet>> {
        PyFrozenSet::new(py, self.0.token_types.iter().map(TokenType::name))
    }

    /// Bit set of the actions it may grant.
    #[getter]
    fn actions(&self) -> u64 {
        self.0.actions
    }

    /// What the audience of its tokens begins with.
    #[getter]
    fn audience_prefix(&self) -> &str {
        &self.0.audience_prefix
    }

    /// The first second in which it may issue.
    #[getter]
    fn valid_from(&self) -> Option<u64> {
        self.0.valid_from
    }

    /// The first second in which it may issue no longer.
    #[getter]
    fn valid_until(&self) -> Option<u64> {
        self.0.valid_until
    }

    /// The kid of the key that delegated it; None for a key that was given.
    #[getter]
    fn delegated_by<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.delegation.map(|delegation| PyBytes::new(py, &delegation.parent))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.0 == other.get().0)
    }

    fn __hash__(&self) -> u64 {
        u64::from_be_bytes(self.0.key.kid())
    }

    fn __repr__(&self) -> String {
        let issuer = self.0.issuer.as_deref().unwrap_or("unnamed");
        format!("KeyringEntry({issuer}, {}, kid={})", self.0.key.algorithm().name(), kid::hex(&self.0.key.kid()))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, this) = (slf.py(), slf.get());
        let delegation = this
            .0
            .delegation
            .map(|delegation| (PyBytes::new(py, &delegation.parent), PyBytes::new(py, &delegation.cti)));
        let arguments = (
            this.key(),
            this.issuer(),
            this.token_types(py)?,
            this.actions(),
            this.audience_prefix(),
            this.valid_from(),
            this.valid_until(),
            delegation,
        );
        Ok((PyType::new::<Self>(py).getattr("_restore")?, arguments.into_pyobject(py)?))
    }

    /// What pickle calls.
    #[staticmethod]
    #[pyo3(signature = (key, issuer, token_types, actions, audience_prefix, valid_from, valid_until, delegation))]
    #[allow(clippy::too_many_arguments, reason = "one a field, in their order")]
    fn _restore(
        key: &Bound<'_, PublicKey>,
        issuer: Option<String>,
        token_types: &Bound<'_, PyAny>,
        actions: u64,
        audience_prefix: String,
        valid_from: Option<u64>,
        valid_until: Option<u64>,
        delegation: Option<([u8; 8], [u8; 16])>,
    ) -> PyResult<Self> {
        Ok(Self(Entry {
            key: key.get().0.clone(),
            issuer,
            token_types: type_set(token_types)?,
            actions,
            audience_prefix,
            valid_from,
            valid_until,
            delegation: delegation.map(|(parent, cti)| Delegation { parent, cti }),
        }))
    }
}

/// A set of token types from their names.
fn type_set(names: &Bound<'_, PyAny>) -> PyResult<TypeSet> {
    let wanted = || {
        let names: Vec<_> = TokenType::ALL.iter().map(|each| each.name()).collect();
        input(format!("token_types: got a value that is not text, expected names among {}", names.join(", ")))
    };
    if names.is_instance_of::<PyString>() {
        return Err(input(format!("token_types: got the text {names}, expected a collection of names")));
    }
    arguments::items(names, "token_types", "a collection of names")?.try_fold(TypeSet::NONE, |set, name| {
        let name: String = name?.extract().map_err(|_| wanted())?;
        token_type_named(&name, |_| true).map(|named| set.with(named))
    })
}

/// A set of actions from a bit set, or from actions. Bits without an action grant nothing.
fn action_set(actions: &Bound<'_, PyAny>) -> PyResult<u64> {
    if let Ok(bits) = actions.extract::<u64>() {
        return Ok(bits & ALL_ACTIONS);
    }
    let wanted = || input(format!("actions: got {actions}, expected a bit set from 0 up, or actions"));
    let numbers: Vec<u32> = actions.extract().map_err(|_| wanted())?;
    let bits = numbers.iter().try_fold(0_u64, |bits, &number| Some(bits | 1_u64.checked_shl(number)?));
    bits.map(|bits| bits & ALL_ACTIONS).ok_or_else(wanted)
}

/// Keys by their kid, each with its ceilings. It does not change once made.
#[pyclass(module = "itron_core", frozen)]
#[derive(Clone)]
pub struct Keyring {
    /// The keys that verification uses.
    pub keys: Arc<Keys>,
    /// The other keys of a JWK set, which were skipped.
    skipped: Arc<[String]>,
}

fn made_of(entries: Vec<Entry>) -> PyResult<Keyring> {
    let keys = Keys::new(entries).map_err(|error| errors::keyring(&error.into()))?;
    Ok(Keyring { keys: Arc::new(keys), skipped: Arc::default() })
}

#[pymethods]
impl Keyring {
    /// Of public keys and keyring entries, in this order.
    #[new]
    #[pyo3(signature = (entries, /))]
    fn new(entries: &Bound<'_, PyAny>) -> PyResult<Self> {
        let entry = |item: PyResult<Bound<'_, PyAny>>| {
            let item = item?;
            if let Ok(entry) = item.cast::<KeyringEntry>() {
                return Ok(entry.get().0.clone());
            }
            let key = item.cast::<PublicKey>().map(|key| Entry::plain(key.get().0.clone()));
            let got = item.get_type();
            key.map_err(|_| input(format!("keyring: got {got}, expected PublicKey or KeyringEntry")))
        };
        let entries = arguments::items(entries, "entries", "a collection of PublicKey and KeyringEntry")?;
        made_of(entries.map(entry).collect::<PyResult<_>>()?)
    }

    /// Read a JWK set, with the limits in its `mtr_` members.
    ///
    /// Keys of other types, curves, algorithms or uses are passed over (RFC 7517 section 5) and named in `skipped`. Raises
    /// `KeyRefused` for a private part, a member that comes twice or whose name is nearly one of ours, an unknown `mtr_`
    /// member, a key that cannot be used, and a set without a usable key.
    #[staticmethod]
    #[pyo3(signature = (text))]
    fn from_jwks(text: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (mut entries, mut skipped) = (Vec::new(), Vec::new());
        for (place, jwk) in jwk::set(text)?.iter().enumerate() {
            match jwk::entry(jwk)? {
                Ok(entry) => entries.push(entry),
                Err(stranger) => skipped.push(format!("key {place}: {stranger}")),
            }
        }
        if entries.is_empty() {
            let others = if skipped.is_empty() { "no key".to_owned() } else { skipped.join("; ") };
            return Err(key_refused(format!(
                "JWKS: got {others}, expected a key of Ed25519, P-256, ML-DSA-44 or ML-DSA-65"
            )));
        }
        Ok(Self { skipped: skipped.into(), ..made_of(entries)? })
    }

    /// Read one public key per file, in PEM.
    #[staticmethod]
    #[pyo3(signature = (paths))]
    fn from_pem_files(paths: &Bound<'_, PyAny>) -> PyResult<Self> {
        if paths.is_instance_of::<PyString>() {
            return Err(input(format!("paths: got the text {paths}, expected a collection of paths")));
        }
        let read = |path: PyResult<Bound<'_, PyAny>>| {
            let path = path?;
            let wanted = |_| arguments::wrong(&path, "paths", "paths, each a str or a PathLike");
            let path: std::path::PathBuf = path.extract().map_err(wanted)?;
            let named = |error: &dyn std::fmt::Display| key_refused(format!("{}: {error}", path.display()));
            let pem = std::fs::read(&path).map_err(|error| named(&error))?;
            PublicKey::of_pem(&pem).map(|key| Entry::plain(key.0)).map_err(|error| named(&error))
        };
        made_of(arguments::items(paths, "paths", "a collection of paths")?.map(read).collect::<PyResult<_>>()?)
    }

    /// Return the entries as a JWK set in JSON, which `from_jwks` reads. That a key was delegated is not part of it.
    fn to_jwks(&self, py: Python<'_>) -> PyResult<String> {
        jwk::set_of(py, self.keys.entries())
    }

    /// The keys of a JWK set that were passed over, and why; empty for a keyring of another origin.
    #[getter]
    fn skipped(&self) -> Vec<String> {
        self.skipped.to_vec()
    }

    /// Return this keyring followed by the keys that the delegations name. Raises `TokenRefused` if one is refused.
    #[pyo3(signature = (tokens, *, now))]
    fn with_delegations(&self, tokens: &Bound<'_, PyAny>, now: &Bound<'_, PyAny>) -> PyResult<Self> {
        let now = Now::read(now)?.seconds;
        let tokens = collected(tokens)?;
        let keys = with_delegations(&self.keys, tokens.iter().map(Vec::as_slice), now);
        let keys = keys.map_err(|error| errors::keyring(&error))?;
        Ok(Self { keys: Arc::new(keys), skipped: Arc::clone(&self.skipped) })
    }

    /// The entries, in the order of their indices.
    #[getter]
    fn entries(&self) -> Vec<KeyringEntry> {
        self.keys.entries().iter().cloned().map(KeyringEntry).collect()
    }

    /// Bytes that this process holds in tables of these keys.
    #[getter]
    fn table_bytes(&self) -> usize {
        self.keys.table_bytes()
    }

    fn __len__(&self) -> usize {
        self.keys.entries().len()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.keys.entries() == other.get().keys.entries())
    }

    fn __hash__(&self) -> u64 {
        self.keys.entries().iter().fold(0, |sum, entry| sum.rotate_left(7) ^ u64::from_be_bytes(entry.key.kid()))
    }

    fn __repr__(&self) -> String {
        format!("Keyring({} keys)", self.__len__())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let arguments = (self.entries(), self.skipped()).into_pyobject(py)?;
        Ok((PyType::new::<Self>(py).getattr("_restore")?, arguments))
    }

    /// What pickle calls.
    #[staticmethod]
    #[pyo3(signature = (entries, skipped))]
    fn _restore(entries: Vec<PyRef<'_, KeyringEntry>>, skipped: Vec<String>) -> PyResult<Self> {
        let keyring = made_of(entries.iter().map(|entry| entry.0.clone()).collect())?;
        Ok(Self { skipped: skipped.into(), ..keyring })
    }
}

/// The tokens of an Arrow column or of any collection, none of them null.
fn collected(tokens: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<u8>>> {
    if tokens.is_instance_of::<PyString>() || tokens.is_instance_of::<PyBytes>() {
        return Err(input("tokens: got one value, expected a collection of tokens"));
    }
    let null = |row: usize| input(format!("tokens: got null in row {row}, expected a token"));
    if !is_arrow(tokens) {
        let tokens = arguments::items(tokens, "tokens", "a collection of tokens")?;
        let given = |(row, token): (usize, PyResult<Bound<'_, PyAny>>)| {
            let token = token?;
            if token.is_none() {
                return Err(null(row));
            }
            token_given(&token, "tokens", TokenType::Delegation)?.map(Cow::into_owned).map_err(token_refused)
        };
        return tokens.enumerate().map(given).collect();
    }
    let column = TokenColumn::new(tokens.py(), &AnyColumn::new(tokens, "tokens")?)?;
    let (most, mut scratch) = (TokenType::Delegation.size_limits().0, Scratch::default());
    let mut fetched = |row| {
        if column.is_null(row) {
            return Err(null(row));
        }
        scratch.clear();
        let place = column.fetch(row, most, &mut scratch).map_err(stopped)?.map_err(token_refused)?;
        Ok(scratch.get(place).to_vec())
    };
    (0..column.len()).map(&mut fetched).collect()
}

object_reader!(entry: KeyringEntry);
object_reader!(keyring: Keyring);
