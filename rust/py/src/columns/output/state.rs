//! Results as plain values, for pickle: the bytes of each column, checked when they are read back.

use std::sync::Arc;

use itron_core::parallel::stop::Stop;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use super::table::{Offsets, Out, OutTable, Values, bit, packed};
use crate::errors::{input, stopped};

/// A column: its type as `type_name` writes it, a bit for each row that holds a value where some do not, and its bytes.
/// Integers are little-endian; bytes of any length come after the 64-bit ends of their rows.
type ColumnState<B> = (String, Option<B>, Vec<B>);
/// A table: its rows, and its columns by name.
type TableState<B> = (usize, Vec<(String, ColumnState<B>)>);

/// The state of a column.
///
/// # Errors
/// No memory.
pub fn of_column<'py>(py: Python<'py>, column: &Out) -> PyResult<Bound<'py, PyAny>> {
    column_state(py, column).map_err(stopped)?.into_pyobject(py).map(Bound::into_any)
}

/// The state of a table.
///
/// # Errors
/// No memory.
pub fn of_table<'py>(py: Python<'py>, table: &OutTable) -> PyResult<Bound<'py, PyAny>> {
    let state = |(name, column): &(String, Out)| Ok((name.clone(), column_state(py, column)?));
    let columns = table.columns().iter().map(state).collect::<Result<Vec<_>, Stop>>().map_err(stopped)?;
    (table.rows(), columns).into_pyobject(py).map(Bound::into_any)
}

/// The column of `rows` rows of a state.
///
/// # Errors
/// `InputError` for what [`of_column`] does not write.
pub fn column(rows: usize, state: &Bound<'_, PyAny>) -> PyResult<Out> {
    let state: ColumnState<PyBackedBytes> = state.extract().map_err(|_| wrong())?;
    read(rows, &state).ok_or_else(wrong)
}

/// The table of a state.
///
/// # Errors
/// `InputError` for what [`of_table`] does not write.
pub fn table(state: &Bound<'_, PyAny>) -> PyResult<OutTable> {
    let (rows, columns): TableState<PyBackedBytes> = state.extract().map_err(|_| wrong())?;
    let columns = columns.into_iter().map(|(name, column)| Some((name, read(rows, &column)?)));
    Ok(OutTable::new(rows, columns.collect::<Option<Vec<_>>>().ok_or_else(wrong)?))
}

fn wrong() -> PyErr {
    input("state: got other values than results are pickled as, expected those of this version")
}

fn column_state<'py>(py: Python<'py>, column: &Out) -> Result<ColumnState<Bound<'py, PyBytes>>, Stop> {
    let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
    let rows = column.first..column.first + column.rows;
    let validity = match column.nulls() {
        0 => None,
        _ => Some(bytes(&packed(column.rows, |row| column.is_valid(row))?.0)),
    };
    let buffers = match &column.values {
        Values::Int8(values) => vec![bytes(&little(&values[rows], i8::to_le_bytes))],
        Values::Int16(values) => vec![bytes(&little(&values[rows], i16::to_le_bytes))],
        Values::Int32(values) => vec![bytes(&little(&values[rows], i32::to_le_bytes))],
        Values::Int64(values) | Values::Timestamp(values) => {
            vec![bytes(&little(&values[rows], i64::to_le_bytes))]
        }
        Values::Bool(bits) => vec![bytes(&packed(column.rows, |row| bit(bits, column.first + row))?.0)],
        Values::Bytes { offsets, data, .. } => {
            let (start, end) = (offsets.get(rows.start), offsets.get(rows.end));
            let ends: Vec<_> = (rows.start + 1..=rows.end).map(|row| (offsets.get(row) - start) as u64).collect();
            vec![bytes(&little(&ends, u64::to_le_bytes)), bytes(&data[start..end])]
        }
    };
    Ok((column.type_name().to_owned(), validity, buffers))
}

fn read(rows: usize, (type_name, validity, buffers): &ColumnState<PyBackedBytes>) -> Option<Out> {
    let values = match (type_name.as_str(), &buffers[..]) {
        ("int8", [values]) => Values::Int8(Arc::new(numbers(rows, values, i8::from_le_bytes)?)),
        ("int16", [values]) => Values::Int16(Arc::new(numbers(rows, values, i16::from_le_bytes)?)),
        ("int32", [values]) => Values::Int32(Arc::new(numbers(rows, values, i32::from_le_bytes)?)),
        ("int64", [values]) => Values::Int64(Arc::new(numbers(rows, values, i64::from_le_bytes)?)),
        ("timestamp[us, UTC]", [values]) => Values::Timestamp(Arc::new(numbers(rows, values, i64::from_le_bytes)?)),
        ("bool", [bits]) => Values::Bool(Arc::new(bits_of(rows, bits)?)),
        ("binary" | "large_binary" | "string" | "large_string", [ends, data]) => {
            let text = type_name.ends_with("string");
            let ends = numbers(rows, ends, u64::from_le_bytes)?;
            let mut offsets = vec![0];
            for end in ends {
                let end = usize::try_from(end).ok().filter(|end| offsets.last() <= Some(end))?;
                offsets.push(end);
            }
            let data = data.to_vec();
            (offsets.last() == Some(&data.len())).then_some(())?;
            // Whoever reads a column of text trusts each row to be UTF-8.
            let cut = |row: &[usize]| std::str::from_utf8(&data[row[0]..row[1]]).is_ok();
            (!text || offsets.windows(2).all(cut)).then_some(())?;
            let offsets = Offsets::of(offsets.into_iter(), data.len()).ok()?;
            Values::Bytes { text, offsets, data: Arc::new(data) }
        }
        _ => return None,
    };
    let validity = match validity {
        None => None,
        Some(bits) => Some(Arc::new(bits_of(rows, bits)?)),
    };
    Some(Out { values, first: 0, rows, validity })
}

fn little<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| bytes(value)).collect()
}

fn numbers<T, const N: usize>(rows: usize, bytes: &[u8], number: fn([u8; N]) -> T) -> Option<Vec<T>> {
    let (values, rest) = bytes.as_chunks::<N>();
    (rest.is_empty() && values.len() == rows).then(|| values.iter().map(|&value| number(value)).collect())
}

fn bits_of(rows: usize, bits: &[u8]) -> Option<Vec<u8>> {
    (bits.len() == rows.div_ceil(8)).then(|| bits.to_vec())
}
