//! `process_route`: every row of a route verified and decided in one call.

use crate::arguments::{revocations, threads};
use crate::arrow::{
    AnyColumn, BoolColumn, InputError, IntColumn, LONGEST_MAPPED, Out, OutTable, StringColumn, Table, TextOrInt,
    TimeColumn, TokenColumn, result_class, room,
};
use crate::bulk;
use crate::enums::{self, ACTION, DEVICE_CLASS, Enumeration, MODE, SECURITY_LEVEL};
use crate::errors::{input, stopped};
use crate::given;
use crate::keyring::Keyring;
use crate::time::Now;
use itron_core::code::{Check, Code};
use itron_core::format::{device, token_type::TokenType};
use itron_core::names;
use itron_core::route::{self, Choice, MATERIALS, RouteCall, Row};
use itron_core::scratch::{Place, Scratch};
use itron_core::token::verify::Call;
use itron_core::token::window::Unit;
use itron_core::work::Stop;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyTuple};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A table of needs, as Python's policy says it.
#[pyclass(module = "itron_core._rust", frozen)]
pub struct Policy {
    policy: Arc<route::Policy>,
    /// Needs, openers, counted.
    columns: [Vec<u32>; 3],
    never_reasons: Vec<i16>,
}

#[pymethods]
impl Policy {
    #[new]
    #[pyo3(signature = (needs, never_reasons, openers, counted, actions, command_limit, authorization_limit))]
    #[allow(clippy::too_many_arguments, reason = "the columns of the table, and the limits")]
    fn new(
        needs: Vec<u32>,
        never_reasons: Vec<i16>,
        openers: Vec<u32>,
        counted: Vec<u32>,
        actions: Vec<(u8, i64)>,
        command_limit: i64,
        authorization_limit: i64,
    ) -> PyResult<Self> {
        let limits = [command_limit, authorization_limit];
        let columns = [needs, openers, counted];
        let policy = route::Policy::new(columns.clone(), never_reasons.clone(), &actions, limits)
            .map_err(|error| input(format!("policy: {error}")))?;
        Ok(Self { policy: Arc::new(policy), columns, never_reasons })
    }

    /// The table: `device_class`, mode, `security_level`, action (names); needs int32, reason int16, opener, counted int32.
    fn table(&self) -> PyResult<PolicyTable> {
        let mut names: [Vec<&str>; 4] = Default::default();
        for (_, class) in DEVICE_CLASS.members {
            for (_, mode) in MODE.members {
                for (_, level) in SECURITY_LEVEL.members {
                    for (_, action) in ACTION.members {
                        for (column, name) in names.iter_mut().zip([class, mode, level, action]) {
                            column.push(name);
                        }
                    }
                }
            }
        }
        let text = |names: &[&str]| Out::text(names.iter().map(|&name| Some(name))).map_err(stopped);
        let [class, mode, level, action] = &names;
        let [needs, opener, counted] =
            self.columns.each_ref().map(|column| Out::int32(column.iter().map(|&needs| needs as i32).collect()));
        Ok(PolicyTable::new(OutTable::new(
            self.never_reasons.len(),
            vec![
                ("device_class", text(class)?),
                ("mode", text(mode)?),
                ("security_level", text(level)?),
                ("action", text(action)?),
                ("needs", needs),
                ("reason", Out::int16(self.never_reasons.clone())),
                ("opener", opener),
                ("counted", counted),
            ],
        )))
    }
}

result_class!(
    /// The whole policy: `device_class`, mode, `security_level`, action (names); needs, reason, opener, counted.
    PolicyTable
);

/// The columns that a route may have.
const NAMES: [&str; 19] = [
    "device",
    "device_class",
    "security_level",
    "action",
    "mode",
    "authorization",
    "secure_command",
    "reading_key",
    "session_opened_at",
    "session_seconds",
    "commands_used",
    "authorizations_used",
    "secure_command_used",
    "authorization_used",
    "on_menu",
    "level_verified",
    "key_exchange",
    "permissions",
    "epoch",
];

/// The names of a table that are not a route's. One that is nearly a route's raises: passed over in silence, a misspelt optional
/// column would turn refusals into permissions.
fn ignored(table: &Table) -> PyResult<Vec<String>> {
    let foreign = |name: &&str| !NAMES.contains(name);
    let checked = |name: &str| match names::near(name, &NAMES) {
        Some(ours) => {
            Err(input(format!("route: got the column {name:?}, which is nearly {ours:?}; rename it, or leave it out")))
        }
        None => Ok(name.to_owned()),
    };
    table.names().filter(foreign).map(checked).collect()
}

/// A column of an enumeration: each row's member, and the names or numbers that came.
struct Members {
    column: &'static str,
    choices: Vec<Choice>,
    given: TextOrInt,
}

impl Members {
    fn read(py: Python<'_>, column: &AnyColumn, name: &'static str, enumeration: Enumeration) -> PyResult<Self> {
        let given = TextOrInt::new(py, column)?;
        Ok(Self { column: name, choices: choices(&given, enumeration)?, given })
    }

    /// What came in a row, for a message.
    fn given(&self, row: usize) -> String {
        match &self.given {
            TextOrInt::Text(names) => quoted(names.get(row, SHOWN).as_deref()),
            TextOrInt::Int(numbers) => numbers.get(row).map_or_else(|| "null".to_owned(), |number| number.to_string()),
        }
    }
}

/// Bytes that a message reads of a text, one more than it shows.
const SHOWN: usize = 81;

/// Text as a message shows it: cut where it is long.
fn quoted(text: Option<&[u8]>) -> String {
    let Some(text) = text else { return "null".to_owned() };
    let text = String::from_utf8_lossy(text);
    let shown: String = text.chars().take(SHOWN - 1).collect();
    let rest = if shown.len() < text.len() { "..." } else { "" };
    format!("{shown:?}{rest}")
}

/// The columns of a route.
pub struct Columns {
    rows: usize,
    ignored: Vec<String>,
    device: StringColumn,
    class: Members,
    level: Members,
    action: Members,
    mode: Option<Members>,
    materials: [Option<TokenColumn>; 3],
    session_opened_at: Option<TimeColumn>,
    session_seconds: Option<IntColumn>,
    commands_used: Option<IntColumn>,
    authorizations_used: Option<IntColumn>,
    secure_command_used: Option<BoolColumn>,
    authorization_used: Option<BoolColumn>,
    on_menu: Option<BoolColumn>,
    level_verified: Option<BoolColumn>,
    key_exchange: Option<BoolColumn>,
    permissions: Option<IntColumn>,
    epoch: Option<IntColumn>,
    call_permissions: i64,
}

impl Columns {
    /// A number beyond 63 bits is read as the least there is, which makes its row unreadable, grants it nothing, or is no
    /// session's length.
    fn read(route: &Bound<'_, PyAny>, call_permissions: i64) -> PyResult<Self> {
        let py = route.py();
        let table = Table::new(route, "route")?;
        let ignored = ignored(&table)?;
        let members = |name, enumeration| Members::read(py, table.required(name)?, name, enumeration);
        let tokens = |name: &str| table.column(name).map(|column| TokenColumn::new(py, column)).transpose();
        let ints = |name: &str| table.column(name).map(|column| IntColumn::with_outside(py, column)).transpose();
        let bools = |name: &str| table.column(name).map(|column| BoolColumn::new(py, column)).transpose();
        let [authorization, secure_command, reading_key] = MATERIALS.map(TokenType::name);
        Ok(Self {
            rows: table.rows(),
            ignored,
            device: StringColumn::new(py, table.required("device")?)?,
            class: members("device_class", DEVICE_CLASS)?,
            level: members("security_level", SECURITY_LEVEL)?,
            action: members("action", ACTION)?,
            mode: table.column("mode").map(|column| Members::read(py, column, "mode", MODE)).transpose()?,
            materials: [tokens(authorization)?, tokens(secure_command)?, tokens(reading_key)?],
            session_opened_at: table
                .column("session_opened_at")
                .map(|column| TimeColumn::new(py, column))
                .transpose()?,
            session_seconds: ints("session_seconds")?,
            commands_used: ints("commands_used")?,
            authorizations_used: ints("authorizations_used")?,
            secure_command_used: bools("secure_command_used")?,
            authorization_used: bools("authorization_used")?,
            on_menu: bools("on_menu")?,
            level_verified: bools("level_verified")?,
            key_exchange: bools("key_exchange")?,
            permissions: ints("permissions")?,
            epoch: ints("epoch")?,
            call_permissions,
        })
    }
}

fn choices(column: &TextOrInt, enumeration: Enumeration) -> Result<Vec<Choice>, InputError> {
    let member = |number: Option<u8>| number.map_or(Choice::Unknown, Choice::Member);
    match column {
        TextOrInt::Text(names) => {
            names.map_values(LONGEST_MAPPED, Choice::Null, |name| member(enums::member(enumeration, name)))
        }
        TextOrInt::Int(numbers) => {
            let choice = |number: i64| member(enums::numbered(enumeration, number));
            let mut choices = room(numbers.len())?;
            choices.extend(numbers.iter().map(|number| number.map_or(Choice::Null, choice)));
            Ok(choices)
        }
    }
}

fn int(column: Option<&IntColumn>, index: usize) -> Option<i64> {
    column.and_then(|column| column.get(index))
}

/// A row's own permissions: a number below zero is no bit set, though it has every bit, and grants nothing.
fn granted(column: Option<&IntColumn>, index: usize) -> Option<i64> {
    int(column, index).map(|bits| bits.max(0))
}

fn flag(column: Option<&BoolColumn>, index: usize, absent: bool) -> bool {
    column.and_then(|column| column.get(index)).unwrap_or(absent)
}

impl route::Route for Columns {
    fn rows(&self) -> usize {
        self.rows
    }

    fn row(&self, index: usize, scratch: &mut Scratch) -> Result<Row, Stop> {
        Ok(Row {
            // A longer one is no device's, whatever follows.
            device: self.device.fetch(index, device::LONGEST + 1, scratch)?,
            class: self.class.choices[index],
            mode: self.mode.as_ref().map_or(Choice::Null, |mode| mode.choices[index]),
            level: self.level.choices[index],
            action: self.action.choices[index],
            session_opened_at: self.session_opened_at.as_ref().and_then(|column| column.get(index)),
            session_seconds: int(self.session_seconds.as_ref(), index),
            commands_used: int(self.commands_used.as_ref(), index).unwrap_or(0),
            authorizations_used: int(self.authorizations_used.as_ref(), index).unwrap_or(0),
            secure_command_used: flag(self.secure_command_used.as_ref(), index, false),
            authorization_used: flag(self.authorization_used.as_ref(), index, false),
            on_menu: flag(self.on_menu.as_ref(), index, true),
            level_verified: flag(self.level_verified.as_ref(), index, true),
            key_exchange: flag(self.key_exchange.as_ref(), index, false),
            permissions: granted(self.permissions.as_ref(), index).unwrap_or(self.call_permissions),
            epoch: int(self.epoch.as_ref(), index),
        })
    }

    fn token(&self, material: usize, index: usize, scratch: &mut Scratch) -> Result<Check<Place>, Stop> {
        let most = MATERIALS[material].size_limits().0;
        let column = self.materials[material].as_ref();
        column.map_or(Ok(Err(Code::NoToken)), |column| column.fetch(index, most, scratch))
    }

    fn has(&self, material: usize) -> bool {
        self.materials[material].is_some()
    }
}

/// Decides every row of a route.
#[pyfunction]
#[pyo3(signature = (route, keyring, *, now, permissions, policy, revocations, threads))]
#[allow(clippy::too_many_arguments, reason = "the call of the public interface")]
pub fn process_route(
    py: Python<'_>,
    route: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = given::keyring)] keyring: &Bound<'_, Keyring>,
    now: &Bound<'_, PyAny>,
    permissions: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = given::policy)] policy: &Bound<'_, Policy>,
    revocations: Option<&Bound<'_, PyAny>>,
    threads: Option<&Bound<'_, PyAny>>,
) -> PyResult<RouteColumns> {
    let now = Now::read(now)?;
    let threads = self::threads(threads)?;
    let snapshot = self::revocations(revocations)?;
    let wanted = || input(format!("permissions: got {permissions}, wanted a bit set of Permission"));
    let permissions = crate::time::int(permissions).filter(|&bits| bits >= 0).ok_or_else(wanted)?;
    let columns = Columns::read(route, permissions)?;
    let (keys, policy) = (&keyring.get().keys, &policy.get().policy);
    let call = RouteCall {
        call: Call { revocations: snapshot.as_deref(), ..Call::new(TokenType::Authorization, now.seconds) },
        now: now.nanos,
        session_unit: columns.session_opened_at.as_ref().map_or(Unit::Second, TimeColumn::unit),
        policy,
    };
    let (columns, table) = bulk::run(py, threads, |workers| {
        let answers = route::process(&columns, keys, &call, workers)?;
        let table = table(&columns, answers)?;
        Ok((columns, table))
    })?;
    let answered = Answered { columns, policy: Arc::clone(policy) };
    Ok(RouteColumns::new(table, Arc::new(answered)))
}

/// A route that was decided: its columns, and the policy that it was decided by.
pub struct Answered {
    columns: Columns,
    policy: Arc<route::Policy>,
}

result_class!(
    /// What to ask for: row int64; device, `token_type`, action (names).
    CommandRequests
);

impl Columns {
    /// What makes a row unreadable: the column, and the value that came.
    fn fault(&self, row: usize) -> String {
        let device = self.device.get(row, SHOWN);
        if device.as_deref().and_then(device::parse).is_none() {
            return format!("device: {}", quoted(device.as_deref()));
        }
        let readable = |members: &&Members, null_is: bool| match members.choices[row] {
            Choice::Member(_) => true,
            Choice::Null => null_is,
            Choice::Unknown => false,
        };
        let required = [&self.class, &self.level, &self.action].into_iter().find(|members| !readable(members, false));
        let mode = self.mode.iter().find(|members| !readable(members, true));
        if let Some(members) = required.or(mode) {
            return format!("{}: {}", members.column, members.given(row));
        }
        let numbers = [
            ("commands_used", &self.commands_used),
            ("authorizations_used", &self.authorizations_used),
            ("epoch", &self.epoch),
        ];
        let negative = |(name, column): (&str, &Option<IntColumn>)| {
            int(column.as_ref(), row).filter(|&number| number < 0).map(|number| match number {
                // What does not fit 63 bits is read as the least there is.
                i64::MIN => format!("{name}: a number that is negative or beyond 63 bits"),
                _ => format!("{name}: {number}"),
            })
        };
        numbers.into_iter().find_map(negative).unwrap_or_default()
    }

    /// A row's device, as it came.
    fn device(&self, row: usize) -> Option<String> {
        self.device.get(row, SHOWN).map(|device| String::from_utf8_lossy(&device).into_owned())
    }

    /// class, mode, level and action of a readable row.
    fn situation(&self, row: usize) -> Option<[u8; 4]> {
        let member = |choice: Choice| if let Choice::Member(member) = choice { Some(member) } else { None };
        let mode = self.mode.as_ref().map_or(Choice::Null, |mode| mode.choices[row]);
        let mode = if mode == Choice::Null { Some(route::Policy::MODE_UNKNOWN) } else { member(mode) };
        let [class, level, action] = [&self.class, &self.level, &self.action].map(|each| member(each.choices[row]));
        Some([class?, mode?, level?, action?])
    }
}

fn table(columns: &Columns, answers: route::RouteColumns) -> Result<OutTable, Stop> {
    let rows = columns.rows;
    let unreadable = answers.reason.iter().enumerate().filter(|&(_, &reason)| reason == route::Policy::ROW_UNREADABLE);
    let faults: Vec<_> = unreadable.map(|(row, _)| (row, columns.fault(row))).collect();
    Ok(OutTable::new(
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
    ))
}

result_class!(
    /// The decisions of a route, and the columns that they answer.
    RouteColumns(route: Arc<Answered>) {
        /// The same columns, for a subclass.
        #[new]
        #[pyo3(signature = (columns, *_rest))]
        fn of(#[pyo3(from_py_with = given::columns)] columns: &Bound<'_, Self>, _rest: &Bound<'_, PyTuple>) -> Self {
            Self::new(columns.get().table.clone(), Arc::clone(&columns.get().route))
        }

        /// The names of the route's columns that are not a route's: nothing was read of them.
        #[getter]
        fn ignored_columns(&self) -> Vec<String> {
            self.route.columns.ignored.clone()
        }

        /// Return what to ask for, one row per missing piece of material: row int64; device, `token_type`, action (names).
        ///
        /// A secure command for a session is asked for `open_session`, an authorization for the row's action. A row that is not
        /// permitted or can never be allowed asks for nothing.
        fn requests(&self) -> PyResult<CommandRequests> {
            let Answered { columns, policy } = &*self.route;
            let (mut rows, mut devices) = (Vec::new(), Vec::new());
            let [mut token_types, mut actions] = [Vec::new(), Vec::new()];
            for (row, missing) in self.integers("missing").enumerate().filter(|&(_, missing)| missing != 0) {
                let Some(situation) = columns.situation(row) else { continue };
                for (material, action) in MATERIALS.iter().zip(policy.requests(situation, missing as u32)) {
                    let Some(action) = action else { continue };
                    rows.push(row as i64);
                    devices.push(columns.device(row));
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
            let levels = self.integers("reason").zip(&self.route.columns.level.choices);
            let levels = levels.map(|(reason, level)| match level {
                Choice::Member(level) if reason != i64::from(route::Policy::ROW_UNREADABLE) => i64::from(*level),
                _ => LEVEL_UNKNOWN,
            });
            count(levels).into_iter().map(|(level, rows)| (SECURITY_LEVEL.name(level), rows)).into_py_dict(py)
        }

        /// One row and its answer, by the fields of `itron_core.explain.Row`.
        fn _row<'py>(&self, py: Python<'py>, #[pyo3(from_py_with = given::row)] row: isize) -> PyResult<Bound<'py, PyDict>> {
            let place = crate::arrow::results::place(&self.table, row)?;
            let columns = &self.route.columns;
            let parts = crate::arrow::results::cells(py, &self.table, place)?;
            parts.set_item("device", columns.device(place))?;
            let readable = parts.get_item("unreadable")?.is_some_and(|fault| fault.is_none());
            let situation = columns.situation(place).filter(|_| readable);
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
