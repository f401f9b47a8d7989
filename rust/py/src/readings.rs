//! `open_readings`, `protect_readings`: protected readings in bulk, and where their keys come from.

use crate::arguments::{self, key_version_given, object_reader, threads, time};
use crate::bulk;
use crate::columns::error::same_length;
use crate::columns::input::{AnyColumn, BinaryColumn, IntColumn, Kind};
use crate::columns::output::{Column, NamedResults, Out, OutTable, Valid, result_class};
use crate::errors::{input, memory, secret_stays, stopped};
use crate::keys::derived_keys::{DerivedKeys, utility};
use crate::keys::master_key::{self, MasterKey};
use itron_core::crypto::kdf::Kdf;
use itron_core::format::device::parse as parse_audience;
use itron_core::parallel::scratch::{Place, Scratch};
use itron_core::parallel::stop::Stop;
use itron_core::reading::code::{Protection, ReadingCode};
use itron_core::reading::cose::{MAX_PAYLOAD, Plain, protect};
use itron_core::reading::device::{DeviceId, append_name, parse_name};
use itron_core::reading::hexadecimal;
use itron_core::reading::keys::{self, CHECK_VALUE, KeyColumn, Keys, KeysOfRow, LONGEST_KEY};
use itron_core::reading::{Call, Profile, ReadingColumns as Columns, Rows, open_many};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyTuple};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes, hexadecimal text, or derived keys: each row is copied a single time, to room that its reader wipes.
enum Cells {
    Bytes(BinaryColumn),
    Hexadecimal(BinaryColumn),
    Derived(Py<DerivedKeys>),
}

/// Digits that are read of a cell: more than any key, check value or title has.
const LONGEST_CELL: usize = 256;

impl Cells {
    fn new(column: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        if let Ok(keys) = column.cast::<DerivedKeys>() {
            return Ok(Self::Derived(keys.clone().unbind()));
        }
        let py = column.py();
        let column = BinaryColumn::bytes_or_text(py, &AnyColumn::new(column, name)?)?;
        Ok(if column.kind() == Kind::Text { Self::Hexadecimal(column) } else { Self::Bytes(column) })
    }

    fn len(&self) -> usize {
        match self {
            Self::Bytes(column) | Self::Hexadecimal(column) => column.len(),
            Self::Derived(keys) => keys.get().rows(),
        }
    }

    /// Copies a row's bytes, as many as there is room for; how many it has. Text that is not hexadecimal stands for no bytes.
    #[inline]
    fn copy(&self, row: usize, room: &mut [u8]) -> Option<usize> {
        match self {
            Self::Bytes(column) => column.copy_to(row, room),
            Self::Hexadecimal(column) => Self::decode(column, row, room),
            Self::Derived(keys) => {
                let key = keys.get().row(row);
                let length = key.len().min(room.len());
                room[..length].copy_from_slice(&key[..length]);
                Some(key.len())
            }
        }
    }

    fn decode(column: &BinaryColumn, row: usize, room: &mut [u8]) -> Option<usize> {
        let mut digits = Zeroizing::new([0; LONGEST_CELL]);
        let length = column.copy_to(row, &mut *digits)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST_CELL));
        let _ = digits.get(..length).and_then(|digits| hexadecimal::append(digits, &mut bytes));
        let copied = bytes.len().min(room.len());
        room[..copied].copy_from_slice(&bytes[..copied]);
        Some(bytes.len())
    }

    /// A row of exactly so many bytes.
    fn exactly<const N: usize>(&self, row: usize) -> Option<[u8; N]> {
        let mut room = [0; N];
        self.copy(row, &mut room).filter(|&length| length == N).map(|_| room)
    }
}

/// One key per row, and the check values of those that were derived.
struct RowKeys {
    keys: Option<Cells>,
    authentication_keys: Option<Cells>,
    check_values: Vec<[u8; CHECK_VALUE]>,
}

impl RowKeys {
    fn new(keys: Option<Cells>, authentication_keys: Option<Cells>) -> PyResult<Self> {
        let check_values = match &keys {
            Some(Cells::Derived(keys)) => keys.get().source.check_values()?.as_chunks().0.to_vec(),
            _ => Vec::new(),
        };
        Ok(Self { keys, authentication_keys, check_values })
    }
}

impl KeyColumn for RowKeys {
    #[inline]
    fn key(&self, row: usize, room: &mut [u8; LONGEST_KEY]) -> Option<usize> {
        self.keys.as_ref().and_then(|keys| keys.copy(row, room))
    }

    #[inline]
    fn authentication_key(&self, row: usize, room: &mut [u8; LONGEST_KEY]) -> Option<usize> {
        self.authentication_keys.as_ref().and_then(|keys| keys.copy(row, room))
    }

    #[inline]
    fn check_value(&self, row: usize) -> Option<[u8; CHECK_VALUE]> {
        self.check_values.get(row).copied()
    }
}

/// Keys of many devices, joined to telegrams by the device that each telegram names.
#[pyclass(module = "itron_core", frozen)]
pub struct ReadingKeys(Arc<keys::KeyTable>);

#[pymethods]
impl ReadingKeys {
    #[new]
    #[pyo3(signature = (devices, keys, authentication_keys=None))]
    fn new(
        py: Python<'_>,
        devices: &Bound<'_, PyAny>,
        keys: &Bound<'_, PyAny>,
        authentication_keys: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let devices = BinaryColumn::bytes_or_text(py, &AnyColumn::new(devices, "devices")?)?;
        let keys = Cells::new(keys, "keys")?;
        let authentication_keys =
            authentication_keys.map(|keys| Cells::new(keys, "authentication_keys")).transpose()?;
        same_length(&[("devices", devices.len()), ("keys", keys.len())])?;
        if let Some(authentication_keys) = &authentication_keys {
            same_length(&[("devices", devices.len()), ("authentication_keys", authentication_keys.len())])?;
        }
        let rows = RowKeys::new(Some(keys), authentication_keys)?;
        py.detach(|| table(&devices, &rows)).map(|table| Self(Arc::new(table)))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __repr__(&self) -> String {
        format!("ReadingKeys({} devices)", self.0.len())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(secret_stays("ReadingKeys"))
    }

    fn __copy__(&self) -> PyResult<()> {
        Err(secret_stays("ReadingKeys"))
    }

    fn __deepcopy__(&self, _memo: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(secret_stays("ReadingKeys"))
    }
}

fn table(devices: &BinaryColumn, rows: &RowKeys) -> PyResult<keys::KeyTable> {
    let by_name = devices.kind() == Kind::Text;
    let made = keys::KeyTable::with_capacity(devices.len(), by_name);
    let mut table = made.map_err(memory)?;
    for row in 0..devices.len() {
        let device = devices.get(row, LONGEST_CELL);
        let device = device.as_deref();
        let named = device.and_then(|device| named(device, by_name));
        let (profile, id) = named.ok_or_else(|| no_device("devices", device, row))?;
        let mut rooms = Zeroizing::new([[0; LONGEST_KEY]; 2]);
        if !table.add(profile, id, KeysOfRow::of(rows, row, &mut rooms)) {
            let name = String::from_utf8_lossy(device.unwrap_or_default()).into_owned();
            let name = if by_name { format!("{name:?}") } else { format!("{:016x}", u64::from_be_bytes(id)) };
            return Err(input(format!("devices: got {name} a second time in row {row}, expected each device once")));
        }
    }
    Ok(table)
}

/// A device by its name, or as 8 bytes.
fn named(device: &[u8], by_name: bool) -> Option<(Option<Profile>, DeviceId)> {
    if by_name {
        parse_name(device).map(|(profile, id)| (Some(profile), id))
    } else {
        device.try_into().ok().map(|id| (None, id))
    }
}

fn no_device(argument: &str, given: Option<&[u8]>, row: usize) -> PyErr {
    let got = given.map_or("null".to_owned(), |given| format!("{:?}", String::from_utf8_lossy(given)));
    input(format!("{argument}: got {got} in row {row}, expected a device (ert:, eui64:, wmbus:, dlms:) or 8 bytes"))
}

/// One master key, from which the keys of the devices met are derived inside the call.
#[pyclass(module = "itron_core", frozen)]
pub struct KeySource(Arc<keys::KeySource>);

#[pymethods]
impl KeySource {
    #[new]
    #[pyo3(signature = (master, *, utility, key_version=1, kdf="kbkdf-hmac-sha256"))]
    fn new(
        #[pyo3(from_py_with = master_key::master)] master: &Bound<'_, MasterKey>,
        utility: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = key_version_given)] key_version: u64,
        #[pyo3(from_py_with = arguments::kdf)] kdf: &str,
    ) -> PyResult<Self> {
        let utility = self::utility(utility)?;
        let kdf = Kdf::from_name(kdf).ok_or_else(|| {
            input(format!("kdf: got {kdf:?}, expected one of {}", Kdf::ALL.map(Kdf::name).join(", ")))
        })?;
        let source = keys::KeySource::new(Arc::clone(&master.get().0), kdf, utility, key_version);
        source.map(|source| Self(Arc::new(source))).map_err(|error| input(error.to_string()))
    }

    fn __repr__(&self) -> &'static str {
        "KeySource(...)"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(secret_stays("KeySource"))
    }

    fn __copy__(&self) -> PyResult<()> {
        Err(secret_stays("KeySource"))
    }

    fn __deepcopy__(&self, _memo: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(secret_stays("KeySource"))
    }
}

/// The keys of a call, without a borrow of Python's.
enum GivenKeys {
    Rows(RowKeys),
    Table(Arc<keys::KeyTable>),
    Source(Arc<keys::KeySource>),
}

impl GivenKeys {
    fn read(
        keys: Option<&Bound<'_, PyAny>>,
        authentication_keys: Option<&Bound<'_, PyAny>>,
        rows: usize,
    ) -> PyResult<Self> {
        let joined = keys.and_then(|keys| {
            let table = keys.cast::<ReadingKeys>().map(|table| Self::Table(Arc::clone(&table.get().0)));
            table.or_else(|_| keys.cast::<KeySource>().map(|source| Self::Source(Arc::clone(&source.get().0)))).ok()
        });
        if let Some(joined) = joined {
            return match authentication_keys {
                Some(_) => Err(input(
                    "authentication_keys: got a column, expected None where keys is a ReadingKeys or a KeySource",
                )),
                None => Ok(joined),
            };
        }
        let cells = |given: Option<&Bound<'_, PyAny>>, name: &str| {
            let cells = given.map(|given| Cells::new(given, name)).transpose()?;
            if let Some(cells) = &cells {
                same_length(&[("telegrams", rows), (name, cells.len())])?;
            }
            Ok::<_, PyErr>(cells)
        };
        let keys = cells(keys, "keys")?;
        RowKeys::new(keys, cells(authentication_keys, "authentication_keys")?).map(Self::Rows)
    }

    fn keys(&self) -> Keys<'_> {
        match self {
            Self::Rows(rows) => Keys::Column(rows),
            Self::Table(table) => Keys::Table(table),
            Self::Source(source) => Keys::Source(source),
        }
    }
}

/// The counters that a row's must be above: a row each, or by device.
enum Floors {
    None,
    Rows(IntColumn),
    Devices(HashMap<(Profile, DeviceId), i64>),
}

impl Floors {
    fn read(given: Option<&Bound<'_, PyAny>>, rows: usize) -> PyResult<Self> {
        let Some(given) = given else { return Ok(Self::None) };
        let Ok(mapping) = given.cast::<PyMapping>() else {
            let column = IntColumn::new(given.py(), &AnyColumn::new(given, "counter_floors")?)?;
            same_length(&[("telegrams", rows), ("counter_floors", column.len())])?;
            return Ok(Self::Rows(column));
        };
        let mut floors = HashMap::new();
        for item in mapping.items()? {
            let (device, floor): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
            let name = arguments::text(&device, "counter_floors")?;
            let named = parse_name(name.as_bytes());
            let named =
                named.ok_or_else(|| input(format!("counter_floors: got {name:?}, expected a device's name")))?;
            let wrong = || input(format!("counter_floors: got {floor} for {name:?}, expected an int of 64 bits"));
            floors.insert(named, time::int(&floor).ok_or_else(wrong)?);
        }
        Ok(Self::Devices(floors))
    }
}

/// The columns of a call.
struct Given {
    profile: Profile,
    telegrams: BinaryColumn,
    titles: Option<Cells>,
    floors: Floors,
}

impl Rows for Given {
    fn rows(&self) -> usize {
        self.telegrams.len()
    }

    #[inline]
    fn telegram(&self, row: usize, scratch: &mut Scratch) -> Result<Option<Place>, Stop> {
        self.telegrams.fetch(row, usize::MAX, scratch)
    }

    fn hexadecimal(&self) -> bool {
        self.telegrams.kind() == Kind::Text
    }

    #[inline]
    fn title(&self, row: usize) -> Option<[u8; 8]> {
        self.titles.as_ref().and_then(|titles| titles.exactly(row))
    }

    #[inline]
    fn floor(&self, row: usize, device: DeviceId) -> Option<i64> {
        match &self.floors {
            Floors::None => None,
            Floors::Rows(column) => column.get(row),
            Floors::Devices(floors) => {
                let named = itron_core::reading::device::as_named(self.profile, device);
                floors.get(&(self.profile, named)).copied()
            }
        }
    }
}

/// Bits that no check is above.
const MOST_ASSURANCE: u16 = 128;

fn profile_of(name: &str) -> PyResult<Profile> {
    let known = Profile::ALL.map(Profile::name).join(", ");
    Profile::from_name(name).ok_or_else(|| input(format!("profile: got {name:?}, expected one of {known}")))
}

fn assurance_of(given: Option<&Bound<'_, PyAny>>, profile: Profile) -> PyResult<u16> {
    let Some(given) = given else { return Ok(profile.default_assurance()) };
    let bits = time::int(given).and_then(|bits| u16::try_from(bits).ok());
    let wrong = || input(format!("minimum_assurance: got {given}, expected None or 0..{MOST_ASSURANCE} bits"));
    bits.filter(|&bits| bits <= MOST_ASSURANCE).ok_or_else(wrong)
}

/// Opens each telegram: one row per telegram, same order.
#[pyfunction]
#[pyo3(signature = (telegrams, keys, *, profile, authentication_keys=None, system_titles=None, counter_floors=None, minimum_assurance=None, allow_plain=false, threads=None))]
#[allow(clippy::too_many_arguments, reason = "the call of the public interface")]
pub fn open_readings(
    py: Python<'_>,
    telegrams: &Bound<'_, PyAny>,
    keys: Option<&Bound<'_, PyAny>>,
    #[pyo3(from_py_with = arguments::profile)] profile: &str,
    authentication_keys: Option<&Bound<'_, PyAny>>,
    system_titles: Option<&Bound<'_, PyAny>>,
    counter_floors: Option<&Bound<'_, PyAny>>,
    minimum_assurance: Option<&Bound<'_, PyAny>>,
    #[pyo3(from_py_with = arguments::allow_plain)] allow_plain: bool,
    threads: Option<&Bound<'_, PyAny>>,
) -> PyResult<ReadingColumns> {
    let profile = profile_of(profile)?;
    for (name, given) in [("authentication_keys", authentication_keys), ("system_titles", system_titles)] {
        if given.is_some() && profile != Profile::Dlms {
            return Err(input(format!("{name}: got a column, expected None for profile {:?}", profile.name())));
        }
    }
    let minimum_assurance = assurance_of(minimum_assurance, profile)?;
    let threads = self::threads(threads)?;
    let telegrams = BinaryColumn::bytes_or_text(py, &AnyColumn::new(telegrams, "telegrams")?)?;
    let rows = telegrams.len();
    let keys = GivenKeys::read(keys, authentication_keys, rows)?;
    let titles = system_titles.map(|titles| Cells::new(titles, "system_titles")).transpose()?;
    if let Some(titles) = &titles {
        same_length(&[("telegrams", rows), ("system_titles", titles.len())])?;
    }
    let given = Given { profile, telegrams, titles, floors: Floors::read(counter_floors, rows)? };
    let (table, devices) = bulk::run(py, threads, |workers| {
        let call = Call { profile, minimum_assurance, allow_plain, keys: keys.keys() };
        let mut columns = open_many(&given, &call, workers)?;
        let [payloads, names] = columns.take_bytes(workers)?;
        let devices = Devices {
            profile,
            minimum_assurance,
            known: columns.device_known.clone(),
            ids: std::mem::take(&mut columns.device),
        };
        Ok((self::columns(columns, payloads, names)?, devices))
    })?;
    Ok(ReadingColumns::new(table, Arc::new(devices)))
}

fn columns(columns: Columns, payloads: Vec<u8>, names: Vec<u8>) -> Result<OutTable, Stop> {
    let rows = columns.code.len();
    let devices = Valid::from(columns.device_known);
    Ok(OutTable::new(
        rows,
        vec![
            ("code", Out::int16(columns.code)),
            ("assurance", Out::int16(columns.assurance)),
            ("protection", Out::int16(columns.protection).null_unless(columns.protection_known)),
            ("device", Out::joined(true, names, &columns.name_length)?.null_unless(devices)),
            ("counter", Out::int64(columns.counter).null_unless(columns.counter_known)),
            ("payload", Out::joined(false, payloads, &columns.payload_length)?.null_unless(columns.opened)),
        ],
    ))
}

/// What the results keep of their call, beside the columns.
pub struct Devices {
    profile: Profile,
    minimum_assurance: u16,
    ids: Vec<DeviceId>,
    known: itron_core::parallel::columns::Bits,
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
fn reading_words(_column: &str) -> Option<crate::columns::output::results::Vocabulary> {
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
                        "code" => self.named(name, &ReadingCode::ALL.map(|(code, name)| (code as i64, name)))?,
                        "protection" => self.named(name, &Protection::ALL.map(|(protection, name)| (protection as i64, name)))?,
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
    fn named(&self, name: &str, names: &[(i64, &str)]) -> Result<Out, Stop> {
        let of = |number: i64| names.iter().find(|&&(known, _)| known == number).map(|&(_, name)| name);
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

/// The numbers and names of the codes and protections, which a test compares with Python's.
#[pyfunction]
pub fn reading_names() -> (Names, Names) {
    let codes = ReadingCode::ALL.iter().map(|&(code, name)| (code as i16, name)).collect();
    (codes, Protection::ALL.iter().map(|&(protection, name)| (protection as i16, name)).collect())
}

/// Makes readings of profile cose: one row per payload, same order.
#[pyfunction]
#[pyo3(signature = (payloads, keys, *, devices, counters, check_values=None, algorithm="A128GCM"))]
pub fn protect_readings(
    py: Python<'_>,
    payloads: &Bound<'_, PyAny>,
    keys: &Bound<'_, PyAny>,
    devices: &Bound<'_, PyAny>,
    counters: &Bound<'_, PyAny>,
    check_values: Option<&Bound<'_, PyAny>>,
    #[pyo3(from_py_with = arguments::algorithm)] algorithm: &str,
) -> PyResult<Column> {
    let key_length = match algorithm {
        "A128GCM" => 16,
        "A256GCM" => 32,
        _ => return Err(input(format!("algorithm: got {algorithm:?}, expected A128GCM or A256GCM"))),
    };
    let payloads = BinaryColumn::new(py, &AnyColumn::new(payloads, "payloads")?)?;
    let rows = payloads.len();
    let cells = |given: &Bound<'_, PyAny>, name: &str| {
        let cells = Cells::new(given, name)?;
        same_length(&[("payloads", rows), (name, cells.len())])?;
        Ok::<_, PyErr>(cells)
    };
    let keys = cells(keys, "keys")?;
    let check_values = match (&keys, check_values) {
        (Cells::Derived(_), None) => None,
        (Cells::Derived(_), Some(_)) => {
            return Err(input("check_values: got a column, expected None where keys is a DerivedKeys"));
        }
        (_, Some(values)) => Some(cells(values, "check_values")?),
        (_, None) => return Err(input("check_values: got None, expected 4 bytes per key")),
    };
    let keys = RowKeys::new(Some(keys), None)?;
    let devices = BinaryColumn::bytes_or_text(py, &AnyColumn::new(devices, "devices")?)?;
    let counters = IntColumn::new(py, &AnyColumn::new(counters, "counters")?)?;
    same_length(&[("payloads", rows), ("devices", devices.len()), ("counters", counters.len())])?;
    let by_name = devices.kind() == Kind::Text;
    py.detach(|| {
        let (mut readings, mut lengths) = (Vec::new(), Vec::new());
        let mut used = HashSet::new();
        for row in 0..rows {
            let payload = payloads.get(row, MAX_PAYLOAD + 1).filter(|payload| payload.len() <= MAX_PAYLOAD);
            let payload = &*payload.ok_or_else(|| input(format!("payloads: got null or more than {MAX_PAYLOAD} bytes in row {row}, expected 0..{MAX_PAYLOAD} bytes")))?;
            let given = devices.get(row, LONGEST_CELL);
            let given = given.as_deref();
            let device = given.and_then(|given| if by_name { parse_audience(given).map(u64::to_be_bytes) } else { given.try_into().ok() });
            let device: DeviceId = device.ok_or_else(|| no_device("devices", given, row))?;
            let counter = counters.get(row).and_then(|counter| u32::try_from(counter).ok());
            let counter = counter.ok_or_else(|| input(format!("counters: got null or a number out of range in row {row}, expected 0..{}", u32::MAX)))?;
            let mut rooms = Zeroizing::new([[0; LONGEST_KEY]; 2]);
            let of_row = KeysOfRow::of(&keys, row, &mut rooms);
            let key = of_row.key.filter(|key| key.len() == key_length);
            let key = key.ok_or_else(|| input(format!("keys: got null or a key of another length in row {row}, expected {key_length} bytes for {algorithm}")))?;
            let check_value = of_row.check_value.or_else(|| check_values.as_ref()?.exactly(row));
            let check_value = check_value.ok_or_else(|| input(format!("check_values: got null or another length in row {row}, expected {CHECK_VALUE} bytes")))?;
            if !used.insert((check_value, device, counter)) {
                return Err(input(format!("counters: got {counter} a second time for one key and device in row {row}, expected each counter once")));
            }
            let before = readings.len();
            readings.try_reserve(MAX_PAYLOAD + 128).map_err(memory)?;
            protect(&Plain { payload, device, counter, key, check_value }, &mut readings).ok_or_else(|| input(format!("row {row} cannot be protected")))?;
            lengths.push((readings.len() - before) as u32);
        }
        Out::joined(false, readings, &lengths).map(Column::new).map_err(stopped)
    })
}
