//! New pages of large columns, brought in ahead of the rows that are written to them.
//!
//! The system clears a page at its first use. Threads that came to a new one at once would each have one cleared, and all but one of
//! them would be thrown away.

use super::stop::Stop;
use itron_core_kernels::huge_pages::{HUGE_PAGE, bring};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pages, each of which one thread brings in.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// The first row that is written to each, rising, and its address.
    pages: Vec<(usize, usize)>,
    /// The first that nobody has taken.
    next: AtomicUsize,
}

impl Pages {
    /// The pages of pieces of memory, each of which all the rows are written to. Memory that is much smaller than a page has none.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    pub(super) fn of(rows: usize, memory: impl Iterator<Item = Range<usize>>) -> Result<Self, Stop> {
        let mut pages = Vec::new();
        for bytes in memory.filter(|bytes| bytes.len() >= HUGE_PAGE / 2) {
            pages.try_reserve(bytes.len().div_ceil(HUGE_PAGE))?;
            let first_row = |address: usize| (address - bytes.start) * rows / bytes.len();
            pages.extend(bytes.clone().step_by(HUGE_PAGE).map(|address| (first_row(address), address)));
        }
        pages.sort_unstable();
        Ok(Self { pages, next: AtomicUsize::new(0) })
    }

    /// Brings in what rows before `end` are written to, and nobody has brought in.
    pub(super) fn bring(&self, end: usize) {
        let due = |at: usize| self.pages.get(at).is_some_and(|&(row, _)| row < end).then_some(at + 1);
        while let Ok(at) = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due) {
            bring(self.pages[at].1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::chunks::addresses;

    #[test]
    fn each_page_is_brought_in_once_and_before_its_rows() {
        let rows = HUGE_PAGE / 2;
        let (small, wide) = (vec![0_u8; 100], vec![0_u64; rows]);
        let begin = wide.as_ptr().addr();
        let pages = Pages::of(rows, [addresses(&small), addresses(&wide)].into_iter()).unwrap();
        let expected = (0..4).map(|page| (page * rows / 4, begin + page * HUGE_PAGE));
        assert!(pages.pages.iter().copied().eq(expected), "{pages:?}");
        for (end, brought) in [(0, 0), (1, 1), (rows / 4, 1), (rows / 4 + 1, 2), (rows, 4), (rows, 4)] {
            pages.bring(end);
            assert_eq!(pages.next.load(Ordering::Relaxed), brought, "rows before {end}");
        }
        assert!(wide.iter().all(|&value| value == 0));
    }
}
