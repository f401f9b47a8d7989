//! Columns of lists of text, and columns of names or numbers.

use std::borrow::Cow;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::binary::{BinaryChunk, Kind, StringColumn, Texts, chunk_of_text, kind_of, rising};
use super::capsule::type_name;
use super::chunked::{Chunk, Chunked};
use super::error::{InputError, Result};
use super::numbers::IntColumn;
use super::schema::Type;
use super::source::{AnyColumn, Piece, Source};
use super::view::Validity;

/// A column of an enumeration: its names or its numbers.
#[derive(Debug)]
pub enum TextOrInt {
    /// Names; a column of nulls is one of these.
    Text(StringColumn),
    /// Numbers; one beyond 63 bits is no member's.
    Int(IntColumn),
}

impl TextOrInt {
    /// The column as names or numbers, as it came.
    ///
    /// # Errors
    /// Another type, and what contradicts itself.
    pub fn new(py: Python<'_>, column: &AnyColumn) -> Result<Self> {
        column.text_or_ints(py)
    }
}

/// Rows of lists of text.
#[derive(Debug)]
pub struct TextListColumn {
    rows: Chunked<ListChunk>,
}

#[derive(Debug)]
struct ListChunk {
    len: usize,
    validity: Validity,
    /// Row `at` holds the texts from `starts[at]` up to `starts[at + 1]`.
    starts: Vec<usize>,
    texts: BinaryChunk,
    #[allow(dead_code, reason = "held, not read")]
    keep: Option<super::source::Keep>,
}

impl Chunk for ListChunk {
    fn rows(&self) -> usize {
        self.len
    }
}

impl TextListColumn {
    /// The column as lists of text.
    ///
    /// # Errors
    /// Another type, and what contradicts itself.
    pub fn new(py: Python<'_>, column: &AnyColumn) -> Result<Self> {
        column.text_lists(py)
    }

    /// The texts of row `at`, empty where one is null; `None` where the row is. What is no UTF-8 comes with replacement characters.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Vec<Cow<'_, str>>> {
        let (chunk, at) = self.rows.locate(at);
        // SAFETY: a row of this chunk, whose owner it keeps.
        let valid = unsafe { chunk.validity.get(at) };
        let texts = chunk.starts[at]..chunk.starts[at + 1];
        valid.then(|| texts.map(|text| String::from_utf8_lossy(chunk.texts.get(text).unwrap_or_default())).collect())
    }
}

impl ListChunk {
    fn of_piece(piece: &Piece, large: bool, dtype: &Type, item: &Type) -> Result<Self> {
        let (node, validity) = piece.node(dtype)?;
        // SAFETY: the node is of a list type and has one child.
        let texts = BinaryChunk::of_nested(unsafe { node.child(0) }?, item)?;
        let len = piece.window.len;
        let starts = if large {
            starts::<i64>(rising(&node, piece.window)?, len)
        } else {
            starts::<i32>(rising(&node, piece.window)?, len)
        };
        let end = starts.last().copied().unwrap_or(0);
        if end > texts.len() {
            return Err(InputError::new(format!("got Arrow list offsets up to {end} over {} items", texts.len())));
        }
        Ok(Self { len, validity, starts, texts, keep: Some(piece.owner.clone()) })
    }
}

fn starts<T: super::binary::Offset>((offsets, _): (*const T, usize), len: usize) -> Vec<usize> {
    if len == 0 {
        return vec![0];
    }
    // SAFETY: `rising` has read these very len + 1 offsets and found them from 0 up.
    (0..=len).map(|at| unsafe { offsets.add(at).read_unaligned() }.into() as usize).collect()
}

const LISTS: &str = "lists of strings";
const NAMES_OR_NUMBERS: &str =
    "string (small, large, view or dictionary), an integer of any width, or a sequence of str or of int";

impl AnyColumn {
    fn text_lists(&self, py: Python<'_>) -> Result<TextListColumn> {
        let chunks = match self.source() {
            Source::Arrow(column) => {
                let Type::List { large, item } = &column.dtype else { return Err(self.unwanted(&column.dtype, LISTS)) };
                if kind_of(item) == Some(Kind::Bytes) {
                    return Err(self.unwanted(&column.dtype, LISTS));
                }
                let chunks = column.pieces.iter().map(|piece| ListChunk::of_piece(piece, *large, &column.dtype, item));
                chunks.collect::<Result<Vec<_>>>().map_err(|error| error.about(self.name()))?
            }
            Source::Items(items) => vec![self.list_items(items.bind(py))?],
            Source::Buffer(..) => return Err(self.unwanted("a buffer", LISTS)),
        };
        Ok(TextListColumn { rows: Chunked::new(chunks) })
    }

    fn list_items(&self, items: &Bound<'_, PyTuple>) -> Result<ListChunk> {
        let py = items.py();
        let (mut texts, mut keep, mut starts, mut valid) = (Texts::default(), Vec::new(), vec![0], Vec::new());
        for (at, item) in items.iter_borrowed().enumerate() {
            valid.push(!item.is_none());
            if !item.is_none() {
                if item.is_instance_of::<PyString>() || item.try_iter().is_err() {
                    return Err(self.error(format!("row {at} is {}, wanted a list of str or None", type_name(&item))));
                }
                let failed = |cause| InputError::raised(py, self.name(), "reading its lists", cause);
                let row = py.get_type::<PyTuple>().call1((item,)).map_err(failed)?;
                let row = row.cast_into_exact::<PyTuple>().map_err(|_| self.error("a tuple was wanted"))?;
                self.text_items(&row, &mut texts).map_err(|error| error.about(&format!("in row {at}")))?;
                keep.push(row.unbind());
            }
            starts.push(texts.pairs.len());
        }
        let texts = chunk_of_text(texts.pairs, Arc::new((keep, texts.written)));
        let validity = Validity::from_flags(valid.into_iter());
        Ok(ListChunk { len: starts.len() - 1, validity, starts, texts, keep: None })
    }

    fn text_or_ints(&self, py: Python<'_>) -> Result<TextOrInt> {
        let is_text = match self.source() {
            Source::Arrow(column) => match &column.dtype {
                Type::Int(_) => false,
                dtype if matches!(kind_of(dtype), Some(Kind::Text | Kind::Null)) => true,
                other => return Err(self.unwanted(other, NAMES_OR_NUMBERS)),
            },
            Source::Items(items) => {
                let first = items.bind(py).iter_borrowed().find(|item| !item.is_none());
                first.is_none_or(|first| first.is_instance_of::<PyString>())
            }
            Source::Buffer(..) => false,
        };
        if is_text {
            StringColumn::new(py, self).map(TextOrInt::Text)
        } else {
            IntColumn::with_outside(py, self).map(TextOrInt::Int)
        }
    }
}
