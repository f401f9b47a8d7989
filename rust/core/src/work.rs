//! Chunks of rows, shared among threads that wait between calls.

use crate::process::PerProcess;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows that are worked on together: few enough to stay in the cache, enough to share an inversion.
const CHUNK: usize = 512;
/// As many rows as are not worth waking a thread for.
const SMALL: usize = 64;

/// Output that can be cut between two rows.
pub(crate) trait Split: Sized + Send {
    fn rows(&self) -> usize;
    fn split(self, at: usize) -> (Self, Self);
}

impl<T: Send> Split for &mut [T] {
    fn rows(&self) -> usize {
        self.len()
    }

    fn split(self, at: usize) -> (Self, Self) {
        self.split_at_mut(at)
    }
}

/// How many threads there are cores for.
#[must_use]
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Calls `work` with the first row's number and the output of each chunk. A chunk whose work panics keeps what its output began as.
pub(crate) fn in_chunks<S: Split>(output: S, threads: usize, work: &(impl Fn(usize, S) + Sync)) {
    let rows = output.rows();
    let guarded = |start, output| {
        // The output is not looked at again before it is read whole, and it begins as refusals.
        let _ = catch_unwind(AssertUnwindSafe(|| work(start, output)));
    };
    // Small batches in smaller chunks, so that each thread has some; whole eights, for the lanes.
    let chunk = rows.div_ceil(threads * 4).next_multiple_of(SMALL).min(CHUNK);
    if threads == 1 || rows <= SMALL {
        cut(output, 0, CHUNK, &guarded, false);
    } else {
        pool(threads).install(|| cut(output, 0, chunk, &guarded, true));
    }
}

/// Halves the output until a chunk is left.
fn cut<S: Split>(output: S, start: usize, chunk: usize, work: &(impl Fn(usize, S) + Sync), share: bool) {
    let rows = output.rows();
    if rows <= chunk {
        return work(start, output);
    }
    let middle = (rows / 2).next_multiple_of(chunk);
    let (left, right) = output.split(middle);
    let left = || cut(left, start, chunk, work, share);
    let right = || cut(right, start + middle, chunk, work, share);
    if share {
        rayon::join(left, right);
    } else {
        left();
        right();
    }
}

/// This process's threads, made at their first use and kept.
fn pool(threads: usize) -> Arc<ThreadPool> {
    static POOLS: PerProcess<Mutex<HashMap<usize, Arc<ThreadPool>>>> = PerProcess::new();
    let mut pools = POOLS.get().lock().unwrap_or_else(PoisonError::into_inner);
    let make = || ThreadPoolBuilder::new().num_threads(threads).build().expect("INVARIANT: a thread can be started");
    Arc::clone(pools.entry(threads).or_insert_with(|| Arc::new(make())))
}
