//! `verify_tokens`: a whole column of tokens in one call.

use crate::arguments::enums::action_number;
use crate::arguments::{self, max_lifetime_or_none, skew_given, threads, time};
use crate::bulk;
use crate::columns::error::same_length;
use crate::columns::input::{AnyColumn, IntColumn, StringColumn, TokenColumn};
use crate::columns::output::{Out, OutTable, TokenResults, Valid};
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

/// One value for all rows, each row's own, or nothing asked.
enum Asked<V, C> {
    Nothing,
    One(V),
    Each(C),
}

/// Verifies each token: one row a token, same order.
#[pyfunction]
#[pyo3(signature = (tokens, keyring, *, now, token_type="authorization", audience=None, action=None, epoch=None, revocations=None, skew=120, max_lifetime=None, legacy_algorithms=false, claims=None, threads=None))]
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
    threads: Option<&Bound<'_, PyAny>>,
) -> PyResult<TokenResults> {
    let options = VerifyOptions::read(now, token_type, revocations, skew, max_lifetime, legacy_algorithms)?;
    let threads = self::threads(threads)?;
    let claims = claims.map_or(Ok(false), all_claims)?;
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
    let columns = bulk::run(py, threads, |workers| {
        let details = Details::new(claims);
        let columns = verify_noting(keys, &call, rows, workers, fetch, &details)?;
        table(rows, columns, &details.finish(rows), claims)
    })?;
    Ok(TokenResults::new(columns))
}

/// The argument `claims`: "all" for the columns of every claim.
fn all_claims(given: &Bound<'_, PyAny>) -> PyResult<bool> {
    let is_all = given.cast::<PyString>().is_ok_and(|given| given.to_str().is_ok_and(|text| text == "all"));
    if is_all { Ok(true) } else { Err(arguments::wrong(given, "claims", "None or \"all\"")) }
}

fn table(rows: usize, columns: TokenColumns, noted: &Noted, all: bool) -> Result<OutTable, Stop> {
    let claims = Valid::from(columns.claims_known);
    let mut table = vec![
        ("code", Out::int16(columns.code)),
        ("key", Out::int32(columns.key).null_unless(columns.key_known)),
        ("issued_at", Out::timestamp(columns.issued_at).null_unless(claims.clone())),
        ("not_before", Out::timestamp(columns.not_before).null_unless(claims.clone())),
        ("expires_at", Out::timestamp(columns.expires_at).null_unless(claims.clone())),
        ("session_seconds", Out::int32(columns.session_seconds).null_unless(columns.session_known)),
        ("actions", Out::int64(columns.actions).null_unless(claims)),
        ("sequence", Out::int64(columns.sequence).null_unless(columns.sequence_known)),
        ("epoch", Out::int64(columns.epoch).null_unless(columns.epoch_known)),
        ("kid", Out::binary_fixed(columns.kid)?.null_unless(columns.kid_known)),
        ("device", Out::values(true, noted.devices()?)?),
    ];
    if all {
        let keys = noted.reading_keys()?;
        let ints = |read: fn(&ReadingKey) -> Option<i64>| -> Vec<Option<i64>> {
            keys.iter().map(|key| key.as_ref().and_then(read)).collect()
        };
        let (kdf, version) = (ints(|key| Some(key.kdf.into())), ints(|key| i64::try_from(key.key_version).ok()));
        let check_values = keys.iter().map(|key| key.as_ref().map(|key| key.check_value.as_slice()));
        table.extend([
            ("cti", Out::values(false, noted.ctis()?)?),
            ("subject", Out::values(true, noted.subjects()?)?),
            ("command", Out::values(false, noted.commands()?)?),
            (
                "kdf",
                Out::int8(kdf.iter().map(|kdf| kdf.unwrap_or(0) as i8).collect())
                    .with_validity(|row| kdf[row].is_some())?,
            ),
            (
                "key_version",
                Out::int64(version.iter().map(|version| version.unwrap_or(0)).collect())
                    .with_validity(|row| version[row].is_some())?,
            ),
            ("check_value", Out::binary(check_values)?),
        ]);
    }
    Ok(OutTable::new(rows, table))
}
