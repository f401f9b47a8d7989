//! Chunks of rows, shared among threads that wait between calls.

use super::pages::Pages;
use super::per_process::PerProcess;
use super::placement::Placement;
use super::scratch::Scratch;
use super::stop::{Stop, ask_for_memory};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::fmt;
use std::iter::once;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows that are worked on together: few enough to stay in the cache, enough to share an inversion.
const CHUNK: usize = 512;
/// As many rows as are not worth waking a thread for; chunks are multiples of it, for the lanes and for columns of bits.
const SMALL: usize = 64;
/// Chunks for which new pages are brought in ahead: more than all threads work off while one page is cleared.
const AHEAD: usize = 16;
/// How often the calling thread looks whether the others have ended before it sleeps: for some 50 us.
const PATIENCE: usize = 1_000;

/// Output that can be cut between two rows.
pub(crate) trait Split: Sized + Send {
    fn rows(&self) -> usize;
    fn split(self, at: usize) -> (Self, Self);
    /// The addresses of what is written, piece by piece; all the rows are written to each.
    fn memory(&self) -> impl Iterator<Item = Range<usize>>;
}

/// The addresses of a slice.
pub(crate) fn addresses<T>(slice: &[T]) -> Range<usize> {
    let Range { start, end } = slice.as_ptr_range();
    start.addr()..end.addr()
}

impl<T: Send> Split for &mut [T] {
    fn rows(&self) -> usize {
        self.len()
    }

    fn split(self, at: usize) -> (Self, Self) {
        // A column that is not wanted has no rows.
        let at = at.min(self.len());
        self.split_at_mut(at)
    }

    fn memory(&self) -> impl Iterator<Item = Range<usize>> {
        once(addresses(self))
    }
}

/// How many threads the cores of this machine can run at once.
#[must_use]
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The threads that work on a call: at most so many, the calling one among them.
#[derive(Clone, Copy)]
pub struct Workers<'a> {
    threads: usize,
    interrupted: Option<&'a dyn Fn(usize) -> bool>,
}

impl<'a> Workers<'a> {
    /// Threads that ask between chunks, on the calling thread only, whether the call is `interrupted`, and tell it the rows up to
    /// the end of the last chunk.
    #[must_use]
    pub fn new(threads: usize, interrupted: &'a dyn Fn(usize) -> bool) -> Self {
        Self { threads, interrupted: Some(interrupted) }
    }

    /// Asks whether the call is interrupted: for work that is done piece by piece on the calling thread alone.
    ///
    /// # Errors
    /// [`Stop::Interrupted`].
    pub fn check(&self) -> Result<(), Stop> {
        if self.interrupted.is_some_and(|asked| asked(0)) { Err(Stop::Interrupted) } else { Ok(()) }
    }
}

impl From<usize> for Workers<'_> {
    fn from(threads: usize) -> Self {
        Self { threads, interrupted: None }
    }
}

impl fmt::Debug for Workers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} threads", self.threads)
    }
}

/// Memory that a call takes besides its columns: chunks of each thread, and tables of keys.
const WORKING_MEMORY: usize = 16 << 20;
const WORKING_MEMORY_OF_A_THREAD: usize = 1 << 20;

/// Memory that a thread takes besides: its stack, and what the system's allocator sets aside for the first ones.
const ROOM_OF_A_THREAD: usize = WORKING_MEMORY_OF_A_THREAD + (2 << 20);
const ROOM_OF_AN_ARENA: usize = 64 << 20;
const MOST_ARENAS: usize = 64;

/// Calls `work` with room for the bytes of a chunk's rows, the first row's number and the output of the chunk. A chunk whose work
/// panics keeps its initial output.
///
/// The calling thread works too.
///
/// # Errors
/// The first [`Stop`] that any chunk, or the caller, asks for: the rest of the output is then as it began.
pub(crate) fn in_chunks<'w, S: Split>(
    output: S,
    workers: impl Into<Workers<'w>>,
    work: &(impl Fn(&mut Scratch, usize, S) -> Result<(), Stop> + Sync),
) -> Result<(), Stop> {
    in_chunks_of(CHUNK, output, workers, work)
}

/// [`in_chunks`], each of `most` rows at most.
///
/// # Errors
/// As there.
pub(crate) fn in_chunks_of<'w, S: Split>(
    most: usize,
    output: S,
    workers: impl Into<Workers<'w>>,
    work: &(impl Fn(&mut Scratch, usize, S) -> Result<(), Stop> + Sync),
) -> Result<(), Stop> {
    let Workers { threads, interrupted } = workers.into();
    let rows = output.rows();
    // As many as have something to do.
    let threads = threads.min(rows.div_ceil(SMALL)).max(1);
    if rows > SMALL {
        ask_for_memory(WORKING_MEMORY + threads * WORKING_MEMORY_OF_A_THREAD)?;
    }
    let pool = if threads == 1 { None } else { pool(threads - 1) };
    let threads = pool.as_ref().map_or(1, |pool| threads.min(1 + pool.threads.current_num_threads()));
    // One thread comes to every page first by itself.
    let pages = if threads == 1 { Pages::default() } else { Pages::of(rows, output.memory())? };
    let queue = Mutex::new(Queue { rest: Some(output), start: 0, most, threads, stop: None });
    let queue = || queue.lock().unwrap_or_else(PoisonError::into_inner);
    let work_off = |interrupted: Option<&dyn Fn(usize) -> bool>| {
        let mut scratch = Scratch::default();
        loop {
            // In a statement of its own: the queue is free again while the chunk is worked on.
            let taken = queue().take();
            let Some((start, output)) = taken else { return };
            let end = start + output.rows();
            pages.bring(end + AHEAD * most);
            scratch.clear();
            // The output is not looked at again before it is read whole, and it begins as refusals.
            let done = catch_unwind(AssertUnwindSafe(|| work(&mut scratch, start, output)));
            let stop = done.unwrap_or(Ok(())).err();
            let stop = stop.or_else(|| interrupted.is_some_and(|asked| asked(end)).then_some(Stop::Interrupted));
            if let Some(stop) = stop {
                return queue().stop(stop);
            }
        }
    };
    match pool {
        None => work_off(interrupted),
        Some(pool) => {
            let busy = AtomicUsize::new(threads - 1);
            pool.placement.keep_off();
            pool.threads.in_place_scope(|scope| {
                for _ in 1..threads {
                    scope.spawn(|_| {
                        if let Some(index) = pool.threads.current_thread_index() {
                            pool.placement.awake(index);
                        }
                        work_off(None);
                        busy.fetch_sub(1, Ordering::Release);
                    });
                }
                work_off(interrupted);
                // What is left to wait for is the end of a small chunk: mostly less than it takes to sleep and be woken.
                for _ in 0..PATIENCE {
                    if busy.load(Ordering::Acquire) == 0 {
                        break;
                    }
                    std::hint::spin_loop();
                }
            });
        }
    }
    let stop = queue().stop;
    stop.map_or(Ok(()), Err)
}

/// The rows that no thread has taken yet.
struct Queue<S> {
    rest: Option<S>,
    start: usize,
    /// Rows of a chunk at most.
    most: usize,
    threads: usize,
    /// Why there are no more.
    stop: Option<Stop>,
}

impl<S: Split> Queue<S> {
    /// Hands out no more rows.
    fn stop(&mut self, why: Stop) {
        self.rest = None;
        self.stop.get_or_insert(why);
    }

    /// The next chunk and its first row's number. The last ones are smaller, so that all threads end together.
    fn take(&mut self) -> Option<(usize, S)> {
        let rest = self.rest.take().filter(|rest| rest.rows() > 0)?;
        let fair = if self.threads == 1 { self.most } else { rest.rows() / (2 * self.threads) };
        let chunk = fair.next_multiple_of(SMALL).clamp(SMALL, self.most);
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
    /// So many threads, or as many of them as can be started; `None` where not one can.
    fn new(mut threads: usize) -> Option<Self> {
        while threads > 0 {
            let placement = Arc::new(Placement::new(threads));
            let starting = Arc::clone(&placement);
            let builder = ThreadPoolBuilder::new().num_threads(threads);
            // Room for all of them and for the call: threads that took the last of it would end the process.
            let room = WORKING_MEMORY + threads * ROOM_OF_A_THREAD + threads.min(MOST_ARENAS) * ROOM_OF_AN_ARENA;
            if ask_for_memory(room).is_ok()
                && let Ok(threads) = builder.start_handler(move |index| starting.started(index)).build()
            {
                return Some(Self { threads, placement });
            }
            threads /= 2;
        }
        None
    }
}

/// This process's threads, made at their first use and kept: as many as the largest call has asked for, or a few less where no
/// more can be started.
fn pool(threads: usize) -> Option<Arc<Pool>> {
    static POOL: PerProcess<Mutex<Option<Arc<Pool>>>> = PerProcess::new();
    let mut kept = POOL.get().lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = kept.as_ref().filter(|pool| pool.threads.current_num_threads() >= threads) {
        return Some(Arc::clone(pool));
    }
    // The smaller pool ends when the last call that works in it has ended.
    if let Some(larger) = Pool::new(threads) {
        *kept = Some(Arc::new(larger));
    }
    kept.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_in_one_chunk_for_any_rows_and_threads() {
        for rows in [0, 1, 63, 64, 65, 511, 512, 513, 1_000, 4_097, 10_000] {
            for threads in 1..5 {
                let mut seen = vec![0; rows];
                let done = in_chunks(seen.as_mut_slice(), threads, &|_, start, chunk: &mut [usize]| {
                    assert!(start.is_multiple_of(SMALL) && (1..=CHUNK).contains(&chunk.len()));
                    for (place, seen) in chunk.iter_mut().enumerate() {
                        *seen += 1 + start + place;
                    }
                    Ok(())
                });
                assert_eq!(done, Ok(()));
                assert!(seen.into_iter().eq(1..=rows), "{rows} rows on {threads} threads");
            }
        }
    }

    #[test]
    fn a_chunk_that_panics_loses_its_own_rows_only() {
        for threads in [1, 2, 3] {
            let mut answers = vec![900; 10_000];
            let lost = Mutex::new(0..0);
            let done = in_chunks(answers.as_mut_slice(), threads, &|_, start, chunk: &mut [i16]| {
                let rows = start..start + chunk.len();
                if rows.contains(&5_000) {
                    *lost.lock().expect("nobody panics while it is held") = rows;
                    panic!("a fault of the library's");
                }
                chunk.fill(0);
                Ok(())
            });
            assert_eq!(done, Ok(()));
            let lost = lost.into_inner().expect("nobody panics while it is held");
            assert!(lost.contains(&5_000) && lost.len() <= CHUNK);
            let expected = (0..10_000).map(|row| if lost.contains(&row) { 900 } else { 0 });
            assert!(answers.into_iter().eq(expected), "on {threads} threads");
        }
    }

    #[test]
    fn a_call_ends_soon_after_it_is_interrupted_or_short_of_memory() {
        for threads in [1, 2, 3] {
            for why in [Stop::Interrupted, Stop::OutOfMemory] {
                let worked = AtomicUsize::new(0);
                let mut answers = vec![900; 1_000 * CHUNK];
                let interrupted = |_| why == Stop::Interrupted && worked.load(Ordering::Relaxed) > CHUNK;
                let workers = Workers::new(threads, &interrupted);
                let done = in_chunks(answers.as_mut_slice(), workers, &|_, _, chunk: &mut [i16]| {
                    chunk.fill(0);
                    // A chunk takes a while, so that no thread can finish all of them before the caller asks.
                    (0..20_000).for_each(|_| std::hint::spin_loop());
                    let before = worked.fetch_add(chunk.len(), Ordering::Relaxed);
                    if why == Stop::OutOfMemory && before > CHUNK { Err(why) } else { Ok(()) }
                });
                assert_eq!(done, Err(why));
                // The calling thread asks after each of its chunks; the others may be faster, but not by that much.
                assert!(worked.into_inner() < 500 * CHUNK, "on {threads} threads");
            }
        }
    }

    #[test]
    fn calls_of_many_sizes_share_one_pool() {
        let sizes: Vec<_> =
            (1..=9).map(|threads| pool(threads).map(|pool| pool.threads.current_num_threads())).collect();
        assert_eq!(sizes.last(), Some(&Some(9)));
        assert!(pool(2).is_some_and(|pool| pool.threads.current_num_threads() >= 9));
    }
}
