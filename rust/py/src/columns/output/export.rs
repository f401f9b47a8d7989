//! Result columns and tables as Arrow capsules, without a copy and any number of times.
//!
//! Source: <https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use pyo3::ffi as python;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::table::{Out, OutTable};
use crate::columns::ffi::{ArrowArray, ArrowArrayStream, ArrowSchema, Owned, Released};

const NULLABLE: i64 = 2;

/// What is exported: rows of a column, or a table.
#[derive(Clone, Debug)]
pub enum Exported {
    /// A column with a name.
    #[allow(missing_docs)]
    Column { name: String, column: Out },
    /// A table: a struct without nulls.
    Table(OutTable),
}

impl Exported {
    /// `__arrow_c_schema__`.
    ///
    /// # Errors
    /// Python has no memory for a capsule.
    pub fn schema<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        capsule(py, self.c_schema(), c"arrow_schema", drop_capsule::<ArrowSchema>)
    }

    /// `__arrow_c_array__`: the schema and the array.
    ///
    /// # Errors
    /// As for [`Exported::schema`].
    pub fn array<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let array = capsule(py, self.c_array(), c"arrow_array", drop_capsule::<ArrowArray>)?;
        PyTuple::new(py, [self.schema(py)?, array])
    }

    /// `__arrow_c_stream__`: one array.
    ///
    /// # Errors
    /// As for [`Exported::schema`].
    pub fn stream<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let private = Box::new(Stream { exported: self.clone(), is_read: false });
        let stream = ArrowArrayStream {
            get_schema: Some(get_schema),
            get_next: Some(get_next),
            get_last_error: Some(get_last_error),
            release: Some(release_stream),
            private_data: Box::into_raw(private).cast(),
        };
        capsule(py, Owned(stream), c"arrow_array_stream", drop_capsule::<ArrowArrayStream>)
    }

    fn c_schema(&self) -> Owned<ArrowSchema> {
        match self {
            Self::Column { name, column, .. } => schema_of(column.format(), name, Vec::new()),
            Self::Table(table) => {
                let child = |(name, column): &(String, Out)| schema_of(column.format(), name, Vec::new());
                schema_of(c"+s", "", table.columns().iter().map(child).collect())
            }
        }
    }

    fn c_array(&self) -> Owned<ArrowArray> {
        match self {
            Self::Column { column, .. } => column_array(column),
            Self::Table(table) => {
                let rows = table.rows();
                let children = table.columns().iter().map(|(_, column)| column_array(column)).collect();
                array_of(rows, 0, 0, vec![std::ptr::null()], children, None)
            }
        }
    }
}

fn column_array(column: &Out) -> Owned<ArrowArray> {
    let (rows, offset, nulls) = (column.rows(), column.offset(), column.nulls());
    array_of(rows, offset, nulls, column.buffers(), Vec::new(), Some(column.clone()))
}

/// What an exported schema points into.
struct SchemaData {
    name: CString,
    children: Vec<*mut ArrowSchema>,
}

fn schema_of(format: &'static CStr, name: &str, children: Vec<Owned<ArrowSchema>>) -> Owned<ArrowSchema> {
    let name = CString::new(name.replace('\0', "")).unwrap_or_default();
    let mut data = Box::new(SchemaData { name, children: children.into_iter().map(on_heap).collect() });
    let mut schema = ArrowSchema::empty();
    schema.format = format.as_ptr();
    schema.name = data.name.as_ptr();
    schema.flags = NULLABLE;
    schema.n_children = data.children.len() as i64;
    schema.children = data.children.as_mut_ptr();
    schema.release = Some(release_schema);
    schema.private_data = Box::into_raw(data).cast();
    Owned(schema)
}

/// What an exported array points into.
struct ArrayData {
    buffers: Vec<*const c_void>,
    children: Vec<*mut ArrowArray>,
    _column: Option<Out>,
}

fn array_of(
    len: usize,
    offset: usize,
    nulls: usize,
    buffers: Vec<*const c_void>,
    children: Vec<Owned<ArrowArray>>,
    column: Option<Out>,
) -> Owned<ArrowArray> {
    let children = children.into_iter().map(on_heap).collect();
    let mut data = Box::new(ArrayData { buffers, children, _column: column });
    let mut array = ArrowArray::empty();
    array.length = len as i64;
    array.offset = offset as i64;
    array.null_count = nulls as i64;
    array.n_buffers = data.buffers.len() as i64;
    array.buffers = data.buffers.as_mut_ptr();
    array.n_children = data.children.len() as i64;
    array.children = data.children.as_mut_ptr();
    array.release = Some(release_array);
    array.private_data = Box::into_raw(data).cast();
    Owned(array)
}

/// Moves a structure where a child lies until its parent is released.
fn on_heap<T: Released>(owned: Owned<T>) -> *mut T {
    Box::into_raw(Box::new(into_inner(owned)))
}

fn into_inner<T: Released>(mut owned: Owned<T>) -> T {
    std::mem::replace(&mut owned.0, T::empty())
}

unsafe extern "C" fn release_schema(schema: *mut ArrowSchema) {
    // SAFETY: the callback belongs to structures made by `schema_of`, and is called once, with the structure.
    unsafe {
        let data = Box::from_raw((*schema).private_data.cast::<SchemaData>());
        data.children.iter().for_each(|&child| free_child(child));
        (*schema).forget();
    }
}

unsafe extern "C" fn release_array(array: *mut ArrowArray) {
    // SAFETY: the callback belongs to structures made by `array_of`, and is called once, with the structure.
    unsafe {
        let data = Box::from_raw((*array).private_data.cast::<ArrayData>());
        data.children.iter().for_each(|&child| free_child(child));
        (*array).forget();
    }
}

/// Releases a child, unless a consumer has moved it out, and frees the place where it lay.
unsafe fn free_child<T: Released>(child: *mut T) {
    // SAFETY: made by `on_heap`, and freed only here; a child that was moved out is marked as released.
    unsafe { drop(Owned(*Box::from_raw(child))) };
}

/// What an exported stream still has to give.
struct Stream {
    exported: Exported,
    is_read: bool,
}

unsafe extern "C" fn get_schema(stream: *mut ArrowArrayStream, out: *mut ArrowSchema) -> c_int {
    // SAFETY: called with a live stream made by `Exported::stream`, and a place to write to.
    unsafe { out.write(into_inner((*(*stream).private_data.cast::<Stream>()).exported.c_schema())) };
    0
}

unsafe extern "C" fn get_next(stream: *mut ArrowArrayStream, out: *mut ArrowArray) -> c_int {
    // SAFETY: as for `get_schema`; a stream is used by one thread at a time.
    unsafe {
        let stream = &mut *(*stream).private_data.cast::<Stream>();
        let next = if stream.is_read { ArrowArray::empty() } else { into_inner(stream.exported.c_array()) };
        stream.is_read = true;
        out.write(next);
    }
    0
}

unsafe extern "C" fn get_last_error(_stream: *mut ArrowArrayStream) -> *const c_char {
    std::ptr::null()
}

unsafe extern "C" fn release_stream(stream: *mut ArrowArrayStream) {
    // SAFETY: as for `release_array`.
    unsafe {
        drop(Box::from_raw((*stream).private_data.cast::<Stream>()));
        (*stream).forget();
    }
}

fn capsule<'py, T: Released>(
    py: Python<'py>,
    owned: Owned<T>,
    name: &'static CStr,
    destructor: unsafe extern "C" fn(*mut python::PyObject),
) -> PyResult<Bound<'py, PyAny>> {
    let place = Box::into_raw(Box::new(owned));
    // SAFETY: attached; the name is static, and the destructor takes what is put in here.
    let made = unsafe {
        let made = python::PyCapsule_New(place.cast(), name.as_ptr(), Some(destructor));
        Bound::from_owned_ptr_or_err(py, made)
    };
    if made.is_err() {
        // SAFETY: no capsule has taken it.
        drop(unsafe { Box::from_raw(place) });
    }
    made
}

/// Releases what nobody has moved out of a capsule.
unsafe extern "C" fn drop_capsule<T: Released>(capsule: *mut python::PyObject) {
    // SAFETY: called by Python with a capsule made by `capsule`, whose pointer is a box of this type.
    unsafe {
        let place = python::PyCapsule_GetPointer(capsule, python::PyCapsule_GetName(capsule));
        if !place.is_null() {
            drop(Box::from_raw(place.cast::<Owned<T>>()));
        }
    }
}
