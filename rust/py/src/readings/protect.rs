//! `protect_readings`.

use super::keys::{Cells, LONGEST_CELL, RowKeys, no_device};
use crate::arguments;
use crate::columns::error::same_length;
use crate::columns::input::{AnyColumn, BinaryColumn, IntColumn, Kind};
use crate::columns::output::{Column, Out};
use crate::errors::{input, memory, stopped};
use itron_core::format::device::parse as parse_audience;
use itron_core::reading::cose::{MAX_PAYLOAD, Plain, protect};
use itron_core::reading::device::DeviceId;
use itron_core::reading::keys::{CHECK_VALUE, Copied};
use pyo3::prelude::*;
use std::collections::HashSet;

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
    let keys = RowKeys::new(py, Some(keys), None)?;
    let devices = BinaryColumn::bytes_or_text(py, &AnyColumn::new(devices, "devices")?)?;
    let counters = IntColumn::new(py, &AnyColumn::new(counters, "counters")?)?;
    same_length(&[("payloads", rows), ("devices", devices.len()), ("counters", counters.len())])?;
    let by_name = devices.kind() == Kind::Text;
    py.detach(|| {
        let (mut readings, mut lengths) = (Vec::new(), Vec::new());
        let mut used = HashSet::new();
        let copied = Copied::of(&keys, 0..rows).map_err(stopped)?;
        for row in 0..rows {
            let wrong = |name: &str, got: &str, expected: &str| {
                input(format!("{name}: got {got} in row {row}, expected {expected}"))
            };
            let payload = payloads.get(row, MAX_PAYLOAD + 1).filter(|payload| payload.len() <= MAX_PAYLOAD);
            let payload = &*payload.ok_or_else(|| {
                wrong("payloads", &format!("null or more than {MAX_PAYLOAD} bytes"), &format!("0..{MAX_PAYLOAD} bytes"))
            })?;
            let given = devices.get(row, LONGEST_CELL);
            let given = given.as_deref();
            let of_name = |name| parse_audience(name).map(u64::to_be_bytes);
            let device = given.and_then(|given| if by_name { of_name(given) } else { given.try_into().ok() });
            let device: DeviceId = device.ok_or_else(|| no_device("devices", given, row))?;
            let counter = counters.get(row).and_then(|counter| u32::try_from(counter).ok());
            let counter = counter
                .ok_or_else(|| wrong("counters", "null or a number out of range", &format!("0..{}", u32::MAX)))?;
            let of_row = copied.keys(row);
            let key = of_row.key.filter(|key| key.len() == key_length);
            let key = key.ok_or_else(|| {
                wrong("keys", "null or a key of another length", &format!("{key_length} bytes for {algorithm}"))
            })?;
            let check_value = of_row.check_value.or_else(|| check_values.as_ref()?.exactly(row));
            let check_value = check_value
                .ok_or_else(|| wrong("check_values", "null or another length", &format!("{CHECK_VALUE} bytes")))?;
            if !used.insert((check_value, device, counter)) {
                let got = format!("{counter} a second time for one key and device");
                return Err(wrong("counters", &got, "each counter once"));
            }
            let before = readings.len();
            readings.try_reserve(MAX_PAYLOAD + 128).map_err(memory)?;
            let plain = Plain { payload, device, counter, key, check_value };
            protect(&plain, &mut readings).ok_or_else(|| input(format!("row {row} cannot be protected")))?;
            lengths.push((readings.len() - before) as u32);
        }
        Out::joined(false, readings, lengths).map(Column::new).map_err(stopped)
    })
}
