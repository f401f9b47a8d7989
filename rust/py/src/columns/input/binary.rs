//! Columns of bytes and of text.
//!
//! Offsets, views, codes and validity are copied when a column is taken, and checked in the copy. The bytes of a row are copied
//! when the row is fetched, and only then: nothing is read where it lies but what Python itself keeps unchanged.

use std::borrow::Cow;
use std::sync::Arc;

use itron_core::code::{Check, Code};
use itron_core::format::text::TextReader;
use itron_core::parallel::scratch::{Place, Scratch};
use itron_core::parallel::stop::Stop;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::cells::{Cells, NoCopy, Pair, Takes, somewhere};
use super::chunked::{Chunk, Chunked};
use super::missing::is_missing;
use super::source::{AnyColumn, Piece, Source, nested};
use super::view::{Integers, Keep, MOST_BYTES, Node, Validity, Window, copied, room};
use crate::columns::error::{InputError, Result};
use crate::columns::ffi::ArrowArray;
use crate::columns::schema::{Form, Type};

/// What a column of bytes holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Strings, not checked to be UTF-8 where they come from Arrow.
    Text,
    /// Bytes.
    Bytes,
    /// No value at all: a column of nulls, or an empty list.
    Null,
}

/// Rows of bytes, or of text as its UTF-8 bytes.
#[derive(Debug)]
pub struct BinaryColumn {
    rows: Chunked<BinaryChunk>,
    kind: Kind,
}

/// Rows of text, as UTF-8 bytes; those from Arrow are not checked to be that.
#[derive(Debug)]
pub struct StringColumn(BinaryColumn);

impl StringColumn {
    /// The column as text.
    ///
    /// # Errors
    /// Another type, binary among them, and what contradicts itself.
    pub fn new(py: Python<'_>, column: &AnyColumn) -> Result<Self> {
        column.binary(py, Wanted::Text).map(Self)
    }
}

impl std::ops::Deref for StringColumn {
    type Target = BinaryColumn;

    fn deref(&self) -> &BinaryColumn {
        &self.0
    }
}

/// Rows of tokens: bytes, or the text of bytes, row by row.
#[derive(Debug)]
pub struct TokenColumn(BinaryColumn);

impl TokenColumn {
    /// The column as tokens.
    ///
    /// # Errors
    /// Another type, and what contradicts itself.
    pub fn new(py: Python<'_>, column: &AnyColumn) -> Result<Self> {
        column.binary(py, Wanted::Tokens).map(Self)
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether row `at` is null.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn is_null(&self, at: usize) -> bool {
        let (chunk, at) = self.0.rows.locate(at);
        chunk.raw(at).is_none()
    }

    /// Copies the token of row `at`, or the code that the row has without one: 1, 2, or 100 for one of over `most` bytes, which
    /// is not read.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub fn fetch(&self, at: usize, most: usize, scratch: &mut Scratch) -> std::result::Result<Check<Place>, Stop> {
        let (chunk, at) = self.0.rows.locate(at);
        match chunk.raw(at).filter(|raw| raw.len > 0) {
            None => Ok(Err(Code::NoToken)),
            Some(raw) if raw.is_text => raw.decode(most, scratch),
            Some(raw) if raw.len > most => Ok(Err(Code::TooLarge)),
            Some(raw) => raw.fetch(usize::MAX, scratch).map(Ok),
        }
    }
}

/// Consecutive rows of bytes.
#[derive(Debug)]
pub struct BinaryChunk {
    len: usize,
    validity: Validity,
    layout: Layout,
    is_text: bool,
    #[allow(dead_code, reason = "held, not read")]
    keep: Option<Keep>,
}

#[derive(Debug)]
enum Layout {
    Small {
        offsets: Vec<i32>,
        data: *const u8,
    },
    Large {
        offsets: Vec<i64>,
        data: *const u8,
    },
    View {
        views: Vec<View>,
        buffers: Vec<(*const u8, i64)>,
    },
    Fixed {
        data: *const u8,
        width: usize,
    },
    /// Text of this width, padded with zeros.
    Padded {
        data: *const u8,
        width: usize,
    },
    /// Of `bytes` and `str`, or of copies.
    Pairs(Vec<Pair>),
    Dictionary {
        codes: Integers,
        values: Box<BinaryChunk>,
    },
    Null,
}

/// A view: a length, then the bytes themselves up to 12 of them, else four bytes, a buffer's index and an offset in it.
type View = [i32; 4];
const LONGEST_INLINE: i32 = 12;

// SAFETY: the rows are only read, and their owner is kept alive by the chunk.
unsafe impl Send for BinaryChunk {}
// SAFETY: as above.
unsafe impl Sync for BinaryChunk {}

impl Chunk for BinaryChunk {
    fn rows(&self) -> usize {
        self.len
    }
}

/// Where a row's bytes lie, in memory that somebody may change: they are not looked at, but copied.
#[derive(Clone, Copy, Debug)]
struct Raw {
    data: *const u8,
    len: usize,
    is_text: bool,
}

impl Raw {
    /// Copies the bytes from `first` on; there are as many.
    fn copy(self, first: usize, to: &mut [u8]) {
        debug_assert!(first + to.len() <= self.len);
        // SAFETY: made by `BinaryChunk::raw` for a row of the chunk, whose owner lives as long as the column that is borrowed.
        unsafe { std::ptr::copy_nonoverlapping(self.data.wrapping_add(first), to.as_mut_ptr(), to.len()) };
    }

    /// Reads the at most [`Short::LONGEST`] bytes, by loads of fixed sizes into registers.
    #[inline]
    fn short(self) -> Short {
        fn part<const N: usize>(raw: Raw, first: usize) -> [u8; N] {
            let mut part = [0; N];
            raw.copy(first, &mut part);
            part
        }
        let len = self.len;
        let both = |low: u64, high: u64| [u128::from(low) | u128::from(high) << 64, 0];
        let words = match len {
            16.. => [0, len - 16].map(|first| u128::from_le_bytes(part(self, first))),
            8..16 => both(u64::from_le_bytes(part(self, 0)), u64::from_le_bytes(part(self, len - 8))),
            4..8 => both(u32::from_le_bytes(part(self, 0)).into(), u32::from_le_bytes(part(self, len - 4)).into()),
            2..4 => both(u16::from_le_bytes(part(self, 0)).into(), u16::from_le_bytes(part(self, len - 2)).into()),
            1 => [u128::from(part::<1>(self, 0)[0]), 0],
            0 => [0; 2],
        };
        Short { len, words }
    }

    /// Copies the bytes, but at most `most` of them.
    #[inline]
    fn fetch(self, most: usize, scratch: &mut Scratch) -> std::result::Result<Place, Stop> {
        let (place, to) = scratch.room(self.len.min(most))?;
        self.copy(0, to);
        Ok(place)
    }

    /// Copies the token of which this is the text.
    fn decode(self, most: usize, scratch: &mut Scratch) -> std::result::Result<Check<Place>, Stop> {
        const PIECE: usize = 1_024;
        let (place, out) = scratch.room(most.min(self.len))?;
        let (mut reader, mut piece) = (TextReader::default(), [0; PIECE]);
        for first in (0..self.len).step_by(PIECE) {
            let piece = &mut piece[..PIECE.min(self.len - first)];
            self.copy(first, piece);
            reader.read(piece, out);
        }
        Ok(reader.finish().and_then(|len| if len > most { Err(Code::TooLarge) } else { Ok(place.first(len)) }))
    }
}

/// A value of few bytes, which was read once: its first bytes and its last ones, which overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Short {
    len: usize,
    words: [u128; 2],
}

impl Short {
    const LONGEST: usize = 32;

    /// The bytes, zeros after them. Where first and last ones overlap and differ, the last ones count.
    fn bytes(&self) -> [u8; Self::LONGEST] {
        let &Self { len, words: [low, high] } = self;
        let mut bytes = [0; Self::LONGEST];
        let (size, last) = match len {
            16.. => (16, high),
            8..16 => (8, low >> 64),
            4..8 => (4, low >> 64),
            2..4 => (2, low >> 64),
            _ => (len, low),
        };
        for (first, word) in [(0, low), (len - size, last)] {
            bytes[first..first + size].copy_from_slice(&word.to_le_bytes()[..size]);
        }
        bytes
    }

    /// Where a value is remembered.
    #[inline]
    fn slot(&self) -> usize {
        let [low, high] = self.words;
        let mixed = low as u64 ^ (low >> 64) as u64 ^ high as u64 ^ self.len as u64;
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize
    }
}

impl BinaryColumn {
    /// The column as bytes; Arrow strings are taken as their UTF-8 bytes, a list of `str` is not.
    ///
    /// # Errors
    /// Another type, and what contradicts itself.
    pub fn new(py: Python<'_>, column: &AnyColumn) -> Result<Self> {
        column.binary(py, Wanted::Bytes)
    }

    /// The column as text or bytes, as it came: see [`BinaryColumn::kind`].
    ///
    /// # Errors
    /// Another type, and what contradicts itself.
    pub fn bytes_or_text(py: Python<'_>, column: &AnyColumn) -> Result<Self> {
        column.binary(py, Wanted::Either)
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.rows()
    }

    /// The most bytes that the first `most` bytes of each row can be together.
    #[must_use]
    pub fn bytes(&self, most: usize) -> usize {
        self.chunks().iter().fold(0, |sum: usize, chunk| sum.saturating_add(chunk.bytes(most)))
    }

    /// What the column holds.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Copies the bytes of row `at`, and of a longer row its first `most` bytes; `None` where it is null.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub fn fetch(&self, at: usize, most: usize, scratch: &mut Scratch) -> std::result::Result<Option<Place>, Stop> {
        let (chunk, at) = self.rows.locate(at);
        chunk.raw(at).map(|raw| raw.fetch(most, scratch)).transpose()
    }

    /// The bytes of row `at`, and of a longer row its first `most` bytes; `None` where it is null.
    ///
    /// A second call may see other bytes.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn get(&self, at: usize, most: usize) -> Option<Cow<'_, [u8]>> {
        let (chunk, at) = self.rows.locate(at);
        chunk.get(at, most)
    }

    /// Copies the bytes of row `at` to `room`, as many as there is room for. How many the row has; `None` where it is null.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn copy_to(&self, at: usize, room: &mut [u8]) -> Option<usize> {
        let (chunk, at) = self.rows.locate(at);
        let raw = chunk.raw(at)?;
        if let (0..=Short::LONGEST, Some(room)) = (raw.len, room.first_chunk_mut()) {
            *room = raw.short().bytes();
        } else {
            let len = raw.len.min(room.len());
            raw.copy(0, &mut room[..len]);
        }
        Some(raw.len)
    }

    /// The pieces that the column came in.
    #[must_use]
    pub fn chunks(&self) -> &[BinaryChunk] {
        self.rows.chunks()
    }

    /// What `map` makes of each row's first `most` bytes, at most [`LONGEST_MAPPED`], and `null` where there is none; a value that
    /// repeats, as in a dictionary, is mapped once.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn map_values<T: Copy>(&self, most: usize, null: T, mut map: impl FnMut(&[u8]) -> T) -> Result<Vec<T>> {
        let mut out = room(self.len())?;
        for chunk in self.chunks() {
            match &chunk.layout {
                Layout::Dictionary { codes, values } => {
                    let mut mapped = room(values.len)?;
                    values.map_rows(most, null, &mut map, &mut mapped);
                    let code = |at| chunk.validity.get(at).then(|| codes.get(at) as usize);
                    out.extend((0..chunk.len).map(|at| code(at).map_or(null, |code| mapped[code])));
                }
                _ => chunk.map_rows(most, null, &mut map, &mut out),
            }
        }
        Ok(out)
    }

    fn of(chunks: impl IntoIterator<Item = BinaryChunk>, kind: Kind) -> Self {
        Self { rows: Chunked::new(chunks), kind }
    }
}

/// The most bytes of a value that is mapped.
pub const LONGEST_MAPPED: usize = 80;
/// Values that are remembered while a column is mapped: names of an enumeration are few.
const REMEMBERED: usize = 64;

impl BinaryChunk {
    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The bytes of row `at`, and of a longer row its first `most` bytes; `None` where it is null.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn get(&self, at: usize, most: usize) -> Option<Cow<'_, [u8]>> {
        let raw = self.raw(at)?;
        let mut copy = vec![0; raw.len.min(most)];
        raw.copy(0, &mut copy);
        Some(Cow::Owned(copy))
    }

    /// Adds what `map` makes of each row.
    fn map_rows<T: Copy>(&self, most: usize, null: T, map: &mut impl FnMut(&[u8]) -> T, out: &mut Vec<T>) {
        let mut remembered = [(Short::default(), null); REMEMBERED];
        let mut value = [0; LONGEST_MAPPED];
        self.each_raw(|raw| {
            let Some(raw) = raw else { return out.push(null) };
            if raw.len == 0 || raw.len > Short::LONGEST {
                let value = &mut value[..raw.len.min(most).min(LONGEST_MAPPED)];
                raw.copy(0, value);
                return out.push(map(value));
            }
            let value = raw.short();
            let (seen, mapped) = &mut remembered[value.slot()];
            if *seen != value {
                (*seen, *mapped) = (value, map(&value.bytes()[..raw.len.min(most)]));
            }
            out.push(*mapped);
        });
    }

    /// Calls `each` with where the bytes of each row lie; `None` where it is null.
    #[inline]
    fn each_raw(&self, mut each: impl FnMut(Option<Raw>)) {
        match &self.layout {
            // Most columns: nothing is asked row by row.
            Layout::Small { offsets, data } if self.validity.is_all() => {
                for (from, to) in offsets.iter().zip(&offsets[1..]) {
                    let (data, len) = (data.wrapping_add(*from as usize), (to - from) as usize);
                    each(Some(Raw { data, len, is_text: self.is_text }));
                }
            }
            _ => (0..self.len).for_each(|at| each(self.raw(at))),
        }
    }

    fn bytes(&self, most: usize) -> usize {
        let all = match &self.layout {
            Layout::Small { offsets, .. } => offsets.last().map_or(0, |&end| (end - offsets[0]) as usize),
            Layout::Large { offsets, .. } => offsets.last().map_or(0, |&end| (end - offsets[0]) as usize),
            _ => {
                let lengths = (0..self.len).filter_map(|at| self.raw(at)).map(|raw| raw.len.min(most));
                lengths.fold(0, usize::saturating_add)
            }
        };
        all.min(most.saturating_mul(self.len))
    }

    /// Where the bytes of row `at` lie; `None` where it is null.
    #[inline]
    fn raw(&self, at: usize) -> Option<Raw> {
        assert!(at < self.len, "row {at} of a chunk of {}", self.len);
        if !self.validity.get(at) {
            return None;
        }
        let raw = |data: *const u8, len: usize| Some(Raw { data, len, is_text: self.is_text });
        match &self.layout {
            Layout::Small { offsets, data } => {
                let (from, to) = (offsets[at] as usize, offsets[at + 1] as usize);
                raw(data.wrapping_add(from), to - from)
            }
            Layout::Large { offsets, data } => {
                let (from, to) = (offsets[at] as usize, offsets[at + 1] as usize);
                raw(data.wrapping_add(from), to - from)
            }
            Layout::View { views, buffers } => {
                let view = &views[at];
                let [length, _, buffer, offset] = *view;
                if length <= LONGEST_INLINE {
                    return raw(std::ptr::from_ref(view).cast::<u8>().wrapping_add(4), length as usize);
                }
                raw(buffers[buffer as usize].0.wrapping_add(offset as usize), length as usize)
            }
            Layout::Fixed { data, width } => raw(data.wrapping_add(at * width), *width),
            Layout::Padded { data, width } => {
                let row = data.wrapping_add(at * width);
                // SAFETY: a row of a buffer of our own.
                let len = (0..*width).rev().find(|&at| unsafe { *row.add(at) } != 0).map_or(0, |last| last + 1);
                raw(row, len)
            }
            Layout::Pairs(pairs) => pairs[at].parts().map(|(data, len, is_text)| Raw { data, len, is_text }),
            Layout::Dictionary { codes, values } => values.raw(codes.get(at) as usize),
            Layout::Null => None,
        }
    }

    fn owned(len: usize, layout: Layout, is_text: bool, keep: Option<Keep>) -> Self {
        Self { len, validity: Validity::all(), layout, is_text, keep }
    }

    /// The rows of an Arrow array.
    pub(super) fn of_piece(piece: &Piece, dtype: &Type) -> Result<Self> {
        let (node, validity) = piece.node(dtype)?;
        let mut chunk = Self::of_node(&node, piece.window, validity, dtype)?;
        chunk.keep = Some(piece.owner.clone());
        Ok(chunk)
    }

    /// All rows of a child or a dictionary; whoever asks keeps the owner.
    pub(super) fn of_nested(array: &ArrowArray, dtype: &Type) -> Result<Self> {
        let (node, validity) = nested(array, dtype)?;
        Self::of_node(&node, node.all(), validity, dtype)
    }

    fn of_node(node: &Node<'_>, window: Window, validity: Validity, dtype: &Type) -> Result<Self> {
        let layout = match dtype {
            _ if window.len == 0 => Layout::Null,
            Type::Null => Layout::Null,
            Type::Bytes { form: Form::Small, .. } => {
                let (offsets, data) = offsets::<i32>(node, window)?;
                Layout::Small { offsets, data }
            }
            Type::Bytes { form: Form::Large, .. } => {
                let (offsets, data) = offsets::<i64>(node, window)?;
                Layout::Large { offsets, data }
            }
            Type::Bytes { form: Form::View, .. } => views(node, window, &validity)?,
            Type::Bytes { form: Form::Fixed(width), .. } => {
                let first = node.offset + window.skip;
                let data = node.buffer(1, bytes(first + window.len, *width)?, "values")?;
                Layout::Fixed { data: somewhere(data.wrapping_add(first * width)), width: *width }
            }
            Type::Dictionary(index, values) => {
                let codes = Integers::of(node, *index, window)?.copied()?;
                // SAFETY: the node is of a dictionary type and has a dictionary.
                let values = Box::new(Self::of_nested(unsafe { node.dictionary() }?, values)?);
                check_codes(&codes, &validity, window.len, values.len)?;
                Layout::Dictionary { codes, values }
            }
            other => return Err(InputError::new(format!("got {other}, expected bytes or text"))),
        };
        Ok(Self { len: window.len, validity, layout, is_text: kind_of(dtype) == Some(Kind::Text), keep: None })
    }
}

fn bytes(rows: usize, width: usize) -> Result<usize> {
    rows.checked_mul(width).filter(|&bytes| bytes as i64 <= MOST_BYTES).ok_or_else(|| {
        InputError::new(format!(
            "got an Arrow array of {rows} rows of {width} bytes, expected at most {MOST_BYTES} bytes in all"
        ))
    })
}

/// An offset of either width.
pub(super) trait Offset: Copy + Into<i64> {}
impl Offset for i32 {}
impl Offset for i64 {}

/// The offsets of a window, that rise from row to row, and the data that they point into.
fn offsets<T: Offset>(node: &Node<'_>, window: Window) -> Result<(Vec<T>, *const u8)> {
    let (offsets, last) = rising::<T>(node, window)?;
    let data = node.buffer(2, last, "data")?;
    Ok((offsets, somewhere(data)))
}

/// A copy of the offsets of a window, and the end of the bytes or items that they take.
pub(super) fn rising<T: Offset>(node: &Node<'_>, window: Window) -> Result<(Vec<T>, usize)> {
    if window.len == 0 {
        return Ok((Vec::new(), 0));
    }
    let first = node.offset + window.skip;
    let pointer = node.buffer(1, (first + window.len + 1) * size_of::<T>(), "offsets")?.cast::<T>().wrapping_add(first);
    // SAFETY: not null, and of length + offset + 1 values as the interface says; may be misaligned.
    let offsets = unsafe { copied(pointer, window.len + 1) }?;
    let read = |at: usize| -> i64 { offsets[at].into() };
    let rises = offsets.iter().zip(&offsets[1..]).fold(true, |rises, (&from, &to)| rises & (from.into() <= to.into()));
    let (start, end) = (read(0), read(window.len));
    if !rises {
        let at = (0..window.len).find(|&at| read(at) > read(at + 1)).unwrap_or(0);
        let (from, to) = (read(at), read(at + 1));
        return Err(InputError::new(format!(
            "got Arrow offsets that fall from {from} to {to} in row {at}, expected rising ones"
        )));
    }
    if start < 0 || end > MOST_BYTES {
        return Err(InputError::new(format!(
            "got Arrow offsets from {start} to {end}, expected them from 0 to {MOST_BYTES}"
        )));
    }
    // Nothing of a data buffer is needed where every row is empty.
    Ok((offsets, if start == end { 0 } else { end as usize }))
}

fn views(node: &Node<'_>, window: Window, validity: &Validity) -> Result<Layout> {
    // SAFETY: the node is of a view type, of a live array.
    let buffers = unsafe { node.variadic() }?;
    let first = node.offset + window.skip;
    let needed = (first + window.len) * size_of::<View>();
    let views = node.buffer(1, needed, "views")?.cast::<View>().wrapping_add(first);
    // SAFETY: views cover length + offset rows as the interface says; may be misaligned.
    let views = unsafe { copied(views, window.len) }?;
    for (at, &[length, _, buffer, offset]) in views.iter().enumerate() {
        if (0..=LONGEST_INLINE).contains(&length) || !validity.get(at) {
            continue;
        }
        let carried = usize::try_from(buffer).ok().and_then(|buffer| buffers.get(buffer)).map(|buffer| buffer.1);
        if length < 0 || offset < 0 || carried.is_none_or(|carried| i64::from(offset) + i64::from(length) > carried) {
            return Err(InputError::new(format!(
                "got an Arrow view of {length} bytes at {offset} of data buffer {buffer} in row {at}, which is not among the {} \
                 data buffers or reaches beyond it",
                buffers.len()
            )));
        }
    }
    Ok(Layout::View { views, buffers })
}

fn check_codes(codes: &Integers, validity: &Validity, rows: usize, values: usize) -> Result<()> {
    for at in 0..rows {
        let code = codes.get(at);
        if validity.get(at) && !(0..values as i64).contains(&code) {
            return Err(InputError::new(format!(
                "got Arrow dictionary index {code} in row {at}, expected 0 and below {values}"
            )));
        }
    }
    Ok(())
}

const BYTES: &str =
    "binary or string (small, large, view, fixed-size or dictionary), a (n, k) uint8 buffer, or a sequence of bytes";
const TEXT: &str = "string (small, large, view or dictionary) or a sequence of str";
const EITHER: &str = "string or binary (small, large, view, fixed-size or dictionary), a (n, k) uint8 buffer, or a sequence of str or bytes";

/// What a caller takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Bytes,
    Text,
    /// One of them in every row.
    Either,
    /// Bytes, or their text, row by row.
    Tokens,
}

impl Wanted {
    fn words(self) -> &'static str {
        match self {
            Self::Bytes => BYTES,
            Self::Text => TEXT,
            Self::Either | Self::Tokens => EITHER,
        }
    }
}

impl AnyColumn {
    fn binary(&self, py: Python<'_>, wanted: Wanted) -> Result<BinaryColumn> {
        let taken = |of: &Type| kind_of(of).filter(|&kind| wanted != Wanted::Text || kind != Kind::Bytes);
        if let Some(nulls) = self.as_nulls(py, |of| taken(of).is_some())? {
            return nulls.binary(py, wanted);
        }
        match self.source() {
            Source::Arrow(column) => {
                let kind = taken(&column.dtype);
                let kind = kind.ok_or_else(|| self.unwanted(&column.dtype, wanted.words()))?;
                let chunks = column.pieces.iter().map(|piece| BinaryChunk::of_piece(piece, &column.dtype));
                let chunks = chunks.collect::<Result<Vec<_>>>().map_err(|error| error.about(self.name()))?;
                Ok(BinaryColumn::of(chunks, kind))
            }
            Source::Items(items) => self.of_items(items.bind(py), wanted),
            Source::Buffer(buffer) if wanted == Wanted::Text && padded_width(buffer).is_some() => {
                let width = padded_width(buffer).unwrap_or_default();
                let copy = super::buffers::copied(py, buffer).map_err(|error| error.about(self.name()))?;
                let layout = Layout::Padded { data: copy.as_ptr().cast(), width };
                let rows = buffer.len_bytes() / width;
                Ok(BinaryColumn::of([BinaryChunk::owned(rows, layout, true, Some(Arc::new(copy)))], Kind::Text))
            }
            Source::Buffer(..) if wanted == Wanted::Text => Err(self.unwanted("a buffer", wanted.words())),
            Source::Buffer(buffer) => {
                let chunk = of_buffer(py, buffer).map_err(|error| match error {
                    NoCopy::Type(got) => self.unwanted(got, wanted.words()),
                    NoCopy::Memory => InputError::out_of_memory(),
                })?;
                Ok(BinaryColumn::of([chunk], Kind::Bytes))
            }
            Source::Datetime64 { code, .. } => Err(self.unwanted(format!("a NumPy array of {code}"), wanted.words())),
        }
    }

    fn of_items(&self, items: &Bound<'_, PyTuple>, wanted: Wanted) -> Result<BinaryColumn> {
        let first = items.iter_borrowed().find(|item| !is_missing(item));
        let kind = match (first, wanted) {
            (None, _) => Kind::Null,
            (Some(_), Wanted::Text) => Kind::Text,
            (Some(first), Wanted::Either) if first.is_instance_of::<PyString>() => Kind::Text,
            (Some(_), _) => Kind::Bytes,
        };
        let mut cells = Cells::default();
        let takes = match kind {
            // Nothing but nulls: what they are nulls of is not known.
            Kind::Text => Takes::Text,
            Kind::Bytes if wanted == Wanted::Tokens => Takes::Both,
            Kind::Null | Kind::Bytes => Takes::Bytes,
        };
        self.cells(items, takes, &mut cells)?;
        let (pairs, kept) = cells.finish();
        let keep: Keep = Arc::new((items.clone().unbind(), kept));
        Ok(BinaryColumn::of(
            [BinaryChunk::owned(pairs.len(), Layout::Pairs(pairs), kind == Kind::Text, Some(keep))],
            kind,
        ))
    }
}

/// Texts of a list.
pub(super) fn chunk_of_text(pairs: Vec<Pair>, items: Keep) -> BinaryChunk {
    BinaryChunk::owned(pairs.len(), Layout::Pairs(pairs), true, Some(items))
}

/// What a type holds; `None` if it does not hold bytes.
pub(super) fn kind_of(dtype: &Type) -> Option<Kind> {
    match dtype {
        Type::Null => Some(Kind::Null),
        Type::Bytes { text: true, .. } => Some(Kind::Text),
        Type::Bytes { text: false, .. } => Some(Kind::Bytes),
        Type::Dictionary(_, values) => kind_of(values),
        _ => None,
    }
}

/// The width of the text in a buffer of `NumPy`'s fixed-width bytes.
fn padded_width(buffer: &PyUntypedBuffer) -> Option<usize> {
    let format = buffer.format().to_bytes();
    (buffer.dimensions() == 1 && format.last() == Some(&b's') && buffer.item_size() > 0).then(|| buffer.item_size())
}

/// The rows of a buffer of (n, k) bytes; copied at once where Python may write to it.
fn of_buffer(py: Python<'_>, buffer: &Arc<PyUntypedBuffer>) -> std::result::Result<BinaryChunk, NoCopy> {
    let format = buffer.format().to_string_lossy();
    let is_bytes = buffer.item_size() == 1 && matches!(&*format, "B" | "c" | "@B" | "=B" | "<B" | "|B");
    let &[rows, width] = buffer.shape() else {
        let hint = if format.ends_with('s') {
            " (NumPy's fixed-width bytes lose their trailing zeros: use .view('uint8').reshape(n, k))"
        } else {
            ""
        };
        return Err(NoCopy::Type(format!("a buffer of one dimension and format {format:?}{hint}")));
    };
    if !is_bytes {
        return Err(NoCopy::Type(format!("a buffer of two dimensions and format {format:?}")));
    }
    if buffer.readonly() && buffer.is_c_contiguous() {
        // Others may write to its memory: each row is copied when it is fetched.
        let data = somewhere(buffer.buf_ptr().cast::<u8>().cast_const());
        let keep: Keep = buffer.clone();
        return Ok(BinaryChunk::owned(rows, Layout::Fixed { data, width }, false, Some(keep)));
    }
    let copy = super::buffers::copied(py, buffer).map_err(|_| NoCopy::Memory)?;
    let data = somewhere(copy.as_ptr().cast::<u8>());
    Ok(BinaryChunk::owned(rows, Layout::Fixed { data, width }, false, Some(Arc::new(copy))))
}
