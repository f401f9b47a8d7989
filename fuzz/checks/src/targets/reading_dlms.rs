//! Telegrams of DLMS/COSEM, opened.

use crate::readings;
use itron_core::reading::Profile;

/// As the module says.
pub fn check(data: &[u8]) {
    readings::check(Profile::Dlms, data);
}
