//! Columns of bytes and of text.

use std::sync::Arc;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString, PyTuple};

use super::capsule::type_name;
use super::chunked::{Chunk, Chunked};
use super::error::{InputError, Result};
use super::ffi::ArrowArray;
use super::schema::{Form, Type};
use super::source::{AnyColumn, Keep, Piece, Source, nested};
use super::view::{Integers, MOST_BYTES, Node, Validity, Window};

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

/// Rows of bytes, or of text as its UTF-8 bytes, read where they lie.
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

/// Consecutive rows of bytes.
#[derive(Debug)]
pub struct BinaryChunk {
    len: usize,
    validity: Validity,
    layout: Layout,
    #[allow(dead_code, reason = "held, not read")]
    keep: Option<Keep>,
}

#[derive(Debug)]
enum Layout {
    Small {
        offsets: *const i32,
        data: *const u8,
    },
    Large {
        offsets: *const i64,
        data: *const u8,
    },
    View {
        views: *const View,
        buffers: Vec<(*const u8, i64)>,
    },
    Fixed {
        data: *const u8,
        width: usize,
    },
    /// A null pointer stands for no value.
    Pairs(Vec<(*const u8, usize)>),
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

    /// What the column holds.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The bytes of row `at`; `None` where it is null.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&[u8]> {
        let (chunk, at) = self.rows.locate(at);
        chunk.get(at)
    }

    /// The rows one after another.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.chunks().iter().flat_map(|chunk| (0..chunk.len).map(|at| chunk.get(at)))
    }

    /// The pieces that the column came in.
    #[must_use]
    pub fn chunks(&self) -> &[BinaryChunk] {
        self.rows.chunks()
    }

    /// What `map` makes of each row, `null` where there is none; a value that repeats, as in a dictionary, is mapped once.
    pub fn map_values<T: Copy>(&self, null: T, mut map: impl FnMut(&[u8]) -> T) -> Vec<T> {
        let mut out = Vec::with_capacity(self.len());
        for chunk in self.chunks() {
            match chunk.dictionary() {
                Some(dictionary) => {
                    let values = dictionary.values();
                    let mapped: Vec<T> = (0..values.len).map(|at| values.get(at).map_or(null, &mut map)).collect();
                    out.extend((0..chunk.len).map(|at| dictionary.code(at).map_or(null, |code| mapped[code])));
                }
                None => map_repeated(chunk, null, &mut map, &mut out),
            }
        }
        out
    }

    fn of(chunks: impl IntoIterator<Item = BinaryChunk>, kind: Kind) -> Self {
        Self { rows: Chunked::new(chunks), kind }
    }
}

/// Values that are remembered while a column is mapped: names of an enumeration are few.
const REMEMBERED: usize = 64;

/// Where a value is remembered: by its length, its first byte and its middle one.
fn slot_of(value: &[u8]) -> usize {
    let byte = |at: usize| value.get(at).map_or(0, |&byte| usize::from(byte));
    (value.len() + 5 * byte(0) + 57 * byte(value.len() / 2)) % REMEMBERED
}

fn map_repeated<T: Copy>(chunk: &BinaryChunk, null: T, map: &mut impl FnMut(&[u8]) -> T, out: &mut Vec<T>) {
    let mut remembered: [Option<(&[u8], T)>; REMEMBERED] = [None; REMEMBERED];
    for at in 0..chunk.len {
        let Some(value) = chunk.get(at) else {
            out.push(null);
            continue;
        };
        let slot = &mut remembered[slot_of(value)];
        let mapped = match *slot {
            Some((seen, mapped)) if seen == value => mapped,
            _ => map(value),
        };
        *slot = Some((value, mapped));
        out.push(mapped);
    }
}

/// The codes of a chunk and the few values that they stand for.
#[derive(Clone, Copy, Debug)]
pub struct Dictionary<'a> {
    chunk: &'a BinaryChunk,
    codes: &'a Integers,
    values: &'a BinaryChunk,
}

impl<'a> Dictionary<'a> {
    /// The values; one of them may be null.
    #[must_use]
    pub fn values(&self) -> &'a BinaryChunk {
        self.values
    }

    /// The value's number in row `at`; `None` where the row is null.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    #[must_use]
    pub fn code(&self, at: usize) -> Option<usize> {
        assert!(at < self.chunk.len, "row {at} of a chunk of {}", self.chunk.len);
        // SAFETY: a row of this chunk, whose owner it keeps.
        unsafe { self.chunk.validity.get(at).then(|| self.codes.get(at) as usize) }
    }
}

impl BinaryChunk {
    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The bytes of row `at`; `None` where it is null.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&[u8]> {
        assert!(at < self.len, "row {at} of a chunk of {}", self.len);
        // SAFETY: a row of this chunk, whose owner it keeps; offsets, views and codes of valid rows were checked on import.
        unsafe { if self.validity.get(at) { self.layout.get(at) } else { None } }
    }

    /// The codes and values, if the chunk came dictionary-encoded.
    #[must_use]
    pub fn dictionary(&self) -> Option<Dictionary<'_>> {
        match &self.layout {
            Layout::Dictionary { codes, values } => Some(Dictionary { chunk: self, codes, values }),
            _ => None,
        }
    }

    fn owned(len: usize, layout: Layout, keep: Option<Keep>) -> Self {
        Self { len, validity: Validity::all(), layout, keep }
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
                let needed = if window.len == 0 { 0 } else { bytes(first + window.len, *width)? };
                let data = node.buffer(1, needed, "values")?;
                Layout::Fixed { data: somewhere(data.wrapping_add(first * width)), width: *width }
            }
            Type::Dictionary(index, values) => {
                let codes = Integers::of(node, *index, window)?;
                // SAFETY: the node is of a dictionary type and has a dictionary.
                let values = Box::new(Self::of_nested(unsafe { node.dictionary() }?, values)?);
                check_codes(codes, &validity, window.len, values.len)?;
                Layout::Dictionary { codes, values }
            }
            other => return Err(InputError::new(format!("got {other}, wanted bytes or text"))),
        };
        Ok(Self { len: window.len, validity, layout, keep: None })
    }
}

impl Layout {
    #[inline]
    unsafe fn get<'a>(&'a self, at: usize) -> Option<&'a [u8]> {
        // SAFETY: the caller gives a valid row of the chunk, whose offsets, views and codes were checked on import, and
        // whose owner lives as long as the chunk that is borrowed. Offsets and views may be crooked.
        unsafe {
            let slice = |data: *const u8, length: usize| Some(std::slice::from_raw_parts::<'a, u8>(data, length));
            match self {
                Self::Small { offsets, data } => {
                    let (from, to) = (offsets.add(at).read_unaligned(), offsets.add(at + 1).read_unaligned());
                    slice(data.wrapping_add(from as usize), (to - from) as usize)
                }
                Self::Large { offsets, data } => {
                    let (from, to) = (offsets.add(at).read_unaligned(), offsets.add(at + 1).read_unaligned());
                    slice(data.wrapping_add(from as usize), (to - from) as usize)
                }
                Self::View { views, buffers } => {
                    let [length, _, buffer, offset] = views.add(at).read_unaligned();
                    if length <= LONGEST_INLINE {
                        return slice(views.add(at).cast::<u8>().add(4), length as usize);
                    }
                    slice(buffers[buffer as usize].0.add(offset as usize), length as usize)
                }
                Self::Fixed { data, width } => slice(data.wrapping_add(at * width), *width),
                Self::Pairs(pairs) => {
                    let (data, length) = pairs[at];
                    if data.is_null() { None } else { slice(data, length) }
                }
                Self::Dictionary { codes, values } => values.get(codes.get(at) as usize),
                Self::Null => None,
            }
        }
    }
}

/// A pointer that a slice of no bytes may start at.
fn somewhere(data: *const u8) -> *const u8 {
    if data.is_null() { std::ptr::NonNull::dangling().as_ptr() } else { data }
}

fn bytes(rows: usize, width: usize) -> Result<usize> {
    rows.checked_mul(width).filter(|&bytes| bytes as i64 <= MOST_BYTES).ok_or_else(|| {
        InputError::new(format!(
            "got an Arrow array of {rows} rows of {width} bytes, wanted at most {MOST_BYTES} bytes in all"
        ))
    })
}

/// An offset of either width.
pub(super) trait Offset: Copy + Into<i64> {}
impl Offset for i32 {}
impl Offset for i64 {}

/// The offsets of a window, that rise from row to row, and the data that they point into.
fn offsets<T: Offset>(node: &Node<'_>, window: Window) -> Result<(*const T, *const u8)> {
    let (offsets, last) = rising::<T>(node, window)?;
    let data = node.buffer(2, last, "data")?;
    Ok((offsets, somewhere(data)))
}

/// The offsets of a window, and the end of the bytes or items that they take.
pub(super) fn rising<T: Offset>(node: &Node<'_>, window: Window) -> Result<(*const T, usize)> {
    if window.len == 0 {
        return Ok((std::ptr::null(), 0));
    }
    let first = node.offset + window.skip;
    let pointer = node.buffer(1, (first + window.len + 1) * size_of::<T>(), "offsets")?.cast::<T>().wrapping_add(first);
    // SAFETY: not null, and of length + offset + 1 values as the interface says; may be crooked.
    let read = |at: usize| -> i64 { unsafe { pointer.add(at).read_unaligned() }.into() };
    let rises = (0..window.len).fold(true, |rises, at| rises & (read(at) <= read(at + 1)));
    let (start, end) = (read(0), read(window.len));
    if !rises {
        let at = (0..window.len).find(|&at| read(at) > read(at + 1)).unwrap_or(0);
        let (from, to) = (read(at), read(at + 1));
        return Err(InputError::new(format!(
            "got Arrow offsets that fall from {from} to {to} in row {at}, wanted rising ones"
        )));
    }
    if start < 0 || end > MOST_BYTES {
        return Err(InputError::new(format!(
            "got Arrow offsets from {start} to {end}, wanted them from 0 to {MOST_BYTES}"
        )));
    }
    // Nothing of a data buffer is needed where every row is empty.
    Ok((pointer, if start == end { 0 } else { end as usize }))
}

fn views(node: &Node<'_>, window: Window, validity: &Validity) -> Result<Layout> {
    if window.len == 0 {
        return Ok(Layout::Null);
    }
    // SAFETY: the node is of a view type, of a live array.
    let buffers = unsafe { node.variadic() }?;
    let first = node.offset + window.skip;
    let needed = (first + window.len) * size_of::<View>();
    let views = node.buffer(1, needed, "views")?.cast::<View>().wrapping_add(first);
    for at in 0..window.len {
        // SAFETY: a row of the array: views and bitmap cover length + offset rows as the interface says.
        let [length, _, buffer, offset] = unsafe { views.add(at).read_unaligned() };
        let inline = (0..=LONGEST_INLINE).contains(&length);
        // SAFETY: as above.
        if inline || !unsafe { validity.get(at) } {
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

fn check_codes(codes: Integers, validity: &Validity, rows: usize, values: usize) -> Result<()> {
    for at in 0..rows {
        // SAFETY: a row of the array that the codes and the bitmap were made for.
        let (valid, code) = unsafe { (validity.get(at), codes.get(at)) };
        if valid && !(0..values as i64).contains(&code) {
            return Err(InputError::new(format!(
                "got Arrow dictionary index {code} in row {at}, wanted 0 and below {values}"
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
    Either,
}

impl Wanted {
    fn words(self) -> &'static str {
        match self {
            Self::Bytes => BYTES,
            Self::Text => TEXT,
            Self::Either => EITHER,
        }
    }
}

impl AnyColumn {
    fn binary(&self, py: Python<'_>, wanted: Wanted) -> Result<BinaryColumn> {
        match self.source() {
            Source::Arrow(column) => {
                let kind = kind_of(&column.dtype).filter(|&kind| wanted != Wanted::Text || kind != Kind::Bytes);
                let kind = kind.ok_or_else(|| self.unwanted(&column.dtype, wanted.words()))?;
                let chunks = column.pieces.iter().map(|piece| BinaryChunk::of_piece(piece, &column.dtype));
                let chunks = chunks.collect::<Result<Vec<_>>>().map_err(|error| error.about(self.name()))?;
                Ok(BinaryColumn::of(chunks, kind))
            }
            Source::Items(items) => self.of_items(items.bind(py), wanted),
            Source::Buffer(..) if wanted == Wanted::Text => Err(self.unwanted("a buffer", wanted.words())),
            Source::Buffer(buffer, unit) => {
                let chunk = of_buffer(py, buffer, unit.is_some()).map_err(|got| self.unwanted(got, wanted.words()))?;
                Ok(BinaryColumn::of([chunk], Kind::Bytes))
            }
        }
    }

    fn of_items(&self, items: &Bound<'_, PyTuple>, wanted: Wanted) -> Result<BinaryColumn> {
        let first = items.iter_borrowed().find(|item| !item.is_none());
        let kind = match (first, wanted) {
            (None, _) => Kind::Null,
            (Some(_), Wanted::Text) => Kind::Text,
            (Some(first), Wanted::Either) if first.is_instance_of::<PyString>() => Kind::Text,
            (Some(_), _) => Kind::Bytes,
        };
        let (pairs, copies, written) = match kind {
            Kind::Null => (vec![(std::ptr::null(), 0); items.len()], Vec::new(), Vec::new()),
            Kind::Text => {
                let mut texts = Texts::default();
                self.text_items(items, &mut texts)?;
                (texts.pairs, Vec::new(), texts.written)
            }
            Kind::Bytes => {
                let (pairs, copies) = self.bytes_items(items)?;
                (pairs, copies, Vec::new())
            }
        };
        let keep: Keep = Arc::new((items.clone().unbind(), copies, written));
        Ok(BinaryColumn::of([BinaryChunk::owned(pairs.len(), Layout::Pairs(pairs), Some(keep))], kind))
    }

    /// Where the bytes of each item lie; those of items that may change are copied, and the copies come second.
    fn bytes_items(&self, items: &Bound<'_, PyTuple>) -> Result<(Vec<Pair>, Vec<u8>)> {
        let (mut copies, mut copied) = (Vec::new(), Vec::new());
        let mut pairs = Vec::with_capacity(items.len());
        for (at, item) in items.iter_borrowed().enumerate() {
            if let Some(pair) = bytes_of(&item) {
                pairs.push(pair);
            } else if item.is_none() {
                pairs.push((std::ptr::null(), 0));
            } else {
                let start = copies.len();
                copy_item(&item, &mut copies).map_err(|got| {
                    self.error(format!(
                        "row {at} is {got}, wanted bytes, bytearray, a contiguous memoryview of bytes, or None"
                    ))
                })?;
                copied.push((at, start));
                pairs.push((std::ptr::null(), copies.len() - start));
            }
        }
        for (at, start) in copied {
            pairs[at].0 = somewhere(copies.as_ptr()).wrapping_add(start);
        }
        Ok((pairs, copies))
    }

    /// Adds where the UTF-8 of each item lies: Python keeps it as long as the item.
    pub(super) fn text_items(&self, items: &Bound<'_, PyTuple>, texts: &mut Texts) -> Result<()> {
        texts.pairs.reserve(items.len());
        for (at, item) in items.iter_borrowed().enumerate() {
            if let Ok(text) = item.cast::<PyString>() {
                match text.to_str() {
                    Ok(text) => texts.pairs.push((text.as_ptr(), text.len())),
                    Err(_) => texts.push_written(&text).map_err(|error| error.about(self.name()))?,
                }
            } else if item.is_none() {
                texts.pairs.push((std::ptr::null(), 0));
            } else {
                return Err(self.error(format!("row {at} is {}, wanted str or None", type_name(&item))));
            }
        }
        Ok(())
    }
}

/// Where the texts of a list lie.
#[derive(Default)]
pub(super) struct Texts {
    /// Text by text; a null pointer stands for none.
    pub pairs: Vec<Pair>,
    /// Those that UTF-8 cannot write.
    pub written: Vec<Py<PyBytes>>,
}

impl Texts {
    /// Text with a lone surrogate, as bytes that are no UTF-8: the refusal of its row, as it is in an Arrow column.
    #[cold]
    fn push_written(&mut self, text: &Bound<'_, PyString>) -> Result<()> {
        let py = text.py();
        // SAFETY: a live `str`, attached to the interpreter; what comes back is a new reference or null.
        let written = unsafe {
            let bytes = ffi::PyUnicode_AsEncodedString(text.as_ptr(), c"utf-8".as_ptr(), c"surrogatepass".as_ptr());
            Bound::from_owned_ptr_or_err(py, bytes)
        };
        let failed = |cause| InputError::raised(py, "text", "writing it as UTF-8", cause);
        let written = written.and_then(|bytes| Ok(bytes.cast_into::<PyBytes>()?)).map_err(failed)?;
        self.pairs.push((written.as_bytes().as_ptr(), written.as_bytes().len()));
        self.written.push(written.unbind());
        Ok(())
    }
}

/// Where a row's bytes lie, and how many they are.
pub(super) type Pair = (*const u8, usize);

/// Text of Python's, kept by its tuple.
pub(super) fn chunk_of_text(pairs: Vec<Pair>, items: Keep) -> BinaryChunk {
    BinaryChunk::owned(pairs.len(), Layout::Pairs(pairs), Some(items))
}

/// What a type holds; `None` if that is no bytes.
pub(super) fn kind_of(dtype: &Type) -> Option<Kind> {
    match dtype {
        Type::Null => Some(Kind::Null),
        Type::Bytes { text: true, .. } => Some(Kind::Text),
        Type::Bytes { text: false, .. } => Some(Kind::Bytes),
        Type::Dictionary(_, values) => kind_of(values),
        _ => None,
    }
}

/// Where the bytes of a `bytes` object lie: one call of Python's an item, not three.
fn bytes_of(item: &Bound<'_, PyAny>) -> Option<Pair> {
    if !item.is_exact_instance_of::<PyBytes>() {
        return item.cast::<PyBytes>().ok().map(|bytes| (bytes.as_bytes().as_ptr(), bytes.as_bytes().len()));
    }
    let (mut data, mut length) = (std::ptr::null_mut(), 0);
    // SAFETY: a live `bytes` object, attached to the interpreter; both places may be written to.
    let failed = unsafe { ffi::PyBytes_AsStringAndSize(item.as_ptr(), &raw mut data, &raw mut length) };
    (failed == 0).then_some((data.cast::<u8>().cast_const(), length as usize))
}

fn copy_item(item: &Bound<'_, PyAny>, copies: &mut Vec<u8>) -> std::result::Result<(), String> {
    if !item.is_instance_of::<PyByteArray>() && !item.is_instance_of::<PyMemoryView>() {
        return Err(type_name(item));
    }
    let buffer = PyUntypedBuffer::get(item).map_err(|_| format!("a {} without a buffer", type_name(item)))?;
    let plain = buffer.dimensions() == 1 && buffer.item_size() == 1 && buffer.is_c_contiguous();
    if !plain {
        return Err(format!(
            "a {} of shape {:?}, items of {} bytes",
            type_name(item),
            buffer.shape(),
            buffer.item_size()
        ));
    }
    if buffer.len_bytes() > 0 {
        // SAFETY: a contiguous buffer of so many bytes, held while they are copied, attached to the interpreter.
        copies.extend_from_slice(unsafe {
            std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes())
        });
    }
    Ok(())
}

/// The rows of a buffer of (n, k) bytes; copied where it may be written to.
fn of_buffer(py: Python<'_>, buffer: &Arc<PyUntypedBuffer>, is_time: bool) -> std::result::Result<BinaryChunk, String> {
    let format = buffer.format().to_string_lossy();
    let is_bytes = buffer.item_size() == 1 && matches!(&*format, "B" | "c" | "@B" | "=B" | "<B" | "|B");
    let &[rows, width] = buffer.shape() else {
        let hint = if format.ends_with('s') {
            " (NumPy's fixed-width bytes lose their trailing zeros: use .view('uint8').reshape(n, k))"
        } else {
            ""
        };
        return Err(format!("a buffer of one dimension and format {format:?}{hint}"));
    };
    if !is_bytes || is_time {
        return Err(format!("a buffer of two dimensions and format {format:?}"));
    }
    if buffer.readonly() && buffer.is_c_contiguous() {
        let data = somewhere(buffer.buf_ptr().cast::<u8>().cast_const());
        let keep: Keep = buffer.clone();
        return Ok(BinaryChunk::owned(rows, Layout::Fixed { data, width }, Some(keep)));
    }
    let copy = super::numbers::copied(py, buffer).map_err(|error| error.0)?;
    let data = somewhere(copy.as_ptr().cast::<u8>());
    Ok(BinaryChunk::owned(rows, Layout::Fixed { data, width }, Some(Arc::new(copy))))
}
