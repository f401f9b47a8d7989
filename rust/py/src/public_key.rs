//! `PublicKey`: from raw bytes, PEM (RFC 7468, RFC 8410, RFC 5480) and JWK (RFC 7517, RFC 8037).

use crate::arguments::bytes_like;
use crate::errors::{key_refused, weak_key};
use crate::given;
use base64ct::{Base64UrlUnpadded, Encoding};
use itron_core::crypto::public_key::{Algorithm, PublicKey as Key, WeakKey};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMapping, PyTuple, PyType};
use spki::der::{Decode, SecretDocument};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A public key whose weak forms were refused on the way in.
#[pyclass(module = "itron_core", frozen)]
#[derive(Clone)]
pub struct PublicKey(pub Key);

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// The algorithm of this name.
pub fn algorithm(name: &str) -> PyResult<Algorithm> {
    let unknown = || key_refused(format!("algorithm: got {name:?}, wanted \"Ed25519\" or \"ESP256\""));
    Algorithm::from_name(name).ok_or_else(unknown)
}

#[pymethods]
impl PublicKey {
    /// From 32 bytes ("Ed25519"), or 65 (SEC1, uncompressed) or 64 bytes x || y ("ESP256").
    #[staticmethod]
    #[pyo3(signature = (algorithm, data))]
    fn from_raw(#[pyo3(from_py_with = given::algorithm)] algorithm: &str, data: &Bound<'_, PyAny>) -> PyResult<Self> {
        Key::from_raw(self::algorithm(algorithm)?, &bytes_like(data, "data")?).map(Self).map_err(weak_key)
    }

    /// From a "PUBLIC KEY" in PEM.
    #[staticmethod]
    #[pyo3(signature = (data))]
    fn from_pem(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        let wanted = "wanted one \"PUBLIC KEY\" in PEM, Ed25519 or P-256";
        let text = match data.extract::<String>() {
            Ok(text) => text,
            Err(_) => String::from_utf8(bytes_like(data, "PEM")?)
                .map_err(|_| key_refused(format!("PEM: got bytes that are no text, {wanted}")))?,
        };
        Self::of_pem(&text).map_err(|got| key_refused(format!("PEM: got {got}, {wanted}")))?.map_err(weak_key)
    }

    /// From a JWK: kty OKP with crv Ed25519, or kty EC with crv P-256.
    #[staticmethod]
    #[pyo3(signature = (mapping))]
    fn from_jwk(mapping: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mapping = mapping.cast::<PyMapping>().map_err(|_| key_refused("JWK: got no mapping"))?;
        Self::of_jwk(mapping)
    }

    /// "Ed25519" or "ESP256".
    #[getter]
    fn algorithm(&self) -> &'static str {
        self.0.algorithm().name()
    }

    /// 32 bytes for Ed25519, 65 for ESP256.
    #[getter]
    fn raw<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.raw())
    }

    /// The first 8 bytes of the SHA-256 COSE Key Thumbprint (RFC 9679).
    #[getter]
    fn kid<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.kid())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.0 == other.get().0)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.raw().hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__(&self) -> String {
        format!("PublicKey({:?}, kid={})", self.algorithm(), hex(&self.0.kid()))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let arguments = (self.algorithm(), self.raw(py)).into_pyobject(py)?;
        Ok((PyType::new::<Self>(py).getattr("from_raw")?, arguments))
    }
}

impl PublicKey {
    /// `Err` says what came instead of a key of the profile.
    fn of_pem(text: &str) -> Result<Result<Self, WeakKey>, String> {
        let (label, document) = SecretDocument::from_pem(text).map_err(|_| "no PEM".to_owned())?;
        if label != "PUBLIC KEY" {
            return Err(format!("a {label:?}"));
        }
        let info = SubjectPublicKeyInfoRef::from_der(document.as_bytes()).map_err(|_| "no public key".to_owned())?;
        let parameters = info.algorithm.parameters;
        let curve = parameters.and_then(|_| info.algorithm.parameters_oid().ok());
        let bits = info.subject_public_key.as_bytes().ok_or("a public key of broken bytes")?;
        let algorithm = match (info.algorithm.oid, curve) {
            // RFC 8410 section 3: the parameters are absent, NULL included.
            (ED25519, None) if parameters.is_none() => Algorithm::Ed25519,
            (EC_PUBLIC_KEY, Some(PRIME256V1)) => Algorithm::Esp256,
            (other, _) => return Err(format!("a key of another kind ({other})")),
        };
        Ok(Key::from_raw(algorithm, bits).map(Self))
    }

    /// From the members of a JWK, its private part refused.
    pub fn of_jwk(jwk: &Bound<'_, PyMapping>) -> PyResult<Self> {
        let text = |member: &str| -> PyResult<Option<String>> {
            if !jwk.contains(member)? {
                return Ok(None);
            }
            let wanted = || key_refused(format!("JWK: {member} is no text"));
            jwk.get_item(member)?.extract().map(Some).map_err(|_| wanted())
        };
        if jwk.contains("d")? {
            return Err(key_refused("JWK: got a private key (\"d\"), wanted a public one"));
        }
        let (kty, crv) = (text("kty")?.unwrap_or_default(), text("crv")?.unwrap_or_default());
        let (algorithm, names) = match (kty.as_str(), crv.as_str()) {
            ("OKP", "Ed25519") => (Algorithm::Ed25519, ["Ed25519", "EdDSA"]),
            ("EC", "P-256") => (Algorithm::Esp256, ["ESP256", "ES256"]),
            _ => {
                let got = format!("kty {kty:?} with crv {crv:?}");
                return Err(key_refused(format!("JWK: got {got}, wanted OKP with Ed25519 or EC with P-256")));
            }
        };
        if let Some(alg) = text("alg")?.filter(|alg| !names.contains(&alg.as_str())) {
            return Err(key_refused(format!("JWK: got alg {alg:?} with crv {crv}, wanted {names:?} or none")));
        }
        if let Some(other) = text("use")?.filter(|use_| use_ != "sig") {
            return Err(key_refused(format!("JWK: got use {other:?}, wanted \"sig\" or none")));
        }
        if jwk.contains("key_ops")? {
            let operations = jwk.get_item("key_ops")?;
            let verifies = operations.extract::<Vec<String>>().is_ok_and(|each| each.iter().any(|one| one == "verify"));
            if !verifies {
                return Err(key_refused(format!(
                    "JWK: got key_ops {operations}, wanted \"verify\" in a list, or none"
                )));
            }
        }
        let coordinate = |member: &str| -> PyResult<Vec<u8>> {
            let wanted = || key_refused(format!("JWK: {member} is no base64url of 32 bytes"));
            let bytes = Base64UrlUnpadded::decode_vec(&text(member)?.ok_or_else(wanted)?).map_err(|_| wanted())?;
            if bytes.len() == 32 { Ok(bytes) } else { Err(wanted()) }
        };
        let mut raw = coordinate("x")?;
        if algorithm == Algorithm::Esp256 {
            raw.extend(coordinate("y")?);
        }
        Key::from_raw(algorithm, &raw).map(Self).map_err(weak_key)
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The members of a JWK set, each a mapping.
pub fn jwks<'py>(py: Python<'py>, text: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyMapping>>> {
    let wanted = "JWKS: wanted JSON, an object with a list \"keys\" of objects";
    let parsed = py
        .import("json")?
        .call_method1("loads", (text,))
        .map_err(|error| key_refused(format!("{wanted}: {}", error.value(py))))?;
    let keys = parsed.cast::<PyDict>().ok().and_then(|set| set.get_item("keys").ok().flatten());
    let keys: Option<Vec<Bound<'py, PyAny>>> = keys.and_then(|keys| keys.extract().ok());
    let members = keys.ok_or_else(|| key_refused(wanted))?;
    members.into_iter().map(|member| member.cast_into::<PyMapping>().map_err(|_| key_refused(wanted))).collect()
}
