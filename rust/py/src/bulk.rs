//! How a bulk call runs: without the interpreter lock, heard by Ctrl-C, and with an exception for memory that cannot be had.

use crate::errors::stopped;
use itron_core::parallel::chunks::Workers;
use itron_core::parallel::stop::Stop;
use pyo3::prelude::*;
use std::cell::Cell;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a signal may wait: a look at signals needs the interpreter lock, for which other threads may make it wait 5 ms.
const EVERY: Duration = Duration::from_millis(100);

/// What is called with the number of rows that are done.
pub struct Progress {
    call: Option<Py<PyAny>>,
    rows: usize,
}

impl Progress {
    /// What is called, if anything.
    #[must_use]
    pub fn new(call: Option<&Bound<'_, PyAny>>) -> Self {
        Self { call: call.map(|call| call.clone().unbind()), rows: 0 }
    }

    /// The same, for a call of so many rows.
    #[must_use]
    pub fn to(self, rows: usize) -> Self {
        Self { rows, ..self }
    }

    fn tell(&self, py: Python<'_>, rows: usize) -> PyResult<()> {
        self.call.as_ref().map_or(Ok(()), |call| call.call1(py, (rows,)).map(drop))
    }
}

/// Calls `call` without the interpreter lock.
///
/// # Errors
/// `KeyboardInterrupt`, or whatever else a signal's handler raises, soon after the signal came; `MemoryError`.
pub fn run<T: Send>(
    py: Python<'_>,
    threads: usize,
    call: impl FnOnce(Workers<'_>) -> Result<T, Stop> + Send,
) -> PyResult<T> {
    run_telling(py, threads, Progress { call: None, rows: 0 }, call)
}

/// As [`run`], telling `progress` how many rows are done: ten times a second, and once at the end.
///
/// # Errors
/// As for [`run`], and what `progress` raises.
pub fn run_telling<T: Send>(
    py: Python<'_>,
    threads: usize,
    progress: Progress,
    call: impl FnOnce(Workers<'_>) -> Result<T, Stop> + Send,
) -> PyResult<T> {
    let raised = Mutex::new(None);
    let told = &progress;
    let result = py.detach(|| {
        // A monotonic clock, which no result depends on.
        let next = Cell::new(Some(Instant::now() + EVERY));
        let most = Cell::new(0);
        let interrupted = |rows: usize| {
            let Some(due) = next.get().filter(|due| Instant::now() >= *due) else { return false };
            let look = |py: Python<'_>| {
                let is_main = is_main_thread(py)?;
                py.check_signals()?;
                if rows > most.replace(most.get().max(rows)) {
                    told.tell(py, rows)?;
                }
                Ok(is_main)
            };
            Python::attach(|py| match look(py) {
                Ok(is_main) => {
                    // Python handles signals on its main thread only: another one need not look again.
                    next.set((is_main || told.call.is_some()).then(|| due.max(Instant::now()) + EVERY));
                    false
                }
                Err(error) => {
                    *raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    true
                }
            })
        };
        call(Workers::new(threads, &interrupted))
    });
    let raised = raised.into_inner().unwrap_or_else(PoisonError::into_inner);
    let result = result.map_err(|stop| raised.unwrap_or_else(|| stopped(stop)))?;
    progress.tell(py, progress.rows)?;
    Ok(result)
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    let main = threading.call_method0("main_thread")?.getattr("ident")?;
    threading.call_method0("get_ident")?.eq(main)
}
