//! Result tables as Python objects: one class a call, all of one shape.

use std::fmt::Write;

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::column::Column;
use super::out::OutTable;

/// Rows that a table shows of itself.
const SHOWN: usize = 10;

/// The column of a name as a Python object.
///
/// # Errors
/// `KeyError` that says which columns there are.
pub fn column(table: &OutTable, name: &str) -> PyResult<Column> {
    table.column(name).map(|column| Column::named(name, column.clone())).ok_or_else(|| {
        let names: Vec<_> = table.columns().iter().map(|(name, _)| name.as_str()).collect();
        PyKeyError::new_err(format!("no column {name:?}; there are {}", names.join(", ")))
    })
}

/// The columns' names.
#[must_use]
pub fn names(table: &OutTable) -> Vec<String> {
    table.columns().iter().map(|(name, _)| name.clone()).collect()
}

/// A dict of lists.
///
/// # Errors
/// A moment that `datetime` has no year for.
pub fn to_pydict<'py>(py: Python<'py>, table: &OutTable) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, column) in table.columns() {
        let cells = (0..table.rows()).map(|row| column.cell(py, row)).collect::<PyResult<Vec<_>>>()?;
        dict.set_item(name, PyList::new(py, cells)?)?;
    }
    Ok(dict)
}

/// What `repr` says: rows and types.
#[must_use]
pub fn repr(class: &str, table: &OutTable) -> String {
    let columns: Vec<_> =
        table.columns().iter().map(|(name, column)| format!("{name}: {}", column.type_name())).collect();
    format!("<{class}: {} rows; {}>", table.rows(), columns.join(", "))
}

/// The first rows as an HTML table, every cell escaped.
#[must_use]
pub fn html(py: Python<'_>, table: &OutTable) -> String {
    let mut html = String::from("<table><thead><tr>");
    for (name, column) in table.columns() {
        let _ = write!(html, "<th>{}<br><small>{}</small></th>", escaped(name), column.type_name());
    }
    html.push_str("</tr></thead><tbody>");
    for row in 0..table.rows().min(SHOWN) {
        html.push_str("<tr>");
        for (_, column) in table.columns() {
            let cell = column.cell(py, row).and_then(|cell| shown(&cell)).unwrap_or_else(|_| "?".to_owned());
            let _ = write!(html, "<td>{}</td>", escaped(&cell));
        }
        html.push_str("</tr>");
    }
    let _ = write!(html, "</tbody></table><p>{} rows</p>", table.rows());
    html
}

/// A cell as a person reads it: bytes in hex, no value as a dash.
fn shown(cell: &Bound<'_, PyAny>) -> PyResult<String> {
    if cell.is_none() {
        return Ok("–".to_owned());
    }
    if cell.is_instance_of::<pyo3::types::PyBytes>() {
        return cell.call_method0("hex")?.extract();
    }
    cell.str()?.extract()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#x27;")
}

/// Defines a class of results over an [`OutTable`]: `result_class!(/// doc ... SessionResults)`, or with methods of its own,
/// which take `&self` and find the table in `self.table`, and a field of its own:
/// `result_class!(/// doc ... RouteColumns(route: Arc<Columns>) { fn summary(...) ... })`.
macro_rules! result_class {
    ($(#[$doc:meta])* $name:ident) => { $crate::arrow::result_class!($(#[$doc])* $name {}); };
    ($(#[$doc:meta])* $name:ident $(($field:ident: $type:ty))? { $($methods:tt)* }) => {
        $(#[$doc])*
        #[::pyo3::pyclass(frozen, subclass, module = "itron_core")]
        pub struct $name {
            table: $crate::arrow::OutTable,
            $($field: $type,)?
        }

        impl $name {
            /// Results to hand out.
            #[must_use]
            pub fn new(table: $crate::arrow::OutTable $(, $field: $type)?) -> Self {
                Self { table $(, $field)? }
            }

            /// The columns.
            #[must_use]
            pub fn table(&self) -> &$crate::arrow::OutTable {
                &self.table
            }

            fn exported(&self) -> $crate::arrow::Exported {
                $crate::arrow::Exported::Table(self.table.clone())
            }
        }

        #[::pyo3::pymethods]
        impl $name {
            $($methods)*

            /// The columns' names in their order.
            #[getter]
            fn column_names(&self) -> Vec<String> {
                $crate::arrow::results::names(&self.table)
            }

            /// The column of a name.
            fn column(
                &self,
                #[pyo3(from_py_with = $crate::given::name)] name: &str,
            ) -> ::pyo3::PyResult<$crate::arrow::Column> {
                $crate::arrow::results::column(&self.table, name)
            }

            fn __getitem__(
                &self,
                #[pyo3(from_py_with = $crate::given::name)] name: &str,
            ) -> ::pyo3::PyResult<$crate::arrow::Column> {
                $crate::arrow::results::column(&self.table, name)
            }

            fn __len__(&self) -> usize {
                self.table.rows()
            }

            /// A dict of lists: Python objects for every cell.
            fn to_pydict<'py>(&self, py: ::pyo3::Python<'py>) -> ::pyo3::PyResult<::pyo3::Bound<'py, ::pyo3::types::PyDict>> {
                $crate::arrow::results::to_pydict(py, &self.table)
            }

            fn __repr__(slf: &::pyo3::Bound<'_, Self>) -> ::pyo3::PyResult<String> {
                use ::pyo3::types::{PyStringMethods, PyTypeMethods};
                let class = ::pyo3::types::PyAnyMethods::get_type(slf.as_any()).name()?;
                Ok($crate::arrow::results::repr(&class.to_string_lossy(), &slf.get().table))
            }

            /// Results are handed on as Arrow, and refuse to be pickled alike at every protocol.
            fn __reduce__(slf: &::pyo3::Bound<'_, Self>) -> ::pyo3::PyResult<()> {
                Err($crate::errors::no_pickle(slf.as_any()))
            }

            fn _repr_html_(&self, py: ::pyo3::Python<'_>) -> String {
                $crate::arrow::results::html(py, &self.table)
            }

            /// The Arrow schema as a capsule.
            fn __arrow_c_schema__<'py>(
                &self,
                py: ::pyo3::Python<'py>,
            ) -> ::pyo3::PyResult<::pyo3::Bound<'py, ::pyo3::PyAny>> {
                self.exported().schema(py)
            }

            /// The Arrow schema and array as capsules. The columns have one type each: others that are asked for are not given.
            #[pyo3(signature = (requested_schema=None))]
            fn __arrow_c_array__<'py>(
                &self,
                py: ::pyo3::Python<'py>,
                requested_schema: Option<&::pyo3::Bound<'py, ::pyo3::PyAny>>,
            ) -> ::pyo3::PyResult<::pyo3::Bound<'py, ::pyo3::types::PyTuple>> {
                let _ = requested_schema;
                self.exported().array(py)
            }

            /// The table as an Arrow stream of one batch.
            #[pyo3(signature = (requested_schema=None))]
            fn __arrow_c_stream__<'py>(
                &self,
                py: ::pyo3::Python<'py>,
                requested_schema: Option<&::pyo3::Bound<'py, ::pyo3::PyAny>>,
            ) -> ::pyo3::PyResult<::pyo3::Bound<'py, ::pyo3::PyAny>> {
                let _ = requested_schema;
                self.exported().stream(py)
            }
        }
    };
}
pub(crate) use result_class;

result_class!(
    /// What `verify_signatures` answers. Column: code int16.
    SignatureResults
);
result_class!(
    /// What `verify_tokens` answers: a code a row, and the claims where the signature verified.
    TokenResults
);
result_class!(
    /// What `check_sessions` answers. Columns: state int8, remaining int32.
    SessionResults
);
