//! Bytes of variable length that many threads write: a buffer per chunk, joined at the end.

use super::room_for;
use crate::columns::Column;
use crate::work::{Split, in_chunks};
use std::collections::TryReserveError;

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
    pub(super) fn joined(mut self, threads: usize) -> Result<Vec<u8>, TryReserveError> {
        let total = self.buffers.iter().map(Vec::len).sum();
        let mut joined = zeroed(total)?;
        let (buffers, rows) = (&mut self.buffers[..], self.rows);
        in_chunks(Join { buffers, rows, joined: &mut joined }, threads, &|_, Join { buffers, joined, .. }| {
            let mut rest = joined;
            for buffer in buffers {
                let (place, behind) = rest.split_at_mut(buffer.len());
                place.copy_from_slice(buffer);
                rest = behind;
                *buffer = Vec::new();
            }
        });
        Ok(joined)
    }
}

/// Zeros that nobody has touched yet: each page is fetched by the thread that fills it.
fn zeroed(bytes: usize) -> Result<Vec<u8>, TryReserveError> {
    // Zeros that may fail cannot be asked for, so the room is asked for first.
    drop(room_for::<u8>(bytes)?);
    Ok(vec![0; bytes])
}

impl Column for Pieces {
    type Item = ();
    type Slice<'a> = PieceSlice<'a>;

    fn filled(rows: usize, (): ()) -> Self {
        Self { buffers: vec![Vec::new(); rows.div_ceil(ROWS)], rows }
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
            let mut pieces = Pieces::filled(rows, ());
            let bytes = |start: usize, rows: usize| (start..start + rows).flat_map(|row| vec![row as u8; row % 7]);
            in_chunks(pieces.slice(), threads, &|start, mut slice: PieceSlice<'_>| {
                let rows = slice.rows();
                slice.put(bytes(start, rows).collect());
            });
            let joined = pieces.joined(threads).expect("memory for the test");
            assert!(joined.into_iter().eq(bytes(0, rows)), "{rows} rows on {threads} threads");
        }
    }
}
