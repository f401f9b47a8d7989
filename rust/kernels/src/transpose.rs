//! Rows of eight words into lanes.

use std::arch::x86_64::*;

/// The transpose of an 8 by 8 matrix of 64-bit words.
#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) fn transpose(rows: [__m512i; 8]) -> [__m512i; 8] {
    // Words of neighbouring rows, then pairs of rows two apart, then halves of rows four apart.
    let pair = |i: usize| [_mm512_unpacklo_epi64(rows[i], rows[i + 1]), _mm512_unpackhi_epi64(rows[i], rows[i + 1])];
    let (p0, p2, p4, p6) = (pair(0), pair(2), pair(4), pair(6));
    let evens = |a, b| _mm512_permutex2var_epi64(a, _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), b);
    let odds = |a, b| _mm512_permutex2var_epi64(a, _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), b);
    let front = |a, b| _mm512_shuffle_i64x2::<0b01_00_01_00>(a, b);
    let back = |a, b| _mm512_shuffle_i64x2::<0b11_10_11_10>(a, b);
    let quad = |k: usize| [evens(p0[k], p2[k]), odds(p0[k], p2[k]), evens(p4[k], p6[k]), odds(p4[k], p6[k])];
    let ([a0, a2, b0, b2], [a1, a3, b1, b3]) = (quad(0), quad(1));
    [front(a0, b0), front(a1, b1), front(a2, b2), front(a3, b3), back(a0, b0), back(a1, b1), back(a2, b2), back(a3, b3)]
}

#[cfg(test)]
mod tests {
    use std::mem::transmute;

    use super::*;
    use crate::features;

    #[test]
    fn word_j_of_row_i_comes_to_lane_i_of_vector_j() {
        if !features::detected().avx512ifma {
            return;
        }
        let rows: [[u64; 8]; 8] = std::array::from_fn(|i| std::array::from_fn(|j| (10 * i + j) as u64));
        // SAFETY: the features were detected, and both arrays are of 512 bytes.
        let columns = unsafe {
            transmute::<[__m512i; 8], [[u64; 8]; 8]>(transpose(transmute::<[[u64; 8]; 8], [__m512i; 8]>(rows)))
        };
        for (i, row) in rows.iter().enumerate() {
            for (j, word) in row.iter().enumerate() {
                assert_eq!(columns[j][i], *word);
            }
        }
    }
}
