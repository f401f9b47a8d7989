//! The columns of a route, read where they lie.

use crate::arguments::enums::{self, ACTION, DEVICE_CLASS, Enumeration, MODE, SECURITY_LEVEL};
use crate::columns::error::InputError;
use crate::columns::input::{
    AnyColumn, BoolColumn, IntColumn, LONGEST_MAPPED, StringColumn, Table, TextOrInt, TimeColumn, TokenColumn, room,
};
use crate::errors::input;
use itron_core::code::{Check, Code};
use itron_core::format::{device, token_type::TokenType};
use itron_core::names;
use itron_core::parallel::scratch::{Place, Scratch};
use itron_core::parallel::stop::Stop;
use itron_core::route::{self, Choice, MATERIALS, Row};
use pyo3::prelude::*;

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
pub struct Members {
    column: &'static str,
    pub choices: Vec<Choice>,
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
    if text.len() < SHOWN {
        return format!("{:?}", String::from_utf8_lossy(text));
    }
    let cut = &text[..SHOWN - 1];
    // The last character may be cut, too: then it is left out.
    let whole =
        str::from_utf8(cut).map_or_else(|error| error.error_len().map_or(error.valid_up_to(), |_| cut.len()), str::len);
    format!("{:?}...", String::from_utf8_lossy(&cut[..whole]))
}

/// The columns of a route.
pub struct Columns {
    pub rows: usize,
    pub ignored: Vec<String>,
    device: StringColumn,
    pub class: Members,
    pub level: Members,
    pub action: Members,
    pub mode: Option<Members>,
    materials: [Option<TokenColumn>; 3],
    pub session_opened_at: Option<TimeColumn>,
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
    pub fn read(route: &Bound<'_, PyAny>, call_permissions: i64) -> PyResult<Self> {
        let py = route.py();
        let table = Table::new(route, "route", |name| NAMES.contains(&name))?;
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

impl route::Route for Columns {
    fn rows(&self) -> usize {
        self.rows
    }

    fn fetch(&self, start: usize, rows: &mut [Row], scratch: &mut Scratch) -> Result<(), Stop> {
        fn choices(members: &Members, start: usize) -> impl Iterator<Item = Choice> {
            members.choices[start..].iter().copied()
        }
        let named = choices(&self.class, start).zip(choices(&self.level, start)).zip(choices(&self.action, start));
        for ((index, row), ((class, level), action)) in (start..).zip(rows.iter_mut()).zip(named) {
            // A longer one is no device's, whatever follows.
            row.device = self.device.fetch(index, device::LONGEST + 1, scratch)?;
            (row.class, row.level, row.action) = (class, level, action);
            row.permissions = self.call_permissions;
        }
        if let Some(mode) = &self.mode {
            rows.iter_mut().zip(choices(mode, start)).for_each(|(row, mode)| row.mode = mode);
        }
        let ints = |column: &Option<IntColumn>, rows: &mut [Row], set: fn(&mut Row, i64)| {
            if let Some(column) = column {
                column.zip(start, rows, |row, value| value.into_iter().for_each(|value| set(row, value)));
            }
        };
        let flags = |column: &Option<BoolColumn>, rows: &mut [Row], set: fn(&mut Row, bool)| {
            if let Some(column) = column {
                column.zip(start, rows, |row, flag| flag.into_iter().for_each(|flag| set(row, flag)));
            }
        };
        if let Some(column) = &self.session_opened_at {
            column.ticks().zip(start, rows, |row, ticks| row.session_opened_at = ticks);
        }
        ints(&self.session_seconds, rows, |row, value| row.session_seconds = Some(value));
        ints(&self.commands_used, rows, |row, value| row.commands_used = value);
        ints(&self.authorizations_used, rows, |row, value| row.authorizations_used = value);
        flags(&self.secure_command_used, rows, |row, flag| row.secure_command_used = flag);
        flags(&self.authorization_used, rows, |row, flag| row.authorization_used = flag);
        flags(&self.on_menu, rows, |row, flag| row.on_menu = flag);
        flags(&self.level_verified, rows, |row, flag| row.level_verified = flag);
        flags(&self.key_exchange, rows, |row, flag| row.key_exchange = flag);
        // The row's own permissions, as bits. A negative number has every bit set, but is a mistake: it grants nothing.
        ints(&self.permissions, rows, |row, value| row.permissions = value.max(0));
        ints(&self.epoch, rows, |row, value| row.epoch = Some(value));
        Ok(())
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

impl Columns {
    /// What makes a row unreadable: the column, and the value that came.
    pub fn fault(&self, row: usize) -> String {
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
}
