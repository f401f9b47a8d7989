//! `open_readings`.

use super::keys::{Cells, GivenKeys};
use super::results::{COLUMNS, Devices, ReadingColumns};
use crate::arguments::{self, threads, time};
use crate::bulk::{self, Progress};
use crate::columns::error::same_length;
use crate::columns::input::{AnyColumn, BinaryColumn, IntColumn, Kind};
use crate::columns::output::{Out, OutTable, Wanted};
use crate::errors::input;
use itron_core::parallel::scratch::{Place, Scratch};
use itron_core::parallel::stop::Stop;
use itron_core::reading::device::{DeviceId, as_named, parse_name};
use itron_core::reading::{Call, Profile, ReadingColumns as Columns, Readings, Rows, open_many};
use pyo3::prelude::*;
use pyo3::types::PyMapping;
use std::collections::HashMap;
use std::mem::take;
use std::sync::Arc;

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

    fn bytes(&self, most: usize) -> usize {
        self.telegrams.bytes(most)
    }

    #[inline]
    fn telegram(&self, row: usize, most: usize, scratch: &mut Scratch) -> Result<Option<Place>, Stop> {
        self.telegrams.fetch(row, most, scratch)
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
                let named = as_named(self.profile, device);
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
#[pyo3(signature = (telegrams, keys, *, profile, authentication_keys=None, system_titles=None, counter_floors=None, minimum_assurance=None, allow_plain=false, columns=None, progress=None, threads=None))]
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
    columns: Option<&Bound<'_, PyAny>>,
    progress: Option<&Bound<'_, PyAny>>,
    threads: Option<&Bound<'_, PyAny>>,
) -> PyResult<ReadingColumns> {
    let profile = profile_of(profile)?;
    for (name, given) in [("authentication_keys", authentication_keys), ("system_titles", system_titles)] {
        if given.is_some() && profile != Profile::Dlms {
            return Err(input(format!("{name}: got a column, expected None for profile {:?}", profile.name())));
        }
    }
    let minimum_assurance = assurance_of(minimum_assurance, profile)?;
    let wanted = Wanted::read(columns, COLUMNS, &[])?;
    let progress = Progress::new(arguments::progress(progress)?);
    let threads = self::threads(threads)?;
    let telegrams = BinaryColumn::bytes_or_text(py, &AnyColumn::new(telegrams, "telegrams")?)?;
    let rows = telegrams.len();
    let keys = GivenKeys::read(py, keys, authentication_keys, rows)?;
    let titles = system_titles.map(|titles| Cells::new(titles, "system_titles")).transpose()?;
    if let Some(titles) = &titles {
        same_length(&[("telegrams", rows), ("system_titles", titles.len())])?;
    }
    let given = Given { profile, telegrams, titles, floors: Floors::read(counter_floors, rows)? };
    let (table, devices) = bulk::run_telling(py, threads, progress.to(rows), |workers| {
        let call = Call { profile, minimum_assurance, allow_plain, keys: keys.keys() };
        let Readings { mut columns, payloads, names } = open_many(&given, &call, workers)?;
        let devices =
            Devices { profile, minimum_assurance, known: columns.device_known.clone(), ids: take(&mut columns.device) };
        Ok((self::columns(columns, payloads, names, &wanted)?, devices))
    })?;
    Ok(ReadingColumns::new(table, Arc::new(devices)))
}

fn columns(mut columns: Columns, payloads: Vec<u8>, names: Vec<u8>, wanted: &Wanted) -> Result<OutTable, Stop> {
    let rows = columns.code.len();
    let (mut payloads, mut names) = (payloads, names);
    wanted.table(rows, |name| {
        let columns = &mut columns;
        Ok(match name {
            "code" => Out::int16(take(&mut columns.code)),
            "assurance" => Out::int16(take(&mut columns.assurance)),
            "protection" => Out::int16(take(&mut columns.protection)).null_unless(take(&mut columns.protection_known)),
            "device" => Out::joined(true, take(&mut names), take(&mut columns.name_length))?
                .null_unless(take(&mut columns.device_known)),
            "counter" => Out::int64(take(&mut columns.counter)).null_unless(take(&mut columns.counter_known)),
            "payload" => Out::joined(false, take(&mut payloads), take(&mut columns.payload_length))?
                .null_unless(take(&mut columns.opened)),
            other => unreachable!("no column {other}"),
        })
    })
}
