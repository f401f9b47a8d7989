//! Bytes of keys, wiped at once when they are dropped: wiped one by one, they would cost more than the ciphers do.

use crate::parallel::columns::zeros;
use crate::parallel::stop::Stop;
use std::ops::{Deref, DerefMut};
use zeroize::zeroize_bytes;

/// Secret bytes that never grow, for what grows leaves copies.
#[derive(Default)]
pub(super) struct Secrets(Vec<u8>);

impl Secrets {
    /// So many zeros.
    pub(super) fn zeros(bytes: usize) -> Result<Self, Stop> {
        zeros(bytes).map(Self)
    }
}

impl Deref for Secrets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Secrets {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        zeroize_bytes(&mut self.0);
    }
}
