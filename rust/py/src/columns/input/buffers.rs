//! The items of Python's buffers.

use std::ffi::c_char;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::ffi as python;
use pyo3::prelude::*;

use super::view::filled;
use crate::columns::error::{InputError, Result};

/// Whether a buffer's items are 64-bit floating-point numbers.
pub(super) fn is_of_floats(buffer: &PyUntypedBuffer) -> bool {
    let format = buffer.format().to_string_lossy();
    let native = if cfg!(target_endian = "little") { '<' } else { '>' };
    format.trim_start_matches(['@', '=', '|', native]) == "d" && buffer.item_size() == size_of::<f64>()
}

/// A contiguous copy of a buffer, straight for every integer type.
pub(super) fn copied(py: Python<'_>, buffer: &PyUntypedBuffer) -> Result<Vec<u64>> {
    let bytes = buffer.len_bytes();
    let mut copy = filled(bytes.div_ceil(8), 0_u64)?;
    if bytes == 0 {
        return Ok(copy);
    }
    if buffer.is_c_contiguous() {
        // SAFETY: a contiguous buffer of so many bytes, held here, into a copy that has room for them.
        unsafe { std::ptr::copy_nonoverlapping(buffer.buf_ptr().cast::<u8>(), copy.as_mut_ptr().cast(), bytes) };
        return Ok(copy);
    }
    let (shape, strides, size) = (buffer.shape(), buffer.strides(), buffer.item_size());
    let mut raw = python::Py_buffer::new();
    raw.buf = buffer.buf_ptr();
    raw.len = bytes as isize;
    raw.itemsize = size as isize;
    raw.readonly = 1;
    raw.ndim = shape.len() as i32;
    raw.shape = shape.as_ptr().cast::<isize>().cast_mut();
    raw.strides = strides.as_ptr().cast_mut();
    // SAFETY: a description of the buffer that is held here, read only; the copy has room for its bytes.
    let status =
        unsafe { python::PyBuffer_ToContiguous(copy.as_mut_ptr().cast(), &raw const raw, raw.len, b'C' as c_char) };
    if status != 0 {
        return Err(InputError::raised(py, "buffer", "copying it", PyErr::fetch(py)));
    }
    Ok(copy)
}
