//! `Token`: one token that was verified, and the call that makes it.

use crate::arguments::enums::action_number;
use crate::arguments::time::datetime;
use crate::arguments::{self, max_lifetime_or_none, skew_given, time, token_given, type_name};
use crate::errors::{input, no_pickle, token_refused};
use crate::keys::keyring::{self, Keyring};
use crate::keys::kid;
use crate::verify_options::VerifyOptions;
use itron_core::code::Code;
use itron_core::format::claims::{Claims, ReadingKey};
use itron_core::format::scope::ALL_ACTIONS;
use itron_core::format::token_type::TokenType;
use itron_core::token::verify::{Question, Verdict, verify_single};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFrozenSet};

/// What a verified token says; None where its type has no such claim.
#[pyclass(module = "itron_core", frozen)]
pub struct Token {
    token_type: TokenType,
    issuer: Option<String>,
    subject: Option<String>,
    audience: Option<String>,
    issued_at: u64,
    not_before: u64,
    expires_at: u64,
    session_seconds: Option<u32>,
    actions: u64,
    sequence: Option<u64>,
    epoch: Option<u32>,
    kid: [u8; 8],
    cti: Option<[u8; 16]>,
    command: Option<Vec<u8>>,
    reading_key: Option<ReadingKey>,
}

impl Token {
    fn new(token_type: TokenType, issuer: Option<&str>, kid: [u8; 8], claims: &Claims<'_>) -> Self {
        Self {
            token_type,
            issuer: issuer.map(str::to_owned),
            subject: claims.subject.map(str::to_owned),
            audience: claims.audience.map(str::to_owned),
            issued_at: claims.issued_at,
            not_before: claims.begins_at(),
            expires_at: claims.expires_at,
            session_seconds: claims.session_seconds,
            actions: claims.actions(),
            sequence: claims.sequence().filter(|_| token_type.is_for_one_device()),
            epoch: claims.epoch,
            kid,
            cti: claims.cti,
            command: claims.command.map(<[u8]>::to_vec),
            reading_key: claims.reading_key,
        }
    }
}

#[pymethods]
impl Token {
    /// "authorization", "`secure_command`", "`reading_key`" or "delegation".
    #[getter]
    fn token_type(&self) -> &'static str {
        self.token_type.name()
    }

    /// The issuer of the keyring entry.
    #[getter]
    fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The worker or field tool it was issued to.
    #[getter]
    fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The device that it is for; of a delegation, the prefix.
    #[getter]
    fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// When it was issued, an aware datetime in UTC.
    #[getter]
    fn issued_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        datetime(py, self.issued_at)
    }

    /// When it begins to be valid, an aware datetime in UTC.
    #[getter]
    fn not_before<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        datetime(py, self.not_before)
    }

    /// When it is valid no longer, an aware datetime in UTC.
    #[getter]
    fn expires_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        datetime(py, self.expires_at)
    }

    /// Session length in seconds.
    #[getter]
    fn session_seconds(&self) -> Option<u32> {
        self.session_seconds
    }

    /// What it grants, as a frozen set of `Action`.
    #[getter]
    fn actions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyFrozenSet>> {
        let action = py.import("itron_core.enums")?.getattr("Action")?;
        let numbers = (0..64_u32).filter(|number| (self.actions & ALL_ACTIONS) >> number & 1 == 1);
        let members = numbers.map(|number| action.call1((number,))).collect::<PyResult<Vec<_>>>()?;
        PyFrozenSet::new(py, members)
    }

    /// Sequence number; None for a delegation.
    #[getter]
    fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// The device's security epoch when it was issued.
    #[getter]
    fn epoch(&self) -> Option<u32> {
        self.epoch
    }

    /// Kid of the key that signed it, 8 bytes.
    #[getter]
    fn kid<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.kid)
    }

    /// The token's id, 16 bytes.
    #[getter]
    fn cti<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.cti.map(|cti| PyBytes::new(py, &cti))
    }

    /// The command of a secure command.
    #[getter]
    fn command<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.command.as_deref().map(|command| PyBytes::new(py, command))
    }

    /// (kdf, `key_version`, `check_value`) of a reading key, a named tuple.
    #[getter]
    fn reading_key<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let make = |key: ReadingKey| {
            let named = py.import("itron_core.enums")?.getattr("ReadingKey")?;
            named.call1((key.kdf, key.key_version, PyBytes::new(py, &key.check_value)))
        };
        self.reading_key.map(make).transpose()
    }

    /// What was verified here is verified again where it goes: a token is handed on as its bytes.
    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(no_pickle(&type_name(slf.as_any())))
    }

    fn __repr__(&self) -> String {
        let of = self.audience.as_deref().unwrap_or("any device");
        format!("Token({} for {of}, kid={})", self.token_type.name(), kid::hex(&self.kid))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.identity() == other.get().identity())
    }

    fn __hash__(&self) -> u64 {
        self.cti.map_or(0, |cti| u128::from_be_bytes(cti) as u64) ^ u64::from_be_bytes(self.kid)
    }
}

impl Token {
    /// (kid, cti), and what was signed under them.
    fn identity(&self) -> impl PartialEq + '_ {
        let times = (self.issued_at, self.not_before, self.expires_at, self.session_seconds);
        let who = (&self.subject, &self.audience, &self.issuer, self.token_type);
        (self.kid, self.cti, times, who, self.actions, self.epoch, &self.command, self.reading_key)
    }
}

/// Verifies one token. Raises `TokenRefused` with the code of the first check that fails.
#[pyfunction]
#[pyo3(signature = (token, keyring, *, now, token_type="authorization", audience=None, action=None, epoch=None, revocations=None, skew=120, max_lifetime=None, legacy_algorithms=false))]
#[allow(clippy::too_many_arguments, reason = "the call of the public interface")]
pub fn verify_token(
    token: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = keyring::keyring)] keyring: &Bound<'_, Keyring>,
    now: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = arguments::token_type)] token_type: &str,
    #[pyo3(from_py_with = arguments::audience)] audience: Option<&str>,
    action: Option<&Bound<'_, PyAny>>,
    epoch: Option<&Bound<'_, PyAny>>,
    revocations: Option<&Bound<'_, PyAny>>,
    #[pyo3(from_py_with = skew_given)] skew: i64,
    #[pyo3(from_py_with = max_lifetime_or_none)] max_lifetime: Option<i64>,
    #[pyo3(from_py_with = arguments::legacy_algorithms)] legacy_algorithms: bool,
) -> PyResult<Token> {
    let options = VerifyOptions::read(now, token_type, revocations, skew, max_lifetime, legacy_algorithms)?;
    let epoch =
        epoch.map(|epoch| time::int(epoch).ok_or_else(|| input(format!("epoch: got {epoch}, expected an int"))));
    let token = token_given(token, "token", options.call().token_type)?;
    let question = Question {
        token: token.as_deref().map_err(|&code| code),
        audience: audience.map(str::as_bytes),
        action: action.map(action_number).transpose()?,
        epoch: epoch.transpose()?,
    };
    let keys = &keyring.get().keys;
    let call = options.call();
    match verify_single(keys, &call, question) {
        Verdict { code: Code::Ok, key: Some(index), kid: Some(kid), claims: Some(claims) } => {
            let issuer = keys.entries()[index as usize].issuer.as_deref();
            Ok(Token::new(call.token_type, issuer, kid, &claims))
        }
        Verdict { code: Code::Ok, .. } => Err(token_refused(Code::Internal)),
        Verdict { code, .. } => Err(token_refused(code)),
    }
}
