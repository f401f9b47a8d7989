//! Everything that crosses between Arrow, buffers or Python's lists and plain Rust columns.
//!
//! In: [`AnyColumn`] and [`Table`] take an object by its protocol, and give columns that are read where they lie
//! ([`BinaryColumn`], [`IntColumn`], [`TimeColumn`], [`BoolColumn`], [`TextOrInt`], [`TextListColumn`]); they are `Send` and
//! `Sync` and may be read and dropped without the interpreter lock. Offsets, lengths, views, codes and pointers are checked
//! on the way in, before a byte behind them is read; row bytes are not touched.

mod binary;
mod capsule;
mod chunked;
mod error;
mod ffi;
mod flags;
mod numbers;
mod schema;
mod source;
mod text_lists;
mod view;

pub use binary::{BinaryChunk, BinaryColumn, Dictionary, Kind};
pub use capsule::type_name;
pub use error::{InputError, same_length};
pub use flags::BoolColumn;
pub use numbers::{IntChunk, IntColumn, TimeColumn, micros_of};
pub use schema::TimeUnit;
pub use source::{AnyColumn, Table};
pub use text_lists::{TextListColumn, TextOrInt};
