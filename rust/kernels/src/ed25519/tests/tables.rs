//! Tables of both twins, entry by entry.

use super::super::point::Extended;
use super::super::table::entries;
use super::super::window::{WINDOWS, Window};
use super::samples::Source;

#[test]
fn lanes_build_the_portable_tables_bit_for_bit() {
    if !crate::features::detected().avx512ifma {
        return;
    }
    let mut source = Source::new(10);
    for window in WINDOWS.map(Window::new) {
        let key = source.key().verifying_key().to_bytes();
        let point = Extended::decode(&key).expect("a valid key").negate();
        let (portable, lanes) = (entries(&point, window), super::super::avx512ifma::entries(&point, window));
        assert!(portable == lanes, "window {}", window.bits());
    }
}
