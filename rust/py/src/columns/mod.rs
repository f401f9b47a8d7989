//! Everything that crosses between Arrow, buffers or Python's lists and plain Rust columns.
//!
//! In: [`AnyColumn`] and [`Table`] take an object by its protocol, and give columns
//! ([`BinaryColumn`], [`StringColumn`], [`TokenColumn`], [`IntColumn`], [`TimeColumn`], [`BoolColumn`], [`TextOrInt`],
//! [`TextListColumn`]); they are `Send` and `Sync` and may be read and dropped without the interpreter lock.
//!
//! Every byte that decides is read once. Offsets, lengths, views, codes, validity, flags and numbers are copied on the way in and
//! checked in the copy; the bytes of a row are copied when it is fetched. Whoever writes to the memory of a column meanwhile
//! changes what a row says, but nothing is read outside, and nothing is read twice.
//!
//! Out: [`Out`] is a column, [`OutTable`] a table; [`Column`] and the classes of `result_class!` hand them to Python and, as
//! Arrow capsules, to any engine, without a copy and any number of times.

#![allow(clippy::cast_ptr_alignment, reason = "pointers that may be misaligned are only read unaligned")]
#![allow(clippy::unnecessary_cast, reason = "one macro serves integers of all widths")]

pub mod error;
mod ffi;
pub mod input;
pub mod output;
mod schema;
