//! The claims of tokens beyond the columns of fixed width: texts and bytes of any length, gathered chunk by chunk.

use crate::format::claims::{Claims, ReadingKey};
use std::sync::{Mutex, PoisonError};

/// What is noted of each row of a call, beside its columns.
pub trait Note: Sync {
    /// What is noted of the rows of one chunk.
    type Chunk: Default;
    /// Notes the next row of a chunk; `None` where its claims are not shown.
    fn row(&self, chunk: &mut Self::Chunk, claims: Option<&Claims<'_>>);
    /// Keeps a chunk, whose first row is `start`.
    fn keep(&self, start: usize, chunk: Self::Chunk);
}

/// Nothing is noted.
impl Note for () {
    type Chunk = ();

    #[inline]
    fn row(&self, (): &mut (), _claims: Option<&Claims<'_>>) {}

    #[inline]
    fn keep(&self, _start: usize, (): ()) {}
}

/// Bytes of the rows of a chunk, one after the other; a row may have none.
#[derive(Debug, Default)]
struct Bytes {
    /// Where each row ends, and whether it has a value.
    ends: Vec<(usize, bool)>,
    bytes: Vec<u8>,
}

impl Bytes {
    fn push(&mut self, row: Option<&[u8]>) {
        self.bytes.extend_from_slice(row.unwrap_or_default());
        self.ends.push((self.bytes.len(), row.is_some()));
    }

    fn get(&self, at: usize) -> Option<&[u8]> {
        let &(end, known) = self.ends.get(at)?;
        let start = if at == 0 { 0 } else { self.ends[at - 1].0 };
        known.then(|| &self.bytes[start..end])
    }
}

/// What is noted of the rows of one chunk.
#[derive(Debug, Default)]
pub struct Chunk {
    device: Bytes,
    subject: Bytes,
    command: Bytes,
    rest: Vec<(Option<[u8; 16]>, Option<ReadingKey>)>,
}

/// The devices of a call's tokens, and all their other claims if they are wanted.
#[derive(Debug, Default)]
pub struct Details {
    device: bool,
    rest: bool,
    /// Each chunk with its first row.
    chunks: Mutex<Vec<(usize, Chunk)>>,
}

impl Note for Details {
    type Chunk = Chunk;

    #[inline]
    fn row(&self, chunk: &mut Chunk, claims: Option<&Claims<'_>>) {
        if self.device {
            chunk.device.push(claims.and_then(|claims| claims.audience).map(str::as_bytes));
        }
        if self.rest {
            chunk.subject.push(claims.and_then(|claims| claims.subject).map(str::as_bytes));
            chunk.command.push(claims.and_then(|claims| claims.command));
            chunk.rest.push((claims.and_then(|claims| claims.cti), claims.and_then(|claims| claims.reading_key)));
        }
    }

    fn keep(&self, start: usize, chunk: Chunk) {
        if self.device || self.rest {
            self.chunks.lock().unwrap_or_else(PoisonError::into_inner).push((start, chunk));
        }
    }
}

impl Details {
    /// With `device`, devices; with `rest`, every other claim that has no column of its own.
    #[must_use]
    pub fn new(device: bool, rest: bool) -> Self {
        Self { device, rest, ..Self::default() }
    }

    /// What was noted, in the order of the rows.
    #[must_use]
    pub fn finish(self, rows: usize) -> Noted {
        let mut chunks = self.chunks.into_inner().unwrap_or_else(PoisonError::into_inner);
        chunks.sort_unstable_by_key(|&(start, _)| start);
        Noted { rows, chunks }
    }
}

/// What was noted of each row of a call.
#[derive(Debug)]
pub struct Noted {
    rows: usize,
    chunks: Vec<(usize, Chunk)>,
}

impl Noted {
    /// One value per row; a row of a chunk that was never kept has none.
    fn each<'a, T>(
        &'a self,
        get: impl Fn(&'a Chunk, usize) -> Option<T> + 'a,
    ) -> impl ExactSizeIterator<Item = Option<T>> + 'a {
        let mut place = 0;
        (0..self.rows).map(move |row| {
            while self.chunks.get(place + 1).is_some_and(|&(start, _)| start <= row) {
                place += 1;
            }
            let (start, chunk) = self.chunks.get(place)?;
            get(chunk, row.checked_sub(*start)?)
        })
    }

    /// aud; of a delegation, its prefix.
    #[must_use]
    pub fn devices(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.each(|chunk, at| std::str::from_utf8(chunk.device.get(at)?).ok())
    }

    /// sub.
    #[must_use]
    pub fn subjects(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.each(|chunk, at| std::str::from_utf8(chunk.subject.get(at)?).ok())
    }

    /// command.
    #[must_use]
    pub fn commands(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        self.each(|chunk, at| chunk.command.get(at))
    }

    /// cti.
    #[must_use]
    pub fn ctis(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        self.each(|chunk, at| chunk.rest.get(at)?.0.as_ref().map(<[u8; 16]>::as_slice))
    }

    /// rkey.
    #[must_use]
    pub fn reading_keys(&self) -> impl ExactSizeIterator<Item = Option<&ReadingKey>> {
        self.each(|chunk, at| chunk.rest.get(at)?.1.as_ref())
    }
}
