//! What an array itself shows, checked before a byte behind it is read: lengths, offsets, counts and pointers.
//!
//! The interface carries no size of a buffer. Beyond what is checked here the producer is trusted.

use std::sync::Arc;

use super::error::{InputError, Result};
use super::ffi::ArrowArray;
use super::schema::{Form, IntType, Type};

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

/// An array whose numbers and pointers fit its type.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    array: &'a ArrowArray,
    /// Rows.
    pub len: usize,
    /// Rows before the first one.
    pub offset: usize,
    buffers: &'a [*const u8],
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
        if array.release.is_none() {
            return fail("that was released, wanted a live one".into());
        }
        let (length, offset) = (array.length, array.offset);
        if length < 0 || offset < 0 || length.checked_add(offset).is_none_or(|end| end > MOST_ROWS as i64) {
            return fail(format!(
                "with length {length} and offset {offset}, wanted both from 0 and at most {MOST_ROWS} in all"
            ));
        }
        if array.null_count < -1 || array.null_count > length {
            return fail(format!("with {} nulls in {length} rows", array.null_count));
        }
        let (wanted, children) = shape(dtype);
        if !fits(wanted, array.n_buffers) {
            return fail(format!("with {} buffers, wanted {wanted:?}", array.n_buffers));
        }
        if array.n_children != children {
            return fail(format!("with {} children, wanted {children}", array.n_children));
        }
        if children > 0 && (array.children.is_null() || !array.children.is_aligned()) {
            return fail("whose list of children is a null or crooked pointer".into());
        }
        if matches!(dtype, Type::Dictionary(..)) == array.dictionary.is_null() {
            return fail(
                if array.dictionary.is_null() { "without its dictionary" } else { "with a dictionary" }.into(),
            );
        }
        if array.n_buffers > 0 && (array.buffers.is_null() || !array.buffers.is_aligned()) {
            return fail("whose list of buffers is a null or crooked pointer".into());
        }
        let buffers = match array.n_buffers {
            0 => &[][..],
            // SAFETY: not null, aligned, and as long as the producer says.
            count => unsafe { std::slice::from_raw_parts(array.buffers.cast::<*const u8>(), count as usize) },
        };
        Ok(Self { array, len: length as usize, offset: offset as usize, buffers })
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
        let read = |at: usize| {
            // SAFETY: not null when count > 0, and of `count` values as the interface says; may be crooked.
            let length = unsafe { lengths.add(at).read_unaligned() };
            if !(0..=MOST_BYTES).contains(&length) {
                return Err(InputError::new(format!("got an Arrow view array with a data buffer of {length} bytes")));
            }
            Ok((self.buffer(2 + at, length as usize, "data buffer")?, length))
        };
        (0..count).map(read).collect()
    }

    /// Which of the rows of `window` hold a value.
    pub fn validity(&self, window: Window) -> Result<Validity> {
        let first = self.offset + window.skip;
        let bits = self.buffer(0, 0, "validity")?;
        if bits.is_null() {
            if self.array.null_count > 0 && window.len > 0 {
                let nulls = self.array.null_count;
                return Err(InputError::new(format!(
                    "got an Arrow array of {nulls} nulls without its validity bitmap"
                )));
            }
            return Ok(Validity::all());
        }
        self.buffer(0, (first + window.len).div_ceil(8), "validity")?;
        let validity = Validity { bits, offset: first, owned: None };
        // SAFETY: the bitmap covers length + offset rows, as the interface says.
        Ok(if unsafe { validity.count(window.len) } == window.len { Validity::all() } else { validity })
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
        return Err(InputError::new(format!("got an Arrow array whose {what} is a null or crooked pointer")));
    }
    // SAFETY: not null, aligned, and a producer's live array by the caller's promise.
    Ok(unsafe { &*array })
}

/// One bit a row: 1 where it holds a value.
#[derive(Clone, Debug)]
pub struct Validity {
    bits: *const u8,
    offset: usize,
    #[allow(dead_code, reason = "held, not read")]
    owned: Option<Arc<[u8]>>,
}

impl Validity {
    /// No row is null.
    #[must_use]
    pub fn all() -> Self {
        Self { bits: std::ptr::null(), offset: 0, owned: None }
    }

    /// Bits of our own, from a flag a row.
    pub fn from_flags(flags: impl ExactSizeIterator<Item = bool>) -> Self {
        let mut bytes = vec![0; flags.len().div_ceil(8)];
        let mut nulls = 0;
        for (at, valid) in flags.enumerate() {
            bytes[at / 8] |= u8::from(valid) << (at % 8);
            nulls += usize::from(!valid);
        }
        if nulls == 0 { Self::all() } else { Self::from_bits(bytes) }
    }

    fn from_bits(bytes: Vec<u8>) -> Self {
        let owned: Arc<[u8]> = bytes.into();
        Self { bits: owned.as_ptr(), offset: 0, owned: Some(owned) }
    }

    /// Whether no row is null.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.bits.is_null()
    }

    /// Whether row `at` holds a value.
    ///
    /// # Safety
    /// `at` is a row of the column that this was made for, and that column's owner is alive.
    #[inline]
    #[must_use]
    pub unsafe fn get(&self, at: usize) -> bool {
        if self.bits.is_null() {
            return true;
        }
        let at = at + self.offset;
        // SAFETY: the caller's promise.
        unsafe { *self.bits.add(at / 8) >> (at % 8) & 1 == 1 }
    }

    /// Where both hold a value, for `len` rows.
    ///
    /// # Safety
    /// As for [`Validity::get`], for `len` rows of both.
    #[must_use]
    pub unsafe fn and(self, other: &Self, len: usize) -> Self {
        if other.is_all() {
            return self;
        }
        if self.is_all() {
            return other.clone();
        }
        // SAFETY: the caller's promise.
        Self::from_flags((0..len).map(|at| unsafe { self.get(at) && other.get(at) }))
    }

    unsafe fn count(&self, len: usize) -> usize {
        let (mut at, mut valid) = (0, 0);
        while at < len && !(at + self.offset).is_multiple_of(8) {
            // SAFETY: the caller's promise, row by row up to a whole byte.
            valid += usize::from(unsafe { self.get(at) });
            at += 1;
        }
        let bytes = (len - at) / 8;
        if bytes > 0 {
            // SAFETY: whole bytes of the rows that the caller speaks of.
            let whole = unsafe { std::slice::from_raw_parts(self.bits.add((at + self.offset) / 8), bytes) };
            valid += whole.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
            at += bytes * 8;
        }
        // SAFETY: as above.
        valid + (at..len).filter(|&at| unsafe { self.get(at) }).count()
    }
}

// SAFETY: the bits are only read, and live as long as the column that this belongs to, or are owned.
unsafe impl Send for Validity {}
// SAFETY: as above.
unsafe impl Sync for Validity {}

/// Integers of one width behind a pointer that may be crooked.
#[derive(Clone, Copy, Debug)]
pub struct Integers {
    /// Width and sign.
    pub kind: IntType,
    data: *const u8,
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
    /// Values behind `data`, which is read only through the unsafe methods.
    pub fn new(kind: IntType, data: *const u8) -> Self {
        Self { kind, data }
    }

    /// The values of a node's second buffer in a window.
    pub fn of(node: &Node<'_>, kind: IntType, window: Window) -> Result<Self> {
        let (first, width) = (node.offset + window.skip, kind.width());
        let needed = if window.len == 0 { 0 } else { (first + window.len) * width };
        let data = node.buffer(1, needed, "values")?;
        Ok(Self { kind, data: data.wrapping_add(first * width) })
    }

    /// The value of row `at`; an unsigned one beyond 63 bits comes out negative.
    ///
    /// # Safety
    /// `at` is a row of the column that this was made for, and that column's owner is alive.
    #[inline]
    #[must_use]
    pub unsafe fn get(&self, at: usize) -> i64 {
        // SAFETY: the caller's promise; crooked pointers are read as such.
        each_kind!(self.kind, T => unsafe { self.data.cast::<T>().add(at).read_unaligned() } as i64)
    }

    /// The values as a slice, if they are i64 and straight.
    ///
    /// # Safety
    /// As for [`Integers::get`], for all rows below `len`.
    #[must_use]
    pub unsafe fn as_i64<'a>(&self, len: usize) -> Option<&'a [i64]> {
        let data = self.data.cast::<i64>();
        if len == 0 {
            return Some(&[]);
        }
        // SAFETY: aligned, not null for rows, and the caller's promise.
        (self.kind == IntType::I64 && data.is_aligned()).then(|| unsafe { std::slice::from_raw_parts(data, len) })
    }

    /// Copies rows from `first` on into `out`.
    ///
    /// # Safety
    /// As for [`Integers::get`], for all the rows copied.
    pub unsafe fn copy(&self, first: usize, out: &mut [i64]) {
        if self.kind == IntType::I64 {
            let data = self.data.wrapping_add(first * 8);
            // SAFETY: the caller's promise, byte by byte: the pointer may be crooked.
            unsafe { std::ptr::copy_nonoverlapping(data, out.as_mut_ptr().cast::<u8>(), size_of_val(out)) };
            return;
        }
        each_kind!(self.kind, T => {
            let data = self.data.cast::<T>().wrapping_add(first);
            for (at, out) in out.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                *out = unsafe { data.add(at).read_unaligned() } as i64;
            }
        });
    }
}
