//! Results column by column, which many threads fill in pieces.

use super::chunks::{Split, addresses};
use super::stop::Stop;
use itron_core_kernels::memory;
pub use itron_core_kernels::memory::Plain;
use std::iter::once;
use std::ops::Range;

/// A whole column, which is filled through slices of its rows.
pub(crate) trait Column {
    /// A row's value.
    type Item: Copy;
    /// Consecutive rows.
    type Slice<'a>: Split
    where
        Self: 'a;

    /// Bits that a row takes.
    const ROW_BITS: usize;
    /// A column with the same value in each of `rows` rows.
    ///
    /// # Errors
    /// [`Stop::OutOfMemory`].
    fn filled(rows: usize, value: Self::Item) -> Result<Self, Stop>
    where
        Self: Sized;
    /// All rows.
    fn slice(&mut self) -> Self::Slice<'_>;
}

impl<T: memory::Plain + PartialEq> Column for Vec<T> {
    const ROW_BITS: usize = 8 * size_of::<T>();
    type Item = T;
    type Slice<'a>
        = &'a mut [T]
    where
        T: 'a;

    fn filled(rows: usize, value: T) -> Result<Self, Stop> {
        let mut column = memory::zeroed(rows).ok_or(Stop::OutOfMemory)?;
        if value != T::default() {
            column.fill(value);
        }
        Ok(column)
    }

    fn slice(&mut self) -> &mut [T] {
        self
    }
}

/// So many zeros.
///
/// # Errors
/// [`Stop::OutOfMemory`].
pub fn zeros<T: memory::Plain>(count: usize) -> Result<Vec<T>, Stop> {
    memory::zeroed(count).ok_or(Stop::OutOfMemory)
}

/// One bit per row, the least significant bit of a byte first: which rows hold a value, or a flag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    bytes: Vec<u8>,
    rows: usize,
}

impl Bits {
    /// The bits of rows.
    #[must_use]
    pub fn of(rows: impl ExactSizeIterator<Item = bool>) -> Self {
        let mut bits = Self { bytes: vec![0; rows.len().div_ceil(8)], rows: rows.len() };
        for (row, bit) in rows.enumerate() {
            bits.bytes[row / 8] |= u8::from(bit) << (row % 8);
        }
        bits
    }

    /// The bits, a byte for eight rows; those after the last row are 0.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The bit of a row.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn get(&self, row: usize) -> bool {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        self.bytes[row / 8] >> (row % 8) & 1 == 1
    }

    /// Rows whose bit is 1.
    #[must_use]
    pub fn ones(&self) -> usize {
        let (words, rest) = self.bytes.as_chunks();
        let words = words.iter().map(|&word| u64::from_ne_bytes(word).count_ones() as usize);
        let rest = rest.iter().map(|byte| byte.count_ones() as usize);
        words.sum::<usize>() + rest.sum::<usize>()
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }
}

impl Column for Bits {
    const ROW_BITS: usize = 1;
    type Item = bool;
    type Slice<'a> = BitSlice<'a>;

    fn filled(rows: usize, value: bool) -> Result<Self, Stop> {
        assert!(!value, "bits begin as 0");
        Ok(Self { bytes: memory::zeroed(rows.div_ceil(8)).ok_or(Stop::OutOfMemory)?, rows })
    }

    fn slice(&mut self) -> BitSlice<'_> {
        BitSlice { bytes: &mut self.bytes, rows: self.rows }
    }
}

/// Consecutive rows of [`Bits`], the first of them at the beginning of a byte.
#[derive(Debug)]
pub(crate) struct BitSlice<'a> {
    bytes: &'a mut [u8],
    rows: usize,
}

impl BitSlice<'_> {
    /// Sets the bit of row `at` to 1, if the column is wanted.
    #[inline]
    pub(crate) fn set(&mut self, at: usize) {
        if let Some(byte) = self.bytes.get_mut(at / 8) {
            *byte |= 1 << (at % 8);
        }
    }
}

/// Sets the value of row `at`, if the column is wanted: one that is not has no rows.
#[inline]
pub(crate) fn put<T>(column: &mut [T], at: usize, value: T) {
    if let Some(place) = column.get_mut(at) {
        *place = value;
    }
}

impl Split for BitSlice<'_> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn split(self, at: usize) -> (Self, Self) {
        // A column that is not wanted has no rows.
        let at = if self.rows == 0 { 0 } else { at };
        assert!(at.is_multiple_of(8) && at <= self.rows, "threads never share a byte");
        let (left, right) = self.bytes.split_at_mut(at / 8);
        (Self { bytes: left, rows: at }, Self { bytes: right, rows: self.rows - at })
    }

    fn memory(&self) -> impl Iterator<Item = Range<usize>> {
        once(addresses(self.bytes))
    }
}

/// Defines a struct of columns, each a `Vec` or [`Bits`] that begins as nothing but refusals, and the struct of slices that they
/// are filled through.
macro_rules! columns {
    (
        $(#[$doc:meta])*
        pub struct $columns:ident / $slices:ident {
            $($(#[$field_doc:meta])* $field:ident: $type:ty = $initial:expr,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $columns { $($(#[$field_doc])* pub $field: $type,)* }

        impl $columns {
            /// Columns of `rows` rows that were not answered yet; one whose name is not `wanted` has no rows. The first always is.
            ///
            /// # Errors
            /// [`Stop::OutOfMemory`](crate::parallel::stop::Stop) when there is no memory for all of them together.
            pub fn new(rows: usize, wanted: impl Fn(&str) -> bool) -> Result<Self, crate::parallel::stop::Stop> {
                let names = [$(stringify!($field)),*];
                let rows_of = |name: &str| if name == names[0] || wanted(name) { rows } else { 0 };
                let bits = 0 $(+ rows_of(stringify!($field))
                    .saturating_mul(<$type as crate::parallel::columns::Column>::ROW_BITS))*;
                // All at once: a system that lends more than it has would say yes to each of them.
                crate::parallel::stop::ask_for_memory(bits / 8)?;
                Ok(Self {
                    $($field: <$type as crate::parallel::columns::Column>::filled(
                        rows_of(stringify!($field)),
                        $initial,
                    )?,)*
                })
            }

            fn slices(&mut self) -> $slices<'_> {
                $slices { $($field: crate::parallel::columns::Column::slice(&mut self.$field),)* }
            }
        }

        /// Consecutive rows of the columns.
        #[derive(Debug)]
        struct $slices<'a> { $($field: <$type as crate::parallel::columns::Column>::Slice<'a>,)* }

        impl crate::parallel::chunks::Split for $slices<'_> {
            fn rows(&self) -> usize {
                let rows = [$(crate::parallel::chunks::Split::rows(&self.$field),)*];
                rows[0]
            }

            fn split(self, at: usize) -> (Self, Self) {
                $(let $field = crate::parallel::chunks::Split::split(self.$field, at);)*
                ($slices { $($field: $field.0,)* }, $slices { $($field: $field.1,)* })
            }

            fn memory(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
                std::iter::empty()$(.chain(crate::parallel::chunks::Split::memory(&self.$field)))*
            }
        }
    };
}

pub(crate) use columns;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_through_slices_and_read_whole() {
        let mut bits = Bits::filled(19, false).unwrap();
        let (mut left, right) = bits.slice().split(8);
        let (mut middle, mut last) = right.split(8);
        assert_eq!((left.rows(), middle.rows(), last.rows()), (8, 8, 3));
        left.set(7);
        middle.set(0);
        last.set(2);
        assert_eq!((bits.ones(), bits.rows()), (3, 19));
        assert!((0..19).filter(|&row| bits.get(row)).eq([7, 8, 18]));
        assert_eq!(bits.into_bytes(), [0x80, 0x01, 0x04]);
        assert_eq!(Bits::of((0..701).map(|row| row % 3 == 0)).ones(), 234);
    }

    columns! {
        /// One of each kind.
        pub struct Pair / PairSlices {
            /// Always there.
            first: Vec<i16> = 7,
            /// A value.
            value: Vec<i64> = 0,
            /// A flag.
            flag: Bits = false,
        }
    }

    #[test]
    fn a_column_that_is_not_wanted_has_no_rows_and_takes_nothing() {
        for (wanted, rows) in [(true, 16), (false, 0)] {
            let mut pair = Pair::new(16, |_| wanted).unwrap();
            let (mut left, mut right) = pair.slices().split(8);
            for slices in [&mut left, &mut right] {
                put(slices.value, 3, 5);
                slices.flag.set(3);
            }
            assert_eq!((left.rows(), right.rows()), (8, 8));
            assert_eq!((pair.first.len(), pair.value.len(), pair.flag.rows()), (16, rows, rows));
            assert_eq!((pair.value.iter().sum::<i64>(), pair.flag.ones()), if wanted { (10, 2) } else { (0, 0) });
        }
    }

    #[test]
    #[should_panic(expected = "threads never share a byte")]
    fn no_byte_is_split() {
        let _ = Bits::filled(16, false).unwrap().slice().split(4);
    }
}
