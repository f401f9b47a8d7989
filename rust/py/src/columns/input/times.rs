//! Columns of times.

use std::fmt;

use itron_core::time::Unit;
use pyo3::prelude::*;
use pyo3::types::{PyDateTime, PyDelta, PyFloat, PyTuple, PyTzInfo};

use super::missing::is_missing;
use super::numbers::{IntColumn, Place, Reading, int_item};
use super::source::{AnyColumn, Source};
use crate::columns::error::{InputError, Result};
use crate::columns::schema::{Type, Zone, unit_name};

/// Rows of times: whole ticks since 1970 in UTC, and how many make a second.
#[derive(Debug)]
pub struct TimeColumn {
    ticks: IntColumn,
    unit: Unit,
}

impl TimeColumn {
    /// The column as times: raw ticks and their unit, without any loss. Integers are seconds.
    ///
    /// # Errors
    /// Another type, a naive datetime, and what contradicts itself.
    pub fn new(py: Python<'_>, column: &AnyColumn) -> Result<Self> {
        column.times(py, Reading::COPIED)
    }

    /// As [`TimeColumn::new`], but Arrow memory and read-only buffers are read where they lie: each row is to be read once.
    ///
    /// # Errors
    /// As [`TimeColumn::new`].
    pub fn shared(py: Python<'_>, column: &AnyColumn) -> Result<Self> {
        column.times(py, Reading { place: Place::Shared, ..Reading::COPIED })
    }

    /// As [`TimeColumn::shared`], and a writable buffer is read where it lies, too. Such a column [is lent](Self::is_lent): it is to
    /// be read under the interpreter lock.
    ///
    /// # Errors
    /// As [`TimeColumn::new`].
    pub fn lent(py: Python<'_>, column: &AnyColumn) -> Result<Self> {
        column.times(py, Reading { place: Place::Lent, ..Reading::COPIED })
    }

    /// Whether Python may write to the values, so that the interpreter lock must be held while they are read.
    #[must_use]
    pub fn is_lent(&self) -> bool {
        self.ticks.chunks().iter().any(|chunk| chunk.is_lent)
    }

    /// All ticks as one slice, if they lie in one piece as 64-bit integers and none is null.
    #[must_use]
    pub fn as_i64_slice(&self) -> Option<&[i64]> {
        self.ticks.as_i64_slice()
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ticks.len()
    }

    /// Ticks of row `at`; `None` where it is null.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    #[must_use]
    pub fn get(&self, at: usize) -> Option<i64> {
        self.ticks.get(at)
    }

    /// The ticks.
    #[must_use]
    pub fn ticks(&self) -> &IntColumn {
        &self.ticks
    }

    /// The unit of a tick.
    #[must_use]
    pub fn unit(&self) -> Unit {
        self.unit
    }
}

const TIMES: &str =
    "timestamps with a time zone, integers as seconds since 1970, or a sequence of int or aware datetimes";

/// The unit of times of a type; `None` where it is not one of times.
fn unit_of(dtype: &Type) -> Option<Unit> {
    match dtype {
        Type::Timestamp(unit, Zone::Said) => Some(*unit),
        Type::Int(_) | Type::Float64 | Type::Null => Some(Unit::Second),
        _ => None,
    }
}

impl AnyColumn {
    fn times(&self, py: Python<'_>, reading: Reading) -> Result<TimeColumn> {
        if let Some(nulls) = self.as_nulls(py, |of| unit_of(of).is_some())? {
            return nulls.times(py, reading);
        }
        match self.source() {
            Source::Arrow(column) => match (&column.dtype, unit_of(&column.dtype)) {
                (dtype, Some(unit)) => Ok(TimeColumn { ticks: self.arrow_ints(&column.pieces, dtype, reading)?, unit }),
                (dtype @ Type::Timestamp(unit, Zone::Unsaid), None) => {
                    let remedy = format!(
                        "cast it to timestamp[{}, tz=UTC] where the times are UTC (pandas: .dt.tz_localize(\"UTC\"), Polars: \
                         .dt.replace_time_zone(\"UTC\")), or say their own zone",
                        unit_name(*unit)
                    );
                    Err(self.without_zone(dtype, &remedy))
                }
                (other, None) => Err(self.unwanted(other, TIMES)),
            },
            Source::Items(items) => self.time_items(items.bind(py)),
            Source::Buffer(_) => Ok(TimeColumn { ticks: self.ints(py, reading)?, unit: Unit::Second }),
            Source::Datetime64 { code, .. } => {
                let remedy = "where its times are UTC, give seconds since 1970, .astype(\"datetime64[s]\").astype(\"int64\"), or \
                              an Arrow column of timestamps with a time zone";
                Err(self.without_zone(format!("a NumPy array of {code}"), remedy))
            }
        }
    }

    /// Times of which nobody knows what zone they are of.
    fn without_zone(&self, got: impl fmt::Display, remedy: &str) -> InputError {
        self.error(format!("got {got} without a time zone, expected times with one: {remedy}"))
    }

    fn time_items(&self, items: &Bound<'_, PyTuple>) -> Result<TimeColumn> {
        let has_datetimes = items.iter_borrowed().any(|item| item.is_instance_of::<PyDateTime>());
        let unit = if has_datetimes { Unit::Micro } else { Unit::Second };
        let floats = items.iter_borrowed().any(|item| item.is_instance_of::<PyFloat>() && is_missing(&item));
        let ticks = self.gather(items, "an int of seconds, an aware datetime, or None", |item| {
            if let Ok(time) = item.cast::<PyDateTime>() {
                if is_missing(item) {
                    return Ok(None);
                }
                return micros_of(time).map(Some).map_err(|error| error.0);
            }
            let seconds = int_item(item, floats).map_err(|got| got.to_string())?;
            let ticks = |seconds: i64| {
                seconds.checked_mul(unit.per_second() as i64).ok_or_else(|| format!("{seconds} seconds"))
            };
            seconds.map(ticks).transpose()
        })?;
        Ok(TimeColumn { ticks, unit })
    }
}

/// Microseconds between 1970 and an aware datetime, exactly.
///
/// # Errors
/// A naive datetime.
pub fn micros_of(time: &Bound<'_, PyDateTime>) -> Result<i64> {
    let py = time.py();
    let failed = |cause| InputError::raised(py, "datetime", "reading it", cause);
    if time.call_method0("utcoffset").map_err(failed)?.is_none() {
        return Err(InputError::new("a naive datetime (without a time zone)"));
    }
    let utc = PyTzInfo::utc(py).map_err(failed)?;
    let epoch = PyDateTime::new(py, 1970, 1, 1, 0, 0, 0, 0, Some(&utc)).map_err(failed)?;
    let since = time.sub(epoch).map_err(failed)?;
    let since =
        since.cast::<PyDelta>().map_err(|_| InputError::new("a datetime whose difference is not a timedelta"))?;
    let part = |name: &str| since.getattr(name).and_then(|part| part.extract::<i64>()).map_err(failed);
    // A datetime lies in the years 1 to 9999: below 2^59 microseconds.
    Ok((part("days")? * 86_400 + part("seconds")?) * 1_000_000 + part("microseconds")?)
}
