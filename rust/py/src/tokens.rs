//! `verify_tokens`: a whole column of tokens in one call.

use crate::arguments::enums::action_number;
use crate::arguments::{self, max_lifetime_or_none, skew_given, threads, time};
use crate::bulk::{self, Progress};
use crate::columns::error::same_length;
use crate::columns::input::{AnyColumn, IntColumn, StringColumn, TokenColumn};
use crate::columns::output::{Out, OutTable, TokenResults, Valid, Wanted};
use crate::errors::input;
use crate::keys::keyring::{self, Keyring};
use crate::verify_options::VerifyOptions;
use itron_core::format::claims::ReadingKey;
use itron_core::format::device;
use itron_core::parallel::scratch::Scratch;
use itron_core::parallel::stop::Stop;
use itron_core::token::details::{Details, Noted};
use itron_core::token::verify::{Fetched, TokenColumns, verify_noting};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};
use std::mem::take;

/// One value for all rows, each row's own, or nothing asked.
enum Asked<V, C> {
    Nothing,
    One(V),
    Each(C),
}

/// Verifies each token: one row a token, same order.
#[pyfunction]
#[pyo3(signature = (tokens, keyring, *, now, token_type="authorization", audience=None, action=None, epoch=None, revocations=None, skew=120, max_lifetime=None, legacy_algorithms=false, claims=None, columns=None, progress=None, threads=None))]
#[allow(clippy::too_many_arguments, reason = "the call of the public interface")]
pub fn verify_tokens(
    py: Python<'_>,
    tokens: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = keyring::keyring)] keyring: &Bound<'_, Keyring>,
    now: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = arguments::token_type)] token_type: &str,
    audience: Option<&Bound<'_, PyAny>>,
    action: Option<&Bound<'_, PyAny>>,
    epoch: Option<&Bound<'_, PyAny>>,
    revocations: Option<&Bound<'_, PyAny>>,
    #[pyo3(from_py_with = skew_given)] skew: i64,
    #[pyo3(from_py_with = max_lifetime_or_none)] max_lifetime: Option<i64>,
    #[pyo3(from_py_with = arguments::legacy_algorithms)] legacy_algorithms: bool,
    claims: Option<&Bound<'_, PyAny>>,
    columns: Option<&Bound<'_, PyAny>>,
    progress: Option<&Bound<'_, PyAny>>,
    threads: Option<&Bound<'_, PyAny>>,
) -> PyResult<TokenResults> {
    let options = VerifyOptions::read(now, token_type, revocations, skew, max_lifetime, legacy_algorithms)?;
    let threads = self::threads(threads)?;
    let progress = Progress::new(arguments::progress(progress)?);
    let usual = if claims.map_or(Ok(false), all_claims)? { COLUMNS } else { &COLUMNS[..USUAL] };
    let wanted = Wanted::read(columns, usual, &COLUMNS[usual.len()..])?;
    let action = action.map(action_number).transpose()?;
    let tokens = TokenColumn::new(py, &AnyColumn::new(tokens, "tokens")?)?;
    let rows = tokens.len();
    let audience = match audience {
        None => Asked::Nothing,
        Some(one) if one.is_instance_of::<PyString>() => Asked::One(arguments::text(one, "audience")?.to_owned()),
        Some(each) => Asked::Each(StringColumn::new(py, &AnyColumn::new(each, "audience")?)?),
    };
    let epoch = match epoch {
        None => Asked::Nothing,
        Some(given) => match time::int(given) {
            Some(one) => Asked::One(one),
            None if given.is_instance_of::<PyInt>() => {
                return Err(input(format!("epoch: got {given}, expected an int of 64 bits or a column of them")));
            }
            None => Asked::Each(IntColumn::new(py, &AnyColumn::new(given, "epoch")?)?),
        },
    };
    if let Asked::Each(audience) = &audience {
        same_length(&[("tokens", rows), ("audience", audience.len())])?;
    }
    if let Asked::Each(epoch) = &epoch {
        same_length(&[("tokens", rows), ("epoch", epoch.len())])?;
    }
    let keys = &keyring.get().keys;
    let call = options.call();
    let most = call.token_type.size_limits().0;
    let fetch = |row: usize, scratch: &mut Scratch| -> Result<Fetched, Stop> {
        Ok(Fetched {
            token: tokens.fetch(row, most, scratch)?,
            audience: match &audience {
                Asked::Nothing => None,
                Asked::One(one) => Some(scratch.push(one.as_bytes())?),
                // A longer one is no device's, whatever follows.
                Asked::Each(each) => each.fetch(row, device::LONGEST + 1, scratch)?,
            },
            action,
            epoch: match &epoch {
                Asked::Nothing => None,
                Asked::One(one) => Some(*one),
                Asked::Each(each) => each.get(row),
            },
        })
    };
    let columns = bulk::run_telling(py, threads, progress.to(rows), |workers| {
        let details = Details::new(wanted.has("device"), wanted.any(&COLUMNS[USUAL..]));
        let columns = verify_noting(keys, &call, rows, |field| is_made(&wanted, field), workers, fetch, &details)?;
        table(rows, columns, &details.finish(rows), &wanted)
    })?;
    Ok(TokenResults::new(columns))
}

/// The columns of the results in their order: the usual ones, then those of `claims="all"`.
const COLUMNS: &[&str] = &[
    "code",
    "key",
    "issued_at",
    "not_before",
    "expires_at",
    "session_seconds",
    "actions",
    "sequence",
    "epoch",
    "kid",
    "device",
    "cti",
    "subject",
    "command",
    "kdf",
    "key_version",
    "check_value",
];
const USUAL: usize = 11;

/// Whether a field of [`TokenColumns`] is made.
fn is_made(wanted: &Wanted, field: &str) -> bool {
    match field {
        "key_known" => wanted.has("key"),
        "kid_known" => wanted.has("kid"),
        "claims_known" => wanted.any(&["issued_at", "not_before", "expires_at", "actions"]),
        "session_known" => wanted.has("session_seconds"),
        "sequence_known" => wanted.has("sequence"),
        "epoch_known" => wanted.has("epoch"),
        _ => wanted.has(field),
    }
}

/// The argument `claims`: "all" for the columns of every claim.
fn all_claims(given: &Bound<'_, PyAny>) -> PyResult<bool> {
    let is_all = given.cast::<PyString>().is_ok_and(|given| given.to_str().is_ok_and(|text| text == "all"));
    if is_all { Ok(true) } else { Err(arguments::wrong(given, "claims", "None or \"all\"")) }
}

fn table(rows: usize, mut columns: TokenColumns, noted: &Noted, wanted: &Wanted) -> Result<OutTable, Stop> {
    let claims = Valid::from(take(&mut columns.claims_known));
    let ints = |read: fn(&ReadingKey) -> Option<i64>| -> Result<Vec<Option<i64>>, Stop> {
        Ok(noted.reading_keys()?.iter().map(|key| key.as_ref().and_then(read)).collect())
    };
    wanted.table(rows, |name| {
        let columns = &mut columns;
        Ok(match name {
            "code" => Out::int16(take(&mut columns.code)),
            "key" => Out::int32(take(&mut columns.key)).null_unless(take(&mut columns.key_known)),
            "issued_at" => Out::timestamp(take(&mut columns.issued_at)).null_unless(claims.clone()),
            "not_before" => Out::timestamp(take(&mut columns.not_before)).null_unless(claims.clone()),
            "expires_at" => Out::timestamp(take(&mut columns.expires_at)).null_unless(claims.clone()),
            "session_seconds" => {
                Out::int32(take(&mut columns.session_seconds)).null_unless(take(&mut columns.session_known))
            }
            "actions" => Out::int64(take(&mut columns.actions)).null_unless(claims.clone()),
            "sequence" => Out::int64(take(&mut columns.sequence)).null_unless(take(&mut columns.sequence_known)),
            "epoch" => Out::int64(take(&mut columns.epoch)).null_unless(take(&mut columns.epoch_known)),
            "kid" => Out::binary_fixed(take(&mut columns.kid))?.null_unless(take(&mut columns.kid_known)),
            "device" => Out::values(true, noted.devices()?)?,
            "cti" => Out::values(false, noted.ctis()?)?,
            "subject" => Out::values(true, noted.subjects()?)?,
            "command" => Out::values(false, noted.commands()?)?,
            "kdf" => {
                let kdf = ints(|key| Some(key.kdf.into()))?;
                Out::int8(kdf.iter().map(|kdf| kdf.unwrap_or(0) as i8).collect())
                    .with_validity(|row| kdf[row].is_some())?
            }
            "key_version" => {
                let version = ints(|key| i64::try_from(key.key_version).ok())?;
                Out::int64(version.iter().map(|version| version.unwrap_or(0)).collect())
                    .with_validity(|row| version[row].is_some())?
            }
            "check_value" => {
                let keys = noted.reading_keys()?;
                Out::binary(keys.iter().map(|key| key.as_ref().map(|key| key.check_value.as_slice())))?
            }
            other => unreachable!("no column {other}"),
        })
    })
}
