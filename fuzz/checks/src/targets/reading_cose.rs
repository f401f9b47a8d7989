//! Telegrams of Reading profile 1, opened.

use crate::readings;
use itron_core::reading::Profile;

/// As the module says.
pub fn check(data: &[u8]) {
    readings::check(Profile::Cose, data);
}
