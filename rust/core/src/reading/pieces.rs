//! Bytes of variable length that many threads write: a buffer per chunk, joined at the end.

use crate::parallel::chunks::{Split, Workers, in_chunks};
use crate::parallel::columns::{Column, zeros};
use crate::parallel::stop::Stop;

/// Rows that one buffer stands for at least: where columns may be cut.
const ROWS: usize = 64;

/// The bytes of all rows in order: a buffer per 64 rows, of which a chunk fills its first.
#[derive(Debug, Default)]
pub struct Pieces {
    buffers: Vec<Vec<u8>>,
    rows: usize,
}

impl Pieces {
    /// All bytes one after another.
    pub(super) fn joined(mut self, workers: Workers<'_>) -> Result<Vec<u8>, Stop> {
        let total = self.buffers.iter().map(Vec::len).sum();
        // Zeros that nobody has touched yet: each page is fetched by the thread that fills it.
        let mut joined = zeros(total)?;
        let (buffers, rows) = (&mut self.buffers[..], self.rows);
        in_chunks(Join { buffers, rows, joined: &mut joined }, workers, &|_, _, Join { buffers, joined, .. }| {
            let mut rest = joined;
            for buffer in buffers {
                let (place, behind) = rest.split_at_mut(buffer.len());
                place.copy_from_slice(buffer);
                rest = behind;
                *buffer = Vec::new();
            }
            Ok(())
        })?;
        Ok(joined)
    }
}

impl Column for Pieces {
    const ROW_BITS: usize = 8 * size_of::<Vec<u8>>() / ROWS;
    type Item = ();
    type Slice<'a> = PieceSlice<'a>;

    fn filled(rows: usize, (): ()) -> Result<Self, Stop> {
        let mut buffers = Vec::new();
        buffers.try_reserve_exact(rows.div_ceil(ROWS))?;
        buffers.resize(rows.div_ceil(ROWS), Vec::new());
        Ok(Self { buffers, rows })
    }

    fn slice(&mut self) -> PieceSlice<'_> {
        PieceSlice { buffers: &mut self.buffers, rows: self.rows }
    }
}

/// The buffers of consecutive rows.
#[derive(Debug)]
pub struct PieceSlice<'a> {
    buffers: &'a mut [Vec<u8>],
    rows: usize,
}

impl PieceSlice<'_> {
    /// The bytes of all rows of this slice.
    pub(super) fn put(&mut self, bytes: Vec<u8>) {
        if let Some(first) = self.buffers.first_mut() {
            *first = bytes;
        }
    }
}

fn split_buffers<T>(buffers: &mut [T], at: usize) -> (&mut [T], &mut [T]) {
    assert!(at.is_multiple_of(ROWS), "a buffer is one thread's");
    buffers.split_at_mut(at / ROWS)
}

impl Split for PieceSlice<'_> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn split(self, at: usize) -> (Self, Self) {
        let (left, right) = split_buffers(self.buffers, at);
        (Self { buffers: left, rows: at }, Self { buffers: right, rows: self.rows - at })
    }
}

/// Buffers, and the place that they are joined in.
struct Join<'a> {
    buffers: &'a mut [Vec<u8>],
    rows: usize,
    joined: &'a mut [u8],
}

impl Split for Join<'_> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn split(self, at: usize) -> (Self, Self) {
        let (left, right) = split_buffers(self.buffers, at);
        let (place, rest) = self.joined.split_at_mut(left.iter().map(Vec::len).sum());
        (Self { buffers: left, rows: at, joined: place }, Self { buffers: right, rows: self.rows - at, joined: rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_in_the_order_of_their_rows() {
        for (rows, threads) in [(0, 1), (1, 1), (64, 2), (1_000, 2), (5_000, 3)] {
            let mut pieces = Pieces::filled(rows, ()).expect("memory for the test");
            let bytes = |start: usize, rows: usize| (start..start + rows).flat_map(|row| vec![row as u8; row % 7]);
            let done = in_chunks(pieces.slice(), threads, &|_, start, mut slice: PieceSlice<'_>| {
                let rows = slice.rows();
                slice.put(bytes(start, rows).collect());
                Ok(())
            });
            assert_eq!(done, Ok(()));
            let joined = pieces.joined(threads.into()).expect("memory for the test");
            assert!(joined.into_iter().eq(bytes(0, rows)), "{rows} rows on {threads} threads");
        }
    }
}
