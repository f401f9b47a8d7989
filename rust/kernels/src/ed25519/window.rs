//! How a scalar below L is cut into signed digits of W bits, and how a table of their multiples lies.
//!
//! A scalar s is the sum of digit(i) * 2^(W * i). All digits but the top one lie in -2^(W-1)..2^(W-1); the top
//! one, at or below bit 252, takes what is left. Adding a bias of 2^(W-1) at each lower digit makes every
//! digit a plain bit field, with no carry between digits.

/// A scalar below 2^256, least significant word first.
pub(crate) type Words = [u64; 4];

/// The windows that tables exist for.
pub const WINDOWS: std::ops::RangeInclusive<u32> = 4..=12;

/// Rows of the table with the smallest window.
pub(crate) const MAX_ROWS: usize = Window::new(*WINDOWS.start()).rows();

/// Bits of a window, in [`WINDOWS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window(u32);

/// A multiple of a row's point: `magnitude * 2^(W * row)` times the table's point, negated if `negative`.
#[derive(Clone, Copy)]
pub(crate) struct Digit {
    pub(crate) magnitude: usize,
    pub(crate) negative: bool,
}

impl Window {
    /// Bits are within [`WINDOWS`].
    pub(crate) const fn new(bits: u32) -> Self {
        assert!(bits >= *WINDOWS.start() && bits <= *WINDOWS.end());
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Digits of a scalar, and rows of a table.
    pub(crate) const fn rows(self) -> usize {
        252usize.div_ceil(self.0 as usize)
    }

    /// Entries of each row but the top one: the magnitudes 1..=2^(W-1).
    pub(crate) const fn half(self) -> usize {
        1 << (self.0 - 1)
    }

    /// Entries of the top row.
    ///
    /// Its digit is at most 2^(252 - shift), shift being its lowest bit: below 2^252 the bias adds at most 1 to the bits from
    /// there, and from 2^252 to L the bits between 125 and 252 are 0, so that nothing is carried.
    pub(crate) const fn top(self) -> usize {
        1 << (252 - self.0 as usize * (self.rows() - 1))
    }

    /// Entries of a whole table.
    pub(crate) const fn entries(self) -> usize {
        (self.rows() - 1) * self.half() + self.top()
    }

    /// The magnitudes of a row, which is also its number of entries.
    pub(crate) const fn row_entries(self, row: usize) -> usize {
        if row + 1 == self.rows() { self.top() } else { self.half() }
    }

    /// 2^(W-1) at every digit but the top one.
    pub(crate) const fn bias(self) -> Words {
        let mut words = [0; 4];
        let mut row = 0;
        while row + 1 < self.rows() {
            let bit = self.0 as usize * (row + 1) - 1;
            words[bit / 64] |= 1 << (bit % 64);
            row += 1;
        }
        words
    }

    /// `scalar + bias`, for a scalar below L: no overflow.
    #[inline]
    pub(crate) fn biased(self, scalar: &Words) -> Words {
        let bias = self.bias();
        let mut carry = false;
        std::array::from_fn(|i| {
            let (sum, over) = scalar[i].overflowing_add(bias[i]);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            carry = over | over_again;
            sum
        })
    }

    /// The digit of a row, from the biased scalar.
    #[inline]
    pub(crate) fn digit(self, biased: &Words, row: usize) -> Digit {
        let bit = self.0 as usize * row;
        let (word, shift) = (bit / 64, bit % 64);
        let high = if word < 3 { biased[word + 1] } else { 0 };
        let field = ((u128::from(high) << 64 | u128::from(biased[word])) >> shift) as u64;
        if row + 1 == self.rows() {
            return Digit { magnitude: field as usize, negative: false };
        }
        let field = field as i64 & ((1 << self.0) - 1);
        let digit = field - (1 << (self.0 - 1));
        Digit { magnitude: digit.unsigned_abs() as usize, negative: digit < 0 }
    }
}
