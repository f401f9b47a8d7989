//! Columns of our own, shared by as many readers as ask for them.

use std::ffi::{CStr, c_void};
use std::sync::Arc;

use itron_core::parallel::columns::Plain;
use itron_core::parallel::stop::Stop;
use itron_core::token::details;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDateTime, PyDelta, PyInt, PyString, PyTzInfo};

/// A result column: its values, and which rows are null.
#[derive(Clone, Debug)]
pub struct Out {
    pub(super) values: Values,
    /// The first of its rows among the values.
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) validity: Option<Bits>,
}

#[derive(Clone, Debug)]
pub(super) enum Values {
    Int8(Arc<Vec<i8>>),
    Int16(Arc<Vec<i16>>),
    Int32(Arc<Vec<i32>>),
    Int64(Arc<Vec<i64>>),
    Timestamp(Arc<Vec<i64>>),
    Bool(Arc<Vec<u8>>),
    Bytes { text: bool, offsets: Offsets, data: Arc<Vec<u8>> },
}

/// Where each row's bytes begin; of 64 bits only where 32 are too few.
#[derive(Clone, Debug)]
pub(super) enum Offsets {
    Small(Arc<Vec<i32>>),
    Large(Arc<Vec<i64>>),
}

/// One bit a row.
pub(super) type Bits = Arc<Vec<u8>>;

/// Which rows hold a value; columns of the same rows share it.
#[derive(Clone, Debug)]
pub struct Valid {
    rows: usize,
    /// `None` where all of them do.
    bits: Option<Bits>,
}

impl From<itron_core::parallel::columns::Bits> for Valid {
    fn from(bits: itron_core::parallel::columns::Bits) -> Self {
        let (rows, ones) = (bits.rows(), bits.ones());
        Self { rows, bits: (ones < rows).then(|| Arc::new(bits.into_bytes())) }
    }
}

/// What a buffer of no bytes points to.
static NOTHING: [u64; 8] = [0; 8];

impl Out {
    /// int8.
    #[must_use]
    pub fn int8(values: Vec<i8>) -> Self {
        Self { rows: values.len(), values: Values::Int8(Arc::new(values)), first: 0, validity: None }
    }

    /// int16.
    #[must_use]
    pub fn int16(values: Vec<i16>) -> Self {
        Self { rows: values.len(), values: Values::Int16(Arc::new(values)), first: 0, validity: None }
    }

    /// int32.
    #[must_use]
    pub fn int32(values: Vec<i32>) -> Self {
        Self { rows: values.len(), values: Values::Int32(Arc::new(values)), first: 0, validity: None }
    }

    /// int64.
    #[must_use]
    pub fn int64(values: Vec<i64>) -> Self {
        Self { rows: values.len(), values: Values::Int64(Arc::new(values)), first: 0, validity: None }
    }

    /// timestamp[us, UTC], of microseconds since 1970.
    #[must_use]
    pub fn timestamp(micros: Vec<i64>) -> Self {
        Self { rows: micros.len(), values: Values::Timestamp(Arc::new(micros)), first: 0, validity: None }
    }

    /// bool, from a bit a row, the least significant bit of a byte first.
    ///
    /// # Panics
    /// If there are fewer bits than rows.
    #[must_use]
    pub fn bits(bits: Vec<u8>, rows: usize) -> Self {
        assert!(bits.len() >= rows.div_ceil(8), "a bit for each of {rows} rows");
        Self { rows, values: Values::Bool(Arc::new(bits)), first: 0, validity: None }
    }

    /// binary; a row may be null.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    pub fn binary<'a>(rows: impl IntoIterator<Item = Option<&'a [u8]>>) -> Result<Self, Stop> {
        Self::bytes(false, rows)
    }

    /// binary, of rows of equal length.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    pub fn binary_fixed<const N: usize>(rows: Vec<[u8; N]>) -> Result<Self, Stop> {
        let ends = rows.len() + 1;
        let offsets = Offsets::of((0..ends).map(|end| end * N), rows.len() * N)?;
        let (rows, data) = (rows.len(), Arc::new(rows.into_flattened()));
        Ok(Self { rows, values: Values::Bytes { text: false, offsets, data }, first: 0, validity: None })
    }

    /// binary, or string from UTF-8: bytes one row after another, and the length of each row.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    ///
    /// # Panics
    /// If the lengths are not those of all bytes together.
    pub fn joined(text: bool, data: Vec<u8>, lengths: Vec<u32>) -> Result<Self, Stop> {
        let rows = lengths.len();
        let offsets = Offsets::of_lengths(lengths, data.len())?;
        Ok(Self { rows, values: Values::Bytes { text, offsets, data: Arc::new(data) }, first: 0, validity: None })
    }

    /// binary, or string from UTF-8, of the values of rows; a row may be null.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    pub fn values(text: bool, rows: details::Values) -> Result<Self, Stop> {
        let details::Values { ends, bytes, known } = rows;
        let rows = ends.len();
        let places = rows + 1;
        let starts = (0..places).map(|row| if row == 0 { 0 } else { ends[row - 1] });
        let offsets = Offsets::of(starts, bytes.len())?;
        let values = Values::Bytes { text, offsets, data: Arc::new(bytes) };
        Self { first: 0, rows, values, validity: None }.with_validity(|row| known[row])
    }

    /// string; a row may be null.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    pub fn text<'a>(rows: impl IntoIterator<Item = Option<&'a str>>) -> Result<Self, Stop> {
        Self::bytes(true, rows.into_iter().map(|row| row.map(str::as_bytes)))
    }

    /// string, of few rows: pairs of a row and its text, rising. All others are null.
    ///
    /// # Errors
    /// No memory.
    ///
    /// # Panics
    /// If a row is beyond the last.
    pub fn sparse_text(rows: usize, texts: &[(usize, String)]) -> Result<Self, Stop> {
        let mut valid = itron_core::parallel::columns::zeros::<u8>(rows.div_ceil(8))?;
        let most: usize = texts.iter().map(|(_, text)| text.len()).sum();
        let mut data = Vec::new();
        data.try_reserve_exact(most).map_err(|_| Stop::OutOfMemory)?;
        for (row, text) in texts {
            data.extend_from_slice(text.as_bytes());
            valid[row / 8] |= 1 << (row % 8);
        }
        let offsets = if texts.is_empty() {
            Offsets::Small(Arc::new(itron_core::parallel::columns::zeros(rows + 1)?))
        } else {
            let (mut texts, mut end) = (texts.iter().peekable(), 0);
            // The text of a row ends where the next row's begins.
            let each = (0..=rows).map(|next| {
                if let Some((_, text)) = texts.next_if(|(row, _)| row + 1 == next) {
                    end += text.len();
                }
                end
            });
            let mut ends = Vec::new();
            ends.try_reserve_exact(rows + 1).map_err(|_| Stop::OutOfMemory)?;
            ends.extend(each);
            Offsets::of(ends.into_iter(), most)?
        };
        let values = Values::Bytes { text: true, offsets, data: Arc::new(data) };
        let validity = (texts.len() < rows).then(|| Arc::new(valid));
        Ok(Self { values, first: 0, rows, validity })
    }

    fn bytes<'a>(text: bool, rows: impl IntoIterator<Item = Option<&'a [u8]>>) -> Result<Self, Stop> {
        let rows = rows.into_iter();
        let (mut data, mut ends, mut valid) = (Vec::new(), Vec::new(), Vec::new());
        let more = rows.size_hint().0;
        ends.try_reserve(more.saturating_add(1)).map_err(|_| Stop::OutOfMemory)?;
        valid.try_reserve(more).map_err(|_| Stop::OutOfMemory)?;
        ends.push(0);
        for row in rows {
            let bytes = row.unwrap_or_default();
            data.try_reserve(bytes.len()).map_err(|_| Stop::OutOfMemory)?;
            data.extend_from_slice(bytes);
            ends.push(data.len());
            valid.push(row.is_some());
        }
        let offsets = Offsets::of(ends.into_iter(), data.len())?;
        let values = Values::Bytes { text, offsets, data: Arc::new(data) };
        Self { rows: valid.len(), values, first: 0, validity: None }.with_validity(|row| valid[row])
    }

    /// The same column, null in the rows that are not `valid`.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    pub fn with_validity(mut self, valid: impl Fn(usize) -> bool) -> Result<Self, Stop> {
        let (bits, nulls) = packed(self.rows, valid)?;
        self.validity = (nulls > 0).then(|| Arc::new(bits));
        Ok(self)
    }

    /// The same column, null in the rows that are not `valid`.
    ///
    /// # Panics
    /// If there are other than as many rows.
    #[must_use]
    pub fn null_unless(mut self, valid: impl Into<Valid>) -> Self {
        let valid = valid.into();
        assert_eq!(valid.rows, self.rows, "a bit for each row");
        self.validity = valid.bits;
        self
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// `rows` rows from row `first` on, without a copy.
    ///
    /// # Panics
    /// If there are not as many.
    #[must_use]
    pub fn slice(&self, first: usize, rows: usize) -> Self {
        assert!(first + rows <= self.rows, "{rows} rows from {first} on of a column of {}", self.rows);
        Self { first: self.first + first, rows, ..self.clone() }
    }

    /// The place of the first row among the buffers' values.
    pub(super) fn offset(&self) -> usize {
        self.first
    }

    /// Rows without a value.
    #[must_use]
    pub fn nulls(&self) -> usize {
        if self.validity.is_none() { 0 } else { (0..self.rows).filter(|&row| !self.is_valid(row)).count() }
    }

    /// Whether row `row` holds a value.
    #[must_use]
    pub fn is_valid(&self, row: usize) -> bool {
        self.validity.as_ref().is_none_or(|bits| bit(bits, self.first + row))
    }

    /// The type's name, as `pyarrow` writes it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match &self.values {
            Values::Int8(_) => "int8",
            Values::Int16(_) => "int16",
            Values::Int32(_) => "int32",
            Values::Int64(_) => "int64",
            Values::Timestamp(_) => "timestamp[us, UTC]",
            Values::Bool(_) => "bool",
            Values::Bytes { text: false, offsets: Offsets::Small(_), .. } => "binary",
            Values::Bytes { text: false, offsets: Offsets::Large(_), .. } => "large_binary",
            Values::Bytes { text: true, offsets: Offsets::Small(_), .. } => "string",
            Values::Bytes { text: true, offsets: Offsets::Large(_), .. } => "large_string",
        }
    }

    /// The type's format string in the Arrow interface.
    pub(super) fn format(&self) -> &'static CStr {
        match &self.values {
            Values::Int8(_) => c"c",
            Values::Int16(_) => c"s",
            Values::Int32(_) => c"i",
            Values::Int64(_) => c"l",
            Values::Timestamp(_) => c"tsu:UTC",
            Values::Bool(_) => c"b",
            Values::Bytes { text: false, offsets: Offsets::Small(_), .. } => c"z",
            Values::Bytes { text: false, offsets: Offsets::Large(_), .. } => c"Z",
            Values::Bytes { text: true, offsets: Offsets::Small(_), .. } => c"u",
            Values::Bytes { text: true, offsets: Offsets::Large(_), .. } => c"U",
        }
    }

    /// The buffers in the order of the Arrow interface; they live as long as this column or a clone of it.
    pub(super) fn buffers(&self) -> Vec<*const c_void> {
        let validity = self.validity.as_ref().map_or(std::ptr::null(), |bits| bits.as_ptr().cast());
        match &self.values {
            Values::Int8(values) => vec![validity, start(values)],
            Values::Int16(values) => vec![validity, start(values)],
            Values::Int32(values) => vec![validity, start(values)],
            Values::Int64(values) | Values::Timestamp(values) => vec![validity, start(values)],
            Values::Bool(values) => vec![validity, start(values)],
            Values::Bytes { offsets: Offsets::Small(offsets), data, .. } => vec![validity, start(offsets), start(data)],
            Values::Bytes { offsets: Offsets::Large(offsets), data, .. } => vec![validity, start(offsets), start(data)],
        }
    }

    /// Integers without a null, as a buffer: where they lie, bytes a value, and its format in Python. Times have no format there.
    pub(super) fn plain(&self) -> Option<(*const c_void, usize, &'static CStr)> {
        let rows = self.first..self.first + self.rows;
        if self.nulls() > 0 {
            return None;
        }
        match &self.values {
            Values::Int8(values) => Some((start(&values[rows]), 1, c"b")),
            Values::Int16(values) => Some((start(&values[rows]), 2, c"h")),
            Values::Int32(values) => Some((start(&values[rows]), 4, c"i")),
            Values::Int64(values) => Some((start(&values[rows]), 8, c"q")),
            Values::Timestamp(_) | Values::Bool(_) | Values::Bytes { .. } => None,
        }
    }

    /// The ticks of a column of times, null where it is; `None` for another type.
    #[must_use]
    pub fn ticks(&self) -> Option<Self> {
        let Values::Timestamp(ticks) = &self.values else { return None };
        Some(Self { values: Values::Int64(Arc::clone(ticks)), ..self.clone() })
    }

    /// The same integers of 64 bits with `filler` in place of nulls; other columns as they are.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    pub fn filled(self, filler: i64) -> Result<Self, Stop> {
        let Values::Int64(values) = &self.values else { return Ok(self) };
        if self.nulls() == 0 {
            return Ok(self);
        }
        let mut filled = itron_core::parallel::columns::zeros(self.rows)?;
        for (row, place) in filled.iter_mut().enumerate() {
            *place = if self.is_valid(row) { values[self.first + row] } else { filler };
        }
        Ok(Self::int64(filled))
    }

    /// The value of an integer column; `None` where it is null, or for a column of another type.
    #[must_use]
    pub fn integer(&self, row: usize) -> Option<i64> {
        let at = self.first + row;
        let value = match &self.values {
            Values::Int8(values) => values[at].into(),
            Values::Int16(values) => values[at].into(),
            Values::Int32(values) => values[at].into(),
            Values::Int64(values) => values[at],
            Values::Timestamp(_) | Values::Bool(_) | Values::Bytes { .. } => return None,
        };
        self.is_valid(row).then_some(value)
    }

    /// One cell as a Python object: int, bool, bytes, str, an aware datetime in UTC, or None.
    ///
    /// # Errors
    /// A moment that `datetime` has no year for.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn cell<'py>(&self, py: Python<'py>, row: usize) -> PyResult<Bound<'py, PyAny>> {
        assert!(row < self.rows, "row {row} of a column of {}", self.rows);
        if !self.is_valid(row) {
            return Ok(py.None().into_bound(py));
        }
        let at = self.first + row;
        match &self.values {
            Values::Int8(values) => Ok(int(py, values[at].into())),
            Values::Int16(values) => Ok(int(py, values[at].into())),
            Values::Int32(values) => Ok(int(py, values[at].into())),
            Values::Int64(values) => Ok(int(py, values[at])),
            Values::Timestamp(values) => moment(py, values[at]),
            Values::Bool(bits) => Ok(PyBool::new(py, bit(bits, at)).to_owned().into_any()),
            Values::Bytes { text, offsets, data } => {
                let bytes = &data[offsets.get(at)..offsets.get(at + 1)];
                if *text {
                    Ok(PyString::from_bytes(py, bytes)?.into_any())
                } else {
                    Ok(PyBytes::new(py, bytes).into_any())
                }
            }
        }
    }
}

impl Offsets {
    /// Where rows end, the last of them at `bytes`, after a 0.
    pub(super) fn of(ends: impl ExactSizeIterator<Item = usize>, bytes: usize) -> Result<Self, Stop> {
        fn all<T: Plain>(ends: impl ExactSizeIterator<Item = T>) -> Result<Arc<Vec<T>>, Stop> {
            let mut offsets = itron_core::parallel::columns::zeros(ends.len())?;
            offsets.iter_mut().zip(ends).for_each(|(offset, end)| *offset = end);
            Ok(Arc::new(offsets))
        }
        Ok(match i32::try_from(bytes) {
            Ok(_) => Self::Small(all(ends.map(|end| end as i32))?),
            Err(_) => Self::Large(all(ends.map(|end| end as i64))?),
        })
    }

    /// Where rows of these lengths begin, and where the last ends: in the memory of the lengths, where 32 bits are enough.
    fn of_lengths(mut lengths: Vec<u32>, bytes: usize) -> Result<Self, Stop> {
        lengths.try_reserve_exact(1)?;
        lengths.push(0);
        let mut end = 0;
        let begins = lengths.into_iter().map(|length| {
            let begin = end;
            end += length as usize;
            begin
        });
        let offsets = match i32::try_from(bytes) {
            // Neither more nor larger items: they take the places of the lengths.
            Ok(_) => Self::Small(Arc::new(begins.map(|begin| begin as i32).collect())),
            Err(_) => Self::of(begins, bytes)?,
        };
        assert_eq!(end, bytes, "the bytes of all rows");
        Ok(offsets)
    }

    pub(super) fn get(&self, at: usize) -> usize {
        match self {
            Self::Small(offsets) => offsets[at] as usize,
            Self::Large(offsets) => offsets[at] as usize,
        }
    }
}

fn int(py: Python<'_>, value: i64) -> Bound<'_, PyAny> {
    PyInt::new(py, value).into_any()
}

fn moment(py: Python<'_>, micros: i64) -> PyResult<Bound<'_, PyAny>> {
    const MICROS: i64 = 1_000_000;
    const DAY: i64 = 86_400;
    /// 9999-12-31, after which `datetime` has no year: a session without an end in sight ends then.
    const LAST_DAY: i64 = 2_932_896;
    let utc = PyTzInfo::utc(py)?;
    let epoch = PyDateTime::new(py, 1970, 1, 1, 0, 0, 0, 0, Some(&utc))?;
    let (seconds, micros) = (micros.div_euclid(MICROS), micros.rem_euclid(MICROS));
    let (days, seconds) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    if days > LAST_DAY {
        return Ok(PyDateTime::new(py, 9999, 12, 31, 23, 59, 59, 999_999, Some(&utc))?.into_any());
    }
    epoch.add(PyDelta::new(py, days as i32, seconds as i32, micros as i32, false)?)
}

fn start<T>(values: &[T]) -> *const c_void {
    if values.is_empty() { NOTHING.as_ptr().cast() } else { values.as_ptr().cast() }
}

pub(super) fn bit(bits: &[u8], row: usize) -> bool {
    bits[row / 8] >> (row % 8) & 1 == 1
}

/// A bit a row, and how many are 0.
pub(super) fn packed(rows: usize, flag: impl Fn(usize) -> bool) -> Result<(Vec<u8>, usize), Stop> {
    let mut bits: Vec<u8> = itron_core::parallel::columns::zeros(rows.div_ceil(8))?;
    let mut zeros = 0;
    for (at, byte) in bits.iter_mut().enumerate() {
        let len = (rows - at * 8).min(8);
        *byte = (0..len).fold(0, |byte, bit| byte | u8::from(flag(at * 8 + bit)) << bit);
        zeros += len - byte.count_ones() as usize;
    }
    Ok((bits, zeros))
}

/// Result columns by name, all of one length.
#[derive(Clone, Debug)]
pub struct OutTable {
    /// The first of its rows in the call that made it.
    first: usize,
    rows: usize,
    columns: Arc<[(String, Out)]>,
}

impl OutTable {
    /// Columns in their order.
    ///
    /// # Panics
    /// If one has other than `rows` rows: the program that made it is wrong.
    #[must_use]
    pub fn new<N: Into<String>>(rows: usize, columns: Vec<(N, Out)>) -> Self {
        let columns: Arc<[(String, Out)]> = columns.into_iter().map(|(name, column)| (name.into(), column)).collect();
        for (name, column) in columns.iter() {
            assert_eq!(column.rows, rows, "rows of the result column {name}");
        }
        Self { first: 0, rows, columns }
    }

    /// `rows` rows from row `first` on, without a copy.
    ///
    /// # Panics
    /// If there are not as many.
    #[must_use]
    pub fn slice(&self, first: usize, rows: usize) -> Self {
        let columns = self.columns.iter().map(|(name, column)| (name.clone(), column.slice(first, rows))).collect();
        Self { first: self.first + first, rows, columns }
    }

    /// The first of its rows in the call that made it: where what is kept beside the columns begins.
    #[must_use]
    pub fn first(&self) -> usize {
        self.first
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Names and columns in their order.
    #[must_use]
    pub fn columns(&self) -> &[(String, Out)] {
        &self.columns
    }

    /// The column of a name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Out> {
        self.columns.iter().find(|(other, _)| other == name).map(|(_, column)| column)
    }
}
