//! From a Python object with the Arrow `PyCapsule` interface to arrays of one type that are ours.
//!
//! Source: <https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>.

use std::ffi::{CStr, c_int};
use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

use crate::arguments::type_name;

use crate::columns::error::{InputError, Result};
use crate::columns::ffi::{ArrowArray, ArrowArrayStream, ArrowSchema, Owned, Released};
use crate::columns::schema::Type;

/// More arrays than this in one stream are refused: with the limit on rows it bounds what an endless stream can take.
const MOST_ARRAYS: usize = 1 << 20;
/// What is read of a producer's message.
const LONGEST_MESSAGE: usize = 2000;

/// An array that is released when the last column over it is dropped.
pub type SharedArray = Arc<Owned<ArrowArray>>;

/// Arrays of one type, as they came.
#[derive(Debug)]
pub struct Imported {
    /// Their type.
    pub dtype: Type,
    /// The arrays in their order, none released.
    pub arrays: Vec<SharedArray>,
}

/// What an object exports; `None` if it does not speak the interface.
///
/// A stream is preferred, as an object that has both would have to join its chunks for the other.
///
/// # Errors
/// What the producer raises, or hands over against the rules of the interface.
pub fn import(object: &Bound<'_, PyAny>, name: &str) -> Result<Option<Imported>> {
    let py = object.py();
    for (method, read) in [
        (intern!(py, "__arrow_c_stream__"), import_stream as Reader),
        (intern!(py, "__arrow_c_array__"), import_array as Reader),
    ] {
        if let Ok(method) = object.getattr(method) {
            let exported = method.call0().map_err(|cause| InputError::raised(py, name, "its Arrow export", cause))?;
            return read(&exported, name).map(Some).map_err(|error| named(name, error));
        }
    }
    Ok(None)
}

type Reader = for<'py> fn(&Bound<'py, PyAny>, &str) -> Result<Imported>;

fn named(name: &str, error: InputError) -> InputError {
    if error.0.starts_with(name) { error } else { InputError(format!("{name}: {}", error.0), error.1) }
}

fn import_array(exported: &Bound<'_, PyAny>, _name: &str) -> Result<Imported> {
    let pair = exported.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2).ok_or_else(|| {
        InputError::new(format!("__arrow_c_array__: got {}, expected a pair of capsules", type_name(exported)))
    })?;
    let part = |at| pair.get_item(at).map_err(|cause| InputError::raised(exported.py(), "pair", "reading it", cause));
    let schema: Owned<ArrowSchema> = take(&part(0)?, c"arrow_schema")?;
    let array: Owned<ArrowArray> = take(&part(1)?, c"arrow_array")?;
    // SAFETY: the schema was just moved out of its producer's capsule, not yet released.
    let dtype = unsafe { Type::read(&schema.0) }?;
    Ok(Imported { dtype, arrays: vec![Arc::new(array)] })
}

fn import_stream(exported: &Bound<'_, PyAny>, name: &str) -> Result<Imported> {
    let py = exported.py();
    let mut stream: Owned<ArrowArrayStream> = take(exported, c"arrow_array_stream")?;
    // A producer may run Python on other threads and wait for them: the lock is not ours meanwhile.
    let schema = py.detach(|| stream_schema(&mut stream))?;
    // SAFETY: the schema was just filled in by its producer, not yet released.
    let dtype = unsafe { Type::read(&schema.0) }?;
    let mut arrays = Vec::new();
    while let Some(array) = py.detach(|| next_array(&mut stream))? {
        if arrays.len() == MOST_ARRAYS {
            return Err(InputError::new(format!("got a stream of over {MOST_ARRAYS} arrays")));
        }
        arrays.push(Arc::new(array));
        py.check_signals().map_err(|cause| InputError::raised(py, name, "reading its stream", cause))?;
    }
    Ok(Imported { dtype, arrays })
}

fn stream_schema(stream: &mut Owned<ArrowArrayStream>) -> Result<Owned<ArrowSchema>> {
    let get = stream.0.get_schema.ok_or_else(|| InputError::new("got an Arrow stream without get_schema"))?;
    let mut schema = Owned(ArrowSchema::empty());
    // SAFETY: a live stream and a place for the schema, as the interface wants them.
    let status = unsafe { get(&raw mut stream.0, &raw mut schema.0) };
    if status != 0 {
        schema.0.forget();
        return Err(stream_error(stream, "schema", status));
    }
    Ok(schema)
}

fn next_array(stream: &mut Owned<ArrowArrayStream>) -> Result<Option<Owned<ArrowArray>>> {
    let get = stream.0.get_next.ok_or_else(|| InputError::new("got an Arrow stream without get_next"))?;
    let mut array = Owned(ArrowArray::empty());
    // SAFETY: as in `stream_schema`.
    let status = unsafe { get(&raw mut stream.0, &raw mut array.0) };
    if status != 0 {
        array.0.forget();
        return Err(stream_error(stream, "next array", status));
    }
    Ok((!array.0.is_released()).then_some(array))
}

fn stream_error(stream: &mut Owned<ArrowArrayStream>, what: &str, status: c_int) -> InputError {
    let says = match stream.0.get_last_error {
        // SAFETY: a live stream, whose last call failed.
        Some(last_error) => unsafe { last_error(&raw mut stream.0) },
        None => std::ptr::null(),
    };
    if says.is_null() {
        return InputError::new(format!("its Arrow stream failed with error {status} when asked for its {what}"));
    }
    // SAFETY: the interface promises a C string that lives until the next call on the stream; nothing after its end is read.
    let length = (0..LONGEST_MESSAGE).find(|&at| unsafe { *says.add(at) } == 0).unwrap_or(LONGEST_MESSAGE);
    // SAFETY: those bytes were just read.
    let bytes = unsafe { std::slice::from_raw_parts(says.cast::<u8>(), length) };
    let says = String::from_utf8_lossy(bytes);
    InputError::new(format!("its Arrow stream failed with error {status} when asked for its {what}: {says}"))
}

/// Moves the structure out of a capsule, so that it is released by us and by nobody else.
fn take<T: Released>(capsule: &Bound<'_, PyAny>, name: &'static CStr) -> Result<Owned<T>> {
    let wanted = name.to_string_lossy();
    let wrong = || InputError::new(format!("got {}, expected a capsule named {wanted:?}", type_name(capsule)));
    let typed = capsule.cast::<PyCapsule>().map_err(|_| wrong())?;
    let pointer = typed
        .pointer_checked(Some(name))
        .map_err(|_| InputError::new(format!("got an empty capsule or one of another name, expected {wanted:?}")))?;
    let mut place = pointer.cast::<T>();
    if !place.is_aligned() {
        return Err(InputError::new(format!(
            "got a capsule {wanted:?} with a misaligned pointer, expected an aligned one"
        )));
    }
    // SAFETY: the capsule's name says what it points to; we hold the capsule, and nobody else uses the structure while attached.
    let source = unsafe { place.as_mut() };
    if source.is_released() {
        return Err(InputError::new(format!(
            "got a capsule {wanted:?} that was used up already, expected a fresh one"
        )));
    }
    // SAFETY: the interface moves a structure by copying its bytes and marking the source as released, which the next line does.
    let taken = unsafe { place.read() };
    source.forget();
    Ok(Owned(taken))
}

/// Whether an object says that it exports Arrow.
#[must_use]
pub fn is_arrow(object: &Bound<'_, PyAny>) -> bool {
    let has = |name| object.hasattr(name).unwrap_or(false);
    has(intern!(object.py(), "__arrow_c_array__")) || has(intern!(object.py(), "__arrow_c_stream__"))
}
