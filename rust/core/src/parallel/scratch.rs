//! Bytes of a chunk's rows, copied once: what is opened, verified and believed is one copy, whatever happens to its source.

use super::stop::Stop;
use std::ops::Range;

/// The most bytes of all rows of a chunk.
const MOST: usize = u32::MAX as usize;

/// Room for the bytes of a chunk's rows. It is kept from chunk to chunk, so it stays in the cache.
#[derive(Debug, Default)]
pub struct Scratch {
    /// As long as the fullest chunk so far; what lies after `used` is stale.
    bytes: Vec<u8>,
    used: usize,
}

/// Where a row's bytes lie in a [`Scratch`].
///
/// Few bytes itself, for there is one in each row of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    start: u32,
    len: u32,
}

impl Place {
    /// Bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first `len` bytes of it.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn first(self, len: usize) -> Self {
        assert!(len <= self.len(), "{len} bytes of {}", self.len);
        Self { len: len as u32, ..self }
    }

    const fn start(self) -> usize {
        self.start as usize
    }

    const fn range(self) -> Range<usize> {
        self.start()..self.start() + self.len()
    }
}

impl Scratch {
    /// Forgets every row.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// Forgets the rows that came after there were `used` bytes.
    pub fn rewind(&mut self, used: usize) {
        self.used = self.used.min(used);
    }

    /// Room for `len` bytes, which the caller writes; they begin as anything.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`] when there is none.
    #[inline]
    pub fn room(&mut self, len: usize) -> Result<(Place, &mut [u8]), Stop> {
        let end = self.used.checked_add(len).filter(|&end| end <= MOST).ok_or(Stop::OutOfMemory)?;
        if end > self.bytes.len() {
            self.grow(end)?;
        }
        let place = Place { start: self.used as u32, len: len as u32 };
        self.used = end;
        Ok((place, &mut self.bytes[place.range()]))
    }

    /// Copies a row's bytes.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`] when there is no room.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Place, Stop> {
        let (place, room) = self.room(bytes.len())?;
        room.copy_from_slice(bytes);
        Ok(place)
    }

    /// The bytes of a row.
    ///
    /// # Panics
    /// If the row was forgotten, and nothing has come in its place.
    #[inline]
    #[must_use]
    pub fn get(&self, place: Place) -> &[u8] {
        &self.bytes[..self.used][place.range()]
    }

    /// The bytes of a row, to be changed.
    ///
    /// # Panics
    /// As [`Scratch::get`].
    #[must_use]
    pub fn get_mut(&mut self, place: Place) -> &mut [u8] {
        &mut self.bytes[..self.used][place.range()]
    }

    /// The bytes of several rows, each after the one before it, to be changed.
    ///
    /// # Panics
    /// As [`Scratch::get`], and if a row begins before the one before it ends.
    pub fn each_mut<'a>(
        &'a mut self,
        places: impl IntoIterator<Item = Place> + 'a,
    ) -> impl Iterator<Item = &'a mut [u8]> + 'a {
        let (mut rest, mut begin) = (&mut self.bytes[..self.used], 0);
        places.into_iter().map(move |place| {
            let gap = place.start().checked_sub(begin).expect("a row after the one before it");
            let (row, after) = std::mem::take(&mut rest)[gap..].split_at_mut(place.len());
            (rest, begin) = (after, place.range().end);
            row
        })
    }

    #[cold]
    fn grow(&mut self, end: usize) -> Result<(), Stop> {
        let wanted = end.next_multiple_of(1 << 12).max(2 * self.bytes.len());
        let held = self.bytes.len();
        let more = |wanted: usize| wanted - held;
        // Twice what there is, or what is needed at least.
        let wanted = if self.bytes.try_reserve_exact(more(wanted)).is_ok() { wanted } else { end };
        self.bytes.try_reserve_exact(more(wanted)).map_err(|_| Stop::OutOfMemory)?;
        self.bytes.resize(wanted, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_bytes_while_others_come_and_go() {
        let mut scratch = Scratch::default();
        let first = scratch.push(b"device").unwrap();
        let mark = scratch.used();
        for _ in 0..3 {
            let long = scratch.push(&[7; 9_000]).unwrap();
            let empty = scratch.push(&[]).unwrap();
            assert_eq!((scratch.get(long), scratch.get(empty)), (&[7; 9_000][..], &[][..]));
            assert_eq!((scratch.get(first), scratch.get(long.first(2))), (&b"device"[..], &[7, 7][..]));
            scratch.rewind(mark);
        }
        scratch.clear();
        assert_eq!(scratch.used(), 0);
    }

    #[test]
    #[should_panic(expected = "range end index")]
    fn a_row_that_was_forgotten_is_not_read() {
        let mut scratch = Scratch::default();
        let place = scratch.push(b"token").unwrap();
        scratch.clear();
        let _ = scratch.get(place);
    }

    #[test]
    fn rows_are_changed_side_by_side() {
        let mut scratch = Scratch::default();
        let places = [&b"one"[..], b"", b"three", b"four"].map(|bytes| scratch.push(bytes).unwrap());
        for row in scratch.each_mut([places[0], places[1], places[3].first(2)]) {
            row.make_ascii_uppercase();
        }
        assert_eq!(places.map(|place| scratch.get(place)), [&b"ONE"[..], b"", b"three", b"FOur"]);
    }

    #[test]
    #[should_panic(expected = "a row after")]
    fn a_row_before_the_last_one_is_not_changed() {
        let mut scratch = Scratch::default();
        let places = [b"one", b"two"].map(|bytes| scratch.push(bytes).unwrap());
        scratch.each_mut([places[1], places[0]]).for_each(drop);
    }

    #[test]
    fn memory_that_cannot_be_had_stops_the_call() {
        assert_eq!(Scratch::default().room(usize::MAX / 2).map(|_| ()), Err(Stop::OutOfMemory));
    }
}
