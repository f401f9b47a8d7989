//! Rows of bytes, all of one length, as a buffer of two dimensions; wiped when the last view of it is gone.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
use zeroize::Zeroizing;

const UNSIGNED_BYTES: &CStr = c"B";

/// Bytes of shape (n, length). Python sees it through a memoryview only.
#[pyclass(module = "itron_core._rust", frozen)]
pub struct Matrix {
    bytes: Zeroizing<Vec<u8>>,
    shape: [ffi::Py_ssize_t; 2],
    strides: [ffi::Py_ssize_t; 2],
}

impl Matrix {
    /// Rows of `length` bytes each.
    pub fn new(bytes: Vec<u8>, length: usize) -> Self {
        let rows = bytes.len() / length;
        Self {
            bytes: Zeroizing::new(bytes),
            shape: [rows.cast_signed(), length.cast_signed()],
            strides: [length.cast_signed(), 1],
        }
    }

    /// A read-only view of it.
    pub fn view(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let matrix = Bound::new(py, self)?;
        PyMemoryView::from(matrix.as_any()).map(Bound::into_any)
    }
}

#[pymethods]
impl Matrix {
    // SAFETY: CPython hands a `view` that it owns; what is written points into `slf`, which the view keeps alive and
    // which never changes.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("a buffer without a view"));
        }
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("derived keys are read-only"));
        }
        let this = slf.get();
        let asks = |flag: c_int| flags & flag == flag;
        // SAFETY: `view` is not null, and CPython's to be filled.
        let view = unsafe { &mut *view };
        view.buf = this.bytes.as_ptr().cast_mut().cast::<c_void>();
        view.len = this.bytes.len().cast_signed();
        view.readonly = 1;
        view.itemsize = 1;
        view.format = if asks(ffi::PyBUF_FORMAT) { UNSIGNED_BYTES.as_ptr().cast_mut() } else { ptr::null_mut() };
        view.ndim = 2;
        view.shape = if asks(ffi::PyBUF_ND) { this.shape.as_ptr().cast_mut() } else { ptr::null_mut() };
        view.strides = if asks(ffi::PyBUF_STRIDES) { this.strides.as_ptr().cast_mut() } else { ptr::null_mut() };
        view.suboffsets = ptr::null_mut();
        view.internal = ptr::null_mut();
        view.obj = slf.into_any().into_ptr();
        Ok(())
    }
}
