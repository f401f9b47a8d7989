//! Bytes read from the front, and none after their end.

use super::code::{Check, ReadingCode};

/// What is left of some bytes, and where it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Where the next byte lies.
    pub(super) const fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub(super) const fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `count` bytes.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Check<&'a [u8]> {
        let taken = self.bytes[self.at..].get(..count).ok_or(ReadingCode::TelegramMalformed)?;
        self.at += count;
        Ok(taken)
    }

    /// The next `N` bytes.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Check<[u8; N]> {
        let taken = self.bytes[self.at..].first_chunk().ok_or(ReadingCode::TelegramMalformed)?;
        self.at += N;
        Ok(*taken)
    }

    /// The next byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Check<u8> {
        self.array::<1>().map(|[byte]| byte)
    }
}
