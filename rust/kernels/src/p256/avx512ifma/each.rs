//! The field's operations on K groups of eight elements: see [`field`] and [`lanes`] for their bounds.

use super::field;
use super::lanes::{self, Vectors};
use std::arch::x86_64::*;

/// K times eight elements, or columns.
pub(super) type Groups<const K: usize> = [Vectors; K];

macro_rules! of_one {
    ($(#[$doc:meta])* $name:ident, $operation:path, $features:literal) => {
        $(#[$doc])*
        #[inline]
        #[target_feature(enable = $features)]
        pub(super) fn $name<const K: usize>(a: &Groups<K>) -> Groups<K> {
            let mut out = [[_mm512_setzero_si512(); 5]; K];
            for k in 0..K {
                out[k] = $operation(&a[k]);
            }
            out
        }
    };
}

macro_rules! of_two {
    ($(#[$doc:meta])* $name:ident, $operation:path, $features:literal) => {
        $(#[$doc])*
        #[inline]
        #[target_feature(enable = $features)]
        pub(super) fn $name<const K: usize>(a: &Groups<K>, b: &Groups<K>) -> Groups<K> {
            let mut out = [[_mm512_setzero_si512(); 5]; K];
            for k in 0..K {
                out[k] = $operation(&a[k], &b[k]);
            }
            out
        }
    };
}

of_two!(mul, field::mul, "avx512f,avx512ifma");
of_two!(mul_columns, field::mul_columns, "avx512f,avx512ifma");
of_one!(square, field::square, "avx512f,avx512ifma");
of_one!(square_columns, field::square_columns, "avx512f,avx512ifma");
of_two!(sub, field::sub, "avx512f");
of_two!(add_columns, lanes::add, "avx512f");
of_two!(sub_columns, lanes::sub, "avx512f");

/// a + b
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn add<const K: usize>(a: &Groups<K>, b: &Groups<K>) -> Groups<K> {
    let mut out = [[_mm512_setzero_si512(); 5]; K];
    for k in 0..K {
        out[k] = lanes::carry(lanes::add(&a[k], &b[k]));
    }
    out
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn reduce_columns<const K: usize>(a: &Groups<K>) -> Groups<K> {
    let mut out = [[_mm512_setzero_si512(); 5]; K];
    for k in 0..K {
        out[k] = field::reduce_columns(a[k]);
    }
    out
}

/// Of columns of a value that is at least -8p.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn reduce_plus_8p<const K: usize>(a: &Groups<K>) -> Groups<K> {
    let mut out = [[_mm512_setzero_si512(); 5]; K];
    for k in 0..K {
        out[k] = field::reduce_columns(lanes::add(&a[k], &lanes::broadcast(&field::P8)));
    }
    out
}

/// `2^BITS` times elements, as columns.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn shift_left<const BITS: u32, const K: usize>(a: &Groups<K>) -> Groups<K> {
    let mut out = [[_mm512_setzero_si512(); 5]; K];
    for k in 0..K {
        for i in 0..5 {
            out[k][i] = _mm512_slli_epi64::<BITS>(a[k][i]);
        }
    }
    out
}

/// `b` in the lanes of `mask`, `a` in the others.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn select<const K: usize>(mask: __mmask8, a: &Groups<K>, b: &Groups<K>) -> Groups<K> {
    let mut out = [[_mm512_setzero_si512(); 5]; K];
    for k in 0..K {
        out[k] = lanes::select(mask, &a[k], &b[k]);
    }
    out
}

/// Lane l of each group is its lane `l ^ DISTANCE`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn exchange<const DISTANCE: i64, const K: usize>(a: &Groups<K>) -> Groups<K> {
    let mut out = [[_mm512_setzero_si512(); 5]; K];
    for k in 0..K {
        out[k] = lanes::exchange::<DISTANCE>(&a[k]);
    }
    out
}
