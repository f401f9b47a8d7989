//! A message in pieces, cut into padded blocks (FIPS 180-4, section 5.1.2).

/// Bytes of a block.
pub(super) const BLOCK: usize = 128;

/// The blocks of one message that are still to come.
pub(super) struct Blocks<'a, const N: usize> {
    pieces: [&'a [u8]; N],
    /// The first piece that is not used up.
    piece: usize,
    length: usize,
    /// Bytes not yet cut off.
    left: usize,
    /// Blocks not yet cut off.
    blocks: usize,
}

impl<'a, const N: usize> Blocks<'a, N> {
    pub(super) fn new(pieces: [&'a [u8]; N]) -> Self {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        // A 1 bit and a length of 16 bytes follow the message.
        Self { pieces, piece: 0, length, left: length, blocks: (length + 17).div_ceil(BLOCK) }
    }

    /// Blocks still to come.
    pub(super) fn count(&self) -> usize {
        self.blocks
    }

    /// Cuts off the next block. After the last one, `block` is left as it is.
    pub(super) fn next(&mut self, block: &mut [u8; BLOCK]) {
        if self.blocks == 0 {
            return;
        }
        self.blocks -= 1;
        let filled = self.fill(block);
        if filled == BLOCK {
            return;
        }
        block[filled..].fill(0);
        // A message that ends with the block before has its 1 bit here, at 0.
        if filled > 0 || self.length.is_multiple_of(BLOCK) {
            block[filled] = 0x80;
        }
        if self.blocks == 0 {
            block[BLOCK - 8..].copy_from_slice(&(self.length as u64 * 8).to_be_bytes());
        }
    }

    /// Copies what is left of the message, as far as the block reaches; how much that was.
    #[inline]
    fn fill(&mut self, block: &mut [u8; BLOCK]) -> usize {
        let wanted = self.left.min(BLOCK);
        let mut filled = 0;
        while filled < wanted {
            let piece = self.pieces[self.piece];
            let taken = piece.len().min(BLOCK - filled);
            block[filled..filled + taken].copy_from_slice(&piece[..taken]);
            filled += taken;
            if taken == piece.len() {
                self.piece += 1;
            } else {
                self.pieces[self.piece] = &piece[taken..];
            }
        }
        self.left -= filled;
        filled
    }
}
