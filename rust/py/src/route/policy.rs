//! The table of needs, as Python's policy says it and as it is shown again.

use crate::arguments::enums::{ACTION, DEVICE_CLASS, MODE, SECURITY_LEVEL};
use crate::arguments::object_reader;
use crate::columns::output::{Out, OutTable, result_class};
use crate::errors::{input, stopped};
use itron_core::route;
use pyo3::prelude::*;
use std::sync::Arc;

/// A table of needs, as Python's policy says it.
#[pyclass(module = "itron_core._rust", frozen)]
pub struct Policy {
    pub policy: Arc<route::Policy>,
    /// Needs, openers, counted.
    columns: [Vec<u32>; 3],
    never_reasons: Vec<i16>,
}

#[pymethods]
impl Policy {
    #[new]
    #[pyo3(signature = (needs, never_reasons, openers, counted, actions, command_limit, authorization_limit))]
    #[allow(clippy::too_many_arguments, reason = "the columns of the table, and the limits")]
    fn new(
        needs: Vec<u32>,
        never_reasons: Vec<i16>,
        openers: Vec<u32>,
        counted: Vec<u32>,
        actions: Vec<(u8, i64)>,
        command_limit: i64,
        authorization_limit: i64,
    ) -> PyResult<Self> {
        let limits = [command_limit, authorization_limit];
        let columns = [needs, openers, counted];
        let policy = route::Policy::new(columns.clone(), never_reasons.clone(), &actions, limits)
            .map_err(|error| input(format!("policy: {error}")))?;
        Ok(Self { policy: Arc::new(policy), columns, never_reasons })
    }

    /// The table: `device_class`, mode, `security_level`, action (names); needs int32, reason int16, opener, counted int32.
    fn table(&self) -> PyResult<PolicyTable> {
        let mut names: [Vec<&str>; 4] = Default::default();
        for (_, class) in DEVICE_CLASS.members {
            for (_, mode) in MODE.members {
                for (_, level) in SECURITY_LEVEL.members {
                    for (_, action) in ACTION.members {
                        for (column, name) in names.iter_mut().zip([class, mode, level, action]) {
                            column.push(name);
                        }
                    }
                }
            }
        }
        let text = |names: &[&str]| Out::text(names.iter().map(|&name| Some(name))).map_err(stopped);
        let [class, mode, level, action] = &names;
        let [needs, opener, counted] =
            self.columns.each_ref().map(|column| Out::int32(column.iter().map(|&needs| needs as i32).collect()));
        Ok(PolicyTable::new(OutTable::new(
            self.never_reasons.len(),
            vec![
                ("device_class", text(class)?),
                ("mode", text(mode)?),
                ("security_level", text(level)?),
                ("action", text(action)?),
                ("needs", needs),
                ("reason", Out::int16(self.never_reasons.clone())),
                ("opener", opener),
                ("counted", counted),
            ],
        )))
    }
}

result_class!(
    /// The whole policy: `device_class`, mode, `security_level`, action (names); needs, reason, opener, counted.
    PolicyTable
);

object_reader!(policy: Policy);
