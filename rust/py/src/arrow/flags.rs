//! Columns of booleans.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use super::capsule::type_name;
use super::chunked::{Chunk, Chunked};
use super::error::{InputError, Result};
use super::schema::Type;
use super::source::{AnyColumn, Keep, Piece, Source};
use super::view::Validity;

/// Rows of booleans.
#[derive(Debug)]
pub struct BoolColumn {
    rows: Chunked<BoolChunk>,
}

#[derive(Debug)]
struct BoolChunk {
    len: usize,
    validity: Validity,
    /// One bit a row.
    values: Bits,
    #[allow(dead_code, reason = "held, not read")]
    keep: Option<Keep>,
}

#[derive(Debug)]
enum Bits {
    Packed { bits: *const u8, offset: usize },
    Flags(Vec<Option<bool>>),
    Null,
}

// SAFETY: the bits are only read, and their owner is kept alive by the chunk.
unsafe impl Send for BoolChunk {}
// SAFETY: as above.
unsafe impl Sync for BoolChunk {}

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

    /// The value of row `at`; `None` where it is null.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<bool> {
        let (chunk, at) = self.rows.locate(at);
        chunk.get(at)
    }
}

impl BoolChunk {
    fn get(&self, at: usize) -> Option<bool> {
        assert!(at < self.len, "row {at} of a chunk of {}", self.len);
        match &self.values {
            // SAFETY: a row of this chunk, whose owner it keeps.
            Bits::Packed { bits, offset } => unsafe {
                let place = at + offset;
                self.validity.get(at).then(|| *bits.add(place / 8) >> (place % 8) & 1 == 1)
            },
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
            let offset = node.offset + piece.window.skip;
            Bits::Packed { bits: node.buffer(1, (offset + len).div_ceil(8), "values")?, offset }
        };
        Ok(Self { len, validity, values, keep: Some(piece.owner.clone()) })
    }

    fn of_flags(flags: Vec<Option<bool>>) -> Self {
        Self { len: flags.len(), validity: Validity::all(), values: Bits::Flags(flags), keep: None }
    }
}

const WANTED: &str = "a bool column, a bool buffer, or a sequence of bool";

impl AnyColumn {
    fn bools(&self, py: Python<'_>) -> Result<BoolColumn> {
        let chunks = match self.source() {
            Source::Arrow(column) => {
                if !matches!(column.dtype, Type::Bool | Type::Null) {
                    return Err(self.unwanted(&column.dtype, WANTED));
                }
                let chunks = column.pieces.iter().map(|piece| BoolChunk::of_piece(piece, &column.dtype));
                chunks.collect::<Result<Vec<_>>>().map_err(|error| error.about(self.name()))?
            }
            Source::Items(items) => {
                let flags = items.bind(py).iter_borrowed().enumerate().map(|(at, item)| {
                    flag(&item).map_err(|got| self.error(format!("row {at} is {got}, wanted bool or None")))
                });
                vec![BoolChunk::of_flags(flags.collect::<Result<_>>()?)]
            }
            Source::Buffer(buffer, unit) => {
                let flags = flags(py, buffer, unit.is_some()).map_err(|error| error.about(self.name()))?;
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
    item.cast::<PyBool>().map(|flag| Some(flag.is_true())).map_err(|_| type_name(item))
}

fn flags(py: Python<'_>, buffer: &PyUntypedBuffer, is_time: bool) -> Result<Vec<Option<bool>>> {
    let format = buffer.format().to_string_lossy();
    let is_bool = format.trim_start_matches(['@', '=', '<', '>', '!', '|']) == "?" && buffer.item_size() == 1;
    if !is_bool || is_time || buffer.dimensions() != 1 {
        return Err(InputError::new(format!(
            "got a buffer of shape {:?} and format {format:?}, wanted {WANTED}",
            buffer.shape()
        )));
    }
    let copy = super::numbers::copied(py, buffer)?;
    // SAFETY: the copy has at least that many bytes.
    let bytes = unsafe { std::slice::from_raw_parts(copy.as_ptr().cast::<u8>(), buffer.len_bytes()) };
    Ok(bytes.iter().map(|&byte| Some(byte != 0)).collect())
}
