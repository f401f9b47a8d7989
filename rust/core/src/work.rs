//! Chunks of rows, shared among threads that wait between calls.

use crate::placement::Placement;
use crate::process::PerProcess;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows that are worked on together: few enough to stay in the cache, enough to share an inversion.
const CHUNK: usize = 512;
/// As many rows as are not worth waking a thread for; chunks are multiples of it, for the lanes and for columns of bits.
const SMALL: usize = 64;
/// How often the calling thread looks whether the others have ended before it sleeps: for some 50 us.
const PATIENCE: usize = 1_000;

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
///
/// The calling thread works too, and at most `threads` in all.
pub(crate) fn in_chunks<S: Split>(output: S, threads: usize, work: &(impl Fn(usize, S) + Sync)) {
    // As many as have something to do.
    let threads = threads.min(output.rows().div_ceil(SMALL)).max(1);
    let queue = Mutex::new(Queue { rest: Some(output), start: 0, threads });
    let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    let work_off = || {
        while let Some((start, output)) = take() {
            // The output is not looked at again before it is read whole, and it begins as refusals.
            let _ = catch_unwind(AssertUnwindSafe(|| work(start, output)));
        }
    };
    if threads == 1 {
        return work_off();
    }
    let busy = AtomicUsize::new(threads - 1);
    let pool = pool(threads - 1);
    pool.placement.keep_off();
    pool.threads.in_place_scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| {
                if let Some(index) = pool.threads.current_thread_index() {
                    pool.placement.awake(index);
                }
                work_off();
                busy.fetch_sub(1, Ordering::Release);
            });
        }
        work_off();
        // What is left to wait for is the end of a small chunk: mostly less than it takes to sleep and be woken.
        for _ in 0..PATIENCE {
            if busy.load(Ordering::Acquire) == 0 {
                break;
            }
            std::hint::spin_loop();
        }
    });
}

/// The rows that nobody has taken yet.
struct Queue<S> {
    rest: Option<S>,
    start: usize,
    threads: usize,
}

impl<S: Split> Queue<S> {
    /// The next chunk and its first row's number. The last ones are smaller, so that all threads end together.
    fn take(&mut self) -> Option<(usize, S)> {
        let rest = self.rest.take().filter(|rest| rest.rows() > 0)?;
        let fair = if self.threads == 1 { CHUNK } else { rest.rows() / (2 * self.threads) };
        let chunk = fair.next_multiple_of(SMALL).clamp(SMALL, CHUNK);
        if rest.rows() <= chunk {
            return Some((self.start, rest));
        }
        let (start, (now, later)) = (self.start, rest.split(chunk));
        (self.rest, self.start) = (Some(later), start + chunk);
        Some((start, now))
    }
}

/// Threads that wait.
struct Pool {
    threads: ThreadPool,
    placement: Arc<Placement>,
}

impl Pool {
    fn new(threads: usize) -> Self {
        let placement = Arc::new(Placement::new(threads));
        let started = Arc::clone(&placement);
        let threads = ThreadPoolBuilder::new().num_threads(threads).start_handler(move |index| started.started(index));
        Self { threads: threads.build().expect("INVARIANT: a thread can be started"), placement }
    }
}

/// This process's threads, made at their first use and kept.
fn pool(threads: usize) -> Arc<Pool> {
    static POOLS: PerProcess<Mutex<HashMap<usize, Arc<Pool>>>> = PerProcess::new();
    let mut pools = POOLS.get().lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(pools.entry(threads).or_insert_with(|| Arc::new(Pool::new(threads))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_in_one_chunk_for_any_rows_and_threads() {
        for rows in [0, 1, 63, 64, 65, 511, 512, 513, 1_000, 4_097, 10_000] {
            for threads in 1..5 {
                let mut seen = vec![0; rows];
                in_chunks(seen.as_mut_slice(), threads, &|start, chunk: &mut [usize]| {
                    assert!(start.is_multiple_of(SMALL) && (1..=CHUNK).contains(&chunk.len()));
                    for (place, seen) in chunk.iter_mut().enumerate() {
                        *seen += 1 + start + place;
                    }
                });
                assert!(seen.into_iter().eq(1..=rows), "{rows} rows on {threads} threads");
            }
        }
    }

    #[test]
    fn a_chunk_that_panics_loses_its_own_rows_only() {
        for threads in [1, 2, 3] {
            let mut answers = vec![900; 10_000];
            let lost = Mutex::new(0..0);
            in_chunks(answers.as_mut_slice(), threads, &|start, chunk: &mut [i16]| {
                let rows = start..start + chunk.len();
                if rows.contains(&5_000) {
                    *lost.lock().expect("nobody panics while it is held") = rows;
                    panic!("a fault of the library's");
                }
                chunk.fill(0);
            });
            let lost = lost.into_inner().expect("nobody panics while it is held");
            assert!(lost.contains(&5_000) && lost.len() <= CHUNK);
            let expected = (0..10_000).map(|row| if lost.contains(&row) { 900 } else { 0 });
            assert!(answers.into_iter().eq(expected), "on {threads} threads");
        }
    }
}
