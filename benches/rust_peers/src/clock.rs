//! Processor time of this thread: other programs' turns do not count.

use rustix::time::{ClockId, clock_gettime};

/// Seconds that this thread has run.
#[must_use]
pub fn now() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
