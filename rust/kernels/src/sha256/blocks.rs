//! Messages as 64-byte blocks, padded as FIPS 180-4 section 5.1.1 says, read from where their pieces lie.

use crate::Message;

/// Bytes of a block.
pub const BLOCK: usize = 64;

/// The blocks of a message, in order; a block that lies within one piece is not copied.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    pieces: Message<'a>,
    /// Bytes hashed when the message ends, those of earlier blocks included.
    length: u64,
    piece: usize,
    ended: bool,
    finished: bool,
}

impl<'a> Blocks<'a> {
    /// The blocks of `pieces`.
    pub fn new(pieces: Message<'a>) -> Self {
        Self::after(0, pieces)
    }

    /// The blocks of `pieces` in a hash that took `earlier` bytes already, a whole number of blocks.
    pub fn after(earlier: u64, pieces: Message<'a>) -> Self {
        debug_assert_eq!(earlier % BLOCK as u64, 0, "whole blocks");
        let length = pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        Self { pieces, length: earlier + length, piece: 0, ended: false, finished: false }
    }

    /// Whether the last block was handed out.
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// The next block: a part of the message, or `room` filled with its end and the padding. Not to be called once
    /// finished.
    pub fn next<'b>(&mut self, room: &'b mut [u8; BLOCK]) -> &'b [u8; BLOCK]
    where
        'a: 'b,
    {
        match self.whole() {
            Some(block) => block,
            None => self.gather(room),
        }
    }

    fn whole(&mut self) -> Option<&'a [u8; BLOCK]> {
        while self.piece < self.pieces.len() && self.pieces[self.piece].is_empty() {
            self.piece += 1;
        }
        let (block, rest) = self.pieces.get(self.piece)?.split_first_chunk()?;
        self.pieces[self.piece] = rest;
        Some(block)
    }

    fn gather<'b>(&mut self, room: &'b mut [u8; BLOCK]) -> &'b [u8; BLOCK] {
        let mut filled = 0;
        while self.piece < self.pieces.len() {
            let piece = self.pieces[self.piece];
            let taken = piece.len().min(BLOCK - filled);
            room[filled..filled + taken].copy_from_slice(&piece[..taken]);
            self.pieces[self.piece] = &piece[taken..];
            filled += taken;
            if filled == BLOCK {
                return room;
            }
            self.piece += 1;
        }
        self.pad(room, filled);
        room
    }

    fn pad(&mut self, room: &mut [u8; BLOCK], mut filled: usize) {
        room[filled..].fill(0);
        if !self.ended {
            room[filled] = 0x80;
            filled += 1;
            self.ended = true;
        }
        if filled <= BLOCK - 8 {
            room[BLOCK - 8..].copy_from_slice(&(self.length * 8).to_be_bytes());
            self.finished = true;
        }
    }
}
