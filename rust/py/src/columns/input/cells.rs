//! The items of a list as places of bytes: Python keeps `bytes` and `str` unchanged where they lie, others are copied.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString, PyTuple};

use super::missing::is_missing;
use super::source::{AnyColumn, SIGNALS_EVERY};
use crate::arguments::type_name;
use crate::columns::error::{InputError, Result};

impl AnyColumn {
    /// Adds where the bytes of each item lie: Python keeps `bytes` and `str` unchanged, others are copied.
    pub(super) fn cells(&self, items: &Bound<'_, PyTuple>, takes: Takes, cells: &mut Cells) -> Result<()> {
        let py = items.py();
        cells.reserve(items.len())?;
        for (at, item) in items.iter_borrowed().enumerate() {
            if at % SIGNALS_EVERY == SIGNALS_EVERY - 1 {
                py.check_signals().map_err(|cause| InputError::raised(py, self.name(), "reading it", cause))?;
            }
            if takes != Takes::Bytes
                && let Ok(text) = item.cast::<PyString>()
            {
                match text.to_str() {
                    Ok(text) => cells.push(Pair::new(text.as_ptr(), text.len(), true)),
                    Err(_) => cells.push_written(&text).map_err(|error| error.about(self.name()))?,
                }
            } else if takes != Takes::Text
                && let Some((data, len)) = bytes_of(&item)
            {
                cells.push(Pair::new(data, len, false));
            } else if is_missing(&item) {
                cells.push(Pair::NULL);
            } else if takes == Takes::Text {
                return Err(self.unwanted(format!("{} in row {at}", type_name(&item)), "str or None"));
            } else {
                let or_text = if takes == Takes::Both { " str," } else { "" };
                cells.push_copy(&item).map_err(|error| match error {
                    NoCopy::Type(got) => self.unwanted(
                        format!("{got} in row {at}"),
                        &format!("bytes,{or_text} bytearray, a contiguous memoryview of bytes, or None"),
                    ),
                    NoCopy::Memory => InputError::out_of_memory(),
                })?;
            }
        }
        Ok(())
    }
}

/// Which items a list may have, beside None.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Bytes,
    Text,
    Both,
}

/// What the cells of a list lie in, beside its items.
pub(super) type Kept = (Vec<Py<PyBytes>>, Vec<u8>);

/// Where the cells of a list lie.
#[derive(Default)]
pub(super) struct Cells {
    pairs: Vec<Pair>,
    /// Texts that UTF-8 cannot write.
    written: Vec<Py<PyBytes>>,
    /// Bytes of items that may change, and which cells they are, by where they begin.
    copies: Vec<u8>,
    copied: Vec<(usize, usize)>,
}

impl Cells {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    fn reserve(&mut self, more: usize) -> Result<()> {
        self.pairs.try_reserve(more).map_err(|_| InputError::out_of_memory())
    }

    fn push(&mut self, pair: Pair) {
        self.pairs.push(pair);
    }

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
        self.push(Pair::new(written.as_bytes().as_ptr(), written.as_bytes().len(), true));
        self.written.push(written.unbind());
        Ok(())
    }

    /// A copy of a bytearray or a memoryview.
    fn push_copy(&mut self, item: &Bound<'_, PyAny>) -> std::result::Result<(), NoCopy> {
        let start = self.copies.len();
        copy_item(item, &mut self.copies)?;
        self.copied.push((self.pairs.len(), start));
        self.push(Pair::new(std::ptr::NonNull::dangling().as_ptr(), self.copies.len() - start, false));
        Ok(())
    }

    /// Where they lie, now that no more are added, and what is to be kept beside the items.
    pub(super) fn finish(mut self) -> (Vec<Pair>, Kept) {
        for &(at, start) in &self.copied {
            self.pairs[at].data = somewhere(self.copies.as_ptr()).wrapping_add(start);
        }
        (self.pairs, (self.written, self.copies))
    }
}

/// Where a row's bytes lie, how many they are, and in the highest bit whether they are text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    /// Null where there is no value.
    data: *const u8,
    len_and_kind: usize,
}

impl Pair {
    const NULL: Self = Self { data: std::ptr::null(), len_and_kind: 0 };
    const TEXT: usize = 1 << (usize::BITS - 1);

    fn new(data: *const u8, len: usize, is_text: bool) -> Self {
        // No object of Python's has more than `isize::MAX` bytes.
        Self { data, len_and_kind: len | if is_text { Self::TEXT } else { 0 } }
    }

    /// The same in three parts; `None` where there is no value.
    #[inline]
    pub(super) fn parts(self) -> Option<(*const u8, usize, bool)> {
        let (len, is_text) = (self.len_and_kind & !Self::TEXT, self.len_and_kind & Self::TEXT != 0);
        (!self.data.is_null()).then_some((self.data, len, is_text))
    }
}

/// A pointer that a slice of no bytes may start at.
pub(super) fn somewhere(data: *const u8) -> *const u8 {
    if data.is_null() { std::ptr::NonNull::dangling().as_ptr() } else { data }
}

/// Where the bytes of a `bytes` object lie: one call of Python's an item, not three.
fn bytes_of(item: &Bound<'_, PyAny>) -> Option<(*const u8, usize)> {
    if !item.is_exact_instance_of::<PyBytes>() {
        return item.cast::<PyBytes>().ok().map(|bytes| (bytes.as_bytes().as_ptr(), bytes.as_bytes().len()));
    }
    let (mut data, mut length) = (std::ptr::null_mut(), 0);
    // SAFETY: a live `bytes` object, attached to the interpreter; both places may be written to.
    let failed = unsafe { ffi::PyBytes_AsStringAndSize(item.as_ptr(), &raw mut data, &raw mut length) };
    (failed == 0).then_some((data.cast::<u8>().cast_const(), length as usize))
}

/// Why an item is not copied.
pub(super) enum NoCopy {
    /// It is this, and no bytes.
    Type(String),
    Memory,
}

fn copy_item(item: &Bound<'_, PyAny>, copies: &mut Vec<u8>) -> std::result::Result<(), NoCopy> {
    if !item.is_instance_of::<PyByteArray>() && !item.is_instance_of::<PyMemoryView>() {
        return Err(NoCopy::Type(type_name(item)));
    }
    let without = |_| NoCopy::Type(format!("a {} without a buffer", type_name(item)));
    let buffer = PyUntypedBuffer::get(item).map_err(without)?;
    let plain = buffer.dimensions() == 1 && buffer.item_size() == 1 && buffer.is_c_contiguous();
    if !plain {
        return Err(NoCopy::Type(format!(
            "a {} of shape {:?}, items of {} bytes",
            type_name(item),
            buffer.shape(),
            buffer.item_size()
        )));
    }
    let len = buffer.len_bytes();
    if len > 0 {
        copies.try_reserve(len).map_err(|_| NoCopy::Memory)?;
        // SAFETY: a contiguous buffer of so many bytes, held while they are copied into room for them.
        unsafe {
            let to = copies.spare_capacity_mut().as_mut_ptr().cast::<u8>();
            std::ptr::copy_nonoverlapping(buffer.buf_ptr().cast::<u8>().cast_const(), to, len);
            copies.set_len(copies.len() + len);
        }
    }
    Ok(())
}
