//! `process_route`: every row of a route verified and decided in one call.

mod columns;
mod policy;
mod results;

pub use policy::{Policy, PolicyTable};
pub use results::{CommandRequests, RouteColumns};

use crate::arguments::time::Now;
use crate::arguments::{self, threads, time};
use crate::bulk::{self, Progress};
use crate::columns::input::TimeColumn;
use crate::columns::output::Wanted;
use crate::errors::input;
use crate::keys::keyring::{self, Keyring};
use crate::keys::revocations::revocations_or_none;
use columns::Columns;
use itron_core::format::token_type::TokenType;
use itron_core::route::{self, RouteCall};
use itron_core::time::Unit;
use itron_core::token::verify::Call;
use pyo3::prelude::*;
use std::sync::Arc;

/// Decides every row of a route.
#[pyfunction]
#[pyo3(signature = (route, keyring, *, now, permissions, policy, revocations, columns, progress, threads))]
#[allow(clippy::too_many_arguments, reason = "the call of the public interface")]
pub fn process_route(
    py: Python<'_>,
    route: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = keyring::keyring)] keyring: &Bound<'_, Keyring>,
    now: &Bound<'_, PyAny>,
    permissions: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = policy::policy)] policy: &Bound<'_, Policy>,
    revocations: Option<&Bound<'_, PyAny>>,
    columns: Option<&Bound<'_, PyAny>>,
    progress: Option<&Bound<'_, PyAny>>,
    threads: Option<&Bound<'_, PyAny>>,
) -> PyResult<RouteColumns> {
    let now = Now::read(now)?;
    let threads = self::threads(threads)?;
    let snapshot = self::revocations_or_none(revocations)?;
    let wanted = || input(format!("permissions: got {permissions}, expected a bit set of Permission"));
    let permissions = time::int(permissions).filter(|&bits| bits >= 0).ok_or_else(wanted)?;
    let progress = Progress::new(arguments::progress(progress)?);
    let wanted = Wanted::read(columns, results::COLUMNS, &[])?;
    let columns = Columns::read(route, permissions)?;
    let (keys, policy) = (&keyring.get().keys, &policy.get().policy);
    let call = RouteCall {
        call: Call { revocations: snapshot.as_deref(), ..Call::new(TokenType::Authorization, now.seconds) },
        now: now.nanos,
        session_unit: columns.session_opened_at.as_ref().map_or(Unit::Second, TimeColumn::unit),
        policy,
    };
    let (table, answered) = bulk::run_telling(py, threads, progress.to(columns.rows), |workers| {
        let answers = route::process(&columns, keys, &call, |field| results::is_made(&wanted, field), workers)?;
        results::answered(columns, Arc::clone(policy), answers, &wanted)
    })?;
    Ok(RouteColumns::new(table, Arc::new(answered)))
}
