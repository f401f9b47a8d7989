//! Why a call may end before its rows are done.

use std::collections::TryReserveError;
use std::fmt;

/// Why a call ended before its rows did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The caller asked for it to end.
    Interrupted,
    /// There is not enough memory for it.
    OutOfMemory,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupted => "the call was interrupted",
            Self::OutOfMemory => "not enough memory for the call",
        })
    }
}

impl std::error::Error for Stop {}

impl From<TryReserveError> for Stop {
    fn from(_: TryReserveError) -> Self {
        Self::OutOfMemory
    }
}

/// Checks that so much memory could be had just now.
///
/// # Errors
/// [`Stop::OutOfMemory`] when it could not.
pub(crate) fn ask_for_memory(bytes: usize) -> Result<(), Stop> {
    Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| Stop::OutOfMemory)
}
