//! What `open_readings` returns: the readings, and what became of each device's telegrams.

use crate::arguments::{self, object_reader};
use crate::columns::output::results::Vocabulary;
use crate::columns::output::{Column, NamedResults, Out, OutTable, result_class};
use crate::errors::stopped;
use itron_core::parallel::columns::Bits;
use itron_core::parallel::stop::Stop;
use itron_core::reading::Profile;
use itron_core::reading::code::{Protection, ReadingCode};
use itron_core::reading::device::{DeviceId, append_name};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

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

    fn name(&self, device: DeviceId) -> String {
        let mut name = Vec::new();
        append_name(self.profile, &device, &mut name);
        String::from_utf8_lossy(&name).into_owned()
    }
}

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

/// Readings name their numbers themselves.
fn reading_words(_column: &str) -> Option<Vocabulary> {
    None
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

        /// How many rows have each number of code, protection and assurance.
        fn _counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
            let counts = PyDict::new(py);
            for name in ["code", "protection", "assurance"] {
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
            py.detach(|| self.by_device()).map(ReadingDevices::new).map_err(stopped)
        }

        /// The devices without a key, and how many telegrams each has.
        fn missing_keys(&self, py: Python<'_>) -> PyResult<ReadingDevices> {
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
            let (order, last) = py.detach(|| {
                let (mut order, mut last) = (Vec::new(), HashMap::new());
                for (row, code, counter) in self.counted() {
                    let (Some(device), Some(counter), true) = (self.devices.of(row), counter, code == OK) else { continue };
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
            let rising = py.detach(|| {
                let rows = self.table.rows();
                let (mut known, mut rising) = (vec![false; rows], vec![0_u8; rows.div_ceil(8)]);
                let mut last: HashMap<DeviceId, i64> = HashMap::new();
                for (row, code, counter) in self.counted() {
                    let (Some(device), Some(counter), true) = (self.devices.of(row), counter, code == OK) else { continue };
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
            for (name, column) in self.table.columns() {
                let cell = column.cell(py, place)?;
                parts.push(if name == "payload" && !cell.is_none() { cell.len()?.into_pyobject(py)?.into_any() } else { cell });
            }
            parts.push(self.devices.minimum_assurance.into_pyobject(py)?.into_any());
            PyTuple::new(py, parts)
        }

        /// The same columns, with codes and protections by name.
        fn _names(&self, py: Python<'_>) -> PyResult<NamedResults> {
            py.detach(|| {
                let named = |(name, column): &(String, Out)| {
                    let column = match &**name {
                        "code" => self.named(name, &codes())?,
                        "protection" => self.named(name, &protections())?,
                        _ => column.clone(),
                    };
                    Ok((name.clone(), column))
                };
                let columns = self.table.columns().iter().map(named).collect::<Result<Vec<_>, _>>().map_err(stopped)?;
                Ok(NamedResults::new(OutTable::new(self.table.rows(), columns)))
            })
        }
    }
);

object_reader!(readings: ReadingColumns);

const OK: Option<i64> = Some(ReadingCode::Ok as i64);

impl ReadingColumns {
    /// The values of an integer column.
    fn integers(&self, name: &str) -> impl Iterator<Item = Option<i64>> {
        let column = self.table.column(name);
        (0..self.table.rows()).map(move |row| column.and_then(|column| column.integer(row)))
    }

    /// An integer column by the names of its numbers.
    fn named(&self, name: &str, names: &Names) -> Result<Out, Stop> {
        let of = |number: i64| names.iter().find(|&&(known, _)| i64::from(known) == number).map(|&(_, name)| name);
        Out::text(self.integers(name).map(|number| number.and_then(of)))
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
            let Some(device) = self.devices.of(row) else { continue };
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

fn codes() -> Names {
    ReadingCode::ALL.iter().map(|&code| (code as i16, code.name())).collect()
}

fn protections() -> Names {
    Protection::ALL.iter().map(|&protection| (protection as i16, protection.name())).collect()
}

/// The numbers and names of the codes and protections, which a test compares with Python's.
#[pyfunction]
pub fn reading_names() -> (Names, Names) {
    (codes(), protections())
}
