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

/// Calls `call` without the interpreter lock.
///
/// # Errors
/// `KeyboardInterrupt`, or whatever else a signal's handler raises, soon after the signal came; `MemoryError`.
pub fn run<T: Send>(
    py: Python<'_>,
    threads: usize,
    call: impl FnOnce(Workers<'_>) -> Result<T, Stop> + Send,
) -> PyResult<T> {
    let raised = Mutex::new(None);
    let result = py.detach(|| {
        // A monotonic clock, which no result depends on.
        let next = Cell::new(Some(Instant::now() + EVERY));
        let interrupted = || {
            let Some(due) = next.get().filter(|due| Instant::now() >= *due) else { return false };
            Python::attach(|py| match is_main_thread(py).and_then(|is_main| py.check_signals().map(|()| is_main)) {
                Ok(is_main) => {
                    // Python handles signals on its main thread only: another one need not look again.
                    next.set(is_main.then(|| due.max(Instant::now()) + EVERY));
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
    result.map_err(|stop| raised.unwrap_or_else(|| stopped(stop)))
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    let main = threading.call_method0("main_thread")?.getattr("ident")?;
    threading.call_method0("get_ident")?.eq(main)
}
