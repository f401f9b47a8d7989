//! Columns without any value, whose type says nothing.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::buffers::{copied, is_of_floats};
use super::source::{AnyColumn, ArrowColumn, Source};
use super::view::room;
use crate::columns::error::{InputError, Result};
use crate::columns::schema::Type;

impl AnyColumn {
    /// The same rows as nulls, if they are of a type that is not taken and none has a value, NaN being none: what reads a table
    /// without types gives a column without values any type.
    pub(super) fn as_nulls(&self, py: Python<'_>, takes: impl Fn(&Type) -> bool) -> Result<Option<Self>> {
        let has_no_value = match self.source() {
            Source::Arrow(column) => {
                !takes(&column.dtype) && column.has_no_value().map_err(|e| e.about(self.name()))?
            }
            Source::Buffer(buffer) if is_of_floats(buffer) && !takes(&Type::Float64) => {
                copied(py, buffer)?.into_iter().all(|bits| f64::from_bits(bits).is_nan())
            }
            Source::Buffer(_) | Source::Items(_) | Source::Datetime64 { .. } => false,
        };
        if !has_no_value {
            return Ok(None);
        }
        let mut nulls = room(self.rows(py))?;
        nulls.resize_with(self.rows(py), || py.None());
        let nulls =
            PyTuple::new(py, nulls).map_err(|cause| InputError::raised(py, self.name(), "reading it", cause))?;
        Ok(Some(Self::of(self.name(), Source::Items(Arc::new(nulls.unbind())))))
    }
}

impl ArrowColumn {
    /// Whether no row has a value, of a type whose nulls are known.
    fn has_no_value(&self) -> Result<bool> {
        if matches!(self.dtype, Type::List { .. } | Type::Struct(_) | Type::Other(_)) {
            return Ok(false);
        }
        for piece in &self.pieces {
            let (node, validity) = piece.node(&self.dtype)?;
            let floats = if self.dtype == Type::Float64 { Some(piece.floats(&node)?) } else { None };
            let has_value = |at| validity.get(at) && floats.as_ref().is_none_or(|floats| !floats[at].is_nan());
            if (0..piece.window.len).any(has_value) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
