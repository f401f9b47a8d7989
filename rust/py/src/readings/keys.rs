//! `ReadingKeys`, `KeySource`: the keys of readings, one per row, by device, or derived inside the call.

use crate::arguments::{self, key_version_given};
use crate::columns::error::same_length;
use crate::columns::input::{AnyColumn, BinaryColumn, Kind};
use crate::errors::{input, memory, secret_stays, stopped};
use crate::keys::derived_keys::{DerivedKeys, utility};
use crate::keys::master_key::{self, MasterKey};
use itron_core::crypto::kdf::Kdf;
use itron_core::parallel::stop::Stop;
use itron_core::reading::Profile;
use itron_core::reading::device::{DeviceId, parse_name};
use itron_core::reading::hexadecimal;
use itron_core::reading::keys::{self, CHECK_VALUE, Copied, CopiedKeys, KeyColumn, Keys};
use pyo3::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes, hexadecimal text, or derived keys: each row is copied a single time, to room that its reader wipes.
pub(super) enum Cells {
    Bytes(BinaryColumn),
    Hexadecimal(BinaryColumn),
    Derived(Py<DerivedKeys>),
}

/// Digits that are read of a cell: more than any key, check value or title has.
pub(super) const LONGEST_CELL: usize = 256;

impl Cells {
    pub(super) fn new(column: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        if let Ok(keys) = column.cast::<DerivedKeys>() {
            return Ok(Self::Derived(keys.clone().unbind()));
        }
        let py = column.py();
        let column = BinaryColumn::bytes_or_text(py, &AnyColumn::new(column, name)?)?;
        Ok(if column.kind() == Kind::Text { Self::Hexadecimal(column) } else { Self::Bytes(column) })
    }

    pub(super) fn len(&self) -> usize {
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
    pub(super) fn exactly<const N: usize>(&self, row: usize) -> Option<[u8; N]> {
        let mut room = [0; N];
        self.copy(row, &mut room).filter(|&length| length == N).map(|_| room)
    }
}

/// One key per row, and the check values of those that were derived.
pub(super) struct RowKeys {
    keys: Option<Cells>,
    authentication_keys: Option<Cells>,
    check_values: Vec<[u8; CHECK_VALUE]>,
}

impl RowKeys {
    pub(super) fn new(py: Python<'_>, keys: Option<Cells>, authentication_keys: Option<Cells>) -> PyResult<Self> {
        let check_values = match &keys {
            Some(Cells::Derived(keys)) => keys.get().source.check_values(py)?.as_chunks().0.to_vec(),
            _ => Vec::new(),
        };
        Ok(Self { keys, authentication_keys, check_values })
    }
}

impl KeyColumn for RowKeys {
    fn keys(&self, rows: Range<usize>) -> Result<CopiedKeys, Stop> {
        copied(self.keys.as_ref(), rows)
    }

    fn authentication_keys(&self, rows: Range<usize>) -> Result<CopiedKeys, Stop> {
        copied(self.authentication_keys.as_ref(), rows)
    }

    #[inline]
    fn check_value(&self, row: usize) -> Option<[u8; CHECK_VALUE]> {
        self.check_values.get(row).copied()
    }
}

fn copied(cells: Option<&Cells>, rows: Range<usize>) -> Result<CopiedKeys, Stop> {
    match cells {
        None => Ok(CopiedKeys::default()),
        Some(Cells::Bytes(column)) => CopiedKeys::of(rows, |row, room| column.copy_to(row, room)),
        Some(cells) => CopiedKeys::of(rows, |row, room| cells.copy(row, room)),
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
        let rows = RowKeys::new(py, Some(keys), authentication_keys)?;
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
    let keys = Copied::of(rows, 0..devices.len()).map_err(stopped)?;
    for row in 0..devices.len() {
        let device = devices.get(row, LONGEST_CELL);
        let device = device.as_deref();
        let named = device.and_then(|device| named(device, by_name));
        let (profile, id) = named.ok_or_else(|| no_device("devices", device, row))?;
        if !table.add(profile, id, keys.keys(row)) {
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

pub(super) fn no_device(argument: &str, given: Option<&[u8]>, row: usize) -> PyErr {
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
pub(super) enum GivenKeys {
    Rows(RowKeys),
    Table(Arc<keys::KeyTable>),
    Source(Arc<keys::KeySource>),
}

impl GivenKeys {
    pub(super) fn read(
        py: Python<'_>,
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
        RowKeys::new(py, keys, cells(authentication_keys, "authentication_keys")?).map(Self::Rows)
    }

    pub(super) fn keys(&self) -> Keys<'_> {
        match self {
            Self::Rows(rows) => Keys::Column(rows),
            Self::Table(table) => Keys::Table(table),
            Self::Source(source) => Keys::Source(source),
        }
    }
}
