//! Columns of booleans.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use super::chunked::{Chunk, Chunked};
use super::missing::is_missing;
use super::source::{AnyColumn, Piece, Source};
use super::view::{Validity, bit, copied, room};
use crate::arguments::type_name;
use crate::columns::error::{InputError, Result};
use crate::columns::schema::Type;

/// Rows of booleans.
#[derive(Debug)]
pub struct BoolColumn {
    rows: Chunked<BoolChunk>,
}

#[derive(Debug)]
struct BoolChunk {
    len: usize,
    validity: Validity,
    values: Bits,
}

#[derive(Debug)]
enum Bits {
    Packed { bits: Vec<u8>, offset: usize },
    Flags(Vec<Option<bool>>),
    Null,
}

impl Chunk for BoolChunk {
    fn rows(&self) -> usize {
        self.len
    }
}

impl BoolColumn {
    /// The column as booleans.
    ///
    /// # Errors
    /// Another type, and what contradicts itself.
    pub fn new(py: Python<'_>, column: &AnyColumn) -> Result<Self> {
        column.bools(py)
    }

    /// Calls `each` with every one of `out` and the value that comes with it, the first one with that of row `first`.
    ///
    /// # Panics
    /// If there are not as many rows from `first` on.
    pub fn zip<T>(&self, first: usize, out: &mut [T], mut each: impl FnMut(&mut T, Option<bool>)) {
        self.rows.zip(first, out, |out, chunk, at| each(out, chunk.get(at)));
    }
}

impl BoolChunk {
    #[inline]
    fn get(&self, at: usize) -> Option<bool> {
        assert!(at < self.len, "row {at} of a chunk of {}", self.len);
        match &self.values {
            Bits::Packed { bits, offset } => self.validity.get(at).then(|| bit(bits, at + offset)),
            Bits::Flags(flags) => flags[at],
            Bits::Null => None,
        }
    }

    fn of_piece(piece: &Piece, dtype: &Type) -> Result<Self> {
        let (node, validity) = piece.node(dtype)?;
        let len = piece.window.len;
        let values = if *dtype == Type::Null || len == 0 {
            Bits::Null
        } else {
            let first = node.offset + piece.window.skip;
            let (start, end) = (first / 8, (first + len).div_ceil(8));
            let bits = node.buffer(1, end, "values")?.wrapping_add(start);
            // SAFETY: the bits cover length + offset rows, as the interface says.
            Bits::Packed { bits: unsafe { copied(bits, end - start) }?, offset: first % 8 }
        };
        Ok(Self { len, validity, values })
    }

    fn of_flags(flags: Vec<Option<bool>>) -> Self {
        Self { len: flags.len(), validity: Validity::all(), values: Bits::Flags(flags) }
    }
}

const WANTED: &str = "a bool column, a bool buffer, or a sequence of bool";

impl AnyColumn {
    fn bools(&self, py: Python<'_>) -> Result<BoolColumn> {
        let takes = |of: &Type| matches!(of, Type::Bool | Type::Null);
        if let Some(nulls) = self.as_nulls(py, takes)? {
            return nulls.bools(py);
        }
        let chunks = match self.source() {
            Source::Arrow(column) => {
                if !takes(&column.dtype) {
                    return Err(self.unwanted(&column.dtype, WANTED));
                }
                let chunks = column.pieces.iter().map(|piece| BoolChunk::of_piece(piece, &column.dtype));
                chunks.collect::<Result<Vec<_>>>().map_err(|error| error.about(self.name()))?
            }
            Source::Items(items) => {
                let items = items.bind(py);
                let mut flags = room(items.len())?;
                for (at, item) in items.iter_borrowed().enumerate() {
                    let flag = flag(&item);
                    flags.push(flag.map_err(|got| self.unwanted(format!("{got} in row {at}"), "bool or None"))?);
                }
                vec![BoolChunk::of_flags(flags)]
            }
            Source::Datetime64 { code, .. } => return Err(self.unwanted(format!("a NumPy array of {code}"), WANTED)),
            Source::Buffer(buffer) => {
                let flags = flags(py, buffer).map_err(|error| error.about(self.name()))?;
                vec![BoolChunk::of_flags(flags)]
            }
        };
        Ok(BoolColumn { rows: Chunked::new(chunks) })
    }
}

fn flag(item: &Bound<'_, PyAny>) -> std::result::Result<Option<bool>, String> {
    if item.is_none() {
        return Ok(None);
    }
    if let Ok(flag) = item.cast::<PyBool>() {
        return Ok(Some(flag.is_true()));
    }
    if is_missing(item) {
        return Ok(None);
    }
    let name = type_name(item);
    let is_numpy = matches!(name.as_str(), "numpy.bool" | "numpy.bool_");
    item.is_truthy().ok().filter(|_| is_numpy).map(Some).ok_or(name)
}

fn flags(py: Python<'_>, buffer: &PyUntypedBuffer) -> Result<Vec<Option<bool>>> {
    let format = buffer.format().to_string_lossy();
    let is_bool = format.trim_start_matches(['@', '=', '<', '>', '!', '|']) == "?" && buffer.item_size() == 1;
    if !is_bool || buffer.dimensions() != 1 {
        return Err(InputError::new(format!(
            "got a buffer of shape {:?} and format {format:?}, expected {WANTED}",
            buffer.shape()
        )));
    }
    let copy = super::buffers::copied(py, buffer)?;
    let mut flags = room(buffer.len_bytes())?;
    let bytes = copy.iter().flat_map(|eight| eight.to_ne_bytes());
    flags.extend(bytes.take(buffer.len_bytes()).map(|byte| Some(byte != 0)));
    Ok(flags)
}
