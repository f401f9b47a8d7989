//! JWK and JWK sets (RFC 7517, RFC 8037, RFC 9864, RFC 9964): public keys in and out, and the members of our own that limit them.

use super::kid;
use crate::arguments::{enums, time, token_type_named, type_name};
use crate::errors::{key_refused, weak_key};
use base64ct::{Base64UrlUnpadded, Encoding};
use itron_core::crypto::algorithm::Algorithm;
use itron_core::crypto::public_key::PublicKey as Key;
use itron_core::format::token_type::{TokenType, TypeSet};
use itron_core::names;
use itron_core::token::keyring::Entry;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyList, PyMapping, PyString, PyTuple};

/// The members that are read here: those of a public key, of a private one (which are refused), and our own.
const MEMBERS: [&str; 17] = [
    "kty",
    "crv",
    "x",
    "y",
    "pub",
    "alg",
    "use",
    "kid",
    "key_ops",
    "d",
    "priv",
    "mtr_issuer",
    "mtr_token_types",
    "mtr_actions",
    "mtr_audience_prefix",
    "mtr_valid_from",
    "mtr_valid_until",
];

/// The members that hold a secret.
const PRIVATE: [&str; 2] = ["d", "priv"];

/// A key, or what makes it a stranger: a kty, crv, alg or use that is not ours (RFC 7517 section 5).
type Known<T> = Result<T, String>;

/// A public key as a JWK; its alg is the fully specified one, its kid the first 8 bytes of its COSE thumbprint in hex.
pub fn of_key<'py>(py: Python<'py>, key: &Key) -> PyResult<Bound<'py, PyDict>> {
    let raw = key.raw();
    let encoded = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
    let jwk = PyDict::new(py);
    match key.algorithm() {
        Algorithm::Ed25519 => {
            jwk.set_item("kty", "OKP")?;
            jwk.set_item("crv", "Ed25519")?;
            jwk.set_item("x", encoded(&raw))?;
        }
        Algorithm::Esp256 => {
            jwk.set_item("kty", "EC")?;
            jwk.set_item("crv", "P-256")?;
            jwk.set_item("x", encoded(&raw[1..33]))?;
            jwk.set_item("y", encoded(&raw[33..]))?;
        }
        Algorithm::MlDsa44 | Algorithm::MlDsa65 => {
            jwk.set_item("kty", "AKP")?;
            jwk.set_item("pub", encoded(&raw))?;
        }
    }
    jwk.set_item("alg", key.algorithm().name())?;
    jwk.set_item("kid", kid::hex(&key.kid()))?;
    Ok(jwk)
}

/// A public key of the profile.
///
/// # Errors
/// A private part, a member whose name is nearly one of ours, a value of a wrong form, or a key that cannot be used.
pub fn key(jwk: &Bound<'_, PyMapping>) -> PyResult<Known<Key>> {
    check_names(jwk)?;
    let text = |member: &str| -> PyResult<Option<String>> {
        if !jwk.contains(member)? {
            return Ok(None);
        }
        let value = jwk.get_item(member)?;
        let wrong = |_| key_refused(format!("JWK: {member}: got {}, expected text", type_name(&value)));
        value.extract().map(Some).map_err(wrong)
    };
    let kty = text("kty")?.ok_or_else(|| key_refused("JWK: kty: got none, expected OKP, EC or AKP"))?;
    let algorithm = match algorithm(&kty, text("crv")?.as_deref(), text("alg")?.as_deref())? {
        Ok(algorithm) => algorithm,
        Err(stranger) => return Ok(Err(stranger)),
    };
    if let Some(other) = text("use")?.filter(|use_| use_ != "sig") {
        return Ok(Err(format!("use {other:?}")));
    }
    if jwk.contains("key_ops")? {
        let value = jwk.get_item("key_ops")?;
        let wrong = |_| key_refused(format!("JWK: key_ops: got {}, expected a list of text", type_name(&value)));
        let operations: Vec<String> = value.extract().map_err(wrong)?;
        if !operations.iter().any(|one| one == "verify") {
            return Ok(Err(format!("key_ops {operations:?}")));
        }
    }
    let bytes = |member: &str, expected: &str| -> PyResult<Vec<u8>> {
        let wrong = || key_refused(format!("JWK: {member}: got another value, expected base64url of {expected}"));
        Base64UrlUnpadded::decode_vec(&text(member)?.ok_or_else(wrong)?).map_err(|_| wrong())
    };
    let coordinate = |member: &str| -> PyResult<Vec<u8>> {
        let wrong = || key_refused(format!("JWK: {member}: got another value, expected base64url of 32 bytes"));
        Some(bytes(member, "32 bytes")?).filter(|bytes| bytes.len() == 32).ok_or_else(wrong)
    };
    let raw = match algorithm {
        Algorithm::Ed25519 => coordinate("x")?,
        Algorithm::Esp256 => [coordinate("x")?, coordinate("y")?].concat(),
        Algorithm::MlDsa44 | Algorithm::MlDsa65 => bytes("pub", "a public key")?,
    };
    Key::from_raw(algorithm, &raw).map(Ok).map_err(weak_key)
}

/// The algorithm of a key. A curve has one; of kty AKP the alg says it, so it must be there (RFC 9964 section 3).
fn algorithm(kty: &str, crv: Option<&str>, alg: Option<&str>) -> PyResult<Known<Algorithm>> {
    let (algorithm, names) = match (kty, crv, alg) {
        ("OKP", Some("Ed25519"), _) => (Algorithm::Ed25519, ["Ed25519", "EdDSA"]),
        ("EC", Some("P-256"), _) => (Algorithm::Esp256, ["ESP256", "ES256"]),
        ("AKP", _, Some("ML-DSA-44")) => return Ok(Ok(Algorithm::MlDsa44)),
        ("AKP", _, Some("ML-DSA-65")) => return Ok(Ok(Algorithm::MlDsa65)),
        ("AKP", _, Some(alg)) => return Ok(Err(format!("kty \"AKP\" with alg {alg:?}"))),
        ("AKP", _, None) => {
            return Err(key_refused("JWK: alg: got none with kty \"AKP\", expected ML-DSA-44 or ML-DSA-65"));
        }
        ("OKP" | "EC", None, _) => {
            return Err(key_refused(format!("JWK: crv: got none with kty {kty:?}, expected Ed25519 or P-256")));
        }
        (_, None, _) => return Ok(Err(format!("kty {kty:?}"))),
        (_, Some(crv), _) => return Ok(Err(format!("kty {kty:?} with crv {crv:?}"))),
    };
    match alg.filter(|alg| !names.contains(alg)) {
        Some(alg) => Ok(Err(format!("alg {alg:?} with crv {:?}", crv.unwrap_or_default()))),
        None => Ok(Ok(algorithm)),
    }
}

/// Refuses private parts, members of ours that do not exist, and members whose name is nearly one of ours: a limit that is
/// passed over in silence would be no limit.
fn check_names(jwk: &Bound<'_, PyMapping>) -> PyResult<()> {
    for name in jwk.keys()?.iter() {
        let Ok(name) = name.extract::<String>() else {
            return Err(key_refused("JWK: got a member whose name is not text, expected names of members"));
        };
        if PRIVATE.contains(&name.as_str()) {
            return Err(key_refused(format!("JWK: got a private key ({name:?}), expected a public one")));
        }
        if let Some(ours) = names::near(&name, &MEMBERS) {
            return Err(key_refused(format!("JWK: got the member {name:?}, which is nearly {ours:?}; write {ours:?}")));
        }
        let is_ours = name.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("mtr_"));
        if is_ours && !MEMBERS.contains(&name.as_str()) {
            let own: Vec<_> = MEMBERS.into_iter().filter(|name| name.starts_with("mtr_")).collect();
            return Err(key_refused(format!(
                "JWK: got the unknown member {name:?}, expected one of {}",
                own.join(", ")
            )));
        }
    }
    Ok(())
}

/// An entry of a JWK set. Beside the standard members: `mtr_issuer`, `mtr_token_types` and `mtr_actions` (names),
/// `mtr_audience_prefix`, `mtr_valid_from`, `mtr_valid_until` (seconds). The JWK's own kid is only a label.
pub fn entry(jwk: &Bound<'_, PyMapping>) -> PyResult<Known<Entry>> {
    let key = match key(jwk)? {
        Ok(key) => key,
        Err(stranger) => return Ok(Err(stranger)),
    };
    let mut entry = Entry::plain(key);
    for pair in jwk.items()?.iter() {
        let (name, value): (String, Bound<'_, PyAny>) = pair.extract()?;
        let Some(member) = name.strip_prefix("mtr_") else { continue };
        let wrong = |expected: &str| key_refused(format!("JWK: {name}: got {value}, expected {expected}"));
        let text = || value.extract::<String>().map_err(|_| wrong("text"));
        let names = || value.extract::<Vec<String>>().map_err(|_| wrong("a list of names"));
        let second = || {
            let whole = time::int(&value).and_then(|seconds| u64::try_from(seconds).ok());
            whole.ok_or_else(|| wrong("seconds since 1970")).map(Some)
        };
        match member {
            "issuer" => entry.issuer = Some(text()?),
            "audience_prefix" => entry.audience_prefix = text()?,
            "valid_from" => entry.valid_from = second()?,
            "valid_until" => entry.valid_until = second()?,
            "token_types" => {
                entry.token_types = names()?.iter().try_fold(TypeSet::NONE, |set, name| {
                    token_type_named(name, |_| true).map(|named| set.with(named))
                })?;
            }
            _ => {
                entry.actions = names()?.iter().try_fold(0, |bits, name| {
                    let number = enums::action(name).ok_or_else(|| wrong("names of actions"))?;
                    Ok::<_, PyErr>(bits | 1 << number)
                })?;
            }
        }
    }
    Ok(Ok(entry))
}

/// An entry as a JWK, with its limits.
pub fn of_entry<'py>(py: Python<'py>, entry: &Entry) -> PyResult<Bound<'py, PyDict>> {
    let jwk = of_key(py, &entry.key)?;
    if let Some(issuer) = &entry.issuer {
        jwk.set_item("mtr_issuer", issuer)?;
    }
    jwk.set_item("mtr_token_types", PyList::new(py, entry.token_types.iter().map(TokenType::name))?)?;
    if entry.actions != itron_core::format::scope::ALL_ACTIONS {
        let granted = enums::ACTION.members.iter().filter(|(number, _)| entry.actions >> number & 1 == 1);
        jwk.set_item("mtr_actions", PyList::new(py, granted.map(|(_, name)| name))?)?;
    }
    if !entry.audience_prefix.is_empty() {
        jwk.set_item("mtr_audience_prefix", &entry.audience_prefix)?;
    }
    for (member, time) in [("mtr_valid_from", entry.valid_from), ("mtr_valid_until", entry.valid_until)] {
        if let Some(time) = time {
            jwk.set_item(member, time)?;
        }
    }
    Ok(jwk)
}

const SET: &str = "JWKS: got another document, expected an object in JSON with a list \"keys\" of objects";

/// The keys of a JWK set in JSON, each as its members, none of which comes twice.
pub fn set<'py>(text: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyMapping>>> {
    let py = text.py();
    let parsed = parsed(text).map_err(|error| key_refused(format!("{SET}: {}", error.value(py))))?;
    let set = object(&parsed, "JWKS")?;
    for name in set.keys().iter() {
        let name: String = name.extract()?;
        if let Some(ours) = names::near(&name, &["keys"]) {
            return Err(key_refused(format!(
                "JWKS: got the member {name:?}, which is nearly {ours:?}; write {ours:?}"
            )));
        }
    }
    let keys = set.get_item("keys")?.and_then(|keys| keys.cast_into::<PyList>().ok());
    let keys = keys.ok_or_else(|| key_refused(SET))?;
    keys.iter()
        .map(|key| object(&key, "JWK").map(|key| key.into_any().cast_into::<PyMapping>().expect("a dict")))
        .collect()
}

/// JSON, its objects as tuples of pairs, so that a member that comes twice can be seen.
fn parsed<'py>(text: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = text.py();
    let options = PyDict::new(py);
    options.set_item("object_pairs_hook", py.get_type::<PyTuple>())?;
    // The mark that some editors begin a file with is not part of the JSON.
    let text = match text.cast::<PyString>() {
        Ok(text) => text.call_method1("removeprefix", ("\u{feff}",))?,
        Err(_) => text.clone(),
    };
    py.import("json")?.call_method("loads", (text,), Some(&options))
}

fn object<'py>(parsed: &Bound<'py, PyAny>, name: &str) -> PyResult<Bound<'py, PyDict>> {
    let pairs = parsed.cast::<PyTuple>().map_err(|_| key_refused(SET))?;
    let members = PyDict::new(parsed.py());
    for pair in pairs.iter() {
        let (member, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        if members.contains(&member)? {
            return Err(key_refused(format!("{name}: got the member {} twice", member.repr()?)));
        }
        members.set_item(member, value)?;
    }
    Ok(members)
}

/// A JWK set of these entries, in JSON.
pub fn set_of(py: Python<'_>, entries: &[Entry]) -> PyResult<String> {
    let keys = entries.iter().map(|entry| of_entry(py, entry)).collect::<PyResult<Vec<_>>>()?;
    let set = PyDict::new(py);
    set.set_item("keys", PyList::new(py, keys)?)?;
    let options = PyDict::new(py);
    options.set_item("indent", 1)?;
    py.import("json")?.call_method("dumps", (set,), Some(&options))?.extract()
}
