//! The decisions of a route: their columns, what to ask for, and a row by itself.

use super::columns::Columns;
use super::policy::Policy;
use crate::arguments::enums::{ACTION, DEVICE_CLASS, Enumeration, MODE, SECURITY_LEVEL};
use crate::arguments::{self, object_reader};
use crate::columns::output::{Out, OutTable, Wanted, result_class, state, there};
use crate::errors::{input, stopped};
use itron_core::format::device;
use itron_core::parallel::columns::Bits;
use itron_core::parallel::stop::Stop;
use itron_core::route::{self, Choice, MATERIALS};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyTuple};
use std::collections::BTreeMap;
use std::mem::take;
use std::ops::Range;
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

/// What results keep beside their columns, as plain values: the ignored names; class, mode, level and action of each row; and
/// its device.
type AnsweredState = (Vec<String>, Vec<Vec<u8>>, Vec<Option<u64>>);

/// The byte for a choice that is null.
const NULL: u8 = 254;
/// The byte for a choice that the enumeration does not know.
const UNKNOWN: u8 = 255;

impl Answered {
    fn state(&self, rows: Range<usize>) -> AnsweredState {
        let byte = |choice: &Choice| match choice {
            Choice::Member(member) => *member,
            Choice::Null => NULL,
            Choice::Unknown => UNKNOWN,
        };
        let bytes = |choices: &[Choice]| choices[rows.clone()].iter().map(byte).collect::<Vec<_>>();
        let no_mode = || vec![NULL; rows.len()];
        let mode = self.mode.as_deref().map_or_else(no_mode, bytes);
        let choices = vec![bytes(&self.class), mode, bytes(&self.level), bytes(&self.action)];
        let device = |row| self.device_known.get(row).then(|| self.device[row]);
        (self.ignored.clone(), choices, rows.clone().map(device).collect())
    }

    /// `None` for what [`Answered::state`] does not write.
    fn restored(rows: usize, (ignored, choices, devices): AnsweredState, policy: Arc<route::Policy>) -> Option<Self> {
        let members = [DEVICE_CLASS, MODE, SECURITY_LEVEL, ACTION];
        let choice = |enumeration: Enumeration, byte: u8| match byte {
            NULL => Some(Choice::Null),
            UNKNOWN => Some(Choice::Unknown),
            member => enumeration.name(member.into()).map(|_| Choice::Member(member)),
        };
        let column = |(enumeration, bytes): (Enumeration, Vec<u8>)| {
            bytes.into_iter().map(|byte| choice(enumeration, byte)).collect::<Option<Vec<_>>>()
        };
        let columns: Option<Vec<_>> = members.into_iter().zip(choices).map(column).collect();
        let [class, mode, level, action] = columns?.try_into().ok()?;
        let lengths = [class.len(), mode.len(), level.len(), action.len(), devices.len()];
        lengths.iter().all(|&length| length == rows).then_some(())?;
        let device_known = Bits::of(devices.iter().map(Option::is_some));
        let device = devices.into_iter().map(Option::unwrap_or_default).collect();
        Some(Self { ignored, class, mode: Some(mode), level, action, device, device_known, policy })
    }

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

/// The columns of the results in their order.
pub const COLUMNS: &[&str] = &[
    "decision",
    "reason",
    "missing",
    "unverified",
    "unreadable",
    "session_until",
    "authorization_code",
    "secure_command_code",
    "reading_key_code",
];

/// Whether a field of the core's columns is made.
pub fn is_made(wanted: &Wanted, field: &str) -> bool {
    match field {
        // Which rows are unreadable, and what a row was decided for.
        "reason" | "device" | "device_known" => true,
        "session_open" => wanted.has("session_until"),
        "authorization_given" => wanted.has("authorization_code"),
        "secure_command_given" => wanted.has("secure_command_code"),
        "reading_key_given" => wanted.has("reading_key_code"),
        _ => wanted.has(field),
    }
}

/// The results' columns, and what they answer.
///
/// # Errors
/// [`Stop::OutOfMemory`].
pub fn answered(
    columns: Columns,
    policy: Arc<route::Policy>,
    mut answers: route::RouteColumns,
    wanted: &Wanted,
) -> Result<(OutTable, Answered), Stop> {
    let rows = columns.rows;
    let mut faults = Vec::new();
    if wanted.has("unreadable") {
        let reasons = answers.reason.iter().enumerate();
        let unreadable = reasons.filter(|&(_, &reason)| reason == route::Policy::ROW_UNREADABLE);
        faults.extend(unreadable.map(|(row, _)| (row, columns.fault(row))));
    }
    let table =
        wanted.table(rows, |name| {
            let answers = &mut answers;
            Ok(match name {
                "decision" => Out::int8(take(&mut answers.decision)),
                "reason" => Out::int16(take(&mut answers.reason)),
                "missing" => Out::int32(take(&mut answers.missing)),
                "unverified" => Out::bits(take(&mut answers.unverified).into_bytes(), rows),
                "unreadable" => Out::sparse_text(rows, &faults)?,
                "session_until" => {
                    Out::timestamp(take(&mut answers.session_until)).null_unless(take(&mut answers.session_open))
                }
                "authorization_code" => Out::int16(take(&mut answers.authorization_code))
                    .null_unless(take(&mut answers.authorization_given)),
                "secure_command_code" => Out::int16(take(&mut answers.secure_command_code))
                    .null_unless(take(&mut answers.secure_command_given)),
                "reading_key_code" => {
                    Out::int16(take(&mut answers.reading_key_code)).null_unless(take(&mut answers.reading_key_given))
                }
                other => unreachable!("no column {other}"),
            })
        })?;
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

        /// The columns, and what they answer, as plain values.
        fn _state<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, AnsweredState)> {
            let (first, rows) = (self.table.first(), self.table.rows());
            Ok((state::of_table(py, &self.table)?, self.route.state(first..first + rows)))
        }

        /// The results of a state and of the policy that decided them.
        #[staticmethod]
        fn _restore(
            table: &Bound<'_, PyAny>,
            answered: AnsweredState,
            #[pyo3(from_py_with = super::policy::policy)] policy: &Bound<'_, Policy>,
        ) -> PyResult<Self> {
            let table = state::table(table)?;
            let answered = Answered::restored(table.rows(), answered, Arc::clone(&policy.get().policy));
            let wrong = || input("state: got other values than results are pickled as, expected those of this version");
            Ok(Self::new(table, Arc::new(answered.ok_or_else(wrong)?)))
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
            let first = self.table.first();
            for (row, missing) in self.integers("missing")?.enumerate().filter(|&(_, missing)| missing != 0) {
                let Some(situation) = answered.situation(first + row) else { continue };
                for (material, action) in MATERIALS.iter().zip(answered.policy.requests(situation, missing as u32)) {
                    let Some(action) = action else { continue };
                    rows.push(row as i64);
                    devices.push(answered.device(first + row));
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
            let levels = self.integers("reason")?.zip(&self.route.level[self.table.first()..]);
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
            for name in COLUMNS {
                self.there(name)?;
            }
            let place = self.table.first() + place;
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
    fn there(&self, name: &str) -> PyResult<&Out> {
        there(&self.table, name)
    }

    /// The values of an integer column.
    fn integers(&self, name: &str) -> PyResult<impl Iterator<Item = i64>> {
        let column = self.there(name)?;
        Ok((0..self.table.rows()).filter_map(move |row| column.integer(row)))
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
