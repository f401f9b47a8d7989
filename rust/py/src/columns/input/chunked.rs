//! Rows in one piece or in many.

use std::ops::Range;

/// A piece of a column.
pub trait Chunk {
    /// Its rows.
    fn rows(&self) -> usize;
}

/// Pieces one after another; finding a row costs nothing where there is one piece.
#[derive(Debug)]
pub struct Chunked<C> {
    chunks: Vec<C>,
    /// Where each piece ends, counted in rows of the whole.
    ends: Vec<usize>,
}

impl<C: Chunk> Chunked<C> {
    /// Pieces in their order; empty ones are left out.
    pub fn new(chunks: impl IntoIterator<Item = C>) -> Self {
        let chunks: Vec<C> = chunks.into_iter().filter(|chunk| chunk.rows() > 0).collect();
        let ends = chunks.iter().scan(0, |end, chunk| {
            *end += chunk.rows();
            Some(*end)
        });
        Self { ends: ends.collect(), chunks }
    }

    /// Rows of the whole.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The pieces.
    #[must_use]
    pub fn chunks(&self) -> &[C] {
        &self.chunks
    }

    /// The piece that row `at` is in, and which row of it that is.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    #[must_use]
    pub fn locate(&self, at: usize) -> (&C, usize) {
        if let [only] = &self.chunks[..] {
            assert!(at < only.rows(), "row {at} of a column of {}", only.rows());
            return (only, at);
        }
        let chunk = self.ends.partition_point(|&end| end <= at);
        assert!(chunk < self.chunks.len(), "row {at} of a column of {}", self.rows());
        (&self.chunks[chunk], at - self.start(chunk))
    }

    /// Calls `each` with every piece that has rows of `range`: the first such row, counted in the whole, and the rows in the piece.
    ///
    /// # Panics
    /// If the range reaches beyond the rows.
    pub fn for_pieces<'a>(&'a self, range: Range<usize>, mut each: impl FnMut(usize, &'a C, Range<usize>)) {
        assert!(range.end <= self.rows(), "rows {range:?} of a column of {}", self.rows());
        let first = self.ends.partition_point(|&end| end <= range.start);
        for chunk in first..self.chunks.len() {
            let start = self.start(chunk);
            let rows = range.start.max(start)..range.end.min(self.ends[chunk]);
            if rows.is_empty() {
                break;
            }
            each(rows.start, &self.chunks[chunk], rows.start - start..rows.end - start);
        }
    }

    /// Calls `each` with every one of `out`, and the piece and its row that come with it: the first one with row `first`.
    ///
    /// # Panics
    /// If there are not as many rows from `first` on.
    pub fn zip<'a, T>(&'a self, first: usize, out: &mut [T], mut each: impl FnMut(&mut T, &'a C, usize)) {
        self.for_pieces(first..first + out.len(), |row, chunk, rows| {
            for (out, at) in out[row - first..].iter_mut().zip(rows) {
                each(out, chunk, at);
            }
        });
    }

    fn start(&self, chunk: usize) -> usize {
        if chunk == 0 { 0 } else { self.ends[chunk - 1] }
    }
}
