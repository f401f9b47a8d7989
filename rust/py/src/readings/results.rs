//! What `open_readings` returns: the readings, and what became of each device's telegrams.

use crate::arguments::{self, object_reader};
use crate::columns::output::results::Vocabulary;
use crate::columns::output::{Column, Out, OutTable, result_class, state, there};
use crate::errors::{input, stopped};
use itron_core::parallel::columns::Bits;
use itron_core::parallel::stop::Stop;
use itron_core::reading::Profile;
use itron_core::reading::code::{Protection, ReadingCode};
use itron_core::reading::device::{DeviceId, append_name};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// The columns of the results in their order.
pub const COLUMNS: &[&str] = &["code", "assurance", "protection", "device", "counter", "payload"];

/// What the results keep of their call, beside the columns.
pub struct Devices {
    pub(super) profile: Profile,
    pub(super) minimum_assurance: u16,
    pub(super) ids: Vec<DeviceId>,
    pub(super) known: Bits,
}

impl Devices {
    fn of(&self, row: usize) -> Option<DeviceId> {
        self.known.get(row).then(|| self.ids[row])
    }

    fn state(&self, rows: Range<usize>) -> DevicesState {
        let ids = rows.map(|row| self.of(row).map(u64::from_be_bytes)).collect();
        (self.profile.name().to_owned(), self.minimum_assurance, ids)
    }

    /// `None` for what [`Devices::state`] does not write.
    fn restored(rows: usize, (profile, minimum_assurance, ids): DevicesState) -> Option<Self> {
        (ids.len() == rows).then_some(())?;
        let known = Bits::of(ids.iter().map(Option::is_some));
        let ids = ids.into_iter().map(|id| id.unwrap_or_default().to_be_bytes()).collect();
        Some(Self { profile: Profile::from_name(&profile)?, minimum_assurance, ids, known })
    }

    fn name(&self, device: DeviceId) -> String {
        let mut name = Vec::new();
        append_name(self.profile, &device, &mut name);
        String::from_utf8_lossy(&name).into_owned()
    }
}

/// What results keep beside their columns, as plain values: the profile, the assurance that was asked, each row's device.
type DevicesState = (String, u16, Vec<Option<u64>>);

result_class!(
    /// One row per device, in the order in which they were met.
    ReadingDevices
);

/// What became of one device's telegrams.
#[derive(Clone, Copy, Default)]
struct Tally {
    rows: i64,
    opened: i64,
    check_failed: i64,
    not_protected: i64,
    no_key: i64,
}

impl Tally {
    fn verdict(self) -> &'static str {
        match self {
            _ if self.check_failed > 0 && self.check_failed == self.rows => "wrong_key",
            _ if self.check_failed > 0 => "corrupt",
            _ if self.not_protected > 0 => "plain",
            _ if self.no_key > 0 => "no_key",
            _ if self.opened == self.rows => "ok",
            _ => "refused",
        }
    }
}

/// The words of readings.
fn reading_words(column: &str) -> Option<Vocabulary> {
    match column {
        "code" => Some(Vocabulary::One(code_name)),
        "protection" => Some(Vocabulary::One(protection_name)),
        _ => None,
    }
}

fn code_name(number: i64) -> Option<&'static str> {
    ReadingCode::ALL.iter().find(|&&code| code as i64 == number).map(|code| code.name())
}

fn protection_name(number: i64) -> Option<&'static str> {
    Protection::ALL.iter().find(|&&protection| protection as i64 == number).map(|protection| protection.name())
}

result_class!(
    /// The opened readings, and the devices that they name.
    ReadingColumns(devices: Arc<Devices>) by reading_words {
        /// The same columns, for a subclass.
        #[new]
        #[pyo3(signature = (columns, *_rest))]
        fn of(#[pyo3(from_py_with = readings)] columns: &Bound<'_, Self>, _rest: &Bound<'_, PyTuple>) -> Self {
            Self::new(columns.get().table.clone(), Arc::clone(&columns.get().devices))
        }

        /// The columns, and what is kept beside them, as plain values.
        fn _state<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, DevicesState)> {
            let (first, rows) = (self.table.first(), self.table.rows());
            Ok((state::of_table(py, &self.table)?, self.devices.state(first..first + rows)))
        }

        /// The results of a state.
        #[staticmethod]
        fn _restore(table: &Bound<'_, PyAny>, devices: DevicesState) -> PyResult<Self> {
            let table = state::table(table)?;
            let wrong = || input("state: got other values than results are pickled as, expected those of this version");
            let devices = Devices::restored(table.rows(), devices).ok_or_else(wrong)?;
            Ok(Self::new(table, Arc::new(devices)))
        }

        /// How many rows have each number of code, protection and assurance.
        fn _counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
            let counts = PyDict::new(py);
            for name in ["code", "protection", "assurance"] {
                self.there(name)?;
                let mut of_column: BTreeMap<Option<i64>, usize> = BTreeMap::new();
                for number in self.integers(name) {
                    *of_column.entry(number).or_default() += 1;
                }
                counts.set_item(name, of_column)?;
            }
            Ok(counts)
        }

        /// What became of each device's telegrams.
        fn devices(&self, py: Python<'_>) -> PyResult<ReadingDevices> {
            self.there("code")?;
            py.detach(|| self.by_device()).map(ReadingDevices::new).map_err(stopped)
        }

        /// The devices without a key, and how many telegrams each has.
        fn missing_keys(&self, py: Python<'_>) -> PyResult<ReadingDevices> {
            self.there("code")?;
            py.detach(|| {
                let (order, tallies) = self.tallies();
                let rows = order.iter().map(|device| (device, tallies[device].no_key)).filter(|&(_, rows)| rows > 0);
                let (devices, rows): (Vec<_>, Vec<_>) = rows.unzip();
                let names: Vec<_> = devices.into_iter().map(|&device| self.devices.name(device)).collect();
                let names = Out::text(names.iter().map(|name| Some(&**name))).map_err(stopped)?;
                let columns = vec![("device", names), ("rows", Out::int64(rows))];
                Ok(ReadingDevices::new(OutTable::new(columns[0].1.rows(), columns)))
            })
        }

        /// The highest counter of each device whose telegrams were opened.
        fn _last_counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
            self.there("code")?;
            self.there("counter")?;
            let (order, last) = py.detach(|| {
                let (mut order, mut last) = (Vec::new(), HashMap::new());
                for (row, code, counter) in self.counted() {
                    let (Some(device), Some(counter), true) = (self.device(row), counter, code == OK) else { continue };
                    last.entry(device).and_modify(|last: &mut i64| *last = counter.max(*last)).or_insert_with(|| {
                        order.push(device);
                        counter
                    });
                }
                (order, last)
            });
            let counters = PyDict::new(py);
            for device in order {
                counters.set_item(self.devices.name(device), last[&device])?;
            }
            Ok(counters)
        }

        /// Whether each opened row's counter is above those of its device before it; null where it has none.
        fn _rising(&self, py: Python<'_>) -> PyResult<Column> {
            self.there("code")?;
            self.there("counter")?;
            let rising = py.detach(|| {
                let rows = self.table.rows();
                let (mut known, mut rising) = (vec![false; rows], vec![0_u8; rows.div_ceil(8)]);
                let mut last: HashMap<DeviceId, i64> = HashMap::new();
                for (row, code, counter) in self.counted() {
                    let (Some(device), Some(counter), true) = (self.device(row), counter, code == OK) else { continue };
                    known[row] = true;
                    let last = last.entry(device).or_insert(i64::MIN);
                    rising[row / 8] |= u8::from(counter > *last) << (row % 8);
                    *last = counter.max(*last);
                }
                Out::bits(rising, rows).with_validity(|row| known[row])
            });
            rising.map(|rising| Column::named("rising", rising)).map_err(stopped)
        }

        /// One row: code, assurance, protection, device, counter, bytes of its payload, and the assurance that was asked.
        fn _row<'py>(&self, py: Python<'py>, #[pyo3(from_py_with = arguments::row)] row: isize) -> PyResult<Bound<'py, PyTuple>> {
            let rows = self.table.rows();
            let place = if row < 0 { row.checked_add_unsigned(rows) } else { Some(row) };
            let place = place.and_then(|place| usize::try_from(place).ok()).filter(|&place| place < rows);
            let place = place.ok_or_else(|| PyIndexError::new_err(format!("row {row} of {rows}")))?;
            let mut parts = Vec::new();
            for name in COLUMNS {
                self.there(name)?;
            }
            for (name, column) in self.table.columns() {
                let cell = column.cell(py, place)?;
                parts.push(if name == "payload" && !cell.is_none() { cell.len()?.into_pyobject(py)?.into_any() } else { cell });
            }
            parts.push(self.devices.minimum_assurance.into_pyobject(py)?.into_any());
            PyTuple::new(py, parts)
        }
    }
);

object_reader!(readings: ReadingColumns);

const OK: Option<i64> = Some(ReadingCode::Ok as i64);

impl ReadingColumns {
    fn there(&self, name: &str) -> PyResult<&Out> {
        there(&self.table, name)
    }

    fn device(&self, row: usize) -> Option<DeviceId> {
        self.devices.of(self.table.first() + row)
    }

    /// The values of an integer column.
    fn integers(&self, name: &str) -> impl Iterator<Item = Option<i64>> {
        let column = self.table.column(name);
        (0..self.table.rows()).map(move |row| column.and_then(|column| column.integer(row)))
    }

    /// Each row's number, code and counter.
    fn counted(&self) -> impl Iterator<Item = (usize, Option<i64>, Option<i64>)> {
        self.integers("code")
            .zip(self.integers("counter"))
            .enumerate()
            .map(|(row, (code, counter))| (row, code, counter))
    }

    /// The devices in the order in which they were met, and what became of their telegrams.
    fn tallies(&self) -> (Vec<DeviceId>, HashMap<DeviceId, Tally>) {
        let (mut order, mut tallies) = (Vec::new(), HashMap::new());
        for (row, code) in self.integers("code").enumerate() {
            let Some(device) = self.device(row) else { continue };
            let tally: &mut Tally = tallies.entry(device).or_insert_with(|| {
                order.push(device);
                Tally::default()
            });
            tally.rows += 1;
            let is = |wanted: ReadingCode| i64::from(code == Some(wanted as i64));
            tally.opened += is(ReadingCode::Ok);
            tally.check_failed += is(ReadingCode::CheckFailed);
            tally.not_protected += is(ReadingCode::NotProtected);
            tally.no_key += is(ReadingCode::NoKey);
        }
        (order, tallies)
    }

    fn by_device(&self) -> Result<OutTable, Stop> {
        let (order, tallies) = self.tallies();
        let names: Vec<_> = order.iter().map(|&device| self.devices.name(device)).collect();
        let count = |of: fn(&Tally) -> i64| Out::int64(order.iter().map(|device| of(&tallies[device])).collect());
        Ok(OutTable::new(
            order.len(),
            vec![
                ("device", Out::text(names.iter().map(|name| Some(&**name)))?),
                ("rows", count(|tally| tally.rows)),
                ("opened", count(|tally| tally.opened)),
                ("check_failed", count(|tally| tally.check_failed)),
                ("not_protected", count(|tally| tally.not_protected)),
                ("no_key", count(|tally| tally.no_key)),
                ("verdict", Out::text(order.iter().map(|device| Some(tallies[device].verdict())))?),
            ],
        ))
    }
}

/// Numbers and their names.
type Names = Vec<(i16, &'static str)>;

/// The numbers and names of the codes and protections, which a test compares with Python's.
#[pyfunction]
pub fn reading_names() -> (Names, Names) {
    let codes = ReadingCode::ALL.iter().map(|&code| (code as i16, code.name())).collect();
    (codes, Protection::ALL.iter().map(|&protection| (protection as i16, protection.name())).collect())
}
