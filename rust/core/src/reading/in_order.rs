//! Bytes of variable length, one row after another, that many threads write into memory that was asked for once.

use crate::parallel::stop::Stop;
use itron_core_kernels::huge_pages::{HUGE_PAGE, bring};
use std::collections::BTreeMap;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Room that chunks of rows fill in the order of their rows, whichever thread is done first.
#[derive(Debug)]
pub(super) struct InOrder<'a>(Mutex<Line<'a>>);

#[derive(Debug)]
struct Line<'a> {
    free: &'a mut [u8],
    used: usize,
    /// Pages that were begun, or asked for.
    pages: usize,
    /// The first row whose bytes have no place yet.
    next: usize,
    /// Chunks that were done before an earlier one, by their first row: the row after the last, and their bytes.
    early: BTreeMap<usize, (usize, Vec<u8>)>,
}

/// What has to be done when the line is free for others again.
#[derive(Default)]
struct Due<'a> {
    /// Places, and the bytes that belong there.
    early: Vec<(&'a mut [u8], Vec<u8>)>,
    /// The address of the next page, if it has to be brought in.
    page: Option<usize>,
}

impl<'a> Line<'a> {
    /// The next bytes, which belong to the rows up to `end`.
    fn place(&mut self, end: usize, length: usize) -> Result<&'a mut [u8], Stop> {
        let (place, rest) = take(&mut self.free).split_at_mut_checked(length).ok_or(Stop::OutOfMemory)?;
        (self.free, self.used, self.next) = (rest, self.used + length, end);
        Ok(place)
    }

    /// The early chunks whose turn it is, each with its place, and the next page when the one that is being filled is half full.
    fn due(&mut self) -> Result<Due<'a>, Stop> {
        let mut due = Due::default();
        while let Some((end, bytes)) = self.early.remove(&self.next) {
            due.early.push((self.place(end, bytes.len())?, bytes));
        }
        let pages = (self.used + HUGE_PAGE / 2) / HUGE_PAGE;
        if self.pages < pages {
            self.pages = pages;
            let ahead = (pages * HUGE_PAGE).checked_sub(self.used);
            due.page = ahead.and_then(|ahead| self.free.get(ahead)).map(|byte| std::ptr::from_ref(byte).addr());
        }
        Ok(due)
    }
}

impl<'a> InOrder<'a> {
    /// Room for the bytes of all rows.
    pub(super) fn new(room: &'a mut [u8]) -> Self {
        Self(Mutex::new(Line { free: room, used: 0, pages: 0, next: 0, early: BTreeMap::new() }))
    }

    /// The turn of the rows from `start` to `end`: those that have put nothing when it is dropped have no bytes.
    pub(super) fn turn(&self, start: usize, end: usize) -> Turn<'_, 'a> {
        Turn { order: self, start, end }
    }

    /// Bytes that were written.
    pub(super) fn used(&self) -> usize {
        self.line().used
    }

    fn line(&self) -> MutexGuard<'_, Line<'a>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of a chunk.
#[derive(Debug)]
pub(super) struct Turn<'o, 'a> {
    order: &'o InOrder<'a>,
    start: usize,
    end: usize,
}

impl Turn<'_, '_> {
    /// Lets `write` fill the bytes of the next rows: in their place, or in a copy where an earlier chunk is not done yet.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    pub(super) fn put(&mut self, rows: usize, length: usize, write: impl FnOnce(&mut [u8])) -> Result<(), Stop> {
        let start = self.start;
        self.start += rows;
        let mut line = self.order.line();
        let due = if line.next == start {
            let place = line.place(start + rows, length)?;
            let due = line.due()?;
            drop(line);
            write(place);
            due
        } else {
            drop(line);
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(length)?;
            bytes.resize(length, 0);
            write(&mut bytes);
            let mut line = self.order.line();
            line.early.insert(start, (start + rows, bytes));
            line.due()?
        };
        for (place, bytes) in due.early {
            place.copy_from_slice(&bytes);
        }
        // While the others fill the page before.
        if let Some(page) = due.page {
            bring(page);
        }
        Ok(())
    }
}

impl Drop for Turn<'_, '_> {
    fn drop(&mut self) {
        if self.start < self.end {
            // What could fail is an early chunk without room, and then the call has ended.
            let _ = self.put(self.end - self.start, 0, |_| ());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::chunks::{Split, in_chunks};

    fn bytes_of(rows: std::ops::Range<usize>) -> Vec<u8> {
        rows.flat_map(|row| vec![row as u8; row % 7]).collect()
    }

    #[test]
    fn chunks_lie_in_the_order_of_their_rows_for_any_threads() {
        for (rows, threads) in [(0, 1), (1, 1), (64, 2), (1_000, 2), (50_000, 3)] {
            let (mut codes, mut room) = (vec![0; rows], vec![0; 7 * rows]);
            let order = InOrder::new(&mut room);
            let done = in_chunks(&mut codes[..], threads, &|_, start, slice: &mut [u8]| {
                let bytes = bytes_of(start..start + slice.rows());
                let rows = slice.rows();
                order.turn(start, start + rows).put(rows, bytes.len(), |place| place.copy_from_slice(&bytes))
            });
            assert_eq!(done, Ok(()));
            let used = order.used();
            assert_eq!(room[..used], bytes_of(0..rows), "{rows} rows on {threads} threads");
        }
    }

    #[test]
    fn a_chunk_that_is_done_early_waits_and_one_that_fails_has_no_bytes() {
        let mut room = [0; 6];
        let order = InOrder::new(&mut room);
        let turn = |start| order.turn(start, start + 2);
        let (mut first, mut second, third, mut fourth) = (turn(0), turn(2), turn(4), turn(6));
        assert_eq!(fourth.put(2, 1, |place| place.fill(4)), Ok(()));
        assert_eq!(second.put(2, 2, |place| place.fill(2)), Ok(()));
        assert_eq!(order.used(), 0);
        assert_eq!(first.put(1, 3, |place| place.fill(1)), Ok(()));
        assert_eq!(order.used(), 3);
        drop(first);
        assert_eq!(order.used(), 5);
        drop(third);
        assert_eq!(order.used(), 6);
        assert_eq!(order.turn(8, 9).put(1, 1, |_| ()), Err(Stop::OutOfMemory));
        drop((second, fourth));
        assert_eq!(room, [1, 1, 1, 2, 2, 4]);
    }
}
