//! Rows worked on by many threads: chunks of them, the columns that chunks fill, and the threads themselves.

pub mod chunks;
pub mod columns;
mod pages;
pub(crate) mod per_process;
pub mod placement;
pub mod scratch;
pub mod stop;

pub use itron_core_kernels::allocator::LargePages;
