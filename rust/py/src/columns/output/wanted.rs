//! The argument `columns`: which of a call's columns are made.

use itron_core::parallel::stop::Stop;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::table::{Out, OutTable};
use crate::arguments;
use crate::errors::input;

/// The columns that a call makes, in the order that it asks for.
pub struct Wanted(Vec<&'static str>);

impl Wanted {
    /// The names that were given, or the `usual` ones; `more` are made if they are named.
    ///
    /// # Errors
    /// Something else than a collection of names, an unknown name, and one that comes twice.
    pub fn read(given: Option<&Bound<'_, PyAny>>, usual: &[&'static str], more: &[&'static str]) -> PyResult<Self> {
        let Some(given) = given else { return Ok(Self(usual.to_vec())) };
        let expected = "a list of column names";
        if given.is_instance_of::<PyString>() {
            return Err(input(format!("columns: got one str, expected {expected}, as in columns=[{:?}]", usual[0])));
        }
        let mut names = Vec::new();
        for name in arguments::items(given, "columns", expected)? {
            let name = name?;
            let name = arguments::text(&name, "columns")?;
            let Some(&known) = usual.iter().chain(more).find(|&&known| known == name) else {
                let all: Vec<_> = usual.iter().chain(more).copied().collect();
                return Err(input(format!("columns: got {name:?}, expected some of {}", all.join(", "))));
            };
            if names.contains(&known) {
                return Err(input(format!("columns: got {known:?} twice, expected each name once")));
            }
            names.push(known);
        }
        Ok(Self(names))
    }

    /// Whether a column is made.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    /// Whether one of these is made.
    #[must_use]
    pub fn any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has(name))
    }

    /// The table of the columns that `make` makes, each by its name.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn table(
        &self,
        rows: usize,
        mut make: impl FnMut(&'static str) -> Result<Out, Stop>,
    ) -> Result<OutTable, Stop> {
        let columns = self.0.iter().map(|&name| Ok((name, make(name)?)));
        Ok(OutTable::new(rows, columns.collect::<Result<Vec<_>, Stop>>()?))
    }
}

/// A column of a call's results.
///
/// # Errors
/// `InputError` where the call left it out.
pub fn there<'a>(table: &'a OutTable, name: &str) -> PyResult<&'a Out> {
    let missing = || input(format!("columns: got a call without {name:?}, expected one with it; leave out columns="));
    table.column(name).ok_or_else(missing)
}
