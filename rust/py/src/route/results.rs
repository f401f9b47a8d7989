//! The decisions of a route: their columns, what to ask for, and a row by itself.

use super::columns::Columns;
use crate::arguments::enums::{ACTION, SECURITY_LEVEL};
use crate::arguments::{self, object_reader};
use crate::columns::output::{Out, OutTable, result_class};
use crate::errors::stopped;
use itron_core::format::device;
use itron_core::parallel::columns::Bits;
use itron_core::parallel::stop::Stop;
use itron_core::route::{self, Choice, MATERIALS};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyTuple};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was asked about each row, as it was read when the row was decided: the caller's columns are not looked at again.
pub struct Answered {
    ignored: Vec<String>,
    class: Vec<Choice>,
    mode: Option<Vec<Choice>>,
    level: Vec<Choice>,
    action: Vec<Choice>,
    device: Vec<u64>,
    device_known: Bits,
    policy: Arc<route::Policy>,
}

impl Answered {
    /// A row's device; `None` where the row names none.
    fn device(&self, row: usize) -> Option<String> {
        self.device_known.get(row).then(|| device::audience(self.device[row]))
    }

    /// class, mode, level and action of a readable row.
    fn situation(&self, row: usize) -> Option<[u8; 4]> {
        let member = |choice: Choice| if let Choice::Member(member) = choice { Some(member) } else { None };
        let mode = self.mode.as_ref().map_or(Choice::Null, |mode| mode[row]);
        let mode = if mode == Choice::Null { Some(route::Policy::MODE_UNKNOWN) } else { member(mode) };
        let [class, level, action] = [&self.class, &self.level, &self.action].map(|each| member(each[row]));
        Some([class?, mode?, level?, action?])
    }
}

/// The results' columns, and what they answer.
///
/// # Errors
/// [`Stop::OutOfMemory`].
pub fn answered(
    columns: Columns,
    policy: Arc<route::Policy>,
    answers: route::RouteColumns,
) -> Result<(OutTable, Answered), Stop> {
    let rows = columns.rows;
    let unreadable = answers.reason.iter().enumerate().filter(|&(_, &reason)| reason == route::Policy::ROW_UNREADABLE);
    let faults: Vec<_> = unreadable.map(|(row, _)| (row, columns.fault(row))).collect();
    let table = OutTable::new(
        rows,
        vec![
            ("decision", Out::int8(answers.decision)),
            ("reason", Out::int16(answers.reason)),
            ("missing", Out::int32(answers.missing)),
            ("unverified", Out::bits(answers.unverified.into_bytes(), rows)),
            ("unreadable", Out::sparse_text(rows, &faults)?),
            ("session_until", Out::timestamp(answers.session_until).null_unless(answers.session_open)),
            ("authorization_code", Out::int16(answers.authorization_code).null_unless(answers.authorization_given)),
            ("secure_command_code", Out::int16(answers.secure_command_code).null_unless(answers.secure_command_given)),
            ("reading_key_code", Out::int16(answers.reading_key_code).null_unless(answers.reading_key_given)),
        ],
    );
    let Columns { ignored, class, mode, level, action, .. } = columns;
    let answered = Answered {
        ignored,
        class: class.choices,
        mode: mode.map(|mode| mode.choices),
        level: level.choices,
        action: action.choices,
        device: answers.device,
        device_known: answers.device_known,
        policy,
    };
    Ok((table, answered))
}

result_class!(
    /// What to ask for: row int64; device, `token_type`, action (names).
    CommandRequests
);
result_class!(
    /// The decisions of a route, and the columns that they answer.
    RouteColumns(route: Arc<Answered>) {
        /// The same columns, for a subclass.
        #[new]
        #[pyo3(signature = (columns, *_rest))]
        fn of(#[pyo3(from_py_with = columns)] columns: &Bound<'_, Self>, _rest: &Bound<'_, PyTuple>) -> Self {
            Self::new(columns.get().table.clone(), Arc::clone(&columns.get().route))
        }

        /// The names of the route's columns that are not a route's: nothing was read of them.
        #[getter]
        fn ignored_columns(&self) -> Vec<String> {
            self.route.ignored.clone()
        }

        /// Return what to ask for, one row per missing piece of material: row int64; device, `token_type`, action (names).
        ///
        /// A secure command for a session is asked for `open_session`, an authorization for the row's action. A row that is not
        /// permitted or can never be allowed asks for nothing.
        fn requests(&self) -> PyResult<CommandRequests> {
            let answered = &*self.route;
            let (mut rows, mut devices) = (Vec::new(), Vec::new());
            let [mut token_types, mut actions] = [Vec::new(), Vec::new()];
            for (row, missing) in self.integers("missing").enumerate().filter(|&(_, missing)| missing != 0) {
                let Some(situation) = answered.situation(row) else { continue };
                for (material, action) in MATERIALS.iter().zip(answered.policy.requests(situation, missing as u32)) {
                    let Some(action) = action else { continue };
                    rows.push(row as i64);
                    devices.push(answered.device(row));
                    token_types.push(Some(material.name()));
                    actions.push(ACTION.name(action.into()));
                }
            }
            let text = |column: Vec<Option<&str>>| Out::text(column).map_err(stopped);
            Ok(CommandRequests::new(OutTable::new(
                rows.len(),
                vec![
                    ("row", Out::int64(rows)),
                    ("device", text(devices.iter().map(Option::as_deref).collect())?),
                    ("token_type", text(token_types)?),
                    ("action", text(actions)?),
                ],
            )))
        }

        /// How many rows have each security level.
        fn _levels<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
            let levels = self.integers("reason").zip(&self.route.level);
            let levels = levels.map(|(reason, level)| match level {
                Choice::Member(level) if reason != i64::from(route::Policy::ROW_UNREADABLE) => i64::from(*level),
                _ => LEVEL_UNKNOWN,
            });
            count(levels).into_iter().map(|(level, rows)| (SECURITY_LEVEL.name(level), rows)).into_py_dict(py)
        }

        /// One row and its answer, by the fields of `itron_core.explain.Row`.
        fn _row<'py>(&self, py: Python<'py>, #[pyo3(from_py_with = arguments::row)] row: isize) -> PyResult<Bound<'py, PyDict>> {
            let place = crate::columns::output::results::place(&self.table, row)?;
            let answered = &*self.route;
            let parts = crate::columns::output::results::cells(py, &self.table, place)?;
            parts.set_item("device", answered.device(place))?;
            let readable = parts.get_item("unreadable")?.is_some_and(|fault| fault.is_none());
            let situation = answered.situation(place).filter(|_| readable);
            for (at, name) in ["device_class", "mode", "security_level", "action"].into_iter().enumerate() {
                parts.set_item(name, situation.map(|numbers| numbers[at]))?;
            }
            Ok(parts)
        }
    }
);

impl RouteColumns {
    /// The values of an integer column.
    fn integers(&self, name: &str) -> impl Iterator<Item = i64> {
        let column = self.table.column(name);
        (0..self.table.rows()).filter_map(move |row| column?.integer(row))
    }
}

/// The number under which the level of a row that cannot be read is counted.
const LEVEL_UNKNOWN: i64 = 3;

fn count(numbers: impl Iterator<Item = i64>) -> BTreeMap<i64, usize> {
    numbers.fold(BTreeMap::new(), |mut counts, number| {
        *counts.entry(number).or_default() += 1;
        counts
    })
}

object_reader!(columns: RouteColumns);
