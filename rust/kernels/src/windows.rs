//! Two columns of 64-bit numbers against two bounds, one bit a row.

/// Bit `i % 8` of `bits[i / 8]` says whether `low[i] <= most_low` and `high[i] >= least_high`. Bits after the last row are 0.
///
/// # Panics
/// When the columns differ in length, or `bits` is not one bit a row.
pub fn inside(low: &[i64], most_low: i64, high: &[i64], least_high: i64, bits: &mut [u8]) {
    assert_eq!(low.len(), high.len(), "one row a row");
    assert_eq!(bits.len(), low.len().div_ceil(8), "one bit a row");
    #[cfg(target_arch = "x86_64")]
    if crate::features::chosen().avx512ifma {
        // SAFETY: the processor has AVX-512 F.
        unsafe { inside_avx512(low, most_low, high, least_high, bits) };
        return;
    }
    inside_portable(low, most_low, high, least_high, bits);
}

/// The plain twin.
fn inside_portable(low: &[i64], most_low: i64, high: &[i64], least_high: i64, bits: &mut [u8]) {
    for ((bits, low), high) in bits.iter_mut().zip(low.chunks(8)).zip(high.chunks(8)) {
        *bits = low
            .iter()
            .zip(high)
            .enumerate()
            .fold(0, |byte, (at, (&low, &high))| byte | u8::from((low <= most_low) & (high >= least_high)) << at);
    }
}

/// How many rows ahead memory is asked for: columns longer than the caches are read as fast as memory answers.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 512;

/// Eight rows a comparison: the mask is the byte.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn inside_avx512(low: &[i64], most_low: i64, high: &[i64], least_high: i64, bits: &mut [u8]) {
    use std::arch::x86_64::{
        _MM_HINT_T0, _mm_prefetch, _mm512_cmpge_epi64_mask, _mm512_loadu_epi64, _mm512_mask_cmple_epi64_mask,
        _mm512_set1_epi64,
    };
    let (most, least) = (_mm512_set1_epi64(most_low), _mm512_set1_epi64(least_high));
    let (low_eights, low_rest) = low.as_chunks::<8>();
    let (high_eights, high_rest) = high.as_chunks::<8>();
    for ((bits, low), high) in bits.iter_mut().zip(low_eights).zip(high_eights) {
        // A prefetch beyond the end is no access.
        _mm_prefetch::<_MM_HINT_T0>(low.as_ptr().wrapping_add(AHEAD).cast());
        _mm_prefetch::<_MM_HINT_T0>(high.as_ptr().wrapping_add(AHEAD).cast());
        // SAFETY: both arrays have the eight numbers that are loaded.
        let (low, high) = unsafe { (_mm512_loadu_epi64(low.as_ptr()), _mm512_loadu_epi64(high.as_ptr())) };
        *bits = _mm512_mask_cmple_epi64_mask(_mm512_cmpge_epi64_mask(high, least), low, most);
    }
    if let Some(rest) = bits.get_mut(low_eights.len()) {
        inside_portable(low_rest, most_low, high_rest, least_high, std::slice::from_mut(rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_twins_agree(
            rows in prop::collection::vec((prop_oneof![any::<i64>(), -3..3_i64], prop_oneof![any::<i64>(), -3..3_i64]), 0..70),
            most in prop_oneof![any::<i64>(), -3..3_i64, Just(i64::MIN), Just(i64::MAX)],
            least in prop_oneof![any::<i64>(), -3..3_i64, Just(i64::MIN), Just(i64::MAX)],
        ) {
            let (low, high): (Vec<i64>, Vec<i64>) = rows.iter().copied().unzip();
            let mut bits = vec![0xff; low.len().div_ceil(8)];
            let mut plain = bits.clone();
            inside(&low, most, &high, least, &mut bits);
            inside_portable(&low, most, &high, least, &mut plain);
            prop_assert_eq!(&bits, &plain);
            for (at, &(low, high)) in rows.iter().enumerate() {
                prop_assert_eq!(bits[at / 8] >> (at % 8) & 1 == 1, low <= most && high >= least);
            }
        }
    }
}
