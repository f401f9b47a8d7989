//! Everything that crosses between Arrow, buffers or Python's lists and plain Rust columns.
//!
//! In: [`AnyColumn`] and [`Table`] take an object by its protocol, and give columns that are read where they lie
//! ([`BinaryColumn`], [`StringColumn`], [`IntColumn`], [`TimeColumn`], [`BoolColumn`], [`TextOrInt`], [`TextListColumn`]); they
//! are `Send` and `Sync` and may be read and dropped without the interpreter lock. Offsets, lengths, views, codes and
//! pointers are checked on the way in, before a byte behind them is read; row bytes are not touched.
//!
//! Out: [`Out`] is a column, [`OutTable`] a table; [`Column`] and the classes of `result_class!` hand them to Python and, as
//! Arrow capsules, to any engine, without a copy and any number of times.

#![allow(clippy::cast_ptr_alignment, reason = "pointers that may be crooked are only read unaligned")]
#![allow(clippy::unnecessary_cast, reason = "one macro serves integers of all widths")]

mod binary;
mod capsule;
mod chunked;
mod column;
mod error;
mod export;
mod ffi;
mod flags;
mod numbers;
mod out;
pub mod results;
mod schema;
mod source;
mod text_lists;
mod view;

pub use binary::{BinaryColumn, Kind, StringColumn};
pub use capsule::{is_arrow, type_name};
pub use column::{ByteRows, Column};
pub use error::{InputError, same_length};
pub use export::Exported;
pub use flags::BoolColumn;
pub use numbers::{IntColumn, TimeColumn};
pub use out::{Out, OutTable, Valid};
pub(crate) use results::result_class;
pub use results::{NamedResults, SessionResults, SignatureResults, TokenResults};
pub use source::{AnyColumn, Table};
pub use text_lists::{TextListColumn, TextOrInt};
