//! `now`, and other moments that a caller names: whole seconds since 1970, or an aware datetime.

use crate::errors::input;
use itron_core::time::Nanos;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict};

/// 2020-01-01 and 2100-01-01, the ends of the format's times, both inside, in seconds since 1970.
const FIRST: i128 = 1_577_836_800;
const LAST: i128 = 4_102_444_800;
const MICROS: i128 = 1_000_000;

/// The moment of one call.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Whole seconds since 1970.
    pub seconds: u64,
    /// The same moment, as exactly as it was given.
    pub nanos: Nanos,
}

impl Now {
    /// Reads the argument `now`.
    pub fn read(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        let micros = micros(value, "now")?;
        if !(FIRST * MICROS..=LAST * MICROS).contains(&micros) {
            let unit = [("milliseconds", 1_000), ("microseconds", MICROS), ("nanoseconds", 1_000 * MICROS)];
            let fits = |&&(_, ticks): &&(&str, i128)| (FIRST..=LAST).contains(&(micros / MICROS / ticks));
            let hint = unit.iter().find(fits).map_or(String::new(), |(name, _)| format!("; these look like {name}"));
            return Err(input(format!("now: got {value}, expected seconds since 1970, from 2020 to 2100{hint}")));
        }
        let seconds = u64::try_from(micros / MICROS).map_err(|_| input("now: got a moment before 1970"))?;
        Ok(Self { seconds, nanos: micros * 1_000 })
    }
}

/// Reads a moment in whole seconds since 1970.
pub fn seconds(value: &Bound<'_, PyAny>, name: &str) -> PyResult<u64> {
    let micros = micros(value, name)?;
    let whole = micros.rem_euclid(1_000_000) == 0;
    let seconds = u64::try_from(micros.div_euclid(1_000_000)).ok().filter(|_| whole);
    seconds.ok_or_else(|| input(format!("{name}: got {value}, expected whole seconds since 1970, from 0 up")))
}

/// Microseconds since 1970 of an int of seconds or an aware datetime.
pub fn micros(value: &Bound<'_, PyAny>, name: &str) -> PyResult<i128> {
    if let Some(seconds) = int(value) {
        return Ok(i128::from(seconds) * 1_000_000);
    }
    if !value.is_instance(datetime_type(value.py())?)? {
        let kind = value.get_type().name()?;
        let shown = if is_int(value) { format!("{value}") } else { format!("{kind}") };
        let wanted = "an int of seconds since 1970 (below 2^63) or an aware datetime";
        return Err(input(format!("{name}: got {shown}, expected {wanted}")));
    }
    let failed = |cause: PyErr| {
        // pandas.NaT and some time zones raise: that is a wrong argument. An interrupt is passed on.
        if !cause.is_instance_of::<PyException>(value.py()) {
            return cause;
        }
        let kind = super::type_name(value);
        let error = input(format!("{name}: got {kind} without a usable time, expected an aware datetime"));
        error.set_cause(value.py(), Some(cause));
        error
    };
    if value.call_method0("utcoffset").map_err(failed)?.is_none() {
        return Err(input(format!("{name}: got a naive datetime, expected an aware one (with a time zone)")));
    }
    let since = value.call_method1("__sub__", (epoch(value.py())?,)).map_err(failed)?;
    let part = |part: &str| since.getattr(part)?.extract::<i64>().map(i128::from);
    let micros = || Ok((part("days")? * 86_400 + part("seconds")?) * 1_000_000 + part("microseconds")?);
    micros().map_err(failed)
}

fn is_int(value: &Bound<'_, PyAny>) -> bool {
    !value.is_instance_of::<PyBool>() && value.hasattr("__index__").unwrap_or(false)
}

/// An int (no bool, no float) that fits 64 bits.
pub fn int(value: &Bound<'_, PyAny>) -> Option<i64> {
    if value.is_instance_of::<PyBool>() { None } else { value.extract().ok() }
}

fn datetime_type(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static TYPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let import = || py.import("datetime")?.getattr("datetime").map(Bound::unbind);
    Ok(TYPE.get_or_try_init(py, import)?.bind(py))
}

fn utc(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("datetime")?.getattr("timezone")?.getattr("utc")
}

fn epoch(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static EPOCH: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = || datetime_type(py)?.call1((1970, 1, 1, 0, 0, 0, 0, utc(py)?)).map(Bound::unbind);
    Ok(EPOCH.get_or_try_init(py, make)?.bind(py))
}

/// An aware datetime, in UTC.
pub fn datetime(py: Python<'_>, seconds: u64) -> PyResult<Bound<'_, PyAny>> {
    let parts = PyDict::new(py);
    parts.set_item("seconds", seconds)?;
    let since = py.import("datetime")?.getattr("timedelta")?.call((), Some(&parts))?;
    epoch(py)?.call_method1("__add__", (since,))
}
