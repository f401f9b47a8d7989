//! Columns of integers.

use std::fmt;
use std::sync::Arc;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyTuple};

use super::buffers::{copied, is_of_floats};
use super::chunked::{Chunk, Chunked};
use super::missing::is_missing;
use super::source::{AnyColumn, Piece, SIGNALS_EVERY, Source};
use super::view::{Integers, Keep, Validity, filled, room};
use crate::arguments::type_name;
use crate::columns::error::{InputError, Result};
use crate::columns::schema::{IntType, Type};

/// What stands for a value beyond 63 bits, where such a value is no error: a number that means nothing else.
pub const OUTSIDE: i64 = i64::MIN;

/// How integers are read.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub place: Place,
    /// A value beyond 63 bits as [`OUTSIDE`], instead of raising.
    pub outside: bool,
}

/// Where integers are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a copy.
    Copy,
    /// Where they lie in Arrow memory or a read-only buffer: each row is to be read once.
    Shared,
    /// In a writable buffer, too, which is to be read under the interpreter lock.
    Lent,
}

impl Reading {
    pub const COPIED: Self = Self { place: Place::Copy, outside: false };
}

/// Rows of integers of any width, read as `i64`.
#[derive(Debug)]
pub struct IntColumn {
    rows: Chunked<IntChunk>,
}

/// Consecutive integers.
#[derive(Debug)]
pub struct IntChunk {
    len: usize,
    validity: Validity,
    /// `None` where every row is null.
    values: Option<Integers>,
    /// Whether Python may write to the values: they are read under the interpreter lock only.
    pub(super) is_lent: bool,
    #[allow(dead_code, reason = "held, not read")]
    keep: Option<Keep>,
}

impl Chunk for IntChunk {
    fn rows(&self) -> usize {
        self.len
    }
}

impl IntColumn {
    /// The column as integers.
    ///
    /// # Errors
    /// Another type, a value beyond 63 bits, and what contradicts itself.
    pub fn new(py: Python<'_>, column: &AnyColumn) -> Result<Self> {
        column.ints(py, Reading::COPIED)
    }

    /// As [`IntColumn::new`], but Arrow memory and read-only buffers are read where they lie: each row is to be read once.
    ///
    /// # Errors
    /// As [`IntColumn::new`].
    pub fn shared(py: Python<'_>, column: &AnyColumn) -> Result<Self> {
        column.ints(py, Reading { place: Place::Shared, ..Reading::COPIED })
    }

    /// As [`IntColumn::new`], but a value beyond 63 bits is read as [`OUTSIDE`], so that it is its row's alone.
    ///
    /// # Errors
    /// Another type, and what contradicts itself.
    pub fn with_outside(py: Python<'_>, column: &AnyColumn) -> Result<Self> {
        column.ints(py, Reading { outside: true, ..Reading::COPIED })
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.rows()
    }

    /// The value of row `at`; `None` where it is null.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    #[must_use]
    pub fn get(&self, at: usize) -> Option<i64> {
        let (chunk, at) = self.rows.locate(at);
        chunk.get(at)
    }

    /// Calls `each` with every one of `out` and the value that comes with it, the first one with that of row `first`.
    ///
    /// # Panics
    /// If there are not as many rows from `first` on.
    pub fn zip<T>(&self, first: usize, out: &mut [T], mut each: impl FnMut(&mut T, Option<i64>)) {
        self.rows.zip(first, out, |out, chunk, at| each(out, chunk.get(at)));
    }

    /// The rows one after another.
    pub fn iter(&self) -> impl Iterator<Item = Option<i64>> {
        self.chunks().iter().flat_map(|chunk| (0..chunk.len).map(|at| chunk.get(at)))
    }

    /// The pieces that the column came in.
    #[must_use]
    pub fn chunks(&self) -> &[IntChunk] {
        self.rows.chunks()
    }

    /// All values as one slice, if they lie in one piece as 64-bit integers and none is null.
    #[must_use]
    pub fn as_i64_slice(&self) -> Option<&[i64]> {
        match self.chunks() {
            [] => Some(&[]),
            [only] if only.validity.is_all() => only.as_i64(),
            _ => None,
        }
    }

    /// Copies the values from row `first` on, those of null rows whatever they are.
    ///
    /// # Panics
    /// If they reach beyond the rows.
    pub fn copy_values(&self, first: usize, values: &mut [i64]) {
        self.rows.for_pieces(first..first + values.len(), |row, chunk, rows| {
            let out = &mut values[row - first..row - first + rows.len()];
            match &chunk.values {
                Some(values) => values.copy(rows.start, out),
                None => out.fill(0),
            }
        });
    }

    /// Whether any row is null.
    #[must_use]
    pub fn has_nulls(&self) -> bool {
        self.chunks().iter().any(IntChunk::has_nulls)
    }

    fn of(chunks: impl IntoIterator<Item = IntChunk>) -> Self {
        Self { rows: Chunked::new(chunks) }
    }
}

impl IntChunk {
    /// Whether any row is null.
    #[must_use]
    pub fn has_nulls(&self) -> bool {
        self.values.is_none() || !self.validity.is_all()
    }

    /// The value of row `at`; `None` where it is null.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    #[must_use]
    pub fn get(&self, at: usize) -> Option<i64> {
        assert!(at < self.len, "row {at} of a chunk of {}", self.len);
        let values = self.values.as_ref()?;
        self.validity.get(at).then(|| values.get(at))
    }

    /// The values as they lie, those of null rows included, if they are 64-bit integers.
    #[must_use]
    pub fn as_i64(&self) -> Option<&[i64]> {
        self.values.as_ref().and_then(Integers::as_i64)
    }

    fn nulls(len: usize) -> Self {
        Self { len, validity: Validity::all(), values: None, is_lent: false, keep: None }
    }

    fn of_piece(piece: &Piece, dtype: &Type, reading: Reading) -> Result<Self> {
        let (node, validity) = piece.node(dtype)?;
        let window = piece.window;
        let kind = match dtype {
            Type::Null => return Ok(Self::nulls(window.len)),
            Type::Float64 => return Self::of_floats(&piece.floats(&node)?, &validity, reading),
            Type::Timestamp(..) => IntType::I64,
            Type::Int(kind) => *kind,
            other => return Err(InputError::new(format!("got {other}, expected integers"))),
        };
        let values = Integers::of(&node, kind, window)?;
        Self::of_values(values, validity, piece.owner.clone(), reading)
    }

    /// A chunk over values that `keep` keeps alive.
    fn of_values(values: Integers, validity: Validity, keep: Keep, reading: Reading) -> Result<Self> {
        let is_straight = values.kind != IntType::I64 || values.as_i64().is_some();
        if reading.place != Place::Copy && values.kind != IntType::U64 && is_straight {
            return Ok(Self { len: values.len(), validity, values: Some(values), is_lent: false, keep: Some(keep) });
        }
        let values = values.copied()?;
        let is_outside = |&at: &usize| validity.get(at) && values.get(at) < 0;
        let outside = if values.kind == IntType::U64 { (0..values.len()).find(is_outside) } else { None };
        let Some(at) = outside else { return Ok(Self::of_copy(values, validity)) };
        if !reading.outside {
            let value = values.get(at) as u64;
            return Err(InputError::new(format!("got {value} in row {at}, expected at most {}", i64::MAX)));
        }
        let mut signed = filled(values.len(), 0)?;
        values.copy(0, &mut signed);
        signed.iter_mut().filter(|value| **value < 0).for_each(|value| *value = OUTSIDE);
        Ok(Self::of_copy(Integers::owned(signed), validity))
    }

    fn of_copy(values: Integers, validity: Validity) -> Self {
        Self { len: values.len(), validity, values: Some(values), is_lent: false, keep: None }
    }

    /// Whole numbers as floating-point numbers, which is what integers become beside nulls: NaN is null.
    fn of_floats(floats: &[f64], validity: &Validity, reading: Reading) -> Result<Self> {
        let (mut values, mut valid) = (filled(floats.len(), 0_i64)?, filled(floats.len(), false)?);
        for (at, &float) in floats.iter().enumerate() {
            if !validity.get(at) || float.is_nan() {
                continue;
            }
            values[at] = match whole(float) {
                Some(whole) => whole,
                None if reading.outside && float.is_finite() && float.fract() == 0.0 => OUTSIDE,
                None => {
                    let wanted = "a whole number of 64 bits, or NaN for null";
                    return Err(InputError::new(format!("got {float:?} in row {at}, expected {wanted}")));
                }
            };
            valid[at] = true;
        }
        Ok(Self::of_copy(Integers::owned(values), Validity::from_flags(valid.into_iter())?))
    }

    fn of_buffer(py: Python<'_>, buffer: &Arc<PyUntypedBuffer>, reading: Reading) -> Result<Self> {
        let &[len] = buffer.shape() else {
            return Err(InputError::new(format!(
                "got a buffer of shape {:?}, expected one dimension of integers",
                buffer.shape()
            )));
        };
        if is_of_floats(buffer) {
            let mut floats = room(len)?;
            floats.extend(copied(py, buffer)?.into_iter().map(f64::from_bits));
            return Self::of_floats(&floats, &Validity::all(), reading);
        }
        let kind = buffer_kind(buffer)?;
        let is_lent = reading.place == Place::Lent && !buffer.readonly() && kind == IntType::I64;
        let lies_straight = (buffer.readonly() || is_lent) && buffer.is_c_contiguous();
        if reading.place == Place::Copy || !lies_straight {
            let values = Integers::in_buffer(kind, copied(py, buffer)?, len);
            // What is a copy already is not copied again but where values lie beyond 63 bits.
            let reading = Reading { place: Place::Shared, ..reading };
            return Self::of_values(values, Validity::all(), Arc::new(()), reading);
        }
        let data = buffer.buf_ptr().cast::<u8>().cast_const();
        // SAFETY: a contiguous buffer of `len` values of this width, which the chunk keeps.
        let values = unsafe { Integers::lying(kind, data, len) };
        let chunk = Self::of_values(values, Validity::all(), buffer.clone(), reading)?;
        Ok(Self { is_lent, ..chunk })
    }
}

/// A whole number of 63 bits and a sign.
fn whole(float: f64) -> Option<i64> {
    /// The first whole number beyond 63 bits.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    (float.fract() == 0.0 && (-BEYOND..BEYOND).contains(&float)).then_some(float as i64)
}

/// The integer type of a buffer's items.
fn buffer_kind(buffer: &PyUntypedBuffer) -> Result<IntType> {
    let format = buffer.format().to_string_lossy();
    let foreign = if cfg!(target_endian = "little") { ['>', '!'] } else { ['<', '<'] };
    let kind = match format.trim_start_matches(['@', '=', '<', '>', '!', '|']) {
        _ if format.starts_with(foreign) && buffer.item_size() > 1 => None,
        "b" | "h" | "i" | "l" | "q" | "n" => IntType::of(true, buffer.item_size()),
        "B" | "H" | "I" | "L" | "Q" | "N" => IntType::of(false, buffer.item_size()),
        _ => None,
    };
    kind.ok_or_else(|| {
        InputError::new(format!("got a buffer of format {format:?}, expected integers in native byte order"))
    })
}

const INTEGERS: &str =
    "an integer column of any width (or whole numbers as double), an integer buffer, or a sequence of int";
impl AnyColumn {
    pub(super) fn ints(&self, py: Python<'_>, reading: Reading) -> Result<IntColumn> {
        let takes = |of: &Type| matches!(of, Type::Int(_) | Type::Float64 | Type::Null);
        if let Some(nulls) = self.as_nulls(py, takes)? {
            return nulls.ints(py, reading);
        }
        match self.source() {
            Source::Arrow(column) if takes(&column.dtype) => self.arrow_ints(&column.pieces, &column.dtype, reading),
            Source::Arrow(column) => Err(self.unwanted(&column.dtype, INTEGERS)),
            Source::Items(items) => {
                let items = items.bind(py);
                // Beside NaN, integers are floating-point numbers: there, and only there, whole ones are taken.
                let floats = items.iter_borrowed().any(|item| item.is_instance_of::<PyFloat>() && is_missing(&item));
                self.gather(items, "a 64-bit int or None", |item| match int_item(item, floats) {
                    Err(NoInt::Outside(_)) if reading.outside => Ok(Some(OUTSIDE)),
                    read => read.map_err(|got| got.to_string()),
                })
            }
            Source::Datetime64 { code, .. } => Err(self.unwanted(format!("a NumPy array of {code}"), INTEGERS)),
            Source::Buffer(buffer) => {
                let chunk = IntChunk::of_buffer(py, buffer, reading).map_err(|error| error.about(self.name()))?;
                Ok(IntColumn::of([chunk]))
            }
        }
    }

    pub(super) fn arrow_ints(&self, pieces: &[Piece], dtype: &Type, reading: Reading) -> Result<IntColumn> {
        let chunks = pieces.iter().map(|piece| IntChunk::of_piece(piece, dtype, reading));
        let chunks = chunks.collect::<Result<Vec<_>>>().map_err(|error| error.about(self.name()))?;
        Ok(IntColumn::of(chunks))
    }

    /// What `read` makes of each item; its error is what came in place of `expected`.
    pub(super) fn gather(
        &self,
        items: &Bound<'_, PyTuple>,
        expected: &str,
        read: impl Fn(&Bound<'_, PyAny>) -> std::result::Result<Option<i64>, String>,
    ) -> Result<IntColumn> {
        let py = items.py();
        let (mut ints, mut valid) = (room(items.len())?, room(items.len())?);
        for (at, item) in items.iter_borrowed().enumerate() {
            if at % SIGNALS_EVERY == SIGNALS_EVERY - 1 {
                py.check_signals().map_err(|cause| InputError::raised(py, self.name(), "reading it", cause))?;
            }
            let value = read(&item).map_err(|got| self.unwanted(format!("{got} in row {at}"), expected))?;
            ints.push(value.unwrap_or(0));
            valid.push(value.is_some());
        }
        let validity = Validity::from_flags(valid.into_iter())?;
        Ok(IntColumn::of([IntChunk::of_copy(Integers::owned(ints), validity)]))
    }
}

/// What an item is instead of a 64-bit int or None.
pub(super) enum NoInt {
    /// A value of this type, which is not an int.
    Other(String),
    /// An int of this type, beyond 64 bits.
    Outside(String),
}

impl fmt::Display for NoInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(kind) => f.write_str(kind),
            Self::Outside(kind) => write!(f, "{kind} beyond 64 bits"),
        }
    }
}

/// The value of one item; with `floats`, of a whole floating-point number, too.
pub(super) fn int_item(item: &Bound<'_, PyAny>, floats: bool) -> std::result::Result<Option<i64>, NoInt> {
    if item.is_none() {
        return Ok(None);
    }
    if item.is_instance_of::<PyBool>() {
        return Err(NoInt::Other("bool".to_owned()));
    }
    if let Ok(float) = item.cast::<PyFloat>() {
        let number = float.value();
        return match whole(number) {
            _ if number.is_nan() => Ok(None),
            Some(whole) if floats => Ok(Some(whole)),
            None if floats && number.is_finite() && number.fract() == 0.0 => Err(NoInt::Outside(type_name(item))),
            _ => Err(NoInt::Other(type_name(item))),
        };
    }
    if is_missing(item) {
        return Ok(None);
    }
    // NumPy's integers are no int, but say that they are whole numbers; its booleans do not.
    if !item.is_instance_of::<PyInt>() && !item.hasattr("__index__").unwrap_or(false) {
        return Err(NoInt::Other(type_name(item)));
    }
    let read = item.extract::<i64>().map(Some);
    read.map_err(|error| {
        let is_outside = error.is_instance_of::<PyOverflowError>(item.py());
        if is_outside { NoInt::Outside(type_name(item)) } else { NoInt::Other(type_name(item)) }
    })
}
