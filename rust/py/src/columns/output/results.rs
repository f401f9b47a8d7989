//! Result tables as Python objects: one class per call, all of one shape.

use std::fmt::Write;

use std::collections::BTreeMap;

use crate::arguments::enums::{self, Enumeration};
use crate::arguments::{self, type_name};
use crate::errors::{input, stopped};
use itron_core::parallel::stop::Stop;
use pyo3::exceptions::{PyIndexError, PyKeyError};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyList, PyString};

use super::column::Column;
use super::table::{Out, OutTable};

/// Rows that a table shows of itself.
const SHOWN: usize = 10;

/// The column of a name as a Python object.
///
/// # Errors
/// `KeyError` that says which columns there are.
pub fn column(table: &OutTable, name: &str) -> PyResult<Column> {
    known(table, name).map(|column| Column::named(name, column.clone()))
}

fn known<'a>(table: &'a OutTable, name: &str) -> PyResult<&'a Out> {
    table.column(name).ok_or_else(|| {
        let names: Vec<_> = table.columns().iter().map(|(name, _)| name.as_str()).collect();
        PyKeyError::new_err(format!("name: got {name:?}, expected one of {}", names.join(", ")))
    })
}

/// The column that a key of `results[...]` names.
///
/// # Errors
/// `KeyError` for another name, and what says how results are indexed for anything else.
pub fn indexed(table: &OutTable, key: &Bound<'_, PyAny>) -> PyResult<Column> {
    if key.is_instance_of::<PyString>() {
        return column(table, arguments::name(key)?);
    }
    let first = table.columns().first().map_or("", |(name, _)| name.as_str());
    Err(input(format!(
        "name: got {}, expected str: results are indexed by column, as in results[{first:?}][0]",
        type_name(key)
    )))
}

/// The row that an index names, from the end where it is below zero.
///
/// # Errors
/// `IndexError` for a row that does not exist.
pub fn place(table: &OutTable, row: isize) -> PyResult<usize> {
    let rows = table.rows();
    let place = if row < 0 { row.checked_add_unsigned(rows) } else { Some(row) };
    let place = place.and_then(|place| usize::try_from(place).ok()).filter(|&place| place < rows);
    place.ok_or_else(|| PyIndexError::new_err(format!("row {row} of {rows}")))
}

/// The cells of a row by the names of their columns.
///
/// # Errors
/// A moment that `datetime` has no year for.
pub fn cells<'py>(py: Python<'py>, table: &OutTable, row: usize) -> PyResult<Bound<'py, PyDict>> {
    let cells = PyDict::new(py);
    for (name, column) in table.columns() {
        cells.set_item(name, column.cell(py, row)?)?;
    }
    Ok(cells)
}

/// What the numbers of a column mean.
#[derive(Clone, Copy)]
pub enum Vocabulary {
    /// Codes, reasons, decisions or states: one name.
    One(fn(i64) -> Option<&'static str>),
    /// Needs or actions: the names of the bits.
    Set(Enumeration),
}

/// What the numbers of a table's columns mean, by the column's name.
pub type Words = fn(&str) -> Option<Vocabulary>;

/// The words of tokens, routes and sessions.
#[must_use]
pub fn vocabulary(column: &str) -> Option<Vocabulary> {
    match column {
        "decision" => Some(Vocabulary::One(|number| enums::DECISION.name(number))),
        "state" => Some(Vocabulary::One(|number| enums::SESSION_STATE.name(number))),
        "code" | "reason" | "authorization_code" | "secure_command_code" | "reading_key_code" => {
            Some(Vocabulary::One(enums::reason))
        }
        "missing" | "needs" | "opener" | "counted" => Some(Vocabulary::Set(enums::NEED)),
        "actions" => Some(Vocabulary::Set(enums::ACTION)),
        _ => None,
    }
}

/// The same columns, with names where numbers stand for something; sets are joined by `|`.
///
/// # Errors
/// No memory.
pub fn named(table: &OutTable, words: Words) -> Result<OutTable, Stop> {
    let rows = table.rows();
    let by_name = |(name, column): &(String, Out)| {
        let named = match words(name) {
            None => column.clone(),
            Some(Vocabulary::One(word)) => Out::text((0..rows).map(|row| column.integer(row).and_then(word)))?,
            Some(Vocabulary::Set(enumeration)) => {
                let words = (0..rows).map(|row| column.integer(row).map(|bits| enums::set(enumeration, bits)));
                let words: Vec<_> = words.collect();
                Out::text(words.iter().map(Option::as_deref))?
            }
        };
        Ok((name.clone(), named))
    };
    Ok(OutTable::new(rows, table.columns().iter().map(by_name).collect::<Result<_, Stop>>()?))
}

/// The columns of the old names, under the new ones.
///
/// # Errors
/// `KeyError` for a name that no column has.
pub fn picked(table: &OutTable, names: Vec<(String, String)>) -> PyResult<OutTable> {
    let pick = |(old, new): (String, String)| Ok((new, known(table, &old)?.clone()));
    Ok(OutTable::new(table.rows(), names.into_iter().map(pick).collect::<PyResult<Vec<_>>>()?))
}

/// How many rows there are, and how many of each code, decision, reason or state, by name.
///
/// # Errors
/// No memory.
pub fn summary<'py>(py: Python<'py>, table: &OutTable, words: Words) -> PyResult<Bound<'py, PyDict>> {
    let summary = PyDict::new(py);
    summary.set_item("rows", table.rows())?;
    for (name, column) in table.columns() {
        let (false, Some(Vocabulary::One(word))) = (name.ends_with("_code"), words(name)) else { continue };
        let mut counts = BTreeMap::<i64, usize>::new();
        for number in (0..table.rows()).filter_map(|row| column.integer(row)) {
            *counts.entry(number).or_default() += 1;
        }
        let counts = counts.into_iter().map(|(number, count)| (word(number), count));
        summary.set_item(name, counts.into_py_dict(py)?)?;
    }
    Ok(summary)
}

/// One row in sentences.
///
/// # Errors
/// `IndexError` for a row that there is not.
pub fn explained(py: Python<'_>, table: &OutTable, row: isize) -> PyResult<String> {
    let place = place(table, row)?;
    let explain = py.import("itron_core.explain")?.getattr("explain_cells")?;
    explain.call1((place, cells(py, table, place)?))?.extract()
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
///
/// # Errors
/// No memory.
pub fn html(py: Python<'_>, table: &OutTable, words: Words) -> PyResult<String> {
    let mut html = String::from("<table><thead><tr>");
    let (rows, counts) = (table.rows(), counts(py, table, words)?);
    let table = &named(&table.slice(0, rows.min(SHOWN)), words).map_err(stopped)?;
    for (name, column) in table.columns() {
        let _ = write!(html, "<th>{}<br><small>{}</small></th>", escaped(name), column.type_name());
    }
    html.push_str("</tr></thead><tbody>");
    for row in 0..table.rows() {
        html.push_str("<tr>");
        for (_, column) in table.columns() {
            let cell = column.cell(py, row).and_then(|cell| shown(&cell)).unwrap_or_else(|_| "?".to_owned());
            let _ = write!(html, "<td>{}</td>", escaped(&cell));
        }
        html.push_str("</tr>");
    }
    let _ = write!(html, "</tbody></table><p>{rows} rows{}</p>", escaped(&counts));
    Ok(html)
}

/// The counts of a summary in one line, as text.
fn counts(py: Python<'_>, table: &OutTable, words: Words) -> PyResult<String> {
    let mut line = String::new();
    for (name, counts) in summary(py, table, words)?.iter() {
        let Ok(counts) = counts.cast::<PyDict>() else { continue };
        if counts.is_empty() {
            continue;
        }
        let each: Vec<_> = counts.iter().map(|(word, count)| format!("{word} {count}")).collect();
        let _ = write!(line, "; {name}: {}", each.join(", "));
    }
    Ok(line)
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
/// `result_class!(/// doc ... RouteColumns(route: Arc<Columns>) { fn summary(...) ... })`. After `by` stands what its numbers
/// mean, where that is not [`vocabulary`].
macro_rules! result_class {
    // Results without more than their columns are pickled as those.
    ($(#[$doc:meta])* $name:ident) => {
        $crate::columns::output::result_class!($(#[$doc])* $name {
            fn __reduce__<'py>(
                &self,
                py: ::pyo3::Python<'py>,
            ) -> ::pyo3::PyResult<(::pyo3::Bound<'py, ::pyo3::PyAny>, (::pyo3::Bound<'py, ::pyo3::PyAny>,))> {
                let restore = ::pyo3::types::PyAnyMethods::getattr(
                    ::pyo3::types::PyType::new::<Self>(py).as_any(),
                    "_restore",
                )?;
                Ok((restore, ($crate::columns::output::state::of_table(py, &self.table)?,)))
            }

            /// What pickle calls.
            #[staticmethod]
            fn _restore(state: &::pyo3::Bound<'_, ::pyo3::PyAny>) -> ::pyo3::PyResult<Self> {
                $crate::columns::output::state::table(state).map(Self::new)
            }
        });
    };
    (@words) => { $crate::columns::output::results::vocabulary };
    (@words $words:expr) => { $words };
    ($(#[$doc:meta])* $name:ident $(($field:ident: $type:ty))? $(by $words:path)? { $($methods:tt)* }) => {
        $(#[$doc])*
        #[::pyo3::pyclass(frozen, subclass, module = "itron_core")]
        pub struct $name {
            table: $crate::columns::output::OutTable,
            $($field: $type,)?
        }

        impl $name {
            const WORDS: $crate::columns::output::results::Words = $crate::columns::output::result_class!(@words $($words)?);

            /// Results to hand out.
            #[must_use]
            pub fn new(table: $crate::columns::output::OutTable $(, $field: $type)?) -> Self {
                Self { table $(, $field)? }
            }

            /// The columns.
            #[must_use]
            pub fn table(&self) -> &$crate::columns::output::OutTable {
                &self.table
            }

            fn exported(&self) -> $crate::columns::output::Exported {
                $crate::columns::output::Exported::Table(self.table.clone())
            }
        }

        #[::pyo3::pymethods]
        impl $name {
            $($methods)*

            /// The columns' names in their order.
            #[getter]
            fn column_names(&self) -> Vec<String> {
                $crate::columns::output::results::names(&self.table)
            }

            /// The column of a name.
            fn column(
                &self,
                #[pyo3(from_py_with = $crate::arguments::name)] name: &str,
            ) -> ::pyo3::PyResult<$crate::columns::output::Column> {
                $crate::columns::output::results::column(&self.table, name)
            }

            /// A column by its name; with a slice, these rows as results of the same kind, without a copy.
            fn __getitem__<'py>(
                &self,
                key: &::pyo3::Bound<'py, ::pyo3::PyAny>,
            ) -> ::pyo3::PyResult<::pyo3::Bound<'py, ::pyo3::PyAny>> {
                if let Ok(slice) = key.cast::<::pyo3::types::PySlice>() {
                    let (first, rows) = $crate::columns::output::kinds::range(slice, self.table.rows())?;
                    let rows = Self { table: self.table.slice(first, rows) $(, $field: self.$field.clone())? };
                    return Ok(::pyo3::Bound::new(key.py(), rows)?.into_any());
                }
                let column = $crate::columns::output::results::indexed(&self.table, key)?;
                Ok(::pyo3::Bound::new(key.py(), column)?.into_any())
            }

            /// Return one row: its cells by the names of their columns.
            fn row<'py>(
                &self,
                py: ::pyo3::Python<'py>,
                #[pyo3(from_py_with = $crate::arguments::row)] row: isize,
            ) -> ::pyo3::PyResult<::pyo3::Bound<'py, ::pyo3::types::PyDict>> {
                let place = $crate::columns::output::results::place(&self.table, row)?;
                $crate::columns::output::results::cells(py, &self.table, place)
            }

            /// Return the columns as a `pyarrow.Table`, without a copy.
            fn to_arrow<'py>(slf: &::pyo3::Bound<'py, Self>) -> ::pyo3::PyResult<::pyo3::Bound<'py, ::pyo3::PyAny>> {
                $crate::columns::output::kinds::converted(slf.as_any(), "to_arrow", &[])
            }

            /// Return the columns as a `pandas.DataFrame` of Arrow types, with `index` where one is given.
            ///
            /// `index` is that of the frame whose rows were asked: joined by any other, rows get the answers of others.
            #[pyo3(signature = (index=None))]
            fn to_pandas<'py>(
                slf: &::pyo3::Bound<'py, Self>,
                index: Option<&::pyo3::Bound<'py, ::pyo3::PyAny>>,
            ) -> ::pyo3::PyResult<::pyo3::Bound<'py, ::pyo3::PyAny>> {
                $crate::columns::output::kinds::converted(slf.as_any(), "to_pandas", &[index])
            }

            /// Return the columns as a `polars.DataFrame`, without a copy.
            fn to_polars<'py>(slf: &::pyo3::Bound<'py, Self>) -> ::pyo3::PyResult<::pyo3::Bound<'py, ::pyo3::PyAny>> {
                $crate::columns::output::kinds::converted(slf.as_any(), "to_polars", &[])
            }

            /// Return the same columns with names in place of numbers; sets of needs or actions are joined by `|`.
            fn names(&self) -> ::pyo3::PyResult<$crate::columns::output::results::NamedResults> {
                let named = $crate::columns::output::results::named(&self.table, Self::WORDS);
                named.map($crate::columns::output::results::NamedResults::new).map_err($crate::errors::stopped)
            }

            /// Return how many rows there are, and how many of each code, decision, reason or state, by name.
            fn summary<'py>(
                &self,
                py: ::pyo3::Python<'py>,
            ) -> ::pyo3::PyResult<::pyo3::Bound<'py, ::pyo3::types::PyDict>> {
                $crate::columns::output::results::summary(py, &self.table, Self::WORDS)
            }

            /// Return one row in sentences.
            fn explain(
                &self,
                py: ::pyo3::Python<'_>,
                #[pyo3(from_py_with = $crate::arguments::row)] row: isize,
            ) -> ::pyo3::PyResult<String> {
                $crate::columns::output::results::explained(py, &self.table, row)
            }

            /// The columns of the old names, under the new ones: pairs of both.
            fn _picked(
                &self,
                names: Vec<(String, String)>,
            ) -> ::pyo3::PyResult<$crate::columns::output::results::NamedResults> {
                let picked = $crate::columns::output::results::picked(&self.table, names)?;
                Ok($crate::columns::output::results::NamedResults::new(picked))
            }

            fn __len__(&self) -> usize {
                self.table.rows()
            }

            /// A dict of lists: Python objects for every cell.
            fn to_pydict<'py>(&self, py: ::pyo3::Python<'py>) -> ::pyo3::PyResult<::pyo3::Bound<'py, ::pyo3::types::PyDict>> {
                $crate::columns::output::results::to_pydict(py, &self.table)
            }

            fn __repr__(slf: &::pyo3::Bound<'_, Self>) -> ::pyo3::PyResult<String> {
                use ::pyo3::types::{PyStringMethods, PyTypeMethods};
                let class = ::pyo3::types::PyAnyMethods::get_type(slf.as_any()).name()?;
                Ok($crate::columns::output::results::repr(&class.to_string_lossy(), &slf.get().table))
            }

            fn _repr_html_(&self, py: ::pyo3::Python<'_>) -> ::pyo3::PyResult<String> {
                $crate::columns::output::results::html(py, &self.table, Self::WORDS)
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
    /// The columns of other results, with names in place of numbers.
    NamedResults
);
result_class!(
    /// What `verify_signatures` answers. Column: code int16.
    SignatureResults
);
result_class!(
    /// What `verify_tokens` answers: one code per row, and the claims of every token whose signature verifies.
    TokenResults
);
result_class!(
    /// What `check_sessions` answers. Columns: state int8, remaining int32.
    SessionResults
);
