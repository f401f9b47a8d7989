//! The structure of an array, checked before a byte of its buffers is read: lengths, offsets, counts and pointers.
//!
//! The interface carries no size of a buffer. Beyond what is checked here the producer is trusted.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::columns::error::{InputError, Result};
use crate::columns::ffi::ArrowArray;
use crate::columns::schema::{Form, IntType, Type};

/// What keeps the memory of a piece of a column alive.
pub type Keep = Arc<dyn Any + Send + Sync>;

/// More rows than this are refused: the limit that the Arrow format recommends for all readers.
pub const MOST_ROWS: usize = i32::MAX as usize;
/// No data buffer reaches further than this (1 TiB): an offset beyond it is a lie.
pub const MOST_BYTES: i64 = 1 << 40;
/// More data buffers than this are no view array.
const MOST_VARIADIC: i64 = 1 << 24;

/// How many buffers a type has.
#[derive(Clone, Copy, Debug)]
enum Count {
    Exactly(i64),
    AtLeast(i64),
}

/// An array whose numbers and pointers fit its type: a copy of them, so that what was checked is what is used.
#[derive(Debug)]
pub struct Node<'a> {
    array: ArrowArray,
    /// Rows.
    pub len: usize,
    /// Rows before the first one.
    pub offset: usize,
    buffers: Vec<*const u8>,
    live: PhantomData<&'a ArrowArray>,
}

/// Consecutive rows of a node.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// First row, counted from the start of the node.
    pub skip: usize,
    /// Rows.
    pub len: usize,
}

impl<'a> Node<'a> {
    /// Checks an array against its type.
    ///
    /// # Errors
    /// Says what number or pointer contradicts the type.
    ///
    /// # Safety
    /// The pointers of `array` are null or those of a producer's live array.
    pub unsafe fn new(array: &'a ArrowArray, dtype: &Type) -> Result<Self> {
        let fail = |what: String| Err(InputError::new(format!("got an Arrow array of {dtype} {what}")));
        // SAFETY: a live structure without a destructor of its own; the copy is dropped without being released.
        let array = unsafe { std::ptr::from_ref(array).read() };
        if array.release.is_none() {
            return fail("that was released, expected a live one".into());
        }
        let (length, offset) = (array.length, array.offset);
        if length < 0 || offset < 0 || length.checked_add(offset).is_none_or(|end| end > MOST_ROWS as i64) {
            return fail(format!(
                "with length {length} and offset {offset}, expected both from 0 and at most {MOST_ROWS} in all"
            ));
        }
        if array.null_count < -1 || array.null_count > length {
            return fail(format!("with {} nulls in {length} rows", array.null_count));
        }
        let (wanted, children) = shape(dtype);
        if !fits(wanted, array.n_buffers) {
            return fail(format!("with {} buffers, expected {wanted:?}", array.n_buffers));
        }
        if array.n_children != children {
            return fail(format!("with {} children, expected {children}", array.n_children));
        }
        if children > 0 && (array.children.is_null() || !array.children.is_aligned()) {
            return fail("whose list of children is a null or misaligned pointer".into());
        }
        if matches!(dtype, Type::Dictionary(..)) == array.dictionary.is_null() {
            return fail(
                if array.dictionary.is_null() { "without its dictionary" } else { "with a dictionary" }.into(),
            );
        }
        if array.n_buffers > 0 && (array.buffers.is_null() || !array.buffers.is_aligned()) {
            return fail("whose list of buffers is a null or misaligned pointer".into());
        }
        // SAFETY: not null where there are buffers, aligned, and as long as the producer says.
        let buffers = unsafe { copied(array.buffers.cast::<*const u8>(), array.n_buffers as usize) }?;
        Ok(Self { array, len: length as usize, offset: offset as usize, buffers, live: PhantomData })
    }

    /// A buffer of at least `bytes` bytes; null only where nothing of it is needed.
    pub fn buffer(&self, at: usize, bytes: usize, what: &str) -> Result<*const u8> {
        let pointer = self.buffers[at];
        if pointer.is_null() && bytes > 0 {
            return Err(InputError::new(format!("got an Arrow array of {} rows without its {what}", self.len)));
        }
        if (pointer as usize).checked_add(bytes).is_none_or(|end| end > isize::MAX as usize) {
            return Err(InputError::new(format!("got an Arrow array whose {what} reach beyond the memory there is")));
        }
        Ok(pointer)
    }

    /// The data buffers of a view array and their lengths, each checked.
    ///
    /// # Safety
    /// As for [`Node::new`]; the node is one of a view type.
    pub unsafe fn variadic(&self) -> Result<Vec<(*const u8, i64)>> {
        let count = self.buffers.len() - 3;
        let lengths = self.buffer(self.buffers.len() - 1, count * 8, "lengths of its data buffers")?.cast::<i64>();
        // SAFETY: not null when count > 0, and of `count` values as the interface says; may be misaligned.
        let lengths = unsafe { copied(lengths, count) }?;
        let buffer = |(at, &length): (usize, &i64)| {
            if !(0..=MOST_BYTES).contains(&length) {
                return Err(InputError::new(format!("got an Arrow view array with a data buffer of {length} bytes")));
            }
            Ok((self.buffer(2 + at, length as usize, "data buffer")?, length))
        };
        lengths.iter().enumerate().map(buffer).collect()
    }

    /// Which of the rows of `window` hold a value.
    pub fn validity(&self, window: Window) -> Result<Validity> {
        if window.len == 0 {
            return Ok(Validity::all());
        }
        let first = self.offset + window.skip;
        let (start, end) = (first / 8, (first + window.len).div_ceil(8));
        let bits = self.buffer(0, end, "validity");
        if self.buffers[0].is_null() {
            if self.array.null_count > 0 {
                let nulls = self.array.null_count;
                return Err(InputError::new(format!(
                    "got an Arrow array of {nulls} nulls without its validity bitmap"
                )));
            }
            return Ok(Validity::all());
        }
        // SAFETY: the bitmap is there, and covers length + offset rows, as the interface says.
        let bits = unsafe { copied(bits?.wrapping_add(start), end - start) }?;
        Ok(Validity::of_bits(bits, first % 8, window.len))
    }

    /// The only child of a list, or child `at` of a table.
    ///
    /// # Safety
    /// As for [`Node::new`].
    pub unsafe fn child(&self, at: usize) -> Result<&'a ArrowArray> {
        debug_assert!((at as i64) < self.array.n_children);
        // SAFETY: the list was checked to be there, and has as many entries as the producer says.
        unsafe { reference(*self.array.children.add(at), "child") }
    }

    /// The values of a dictionary.
    ///
    /// # Safety
    /// As for [`Node::new`].
    pub unsafe fn dictionary(&self) -> Result<&'a ArrowArray> {
        // SAFETY: the caller's promise.
        unsafe { reference(self.array.dictionary, "dictionary") }
    }

    /// All rows.
    pub fn all(&self) -> Window {
        Window { skip: 0, len: self.len }
    }
}

/// Values from memory that others may change, each read once. The pointer may be misaligned.
///
/// # Errors
/// There is no memory for them.
///
/// # Safety
/// `count` values start at `data`, or `count` is 0.
pub unsafe fn copied<T: Copy>(data: *const T, count: usize) -> Result<Vec<T>> {
    let mut copy = room(count)?;
    if count > 0 {
        let to = std::ptr::from_mut(copy.spare_capacity_mut()).cast::<u8>();
        // SAFETY: the caller's promise, byte by byte, into room for as many values, which then are values.
        unsafe {
            std::ptr::copy_nonoverlapping(data.cast::<u8>(), to, count * size_of::<T>());
            copy.set_len(count);
        }
    }
    Ok(copy)
}

/// An empty column with room for so many values.
///
/// # Errors
/// There is no memory for them.
pub fn room<T>(count: usize) -> Result<Vec<T>> {
    let mut column = Vec::new();
    column.try_reserve_exact(count).map_err(|_| InputError::out_of_memory())?;
    Ok(column)
}

/// A column of so many values.
///
/// # Errors
/// There is no memory for them.
pub fn filled<T: Clone>(count: usize, value: T) -> Result<Vec<T>> {
    let mut column = room(count)?;
    column.resize(count, value);
    Ok(column)
}

fn fits(wanted: Count, count: i64) -> bool {
    match wanted {
        Count::Exactly(wanted) => count == wanted,
        Count::AtLeast(least) => (least..=MOST_VARIADIC).contains(&count),
    }
}

/// Buffers and children of a type.
fn shape(dtype: &Type) -> (Count, i64) {
    match dtype {
        Type::Null => (Count::Exactly(0), 0),
        Type::Bytes { form: Form::View, .. } => (Count::AtLeast(3), 0),
        Type::Bytes { form: Form::Small | Form::Large, .. } => (Count::Exactly(3), 0),
        Type::List { .. } => (Count::Exactly(2), 1),
        Type::Struct(fields) => (Count::Exactly(1), fields.len() as i64),
        _ => (Count::Exactly(2), 0),
    }
}

/// Rows of an array, without more of a look at it than its length.
///
/// # Safety
/// As for [`Node::new`].
pub unsafe fn reference<'a>(array: *mut ArrowArray, what: &str) -> Result<&'a ArrowArray> {
    if array.is_null() || !array.is_aligned() {
        return Err(InputError::new(format!("got an Arrow array whose {what} is a null or misaligned pointer")));
    }
    // SAFETY: not null, aligned, and a producer's live array by the caller's promise.
    Ok(unsafe { &*array })
}

/// One bit a row: 1 where it holds a value. They are a copy.
#[derive(Clone, Debug)]
pub struct Validity {
    /// `None` where no row is null.
    bits: Option<Arc<Vec<u8>>>,
    offset: usize,
}

impl Validity {
    /// No row is null.
    #[must_use]
    pub fn all() -> Self {
        Self { bits: None, offset: 0 }
    }

    /// Bits of our own, from a flag a row.
    ///
    /// # Errors
    /// There is no memory for them.
    pub fn from_flags(flags: impl ExactSizeIterator<Item = bool>) -> Result<Self> {
        let len = flags.len();
        let mut bytes = filled(len.div_ceil(8), 0_u8)?;
        for (at, valid) in flags.enumerate() {
            bytes[at / 8] |= u8::from(valid) << (at % 8);
        }
        Ok(Self::of_bits(bytes, 0, len))
    }

    /// `len` bits from `offset` on, which is less than 8.
    fn of_bits(bits: Vec<u8>, offset: usize, len: usize) -> Self {
        if ones(&bits, offset, len) == len { Self::all() } else { Self { bits: Some(Arc::new(bits)), offset } }
    }

    /// Whether no row is null.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.bits.is_none()
    }

    /// Whether row `at` holds a value.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    #[must_use]
    pub fn get(&self, at: usize) -> bool {
        self.bits.as_ref().is_none_or(|bits| bit(bits, at + self.offset))
    }

    /// Where both hold a value, for `len` rows.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn and(self, other: &Self, len: usize) -> Result<Self> {
        if other.is_all() {
            return Ok(self);
        }
        if self.is_all() {
            return Ok(other.clone());
        }
        Self::from_flags((0..len).map(|at| self.get(at) && other.get(at)))
    }
}

/// The bit at a place, the least significant of a byte first.
#[inline]
#[must_use]
pub fn bit(bits: &[u8], at: usize) -> bool {
    bits[at / 8] >> (at % 8) & 1 == 1
}

/// How many of `len` bits from `offset` on are 1; `offset` is less than 8.
fn ones(bits: &[u8], offset: usize, len: usize) -> usize {
    let end = offset + len;
    let all: usize = bits[..end.div_ceil(8)].iter().map(|byte| byte.count_ones() as usize).sum();
    let outside = (0..offset).chain(end..end.next_multiple_of(8));
    all - outside.filter(|&at| bit(bits, at)).count()
}

/// Integers of one width: a copy, or where they lie. The pointer may be misaligned.
#[derive(Debug)]
pub struct Integers {
    /// Width and sign.
    pub kind: IntType,
    data: *const u8,
    len: usize,
    #[allow(dead_code, reason = "held, not read")]
    copy: Option<Keep>,
}

// SAFETY: the values are only read.
unsafe impl Send for Integers {}
// SAFETY: as above.
unsafe impl Sync for Integers {}

macro_rules! each_kind {
    ($kind:expr, $type:ident => $body:expr) => {
        match $kind {
            IntType::I8 => {
                type $type = i8;
                $body
            }
            IntType::U8 => {
                type $type = u8;
                $body
            }
            IntType::I16 => {
                type $type = i16;
                $body
            }
            IntType::U16 => {
                type $type = u16;
                $body
            }
            IntType::I32 => {
                type $type = i32;
                $body
            }
            IntType::U32 => {
                type $type = u32;
                $body
            }
            IntType::I64 => {
                type $type = i64;
                $body
            }
            IntType::U64 => {
                type $type = u64;
                $body
            }
        }
    };
}

impl Integers {
    /// Values where they lie.
    ///
    /// # Safety
    /// `len` values of that kind start at `data`, as long as this is used.
    pub unsafe fn lying(kind: IntType, data: *const u8, len: usize) -> Self {
        Self { kind, data, len, copy: None }
    }

    /// The values of a node's second buffer in a window, where they lie: whoever uses them keeps the owner of the node.
    pub fn of(node: &Node<'_>, kind: IntType, window: Window) -> Result<Self> {
        let (first, width) = (node.offset + window.skip, kind.width());
        let needed = if window.len == 0 { 0 } else { (first + window.len) * width };
        let data = node.buffer(1, needed, "values")?;
        Ok(Self { kind, data: data.wrapping_add(first * width), len: window.len, copy: None })
    }

    /// Values of our own.
    pub fn owned(values: Vec<i64>) -> Self {
        let (data, len) = (values.as_ptr().cast(), values.len());
        Self { kind: IntType::I64, data, len, copy: Some(Arc::new(values)) }
    }

    /// Values in a buffer of our own, of this kind.
    pub fn in_buffer(kind: IntType, buffer: Vec<u64>, len: usize) -> Self {
        assert!(len * kind.width() <= buffer.len() * size_of::<u64>(), "a value for each row");
        Self { kind, data: buffer.as_ptr().cast(), len, copy: Some(Arc::new(buffer)) }
    }

    /// A copy of the values, each read once.
    pub fn copied(&self) -> Result<Self> {
        let bytes = self.len * self.kind.width();
        let mut buffer = filled(bytes.div_ceil(size_of::<u64>()), 0_u64)?;
        // SAFETY: both pointers are followed by that many bytes.
        unsafe { std::ptr::copy_nonoverlapping(self.data, buffer.as_mut_ptr().cast(), bytes) };
        Ok(Self::in_buffer(self.kind, buffer, self.len))
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The value of row `at`; an unsigned one beyond 63 bits comes out negative.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    #[must_use]
    pub fn get(&self, at: usize) -> i64 {
        assert!(at < self.len, "row {at} of {} integers", self.len);
        // SAFETY: one of the values that lie there; misaligned pointers are read as such.
        each_kind!(self.kind, T => unsafe { self.data.cast::<T>().add(at).read_unaligned() } as i64)
    }

    /// The values as a slice, if they are i64 and straight. Each is to be read once, where they are no copy.
    #[must_use]
    pub fn as_i64(&self) -> Option<&[i64]> {
        let data = self.data.cast::<i64>();
        if self.len == 0 {
            return Some(&[]);
        }
        // SAFETY: aligned, not null for rows, and there are that many.
        (self.kind == IntType::I64 && data.is_aligned()).then(|| unsafe { std::slice::from_raw_parts(data, self.len) })
    }

    /// Copies rows from `first` on into `out`.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn copy(&self, first: usize, out: &mut [i64]) {
        assert!(first + out.len() <= self.len, "rows {first} and {} more of {}", out.len(), self.len);
        if self.kind == IntType::I64 {
            let data = self.data.wrapping_add(first * 8);
            // SAFETY: rows that are there, byte by byte: the pointer may be misaligned.
            unsafe { std::ptr::copy_nonoverlapping(data, out.as_mut_ptr().cast::<u8>(), size_of_val(out)) };
            return;
        }
        each_kind!(self.kind, T => {
            let data = self.data.cast::<T>().wrapping_add(first);
            for (at, out) in out.iter_mut().enumerate() {
                // SAFETY: as above.
                *out = unsafe { data.add(at).read_unaligned() } as i64;
            }
        });
    }
}
