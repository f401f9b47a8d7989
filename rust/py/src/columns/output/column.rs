//! A result column as a Python object.

use std::ffi::c_int;

use crate::arguments;
use crate::errors::input;
use pyo3::exceptions::{PyBufferError, PyIndexError};
use pyo3::ffi as python;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyMemoryView, PySlice, PyTuple};
use zeroize::Zeroizing;

use super::export::Exported;
use super::table::Out;

/// A result column: a sequence of cells, and an Arrow array that any engine reads without a copy.
#[pyclass(frozen, sequence, module = "itron_core")]
#[derive(Debug)]
pub struct Column {
    name: String,
    out: Out,
    first: usize,
    len: usize,
}

impl Column {
    /// A column without a name.
    #[must_use]
    pub fn new(out: Out) -> Self {
        Self::named("", out)
    }

    /// A column with the name that it has in its table.
    #[must_use]
    pub fn named(name: &str, out: Out) -> Self {
        Self { name: name.to_owned(), first: 0, len: out.rows(), out }
    }

    fn exported(&self) -> Exported {
        Exported::Column { name: self.name.clone(), column: self.out.clone(), first: self.first, len: self.len }
    }

    fn cells<'py>(&self, py: Python<'py>, len: usize) -> PyResult<Vec<Bound<'py, PyAny>>> {
        (0..len).map(|row| self.out.cell(py, self.first + row)).collect()
    }

    fn slice(&self, slice: &Bound<'_, PySlice>) -> PyResult<Self> {
        let wanted = |_| input(format!("row: got {slice}, expected a slice of ints"));
        let range = slice.indices(self.len as isize).map_err(wanted)?;
        if range.step != 1 {
            return Err(PyIndexError::new_err(format!(
                "row: got a slice of step {}, expected step 1: a column is sliced without a copy",
                range.step
            )));
        }
        let (name, out) = (self.name.clone(), self.out.clone());
        Ok(Self { name, out, first: self.first + range.start as usize, len: range.slicelength })
    }
}

#[pymethods]
impl Column {
    /// The name that the column has in its table, or "".
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// The Arrow type, as pyarrow writes it.
    #[getter]
    fn r#type(&self) -> &'static str {
        self.out.type_name()
    }

    /// How many rows have no value.
    #[getter]
    fn null_count(&self) -> usize {
        self.out.nulls(self.first, self.len)
    }

    /// The cells: int, bool, bytes, str, aware datetime in UTC, or None.
    fn to_pylist<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.cells(py, self.len)?)
    }

    fn __len__(&self) -> usize {
        self.len
    }

    fn __getitem__<'py>(&self, py: Python<'py>, at: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if let Ok(slice) = at.cast::<PySlice>() {
            return Ok(Bound::new(py, self.slice(slice)?)?.into_any());
        }
        let row = arguments::row_or_slice(at)?;
        let from_start = if row < 0 { row + self.len as isize } else { row };
        match usize::try_from(from_start) {
            Ok(found) if found < self.len => self.out.cell(py, self.first + found),
            _ => Err(PyIndexError::new_err(format!("row {row} of a column of {} rows", self.len))),
        }
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.to_pylist(py)?.try_iter()?.into_any())
    }

    /// Results are handed on as Arrow, and refuse to be pickled alike at every protocol.
    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(crate::errors::no_pickle(&arguments::type_name(slf.as_any())))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shown = PyList::new(py, self.cells(py, self.len.min(10))?)?.repr()?.to_string();
        let shown = if self.len > 10 { format!("{}, ...]", shown.trim_end_matches(']')) } else { shown };
        let name = if self.name.is_empty() { String::new() } else { format!("{}: ", self.name) };
        Ok(format!("<Column {name}{}, {} rows, {} null> {shown}", self.r#type(), self.len, self.null_count()))
    }

    /// The Arrow schema as a capsule.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.exported().schema(py)
    }

    /// The Arrow schema and array as capsules. The column has one type: another that is asked for is not given.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let _ = requested_schema;
        self.exported().array(py)
    }

    /// The column as an Arrow stream of one array.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = requested_schema;
        self.exported().stream(py)
    }

    /// Integers without a null as a read-only buffer.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut python::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        let Some((values, width, format)) = this.out.plain() else {
            return Err(PyBufferError::new_err(format!(
                "a column of {} with {} nulls cannot be a buffer",
                this.r#type(),
                this.null_count()
            )));
        };
        let values = values.cast::<u8>().wrapping_add(this.first * width);
        let buffer = Plain { data: values, shape: vec![this.len], width, format };
        // SAFETY: Python gives a view to fill in; the values live as long as the column, which is frozen.
        unsafe { fill(view, flags, slf.into_any(), &buffer) }
    }

    #[allow(clippy::unused_self, reason = "the slot's signature")]
    unsafe fn __releasebuffer__(&self, view: *mut python::Py_buffer) {
        // SAFETY: called once for each view that `__getbuffer__` filled in.
        unsafe { release(view) }
    }
}

/// Memory to be seen as a buffer.
struct Plain {
    data: *const u8,
    shape: Vec<usize>,
    width: usize,
    format: &'static std::ffi::CStr,
}

/// Shape and strides of a view.
struct Layout {
    shape: Vec<isize>,
    strides: Vec<isize>,
}

/// Fills in a read-only view of contiguous values.
unsafe fn fill(view: *mut python::Py_buffer, flags: c_int, owner: Bound<'_, PyAny>, plain: &Plain) -> PyResult<()> {
    // SAFETY: the caller gives a view that Python made.
    unsafe { (*view).obj = std::ptr::null_mut() };
    if flags & python::PyBUF_WRITABLE == python::PyBUF_WRITABLE {
        return Err(PyBufferError::new_err("results are read-only"));
    }
    let shape: Vec<isize> = plain.shape.iter().map(|&rows| rows as isize).collect();
    let mut strides = vec![plain.width as isize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    let bytes = plain.width as isize * shape.iter().product::<isize>();
    let mut layout = Box::new(Layout { shape, strides });
    let asked = |flag: c_int| flags & flag == flag;
    // SAFETY: as above; the layout is freed by `release`, the owner by Python.
    unsafe {
        (*view).buf = plain.data.cast_mut().cast();
        (*view).len = bytes;
        (*view).itemsize = plain.width as isize;
        (*view).readonly = 1;
        (*view).ndim = layout.shape.len() as c_int;
        (*view).format =
            if asked(python::PyBUF_FORMAT) { plain.format.as_ptr().cast_mut() } else { std::ptr::null_mut() };
        (*view).shape = if asked(python::PyBUF_ND) { layout.shape.as_mut_ptr() } else { std::ptr::null_mut() };
        (*view).strides = if asked(python::PyBUF_STRIDES) { layout.strides.as_mut_ptr() } else { std::ptr::null_mut() };
        (*view).suboffsets = std::ptr::null_mut();
        (*view).internal = Box::into_raw(layout).cast();
        (*view).obj = owner.into_ptr();
    }
    Ok(())
}

unsafe fn release(view: *mut python::Py_buffer) {
    // SAFETY: the view was filled in by `fill`, which put the box there.
    unsafe { drop(Box::from_raw((*view).internal.cast::<Layout>())) };
}

/// Rows of equally many bytes as a read-only buffer of shape (rows, width).
#[pyclass(frozen, module = "itron_core")]
pub struct ByteRows {
    bytes: Zeroizing<Vec<u8>>,
    rows: usize,
    width: usize,
}

impl ByteRows {
    /// Rows one after another.
    ///
    /// # Panics
    /// If there are other than `rows` times `width` bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>, rows: usize, width: usize) -> Self {
        assert_eq!(bytes.len(), rows * width, "{rows} rows of {width} bytes");
        Self { bytes: Zeroizing::new(bytes), rows, width }
    }

    /// A memoryview of them, wiped when the last one is gone.
    ///
    /// # Errors
    /// Python has no memory for it.
    pub fn view(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        PyMemoryView::from(Bound::new(py, self)?.as_any()).map(Bound::into_any)
    }
}

#[pymethods]
impl ByteRows {
    /// (rows, bytes a row).
    #[getter]
    fn shape(&self) -> (usize, usize) {
        (self.rows, self.width)
    }

    fn __len__(&self) -> usize {
        self.rows
    }

    fn __repr__(&self) -> String {
        format!("<ByteRows: {} rows of {} bytes>", self.rows, self.width)
    }

    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut python::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        let plain = Plain { data: this.bytes.as_ptr(), shape: vec![this.rows, this.width], width: 1, format: c"B" };
        // SAFETY: Python gives a view to fill in; the bytes live as long as their owner, which is frozen.
        unsafe { fill(view, flags, slf.into_any(), &plain) }
    }

    #[allow(clippy::unused_self, reason = "the slot's signature")]
    unsafe fn __releasebuffer__(&self, view: *mut python::Py_buffer) {
        // SAFETY: called once for each view that `__getbuffer__` filled in.
        unsafe { release(view) }
    }
}
