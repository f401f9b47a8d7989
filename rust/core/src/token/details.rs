//! The claims of tokens beyond the columns of fixed width: texts and bytes of any length, gathered chunk by chunk.

use crate::format::claims::{Claims, ReadingKey};
use crate::parallel::stop::Stop;
use std::sync::{Mutex, PoisonError};

/// What is noted of each row of a call, beside its columns.
pub trait Note: Sync {
    /// What is noted of the rows of one chunk.
    type Chunk;
    /// Nothing noted yet of a chunk of `rows` rows.
    fn begin(&self, rows: usize) -> Self::Chunk;
    /// Notes the next row of a chunk; `None` where its claims are not shown.
    fn row(&self, chunk: &mut Self::Chunk, claims: Option<&Claims<'_>>);
    /// Keeps a chunk, whose first row is `start`.
    fn keep(&self, start: usize, chunk: Self::Chunk);
}

/// Nothing is noted.
impl Note for () {
    type Chunk = ();

    #[inline]
    fn begin(&self, _rows: usize) {}

    #[inline]
    fn row(&self, (): &mut (), _claims: Option<&Claims<'_>>) {}

    #[inline]
    fn keep(&self, _start: usize, (): ()) {}
}

/// Values of rows, one after the other in one piece of memory; a row may have none.
#[derive(Debug, Default)]
pub struct Values {
    /// Where each row ends.
    pub ends: Vec<usize>,
    /// All bytes.
    pub bytes: Vec<u8>,
    /// Whether each row has a value.
    pub known: Vec<bool>,
}

impl Values {
    fn with_room(rows: usize, bytes: usize) -> Self {
        let (ends, bytes) = (Vec::with_capacity(rows), Vec::with_capacity(rows * bytes));
        Self { ends, bytes, known: Vec::with_capacity(rows) }
    }

    fn push(&mut self, row: Option<&[u8]>) {
        self.bytes.extend_from_slice(row.unwrap_or_default());
        self.ends.push(self.bytes.len());
        self.known.push(row.is_some());
    }

    /// The values of all chunks; a row of a chunk that was never kept has none.
    fn joined<'a>(rows: usize, chunks: impl Iterator<Item = (usize, &'a Self)> + Clone) -> Result<Self, Stop> {
        let bytes = chunks.clone().map(|(_, chunk)| chunk.bytes.len()).sum();
        let mut all = Self::default();
        let short = |_| Stop::OutOfMemory;
        all.ends.try_reserve_exact(rows).map_err(short)?;
        all.bytes.try_reserve_exact(bytes).map_err(short)?;
        all.known.try_reserve_exact(rows).map_err(short)?;
        for (start, chunk) in chunks {
            all.lack_until(start);
            let before = all.bytes.len();
            all.ends.extend(chunk.ends.iter().map(|end| before + end));
            all.bytes.extend_from_slice(&chunk.bytes);
            all.known.extend_from_slice(&chunk.known);
        }
        all.lack_until(rows);
        Ok(all)
    }

    /// Rows without a value, up to row `end`.
    fn lack_until(&mut self, end: usize) {
        self.ends.resize(end, self.bytes.len());
        self.known.resize(end, false);
    }
}

/// What is noted of the rows of one chunk.
#[derive(Debug, Default)]
pub struct Chunk {
    device: Values,
    subject: Values,
    command: Values,
    cti: Values,
    reading_key: Vec<Option<ReadingKey>>,
}

/// Bytes of a device's name, as most have them at most.
const USUAL_DEVICE: usize = 16;

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

    fn begin(&self, rows: usize) -> Chunk {
        let rows = if self.device { rows } else { 0 };
        Chunk { device: Values::with_room(rows, USUAL_DEVICE), ..Chunk::default() }
    }

    #[inline]
    fn row(&self, chunk: &mut Chunk, claims: Option<&Claims<'_>>) {
        if self.device {
            chunk.device.push(claims.and_then(|claims| claims.audience).map(str::as_bytes));
        }
        if self.rest {
            chunk.subject.push(claims.and_then(|claims| claims.subject).map(str::as_bytes));
            chunk.command.push(claims.and_then(|claims| claims.command));
            chunk.cti.push(claims.and_then(|claims| claims.cti.as_ref()).map(<[u8; 16]>::as_slice));
            chunk.reading_key.push(claims.and_then(|claims| claims.reading_key));
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
    fn joined(&self, values: fn(&Chunk) -> &Values) -> Result<Values, Stop> {
        Values::joined(self.rows, self.chunks.iter().map(|(start, chunk)| (*start, values(chunk))))
    }

    /// aud, text; of a delegation, its prefix.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`], here and below.
    pub fn devices(&self) -> Result<Values, Stop> {
        self.joined(|chunk| &chunk.device)
    }

    /// sub, text.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    pub fn subjects(&self) -> Result<Values, Stop> {
        self.joined(|chunk| &chunk.subject)
    }

    /// command.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    pub fn commands(&self) -> Result<Values, Stop> {
        self.joined(|chunk| &chunk.command)
    }

    /// cti.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    pub fn ctis(&self) -> Result<Values, Stop> {
        self.joined(|chunk| &chunk.cti)
    }

    /// rkey of each row.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    pub fn reading_keys(&self) -> Result<Vec<Option<ReadingKey>>, Stop> {
        let mut keys = Vec::new();
        keys.try_reserve_exact(self.rows).map_err(|_| Stop::OutOfMemory)?;
        for (start, chunk) in &self.chunks {
            keys.resize(*start, None);
            keys.extend_from_slice(&chunk.reading_key);
        }
        keys.resize(self.rows, None);
        Ok(keys)
    }
}
