//! A result column as a Python object.

use std::ffi::c_int;

use crate::arguments;
use crate::errors::{secret_stays, stopped};
use pyo3::exceptions::{PyBufferError, PyIndexError};
use pyo3::ffi as python;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDateTime, PyList, PyMemoryView, PySlice, PyString, PyTuple, PyType};
use zeroize::Zeroizing;

use super::export::Exported;
use super::table::Out;
use super::{kinds, state};

/// A result column: a sequence of cells, and an Arrow array that any engine reads without a copy.
#[pyclass(frozen, sequence, module = "itron_core")]
#[derive(Debug)]
pub struct Column {
    name: String,
    out: Out,
    is_secret: bool,
}

/// Cells that a column shows of itself.
const SHOWN: usize = 10;
/// Characters of a cell that are shown.
const SHOWN_OF_A_CELL: usize = 32;

impl Column {
    /// A column without a name.
    #[must_use]
    pub fn new(out: Out) -> Self {
        Self::named("", out)
    }

    /// A column with the name that it has in its table.
    #[must_use]
    pub fn named(name: &str, out: Out) -> Self {
        Self { name: name.to_owned(), out, is_secret: false }
    }

    /// A column of keys: it shows no cell, and is not pickled.
    #[must_use]
    pub fn secret(out: Out) -> Self {
        Self { is_secret: true, ..Self::new(out) }
    }

    fn exported(&self) -> Exported {
        Exported::Column { name: self.name.clone(), column: self.out.clone() }
    }

    fn cells<'py>(&self, py: Python<'py>, len: usize) -> PyResult<Vec<Bound<'py, PyAny>>> {
        (0..len).map(|row| self.out.cell(py, row)).collect()
    }

    fn slice(&self, slice: &Bound<'_, PySlice>) -> PyResult<Self> {
        let (first, rows) = kinds::range(slice, self.out.rows())?;
        Ok(Self { name: self.name.clone(), out: self.out.slice(first, rows), is_secret: self.is_secret })
    }
}

/// A cell as `repr` shows it: what is long is cut, bytes are hexadecimal then.
fn shown(cell: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(bytes) = cell.cast::<PyBytes>() {
        let bytes = bytes.as_bytes();
        if bytes.len() > SHOWN_OF_A_CELL / 4 {
            let start = cell.call_method0("hex")?.extract::<String>()?;
            return Ok(format!("<{} bytes {}...>", bytes.len(), &start[..SHOWN_OF_A_CELL / 2]));
        }
    }
    if cell.is_instance_of::<PyDateTime>() {
        return cell.str()?.extract();
    }
    let text = cell.repr()?.to_string();
    let is_text = cell.is_instance_of::<PyString>();
    match text.char_indices().nth(SHOWN_OF_A_CELL) {
        Some((end, _)) if is_text => Ok(format!("{}...'", &text[..end])),
        _ => Ok(text),
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
        self.out.nulls()
    }

    /// The cells: int, bool, bytes, str, aware datetime in UTC, or None.
    fn to_pylist<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.cells(py, self.out.rows())?)
    }

    /// Return the column as a `pyarrow.Array`, without a copy.
    fn to_arrow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        kinds::converted(slf.as_any(), "column_to_arrow", &[])
    }

    /// Return the column as a `pandas.Series` of its Arrow type, with `index` where one is given.
    #[pyo3(signature = (index=None))]
    fn to_pandas<'py>(slf: &Bound<'py, Self>, index: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        kinds::converted(slf.as_any(), "column_to_pandas", &[index])
    }

    /// Return the column as a `polars.Series`, without a copy.
    fn to_polars<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        kinds::converted(slf.as_any(), "column_to_polars", &[])
    }

    /// The column as a `NumPy` array: integers of their width, bool, `datetime64[us]` with `NaT` for null; objects for all else.
    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        slf: &Bound<'py, Self>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        kinds::converted(slf.as_any(), "column_to_numpy", &[dtype, copy])
    }

    /// The ticks of a column of times as integers, `null` where a row has none; None for a column of another type.
    fn _ticks(&self, null: i64) -> PyResult<Option<Self>> {
        let ticks = self.out.ticks().map(|ticks| ticks.filled(null)).transpose().map_err(stopped)?;
        Ok(ticks.map(Self::new))
    }

    fn __len__(&self) -> usize {
        self.out.rows()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, at: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if let Ok(slice) = at.cast::<PySlice>() {
            return Ok(Bound::new(py, self.slice(slice)?)?.into_any());
        }
        let (row, rows) = (arguments::row_or_slice(at)?, self.out.rows());
        let from_start = if row < 0 { row + rows as isize } else { row };
        match usize::try_from(from_start) {
            Ok(found) if found < rows => self.out.cell(py, found),
            _ => Err(PyIndexError::new_err(format!("row {row} of a column of {rows} rows"))),
        }
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.to_pylist(py)?.try_iter()?.into_any())
    }

    /// Results are public and pickled whole; a column of keys is not.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        if self.is_secret {
            return Err(secret_stays("Column of keys"));
        }
        let state = (&self.name, self.out.rows(), state::of_column(py, &self.out)?);
        Ok((PyType::new::<Self>(py).getattr("_restore")?, state.into_pyobject(py)?))
    }

    /// What pickle calls.
    #[staticmethod]
    fn _restore(name: &str, rows: usize, state: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self::named(name, state::column(rows, state)?))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let rows = self.out.rows();
        let shown_rows = if self.is_secret { 0 } else { rows.min(SHOWN) };
        let mut cells = self.cells(py, shown_rows)?.iter().map(shown).collect::<PyResult<Vec<_>>>()?;
        if shown_rows < rows {
            cells.push("...".to_owned());
        }
        let name = if self.name.is_empty() { String::new() } else { format!("{}: ", self.name) };
        let (dtype, nulls) = (self.r#type(), self.null_count());
        Ok(format!("<Column {name}{dtype}, {rows} rows, {nulls} null> [{}]", cells.join(", ")))
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
        let buffer = Plain { data: values.cast(), shape: vec![this.out.rows()], width, format };
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
