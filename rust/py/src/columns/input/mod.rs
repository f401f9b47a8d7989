//! In: [`AnyColumn`] and [`Table`] take an object by its protocol, and give columns of one type.

mod binary;
mod buffers;
mod capsule;
mod cells;
mod chunked;
mod flags;
mod missing;
mod nulls;
mod numbers;
mod source;
mod text_lists;
mod times;
mod view;

pub use binary::{BinaryColumn, Kind, LONGEST_MAPPED, StringColumn, TokenColumn};
pub use capsule::is_arrow;
pub use flags::BoolColumn;
pub use numbers::IntColumn;
pub use source::{AnyColumn, Table};
pub use text_lists::{TextListColumn, TextOrInt};
pub use times::TimeColumn;
pub(crate) use view::room;
