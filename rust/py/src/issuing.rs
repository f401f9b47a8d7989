//! The Rust half of issuing: claims are encoded, a signer in Python signs, and every signature is asked again.

use crate::arguments::time::{Now, seconds};
use crate::arguments::{self, bytes_like, enums, max_lifetime, max_lifetime_or_none, token_type_named};
use crate::bulk;
use crate::columns::input::{BinaryColumn, IntColumn, StringColumn, Table, TextListColumn, TimeColumn};
use crate::columns::output::{Column, Out};
use crate::errors::{input, refused};
use crate::keys::keyring::{self, KeyringEntry};
use crate::keys::public_key::{self, PublicKey};
use crate::keys::revocations::{self, Revocations};
use itron_core::code::Code;
use itron_core::crypto::algorithm::Algorithm;
use itron_core::crypto::public_key::PublicKey as Key;
use itron_core::format::claims::{Claims, Confirmation, CoseKey, ReadingKey};
use itron_core::format::device;
use itron_core::format::scope::{ALL_ACTIONS, Scope};
use itron_core::format::token_type::{TokenType, TypeSet};
use itron_core::token::issue::{Unsigned, verify_issued};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

/// Session length where a request names none, in seconds.
const DEFAULT_SESSION: u32 = 3_600;

/// Bytes that are read of a cell: more than any claim may have.
const MOST: usize = 1_024;

/// Tokens that wait for their signatures.
#[pyclass(module = "itron_core._rust", frozen)]
pub struct PendingTokens {
    key: Key,
    tokens: Vec<Unsigned>,
}

#[pymethods]
impl PendingTokens {
    /// The bytes to sign, one a token.
    fn messages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.tokens.iter().map(|token| PyBytes::new(py, &token.message())))
    }

    /// Return the tokens with these signatures, in order, each as long as the key's algorithm has them. Every signature is
    /// verified first.
    #[pyo3(signature = (signatures))]
    fn assemble(&self, py: Python<'_>, signatures: &Bound<'_, PyAny>) -> PyResult<Column> {
        let rows = self.tokens.len();
        let signatures = bytes_like(signatures, "signatures")?;
        let length = self.key.algorithm().signature_bytes();
        if signatures.len() != rows * length {
            let got = signatures.len();
            return Err(input(format!("signatures: got {got} bytes, expected {length} for each of {rows} tokens")));
        }
        let tokens = bulk::run(py, itron_core::parallel::chunks::available_threads(), |workers| {
            let tokens: Vec<Vec<u8>> = self
                .tokens
                .iter()
                .zip(signatures.chunks(length))
                .map(|(token, signature)| token.token(signature))
                .collect();
            let codes = verify_issued(&tokens, &self.key, workers)?;
            Ok(match codes.iter().position(|&code| code != 0) {
                Some(row) => Err((row, codes[row])),
                None => Ok(Out::binary(tokens.iter().map(|token| Some(token.as_slice())))?),
            })
        })?;
        match tokens {
            Ok(tokens) => Ok(Column::new(tokens)),
            Err((row, code)) => Err(refused(format!(
                "row {row}: the signer's signature is refused with code {code}; it was not made by the key it names"
            ))),
        }
    }

    fn __len__(&self) -> usize {
        self.tokens.len()
    }
}

/// The columns of a request.
struct Request {
    rows: usize,
    device: StringColumn,
    actions: ActionColumn,
    sequence: IntColumn,
    epoch: IntColumn,
    expires_at: Option<TimeColumn>,
    not_before: Option<TimeColumn>,
    session_seconds: Option<IntColumn>,
    subject: Option<StringColumn>,
    command: Option<BinaryColumn>,
    kdf: Option<IntColumn>,
    key_version: Option<IntColumn>,
    check_value: Option<BinaryColumn>,
}

/// A bit set a row, or a list of names.
enum ActionColumn {
    Bits(IntColumn),
    Names(TextListColumn),
}

const COLUMNS: [&str; 12] = [
    "device",
    "actions",
    "sequence",
    "epoch",
    "expires_at",
    "not_before",
    "session_seconds",
    "subject",
    "command",
    "kdf",
    "key_version",
    "check_value",
];

impl Request {
    fn read(request: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = request.py();
        let table = Table::new(request, "request", |_| true)?;
        if let Some(unknown) = table.names().find(|name| !COLUMNS.contains(name)) {
            return Err(input(format!("request: got the column {unknown:?}, expected {}", COLUMNS.join(", "))));
        }
        let int = |name: &str| table.column(name).map(|column| IntColumn::new(py, column)).transpose();
        let time = |name: &str| table.column(name).map(|column| TimeColumn::new(py, column)).transpose();
        let text = |name: &str| table.column(name).map(|column| StringColumn::new(py, column)).transpose();
        let bytes = |name: &str| table.column(name).map(|column| BinaryColumn::new(py, column)).transpose();
        let actions = table.required("actions")?;
        Ok(Self {
            rows: table.rows(),
            device: StringColumn::new(py, table.required("device")?)?,
            actions: match IntColumn::new(py, actions) {
                Ok(bits) => ActionColumn::Bits(bits),
                Err(_) => ActionColumn::Names(TextListColumn::new(py, actions)?),
            },
            sequence: IntColumn::new(py, table.required("sequence")?)?,
            epoch: IntColumn::new(py, table.required("epoch")?)?,
            expires_at: time("expires_at")?,
            not_before: time("not_before")?,
            session_seconds: int("session_seconds")?,
            subject: text("subject")?,
            command: bytes("command")?,
            kdf: int("kdf")?,
            key_version: int("key_version")?,
            check_value: bytes("check_value")?,
        })
    }

    /// The tokens of all rows, or the first row that has none, and why.
    fn tokens(&self, issue: &Issue) -> Result<Vec<Unsigned>, (usize, String)> {
        (0..self.rows).map(|row| self.token(row, issue).map_err(|why| (row, why))).collect()
    }

    /// The claims of one row, and the token that waits for its signature.
    fn token(&self, row: usize, issue: &Issue) -> Result<Unsigned, String> {
        let device = self.device.get(row, MOST).ok_or("device is null")?;
        let audience =
            std::str::from_utf8(&device).map_err(|_| "device: got bytes that are not UTF-8, expected a device id")?;
        let id = device::parse(&device)
            .ok_or_else(|| format!("device: got {audience:?}, expected a device id, ert: or eui64:"))?;
        let sequence = from_zero(self.sequence.get(row), "sequence")?;
        let epoch = from_zero(self.epoch.get(row), "epoch")?;
        let scope = Scope::from_actions(self.actions(row)?);
        let has_session = match issue.token_type {
            TokenType::Authorization => true,
            TokenType::SecureCommand => scope.opens_session,
            _ => false,
        };
        let asked_session = self.session_seconds.as_ref().and_then(|column| column.get(row));
        let session_seconds = match (asked_session, has_session) {
            (None, true) => Some(DEFAULT_SESSION),
            (None, false) => None,
            (Some(seconds), _) => Some(u32::try_from(seconds).map_err(|_| format!("session_seconds is {seconds}"))?),
        };
        let subject = text(self.subject.as_ref(), row)?;
        let command = self.command.as_ref().and_then(|column| column.get(row, MOST));
        let claims = Claims {
            audience: Some(audience),
            device: id,
            subject: subject.as_deref(),
            expires_at: time(self.expires_at.as_ref(), row, "expires_at")?.unwrap_or(issue.expires_at()),
            not_before: time(self.not_before.as_ref(), row, "not_before")?,
            issued_at: issue.now,
            cti: Some((u128::from(id) << 64 | u128::from(sequence)).to_be_bytes()),
            scope: Some(scope),
            session_seconds,
            epoch: Some(u32::try_from(epoch).map_err(|_| format!("epoch: got {epoch}, expected 0..2^32-1"))?),
            command: command.as_deref(),
            reading_key: self.reading_key(row)?,
            ..Claims::default()
        };
        let refused = |code: Code| format!("the reader would refuse it: {} {}", code as i16, code.name());
        Unsigned::new(&claims, issue.token_type, &issue.key, issue.max_lifetime).map_err(refused)
    }

    fn actions(&self, row: usize) -> Result<u64, String> {
        let bits = match &self.actions {
            ActionColumn::Bits(bits) => from_zero(bits.get(row), "actions")?,
            ActionColumn::Names(names) => {
                let names = names.get(row, MOST).ok_or("actions: got null, expected names of actions")?;
                names.into_iter().try_fold(0, |bits, name| {
                    let number = enums::action(&name)
                        .ok_or_else(|| format!("actions: got {name:?}, expected names of actions"))?;
                    Ok::<_, String>(bits | 1 << number)
                })?
            }
        };
        match bits & !ALL_ACTIONS {
            0 => Ok(bits),
            unknown => Err(format!("actions: got {bits:#x} with unknown bits {unknown:#x}, expected bits of actions")),
        }
    }

    fn reading_key(&self, row: usize) -> Result<Option<ReadingKey>, String> {
        let get = |column: Option<&IntColumn>| column.and_then(|column| column.get(row));
        let (kdf, version) = (get(self.kdf.as_ref()), get(self.key_version.as_ref()));
        let check_value = self.check_value.as_ref().and_then(|column| column.get(row, MOST));
        match (kdf, version, check_value) {
            (None, None, None) => Ok(None),
            (Some(kdf), Some(version), Some(check_value)) => Ok(Some(ReadingKey {
                kdf: u8::try_from(kdf).map_err(|_| format!("kdf: got {kdf}, expected 1..4"))?,
                key_version: from_zero(Some(version), "key_version")?,
                check_value: (*check_value)
                    .try_into()
                    .map_err(|_| format!("check_value: got {} bytes, expected 4", check_value.len()))?,
            })),
            _ => Err("kdf, key_version, check_value: got only some of them, expected all or none".to_owned()),
        }
    }
}

fn from_zero(value: Option<i64>, name: &str) -> Result<u64, String> {
    let value = value.ok_or_else(|| format!("{name}: got null, expected an int from 0 up"))?;
    u64::try_from(value).map_err(|_| format!("{name}: got {value}, expected an int from 0 up"))
}

fn text(column: Option<&StringColumn>, row: usize) -> Result<Option<String>, String> {
    let text = column.and_then(|column| column.get(row, MOST)).map(|text| String::from_utf8(text.into_owned()));
    text.transpose().map_err(|_| "subject: got bytes that are not UTF-8, expected text".to_owned())
}

fn time(column: Option<&TimeColumn>, row: usize, name: &str) -> Result<Option<u64>, String> {
    let Some((column, ticks)) = column.and_then(|column| Some((column, column.get(row)?))) else { return Ok(None) };
    let nanos = column.unit().nanos(ticks);
    let whole = nanos.rem_euclid(1_000_000_000) == 0;
    let seconds = u64::try_from(nanos.div_euclid(1_000_000_000)).ok().filter(|_| whole);
    seconds.map(Some).ok_or_else(|| format!("{name}: got {nanos} ns, expected a whole second since 1970"))
}

/// What holds for every row of a request.
struct Issue {
    key: Key,
    now: u64,
    token_type: TokenType,
    max_lifetime: u64,
}

impl Issue {
    fn expires_at(&self) -> u64 {
        self.now.saturating_add(self.max_lifetime.min(self.token_type.default_lifetime()))
    }
}

/// Encodes a request's tokens: what the reader would refuse raises, naming the row.
#[pyfunction]
#[pyo3(signature = (request, public_key, *, now, token_type, max_lifetime))]
pub fn prepare_tokens(
    request: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = public_key::public_key)] public_key: &Bound<'_, PublicKey>,
    now: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = arguments::token_type)] token_type: &str,
    #[pyo3(from_py_with = max_lifetime_or_none)] max_lifetime: Option<i64>,
) -> PyResult<PendingTokens> {
    let token_type = token_type_named(token_type, TokenType::is_for_one_device)?;
    let max_lifetime = self::max_lifetime(max_lifetime, token_type)?;
    let issue = Issue { key: public_key.get().0.clone(), now: Now::read(now)?.seconds, token_type, max_lifetime };
    let request = Request::read(request)?;
    let tokens = public_key.py().detach(|| request.tokens(&issue));
    let tokens = tokens.map_err(|(row, why)| input(format!("request, row {row}: {why}")))?;
    Ok(PendingTokens { key: issue.key, tokens })
}

/// The delegation that makes `entry` of a key, signed by `public_key`.
#[pyfunction]
#[pyo3(signature = (entry, public_key, *, now, expires_at))]
pub fn prepare_delegation(
    #[pyo3(from_py_with = keyring::entry)] entry: &Bound<'_, KeyringEntry>,
    #[pyo3(from_py_with = public_key::public_key)] public_key: &Bound<'_, PublicKey>,
    now: &Bound<'_, PyAny>,
    expires_at: &Bound<'_, PyAny>,
) -> PyResult<PendingTokens> {
    let (entry, now) = (&entry.get().0, Now::read(now)?.seconds);
    let expires_at = seconds(expires_at, "expires_at")?;
    if let Some(other) = entry.valid_until.filter(|&until| until != expires_at) {
        return Err(input(format!("entry: got valid_until {other}, expected None or expires_at, {expires_at}")));
    }
    let issuer = entry.issuer.as_deref().ok_or_else(|| input("entry: got no issuer, expected its name"))?;
    let types = entry.token_types.without(TokenType::Delegation);
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| refused(format!("the system gives no random bytes: {error}")))?;
    let raw = entry.key.raw();
    let claims = Claims {
        issuer: Some(issuer),
        audience: Some(entry.audience_prefix.as_str()).filter(|prefix| !prefix.is_empty()),
        expires_at,
        not_before: entry.valid_from,
        issued_at: now,
        cti: Some(id),
        confirmation: Some(Confirmation::Key(cose_key(entry.key.algorithm(), &raw))),
        scope: Some(Scope::from_actions(entry.actions)),
        types: Some(types),
        types_order: types_order(types),
        ..Claims::default()
    };
    one(&claims, TokenType::Delegation, public_key, "entry")
}

/// The signed form of a snapshot.
#[pyfunction]
#[pyo3(signature = (revocations, public_key, *, issuer, now))]
pub fn prepare_revocations(
    #[pyo3(from_py_with = revocations::revocations)] revocations: &Bound<'_, Revocations>,
    #[pyo3(from_py_with = public_key::public_key)] public_key: &Bound<'_, PublicKey>,
    #[pyo3(from_py_with = arguments::issuer)] issuer: &str,
    now: &Bound<'_, PyAny>,
) -> PyResult<PendingTokens> {
    let snapshot = &revocations.get().0;
    let lists = snapshot.lists();
    let claims = Claims {
        issuer: Some(issuer),
        expires_at: snapshot.expires_at,
        issued_at: Now::read(now)?.seconds,
        version: Some(snapshot.version),
        revoked: Some([&lists[0], &lists[1], &lists[2]]),
        ..Claims::default()
    };
    one(&claims, TokenType::Revocation, public_key, "revocations")
}

fn one(claims: &Claims<'_>, token_type: TokenType, key: &Bound<'_, PublicKey>, name: &str) -> PyResult<PendingTokens> {
    let key = key.get().0.clone();
    let refused = |code: Code| input(format!("{name}: the reader would refuse it: {} {}", code as i16, code.name()));
    let token = Unsigned::new(claims, token_type, &key, token_type.hard_lifetime()).map_err(refused)?;
    Ok(PendingTokens { key, tokens: vec![token] })
}

fn types_order(types: TypeSet) -> [u8; 5] {
    let mut order = [0; 5];
    for (place, member) in order.iter_mut().zip(types.iter()) {
        *place = member as u8;
    }
    order
}

/// The key that `PublicKey::raw` gave these bytes of.
fn cose_key(algorithm: Algorithm, raw: &[u8]) -> CoseKey<'_> {
    let coordinate = |at: usize| <[u8; 32]>::try_from(&raw[at..at + 32]).unwrap_or_default();
    match algorithm {
        Algorithm::Ed25519 => CoseKey::Okp(coordinate(0)),
        Algorithm::Esp256 => CoseKey::Ec2(coordinate(1), coordinate(33)),
        Algorithm::MlDsa44 | Algorithm::MlDsa65 => CoseKey::Akp(algorithm.cose(), raw),
    }
}
