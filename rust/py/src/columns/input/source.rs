//! A column or a table as it came, before it is known what is wanted of it.

use std::sync::Arc;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyMapping, PySequence, PyString, PyTuple};

use super::capsule::{self, Imported, SharedArray};
use super::view::{MOST_ROWS, Node, Validity, Window, copied, reference};
use crate::arguments::type_name;
use crate::columns::error::{InputError, Result, same_length};
use crate::columns::ffi::ArrowArray;
use crate::columns::schema::Type;

/// A column of any kind that can be taken, not yet read.
#[derive(Clone, Debug)]
pub struct AnyColumn {
    name: Arc<str>,
    source: Source,
}

#[derive(Clone, Debug)]
pub(super) enum Source {
    Arrow(ArrowColumn),
    Items(Arc<Py<PyTuple>>),
    Buffer(Arc<PyUntypedBuffer>),
    /// `NumPy`'s times, of which nobody knows what zone they are of.
    Datetime64 {
        rows: usize,
        code: String,
    },
}

/// Items of a list between two looks at signals.
pub(super) const SIGNALS_EVERY: usize = 1 << 16;

/// A column of Arrow arrays, checked as far as their parents go.
#[derive(Clone, Debug)]
pub(super) struct ArrowColumn {
    pub dtype: Type,
    pub pieces: Vec<Piece>,
    pub rows: usize,
}

/// Consecutive rows of an array, and the nulls of the table around it.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub owner: SharedArray,
    array: *const ArrowArray,
    pub window: Window,
    outer: Validity,
}

// SAFETY: the array belongs to its owner, which is alive as long as the piece and only read.
unsafe impl Send for Piece {}
// SAFETY: as above.
unsafe impl Sync for Piece {}

impl Piece {
    /// The checked array, and which of the piece's rows hold a value.
    pub fn node(&self, dtype: &Type) -> Result<(Node<'_>, Validity)> {
        // SAFETY: the array belongs to the owner, which was not released.
        let node = unsafe { Node::new(&*self.array, dtype) }?;
        if self.window.skip + self.window.len > node.len {
            let (rows, len) = (self.window.skip + self.window.len, node.len);
            return Err(InputError::new(format!("got an Arrow array of {len} rows inside one of {rows}")));
        }
        let inner = if *dtype == Type::Null { Validity::all() } else { node.validity(self.window)? };
        let validity = inner.and(&self.outer, self.window.len)?;
        Ok((node, validity))
    }

    /// Floating-point numbers of the piece's rows, those of null rows whatever they are.
    pub fn floats(&self, node: &Node<'_>) -> Result<Vec<f64>> {
        let (first, width) = (node.offset + self.window.skip, size_of::<f64>());
        let needed = if self.window.len == 0 { 0 } else { (first + self.window.len) * width };
        let values = node.buffer(1, needed, "values")?.wrapping_add(first * width);
        // SAFETY: the values cover length + offset rows, as the interface says; may be misaligned.
        unsafe { copied(values.cast::<f64>(), self.window.len) }
    }
}

impl AnyColumn {
    /// Takes an Arrow array or stream, a buffer, or a sequence; `name` is what messages call it.
    ///
    /// # Errors
    /// Anything else, and what a producer raises.
    pub fn new(object: &Bound<'_, PyAny>, name: &str) -> Result<Self> {
        if let Some(items) = mixed_items(object, name)? {
            return Ok(Self { name: name.into(), source: items });
        }
        let source = match capsule::import(object, name)? {
            Some(imported) => Source::Arrow(ArrowColumn::whole(imported).map_err(|error| error.about(name))?),
            None => python_source(object, name)?,
        };
        Ok(Self { name: name.into(), source })
    }

    pub(super) fn of(name: &str, source: Source) -> Self {
        Self { name: name.into(), source }
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self, py: Python<'_>) -> usize {
        match &self.source {
            Source::Arrow(column) => column.rows,
            Source::Items(items) => items.bind(py).len(),
            Source::Buffer(buffer) => buffer.shape().first().copied().unwrap_or(0),
            Source::Datetime64 { rows, .. } => *rows,
        }
    }

    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// An error about this column.
    pub(super) fn error(&self, what: impl std::fmt::Display) -> InputError {
        InputError::new(format!("{}: {what}", self.name))
    }

    /// An error that says which type came.
    pub(super) fn unwanted(&self, got: impl std::fmt::Display, wanted: &str) -> InputError {
        self.error(format!("got {got}, expected {wanted}"))
    }
}

impl InputError {
    /// The same error, about the column `name`.
    pub(super) fn about(self, name: &str) -> Self {
        Self(format!("{name}: {}", self.0), self.1)
    }
}

impl ArrowColumn {
    fn whole(imported: Imported) -> Result<Self> {
        let Imported { dtype, arrays } = imported;
        let piece = |owner: SharedArray| {
            let len = length(&owner.0)?;
            Ok(Piece { array: &raw const owner.0, owner, window: Window { skip: 0, len }, outer: Validity::all() })
        };
        let pieces = arrays.into_iter().map(piece).collect::<Result<Vec<_>>>()?;
        let rows = total(&pieces)?;
        Ok(Self { dtype, pieces, rows })
    }
}

fn length(array: &ArrowArray) -> Result<usize> {
    usize::try_from(array.length).ok().filter(|&length| length <= MOST_ROWS).ok_or_else(|| {
        InputError::new(format!("got an Arrow array of length {}, expected 0 to {MOST_ROWS}", array.length))
    })
}

fn total(pieces: &[Piece]) -> Result<usize> {
    let rows: usize = pieces.iter().map(|piece| piece.window.len).sum();
    if rows > MOST_ROWS {
        return Err(InputError::new(format!("got {rows} rows, expected at most {MOST_ROWS} in one call")));
    }
    Ok(rows)
}

fn python_source(object: &Bound<'_, PyAny>, name: &str) -> Result<Source> {
    if object.is_instance_of::<PyString>()
        || object.is_instance_of::<PyBytes>()
        || object.is_instance_of::<PyByteArray>()
    {
        let kind = type_name(object);
        return Err(InputError::new(format!(
            "{name}: got one {kind}, expected a column: put it in a list for a column of one row"
        )));
    }
    if let Ok(items) = object.cast_exact::<PyTuple>() {
        return Ok(Source::Items(Arc::new(items.clone().unbind())));
    }
    if let Ok(items) = object.cast::<PyList>() {
        return Ok(Source::Items(Arc::new(items.to_tuple().unbind())));
    }
    if let Ok(to_series) = object.getattr(intern!(object.py(), "to_series")) {
        // An index of pandas exports nothing itself.
        let series = to_series.call0();
        let series = series.map_err(|cause| InputError::raised(object.py(), name, "reading it as a series", cause))?;
        return if series.is(object) {
            Err(no_column(object, name))
        } else {
            Ok(AnyColumn::new(&series, name)?.source)
        };
    }
    if let Some(buffer) = buffer_source(object, name)? {
        return Ok(buffer);
    }
    if object.cast::<PySequence>().is_ok() || object.hasattr(intern!(object.py(), "__array__")).unwrap_or(false) {
        let items = object.py().get_type::<PyTuple>().call1((object,));
        let items = items.map_err(|cause| InputError::raised(object.py(), name, "reading it as a sequence", cause))?;
        if let Ok(items) = items.cast_into_exact::<PyTuple>() {
            return Ok(Source::Items(Arc::new(items.unbind())));
        }
    }
    Err(no_column(object, name))
}

fn no_column(object: &Bound<'_, PyAny>, name: &str) -> InputError {
    let kind = type_name(object);
    let hint = collect_hint(object);
    InputError::new(format!("{name}: got {kind}, expected an Arrow array or stream, a buffer, or a sequence{hint}"))
}

/// What to do with a frame that has no rows yet.
fn collect_hint(object: &Bound<'_, PyAny>) -> &'static str {
    let is_lazy = object.hasattr(intern!(object.py(), "collect")).unwrap_or(false);
    if is_lazy { "; call .collect() first, or see itron_core.frames" } else { "" }
}

/// The items of a pandas series of Python objects that has both bytes and text: as one Arrow type, text would be taken for bytes.
fn mixed_items(object: &Bound<'_, PyAny>, name: &str) -> Result<Option<Source>> {
    let py = object.py();
    let Ok(dtype) = object.getattr(intern!(py, "dtype")) else { return Ok(None) };
    let is_of_objects = type_name(&dtype).starts_with("numpy.") && dtype.str().is_ok_and(|name| name == "object");
    if !is_of_objects || !object.hasattr(intern!(py, "__arrow_c_stream__")).unwrap_or(false) {
        return Ok(None);
    }
    let failed = |cause| InputError::raised(py, name, "reading it as a list", cause);
    let items = object.call_method0(intern!(py, "tolist")).map_err(failed)?;
    let Ok(items) = items.cast::<PyList>() else { return Ok(None) };
    let has_bytes = items.iter().any(|item| item.is_instance_of::<PyBytes>());
    let is_mixed = has_bytes && items.iter().any(|item| item.is_instance_of::<PyString>());
    Ok(is_mixed.then(|| Source::Items(Arc::new(items.to_tuple().unbind()))))
}

/// A buffer of numbers or bytes; `None` for an object without a buffer, and for a buffer of Python objects or text, which are read item by item.
fn buffer_source(object: &Bound<'_, PyAny>, name: &str) -> Result<Option<Source>> {
    let py = object.py();
    let has = |name| object.hasattr(name).unwrap_or(false);
    if has(intern!(py, "mask")) && has(intern!(py, "filled")) {
        // The buffer of a masked array does not show its mask: its list has None where a value is masked.
        let items = object.call_method0(intern!(py, "tolist"));
        let items = items.map_err(|cause| InputError::raised(py, name, "reading it as a list", cause))?;
        let items = items.cast::<PyList>().map(PyListMethods::to_tuple);
        return Ok(items.ok().map(|items| Source::Items(Arc::new(items.unbind()))));
    }
    if let Some(times) = numpy_times(object) {
        return Ok(Some(times));
    }
    match PyUntypedBuffer::get(object) {
        Ok(buffer) if is_of_objects(&buffer) => Ok(None),
        Ok(buffer) => {
            check_buffer(&buffer).map_err(|error| error.about(name))?;
            Ok(Some(Source::Buffer(Arc::new(buffer))))
        }
        // A view that cannot be given, such as NumPy's of a type that buffers do not have: its items may still be taken.
        Err(error) if error.is_instance_of::<PyException>(py) => Ok(None),
        Err(error) => Err(InputError::raised(py, name, "reading its buffer", error)),
    }
}

/// `NumPy`'s times and days, which have no buffer of their own.
fn numpy_times(object: &Bound<'_, PyAny>) -> Option<Source> {
    let py = object.py();
    let code = object.getattr(intern!(py, "dtype")).and_then(|dtype| dtype.getattr(intern!(py, "str"))).ok()?;
    let code = code.extract::<String>().ok().filter(|code| code.get(1..3) == Some("M8"))?;
    Some(Source::Datetime64 { rows: object.len().ok()?, code: code.get(1..)?.replacen("M8", "datetime64", 1) })
}

fn is_of_objects(buffer: &PyUntypedBuffer) -> bool {
    matches!(buffer.format().to_bytes().last(), Some(b'O' | b'w' | b'u')) && buffer.dimensions() == 1
}

fn check_buffer(buffer: &PyUntypedBuffer) -> Result<()> {
    let shape = buffer.shape();
    if shape.is_empty() || shape.len() > 2 {
        return Err(InputError::new(format!("got a buffer of {} dimensions, expected 1 or 2", shape.len())));
    }
    if buffer.suboffsets().is_some() {
        return Err(InputError::new("got a buffer of pointers, expected plain values"));
    }
    let items = shape.iter().try_fold(1_usize, |items, &rows| items.checked_mul(rows));
    let bytes = items.and_then(|items| items.checked_mul(buffer.item_size()));
    if shape[0] > MOST_ROWS || bytes != Some(buffer.len_bytes()) || buffer.item_size() == 0 {
        return Err(InputError::new(format!(
            "got a buffer of shape {shape:?} and {} bytes, items of {} bytes",
            buffer.len_bytes(),
            buffer.item_size()
        )));
    }
    Ok(())
}

/// Columns by name, all of one length.
#[derive(Debug)]
pub struct Table {
    columns: Vec<AnyColumn>,
    /// Names of columns that nobody wants: they were not read.
    unread: Vec<String>,
    rows: usize,
}

impl Table {
    /// Takes an Arrow table, batch or stream of batches, a data frame that exports one, a mapping of names to columns, or a list
    /// of rows that are mappings. Of a mapping or a pandas frame, columns that are not `wanted` are not read.
    ///
    /// # Errors
    /// A type that is not a table, a duplicate name, columns of different lengths, and what a producer raises.
    pub fn new(object: &Bound<'_, PyAny>, name: &str, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let py = object.py();
        let is_pandas = type_name(object).starts_with("pandas.");
        let names = if is_pandas { object.getattr(intern!(py, "columns")).ok() } else { None };
        if let Some(names) = names {
            return Self::from_frame(object, &names, name, wanted);
        }
        if let Some(imported) = capsule::import(object, name)? {
            return Self::from_arrow(imported).map_err(|error| error.about(name));
        }
        if let Ok(mapping) = object.cast::<PyMapping>() {
            return Self::from_mapping(mapping, name, wanted);
        }
        if let Ok(rows) = object.cast::<PyList>() {
            return Self::from_rows(rows, name);
        }
        let (kind, hint) = (type_name(object), collect_hint(object));
        Err(InputError::new(format!(
            "{name}: got {kind}, expected an Arrow table or stream, a data frame, a mapping of columns, or a list of mappings{hint}"
        )))
    }

    /// A data frame column by column: one that nobody wants may hold what Arrow has no type for.
    fn from_frame(
        frame: &Bound<'_, PyAny>,
        names: &Bound<'_, PyAny>,
        name: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Self> {
        let failed = |cause| InputError::raised(frame.py(), name, "reading its columns", cause);
        let (mut columns, mut unread) = (Vec::new(), Vec::new());
        for label in names.try_iter().map_err(failed)? {
            let label = label.map_err(failed)?;
            match label.extract::<String>() {
                Ok(known) if wanted(&known) => {
                    if columns.iter().any(|column: &AnyColumn| column.name() == known) {
                        return Err(InputError::new(format!("got two columns named {known:?}")));
                    }
                    columns.push(AnyColumn::new(&frame.get_item(&label).map_err(failed)?, &known)?);
                }
                Ok(other) => unread.push(other),
                Err(_) => {}
            }
        }
        let table = Self::of(columns, frame.len().map_err(failed)?)?;
        Ok(Self { unread, ..table })
    }

    /// Rows as JSON has them: a mapping each; a name that a row does not have is null there.
    fn from_rows(rows: &Bound<'_, PyList>, name: &str) -> Result<Self> {
        let py = rows.py();
        let failed = |cause| InputError::raised(py, name, "reading its rows", cause);
        let columns = PyDict::new(py);
        for (at, row) in rows.iter().enumerate() {
            let Ok(row) = row.cast::<PyMapping>() else {
                let kind = type_name(&row);
                return Err(InputError::new(format!(
                    "{name}: got list with {kind} in row {at}, expected mappings of names to values"
                )));
            };
            for item in row.items().map_err(failed)?.iter() {
                let (key, value) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>().map_err(failed)?;
                let column = if let Some(column) = columns.get_item(&key).map_err(failed)? {
                    column
                } else {
                    let nulls = PyList::new(py, (0..rows.len()).map(|_| py.None())).map_err(failed)?;
                    columns.set_item(&key, &nulls).map_err(failed)?;
                    nulls.into_any()
                };
                column.set_item(at, value).map_err(failed)?;
            }
        }
        if columns.is_empty() {
            return Err(InputError::new(format!(
                "{name}: got list without a name, expected mappings of names to values"
            )));
        }
        Self::from_mapping(columns.as_mapping(), name, |_| true)
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns' names in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(AnyColumn::name).chain(self.unread.iter().map(String::as_str))
    }

    /// The column of a name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&AnyColumn> {
        self.columns.iter().find(|column| column.name() == name)
    }

    /// The column of a name.
    ///
    /// # Errors
    /// Says which columns there are when this one is not among them.
    pub fn required(&self, name: &str) -> Result<&AnyColumn> {
        self.column(name).ok_or_else(|| {
            let names: Vec<_> = self.names().take(40).collect();
            InputError::new(format!("column {name:?} is missing; there are {}", names.join(", ")))
        })
    }

    fn from_arrow(imported: Imported) -> Result<Self> {
        let Imported { dtype: dtype @ Type::Struct(_), arrays } = imported else {
            return Err(InputError::new(format!("got a column of {}, expected a table", imported.dtype)));
        };
        let Type::Struct(fields) = &dtype else { unreachable!("matched above") };
        let mut pieces: Vec<Vec<Piece>> = fields.iter().map(|_| Vec::new()).collect();
        let mut rows = 0;
        for owner in arrays {
            rows += split(&owner, &dtype, &mut pieces)?;
            if rows > MOST_ROWS {
                return Err(InputError::new(format!("got over {MOST_ROWS} rows in one call")));
            }
        }
        let columns = fields.iter().zip(pieces).map(|(field, pieces)| {
            let source = Source::Arrow(ArrowColumn { dtype: field.dtype.clone(), pieces, rows });
            AnyColumn { name: field.name.as_str().into(), source }
        });
        Self::of(columns.collect(), rows)
    }

    fn from_mapping(mapping: &Bound<'_, PyMapping>, name: &str, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let py = mapping.py();
        let failed = |cause| InputError::raised(py, name, "reading its items", cause);
        // A dictionary's own items: a copy, in case that reading one column changes it.
        let items = match mapping.cast::<PyDict>() {
            Ok(dict) => dict.items(),
            Err(_) => mapping.items().map_err(failed)?,
        };
        let (mut columns, mut unread) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items.iter() {
            let (key, column) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>().map_err(failed)?;
            let Ok(key) = key.extract::<String>() else {
                return Err(InputError::new(format!(
                    "{name}: got a column named by {}, expected a str",
                    type_name(&key)
                )));
            };
            if wanted(&key) {
                columns.push(AnyColumn::new(&column, &key)?);
            } else {
                unread.push((key, column.len().ok()));
            }
        }
        let read = columns.iter().map(|column| (column.name(), column.rows(py)));
        let lengths = unread.iter().filter_map(|(key, rows)| Some((key.as_str(), (*rows)?)));
        let lengths: Vec<_> = read.chain(lengths).collect();
        let rows = same_length(&lengths)?;
        let unread = unread.into_iter().map(|(key, _)| key).collect();
        Ok(Self { unread, ..Self::of(columns, rows)? })
    }

    fn of(columns: Vec<AnyColumn>, rows: usize) -> Result<Self> {
        let mut names: Vec<_> = columns.iter().map(AnyColumn::name).collect();
        names.sort_unstable();
        if let Some((twice, _)) = names.iter().zip(names.iter().skip(1)).find(|(one, next)| one == next) {
            return Err(InputError::new(format!("got two columns named {twice:?}")));
        }
        Ok(Self { columns, unread: Vec::new(), rows })
    }
}

/// Adds the rows of one batch to the pieces of each column.
fn split(owner: &SharedArray, dtype: &Type, pieces: &mut [Vec<Piece>]) -> Result<usize> {
    // SAFETY: the owner holds a producer's array, not yet released by us.
    let node = unsafe { Node::new(&owner.0, dtype) }?;
    let outer = node.validity(node.all())?;
    for (at, pieces) in pieces.iter_mut().enumerate() {
        // SAFETY: as above; the node has a child for every field.
        let child = unsafe { node.child(at) }?;
        if child.length < (node.offset + node.len) as i64 {
            let (length, rows) = (child.length, node.offset + node.len);
            return Err(InputError::new(format!("got column {at} of {length} rows in a batch that spans {rows}")));
        }
        let window = Window { skip: node.offset, len: node.len };
        pieces.push(Piece { owner: owner.clone(), array: child, window, outer: outer.clone() });
    }
    Ok(node.len)
}

/// The values of an Arrow child array as a column of its own, for lists and dictionaries.
pub(super) fn nested<'a>(array: &'a ArrowArray, dtype: &Type) -> Result<(Node<'a>, Validity)> {
    // SAFETY: the array is a child or dictionary of one that was checked to be live.
    let node = unsafe { Node::new(reference(std::ptr::from_ref(array).cast_mut(), "child")?, dtype) }?;
    let validity = if *dtype == Type::Null { Validity::all() } else { node.validity(node.all())? };
    Ok((node, validity))
}
