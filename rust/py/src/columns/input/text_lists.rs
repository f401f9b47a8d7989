//! Columns of lists of text, and columns of names or numbers.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::binary::{BinaryChunk, Kind, StringColumn, chunk_of_text, kind_of, rising};
use super::cells::{Cells, Takes};
use super::chunked::{Chunk, Chunked};
use super::missing::is_missing;
use super::numbers::IntColumn;
use super::source::{AnyColumn, Piece, Source};
use super::view::{Validity, room};
use crate::arguments::type_name;
use crate::columns::error::{InputError, Result};
use crate::columns::schema::Type;

/// A column of an enumeration: its names or its numbers.
#[derive(Debug)]
pub enum TextOrInt {
    /// Names; a column of nulls is one of these.
    Text(StringColumn),
    /// Numbers; one beyond 63 bits names no member.
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
    keep: Option<super::view::Keep>,
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

    /// The texts of row `at`, empty where one is null, and of a longer one its first `most` bytes; `None` where the row is null. What
    /// is not UTF-8 comes with replacement characters.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn get(&self, at: usize, most: usize) -> Option<Vec<String>> {
        let (chunk, at) = self.rows.locate(at);
        let text = |text| String::from_utf8_lossy(&chunk.texts.get(text, most).unwrap_or_default()).into_owned();
        chunk.validity.get(at).then(|| (chunk.starts[at]..chunk.starts[at + 1]).map(text).collect())
    }
}

impl ListChunk {
    fn of_piece(piece: &Piece, large: bool, dtype: &Type, item: &Type) -> Result<Self> {
        let (node, validity) = piece.node(dtype)?;
        // SAFETY: the node is of a list type and has one child.
        let texts = BinaryChunk::of_nested(unsafe { node.child(0) }?, item)?;
        let len = piece.window.len;
        let starts = if large {
            starts::<i64>(rising(&node, piece.window)?)?
        } else {
            starts::<i32>(rising(&node, piece.window)?)?
        };
        let end = starts.last().copied().unwrap_or(0);
        if end > texts.len() {
            return Err(InputError::new(format!("got Arrow list offsets up to {end} over {} items", texts.len())));
        }
        Ok(Self { len, validity, starts, texts, keep: Some(piece.owner.clone()) })
    }
}

fn starts<T: super::binary::Offset>((offsets, _): (Vec<T>, usize)) -> Result<Vec<usize>> {
    let mut starts = room(offsets.len().max(1))?;
    starts.extend(offsets.into_iter().map(|offset| offset.into() as usize));
    if starts.is_empty() {
        starts.push(0);
    }
    Ok(starts)
}

const LISTS: &str = "lists of strings";
const NAMES_OR_NUMBERS: &str =
    "string (small, large, view or dictionary), an integer of any width, or a sequence of str or of int";

impl AnyColumn {
    fn text_lists(&self, py: Python<'_>) -> Result<TextListColumn> {
        if let Some(nulls) = self.as_nulls(py, |of| matches!(of, Type::List { .. }))? {
            return nulls.text_lists(py);
        }
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
            Source::Buffer(..) | Source::Datetime64 { .. } => return Err(self.unwanted("a buffer", LISTS)),
        };
        Ok(TextListColumn { rows: Chunked::new(chunks) })
    }

    fn list_items(&self, items: &Bound<'_, PyTuple>) -> Result<ListChunk> {
        let py = items.py();
        let (mut texts, mut keep, mut starts, mut valid) = (Cells::default(), Vec::new(), vec![0], Vec::new());
        for (at, item) in items.iter_borrowed().enumerate() {
            valid.push(!is_missing(&item));
            if !is_missing(&item) {
                if item.is_instance_of::<PyString>() || item.try_iter().is_err() {
                    return Err(self.unwanted(format!("{} in row {at}", type_name(&item)), "a list of str or None"));
                }
                let failed = |cause| InputError::raised(py, self.name(), "reading its lists", cause);
                let row = py.get_type::<PyTuple>().call1((item,)).map_err(failed)?;
                let row = row.cast_into_exact::<PyTuple>().map_err(|_| self.unwanted("another type", "a tuple"))?;
                self.cells(&row, Takes::Text, &mut texts).map_err(|error| error.about(&format!("in row {at}")))?;
                keep.push(row.unbind());
            }
            starts.push(texts.len());
        }
        let (pairs, kept) = texts.finish();
        let texts = chunk_of_text(pairs, Arc::new((keep, kept)));
        let validity = Validity::from_flags(valid.into_iter())?;
        Ok(ListChunk { len: starts.len() - 1, validity, starts, texts, keep: None })
    }

    fn text_or_ints(&self, py: Python<'_>) -> Result<TextOrInt> {
        let is_text = |of: &Type| match of {
            Type::Int(_) | Type::Float64 => Some(false),
            of => matches!(kind_of(of), Some(Kind::Text | Kind::Null)).then_some(true),
        };
        if let Some(nulls) = self.as_nulls(py, |of| is_text(of).is_some())? {
            return nulls.text_or_ints(py);
        }
        let is_text = match self.source() {
            Source::Arrow(column) => {
                is_text(&column.dtype).ok_or_else(|| self.unwanted(&column.dtype, NAMES_OR_NUMBERS))?
            }
            Source::Items(items) => {
                let first = items.bind(py).iter_borrowed().find(|item| !is_missing(item));
                first.is_none_or(|first| first.is_instance_of::<PyString>())
            }
            Source::Buffer(buffer) => buffer.format().to_bytes().last() == Some(&b's'),
            Source::Datetime64 { .. } => false,
        };
        if is_text {
            StringColumn::new(py, self).map(TextOrInt::Text)
        } else {
            IntColumn::with_outside(py, self).map(TextOrInt::Int)
        }
    }
}
