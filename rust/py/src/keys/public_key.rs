//! `PublicKey`: from raw bytes and PEM (RFC 7468, RFC 8410, RFC 5480); JWK is `jwk`'s.

use super::{jwk, kid};
use crate::arguments::{self, bytes_like, object_reader, type_name};
use crate::errors::{key_refused, weak_key};
use base64ct::{Base64, Encoding};
use itron_core::crypto::algorithm::Algorithm;
use itron_core::crypto::public_key::PublicKey as Key;
use itron_core::crypto::weak_key::WeakKey;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMapping, PyTuple, PyType};
use spki::der::Decode;
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A public key whose weak forms were refused on the way in.
#[pyclass(module = "itron_core", frozen)]
#[derive(Clone)]
pub struct PublicKey(pub Key);

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// RFC 9881 section 2.
const ML_DSA_44: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17");
const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// The algorithm of this name.
pub fn algorithm(name: &str) -> PyResult<Algorithm> {
    let known = Algorithm::ALL.map(|algorithm| format!("{:?}", algorithm.name())).join(", ");
    let unknown = || key_refused(format!("algorithm: got {name:?}, expected one of {known}"));
    Algorithm::from_name(name).ok_or_else(unknown)
}

#[pymethods]
impl PublicKey {
    /// Read 32 bytes ("Ed25519"), 65 (SEC1, uncompressed) or 64 bytes x || y ("ESP256"), 1,312 bytes ("ML-DSA-44") or 1,952
    /// ("ML-DSA-65").
    #[staticmethod]
    #[pyo3(signature = (algorithm, data))]
    fn from_raw(
        #[pyo3(from_py_with = arguments::algorithm)] algorithm: &str,
        data: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        Key::from_raw(self::algorithm(algorithm)?, &bytes_like(data, "data")?).map(Self).map_err(weak_key)
    }

    /// Read the one "PUBLIC KEY" of a PEM text (RFC 7468); white space, byte order marks and text around it are passed over.
    #[staticmethod]
    #[pyo3(signature = (data))]
    fn from_pem(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        let bytes = match data.extract::<String>() {
            Ok(text) => text.into_bytes(),
            Err(_) => bytes_like(data, "PEM")?,
        };
        Self::of_pem(&bytes).map_err(|error| key_refused(format!("PEM: {error}")))
    }

    /// Read a JWK: kty OKP with crv Ed25519, kty EC with crv P-256, or kty AKP with alg ML-DSA-44 or ML-DSA-65 (RFC 9964).
    #[staticmethod]
    #[pyo3(signature = (mapping))]
    fn from_jwk(mapping: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mapping = mapping
            .cast::<PyMapping>()
            .map_err(|_| key_refused(format!("JWK: got {}, expected a mapping", type_name(mapping))))?;
        let stranger = |got| {
            key_refused(format!(
                "JWK: got {got}, expected a key of Ed25519, P-256, ML-DSA-44 or ML-DSA-65 for signatures"
            ))
        };
        jwk::key(mapping)?.map(Self).map_err(stranger)
    }

    /// Return the key as a JWK: kty, crv, x (and y), alg (RFC 9864), kid in hex; of ML-DSA: kty, alg, pub (RFC 9964), kid.
    fn to_jwk<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        jwk::of_key(py, &self.0)
    }

    /// "Ed25519", "ESP256", "ML-DSA-44" or "ML-DSA-65".
    #[getter]
    fn algorithm(&self) -> &'static str {
        self.0.algorithm().name()
    }

    /// 32 bytes for Ed25519, 65 for ESP256, 1,312 for ML-DSA-44, 1,952 for ML-DSA-65.
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
        format!("PublicKey({:?}, kid={})", self.algorithm(), kid::hex(&self.0.kid()))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let arguments = (self.algorithm(), self.raw(py)).into_pyobject(py)?;
        Ok((PyType::new::<Self>(py).getattr("from_raw")?, arguments))
    }
}

impl PublicKey {
    /// The one key of a PEM text. `Err` says what came instead, and shows no byte of it.
    pub fn of_pem(pem: &[u8]) -> Result<Self, String> {
        const EXPECTED: &str = "expected one \"PUBLIC KEY\" in PEM, of Ed25519, P-256, ML-DSA-44 or ML-DSA-65";
        let info = block(&text_of(pem)).map_err(|got| format!("got {got}, {EXPECTED}"))?;
        let key = Self::of_info(&info).map_err(|got| format!("got {got}, {EXPECTED}"))?;
        key.map_err(|weak| format!("public key: {weak}"))
    }

    fn of_info(der: &[u8]) -> Result<Result<Self, WeakKey>, String> {
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| "no public key".to_owned())?;
        let parameters = info.algorithm.parameters;
        let curve = parameters.and_then(|_| info.algorithm.parameters_oid().ok());
        let bits = info.subject_public_key.as_bytes().ok_or("a public key of broken bytes")?;
        let algorithm = match (info.algorithm.oid, curve) {
            // RFC 8410 section 3: the parameters are absent, NULL included.
            (ED25519, None) if parameters.is_none() => Algorithm::Ed25519,
            (EC_PUBLIC_KEY, Some(PRIME256V1)) => Algorithm::Esp256,
            // RFC 9881 section 2: the parameters are absent.
            (ML_DSA_44, None) if parameters.is_none() => Algorithm::MlDsa44,
            (ML_DSA_65, None) if parameters.is_none() => Algorithm::MlDsa65,
            (other, _) => return Err(format!("a key of another kind ({other})")),
        };
        Ok(Key::from_raw(algorithm, bits).map(Self))
    }
}

/// Text in UTF-8 or, where its mark says so, UTF-16. Of text around a key nothing is read: bytes that are no text may stand there.
fn text_of(bytes: &[u8]) -> String {
    let units = |read: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| read([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, ..] => units(u16::from_le_bytes),
        [0xfe, 0xff, ..] => units(u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// The bytes of the only block of a PEM text, which is a "PUBLIC KEY". `Err` says what came instead.
fn block(text: &str) -> Result<Vec<u8>, String> {
    const LABEL: &str = "PUBLIC KEY";
    let mut labels = text.split("-----BEGIN ").skip(1).filter_map(|block| block.split_once("-----"));
    let (label, rest) = labels.next().ok_or("no PEM")?;
    if label != LABEL {
        return Err(format!("a {label:.40?}"));
    }
    if labels.next().is_some() {
        return Err("two blocks".to_owned());
    }
    let (content, _) = rest.split_once("-----END PUBLIC KEY-----").ok_or("a block without its end")?;
    let content: String = content.split_whitespace().collect();
    Base64::decode_vec(&content).map_err(|_| "a block that is not base64".to_owned())
}

object_reader!(key: PublicKey);
object_reader!(public_key: PublicKey);
