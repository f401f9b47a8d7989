//! Tables of both twins, entry by entry.

use super::super::point::Affine;
use super::super::table::{WINDOWS, portable_multiples};
use super::{public_key, signing_key};

#[test]
#[cfg(target_arch = "x86_64")]
fn lanes_build_the_portable_tables_bit_for_bit() {
    if !crate::features::detected().avx512ifma {
        return;
    }
    for window in WINDOWS {
        let key = public_key(&signing_key(window as usize));
        let point = Affine::from_bytes(&key).expect("a point");
        let (portable, lanes) =
            (portable_multiples(&point, window), super::super::avx512ifma::multiples(&point, window));
        assert_eq!(portable.len(), lanes.len());
        let differs = portable.iter().zip(&lanes).position(|(a, b)| (a.x, a.y) != (b.x, b.y));
        assert_eq!(differs, None, "window {window}");
    }
}
