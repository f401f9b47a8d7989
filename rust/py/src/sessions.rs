//! `check_sessions`, `check_windows`: whole columns of times against one `now`.

use crate::arguments::time::Now;
use crate::arguments::{skew, skew_given};
use crate::columns::error::same_length;
use crate::columns::input::{AnyColumn, IntColumn, TimeColumn};
use crate::columns::output::{Column, Out, OutTable, SessionResults};
use crate::errors::stopped;
use itron_core::parallel::stop::Stop;
use itron_core::time::{Bounds, Session, session};
use pyo3::prelude::*;

/// The state of each session at `now`. Columns: state int8, remaining int32 (whole seconds, rounded up; 0 unless open).
#[pyfunction]
#[pyo3(signature = (opened_at, seconds, *, now, closed_at=None))]
pub fn check_sessions(
    py: Python<'_>,
    opened_at: &Bound<'_, PyAny>,
    seconds: &Bound<'_, PyAny>,
    now: &Bound<'_, PyAny>,
    closed_at: Option<&Bound<'_, PyAny>>,
) -> PyResult<SessionResults> {
    let now = Now::read(now)?.nanos;
    let opened_at = TimeColumn::shared(py, &AnyColumn::new(opened_at, "opened_at")?)?;
    let seconds = IntColumn::shared(py, &AnyColumn::new(seconds, "seconds")?)?;
    let closed_at =
        closed_at.map(|column| TimeColumn::shared(py, &AnyColumn::new(column, "closed_at")?)).transpose()?;
    let rows = same_length(&[("opened_at", opened_at.len()), ("seconds", seconds.len())])?;
    if let Some(closed_at) = &closed_at {
        same_length(&[("opened_at", rows), ("closed_at", closed_at.len())])?;
    }
    let table = py.detach(|| {
        let closed_unit = closed_at.as_ref().map_or(opened_at.unit(), TimeColumn::unit);
        let answers = (0..rows).map(|row| {
            let row = Session {
                opened_at: opened_at.get(row),
                seconds: seconds.get(row),
                closed_at: closed_at.as_ref().and_then(|column| column.get(row)),
            };
            let (state, remaining) = session(row, opened_at.unit(), closed_unit, now);
            (state as i8, remaining)
        });
        let (mut states, mut remaining) = (Vec::new(), Vec::new());
        states.try_reserve_exact(rows)?;
        remaining.try_reserve_exact(rows)?;
        for (state, seconds) in answers {
            states.push(state);
            remaining.push(seconds);
        }
        Ok(OutTable::new(rows, vec![("state", Out::int8(states)), ("remaining", Out::int32(remaining))]))
    });
    let table = table.map_err(|stop: Stop| stopped(stop))?;
    Ok(SessionResults::new(table))
}

/// Whether `not_before - skew <= now < not_after + skew`, a bool column; null where an input is null.
#[pyfunction]
#[pyo3(signature = (not_before, not_after, *, now, skew=0))]
pub fn check_windows(
    py: Python<'_>,
    not_before: &Bound<'_, PyAny>,
    not_after: &Bound<'_, PyAny>,
    now: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = skew_given)] skew: i64,
) -> PyResult<Column> {
    let now = Now::read(now)?.nanos;
    let skew = self::skew(skew, i64::MAX as u64)?;
    let before = TimeColumn::lent(py, &AnyColumn::new(not_before, "not_before")?)?;
    let after = TimeColumn::lent(py, &AnyColumn::new(not_after, "not_after")?)?;
    let rows = same_length(&[("not_before", before.len()), ("not_after", after.len())])?;
    let bounds = Bounds::new(now, skew, before.unit(), after.unit());
    let answer = || -> Result<Out, Stop> {
        let mut bits = itron_core::parallel::columns::zeros(rows.div_ceil(8))?;
        if let (Some(before), Some(after)) = (before.as_i64_slice(), after.as_i64_slice()) {
            bounds.contains_all(before, after, &mut bits);
            return Ok(Out::bits(bits, rows));
        }
        windows_in_blocks(&bounds, [before.ticks(), after.ticks()], &mut bits);
        let column = Out::bits(bits, rows);
        if before.ticks().has_nulls() || after.ticks().has_nulls() {
            column.with_validity(|row| before.get(row).is_some() && after.get(row).is_some())
        } else {
            Ok(column)
        }
    };
    // A writable buffer is read where it lies, in milliseconds, so nobody may write to it meanwhile.
    let column = if before.is_lent() || after.is_lent() { answer() } else { py.detach(answer) };
    column.map(Column::new).map_err(stopped)
}

/// Rows that are copied out at a time: they stay in the nearest cache.
const BLOCK: usize = 1_024;

/// Answers columns that do not lie in one piece, or are narrower than 64 bits.
fn windows_in_blocks(bounds: &Bounds, columns: [&IntColumn; 2], bits: &mut [u8]) {
    let rows = columns[0].len();
    let mut values = [[0; BLOCK]; 2];
    for (block, bits) in bits.chunks_mut(BLOCK / 8).enumerate() {
        let first = block * BLOCK;
        let len = BLOCK.min(rows - first);
        for (column, values) in columns.iter().zip(&mut values) {
            column.copy_values(first, &mut values[..len]);
        }
        bounds.contains_all(&values[0][..len], &values[1][..len], bits);
    }
}
