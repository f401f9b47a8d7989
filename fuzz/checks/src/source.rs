//! Choices made from the bytes of an input, front to back; after its end all are zero.

use sha2::{Digest, Sha256};

/// What is left of an input.
pub struct Source<'a> {
    bytes: &'a [u8],
}

impl<'a> Source<'a> {
    /// Begins at the front.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The next bytes as they are.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.bytes.split_at(self.bytes.len().min(N));
        self.bytes = rest;
        let mut array = [0; N];
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let wide = if limit > 0x100 { u32::from_le_bytes(self.array()) as usize } else { usize::from(self.byte()) };
        wide % limit
    }

    /// One of `choices`.
    pub fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Yes, once in `times`.
    pub fn once_in(&mut self, times: u8) -> bool {
        self.byte().is_multiple_of(times)
    }

    /// A number of 64 bits, often next to one of its ends or to 0.
    pub fn number(&mut self) -> i64 {
        match self.byte() % 4 {
            0 => i64::from(self.byte() as i8),
            1 => i64::MAX - i64::from(self.byte()),
            2 => i64::MIN + i64::from(self.byte()),
            _ => i64::from_le_bytes(self.array()),
        }
    }

    /// Bytes without a pattern, of which the input only says the seed: SHA-256 in counter mode.
    pub fn noise(&mut self, length: usize) -> Vec<u8> {
        let seed: [u8; 3] = self.array();
        let block = |counter: usize| Sha256::digest([&seed[..], &(counter as u64).to_be_bytes()].concat());
        (0..length.div_ceil(32)).flat_map(block).take(length).collect()
    }

    /// A message in four pieces, some perhaps empty.
    pub fn cuts(&mut self, length: usize) -> [usize; 3] {
        let mut cuts = std::array::from_fn(|_| self.below(length + 1));
        cuts.sort_unstable();
        cuts
    }
}

/// An input and what follows from it, `length` bytes in all: for targets that ask for more choices than libFuzzer soon makes.
#[must_use]
pub fn lengthened(input: &[u8], length: usize) -> Vec<u8> {
    let seed = Sha256::digest(input);
    let block = |counter: usize| Sha256::digest([&seed[..], &(counter as u64).to_be_bytes()].concat());
    input.iter().copied().chain((0..length.div_ceil(32)).flat_map(block)).take(length.max(input.len())).collect()
}

/// A message cut in three places that rise.
#[must_use]
pub fn pieces(message: &[u8], cuts: [usize; 3]) -> [&[u8]; 4] {
    let [a, b, c] = cuts;
    [&message[..a], &message[a..b], &message[b..c], &message[c..]]
}
