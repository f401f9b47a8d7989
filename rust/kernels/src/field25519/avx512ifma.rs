//! Eight field elements at a time, one a lane, by AVX-512 IFMA.
//!
//! A product of two limbs has up to 104 bits; IFMA gives its low 52 and its high 52, at weights 2^(51 (i+j)) and
//! 2^(51 (i+j) + 52), so a high half counts twice in column i + j + 1. IFMA reads the low 52 bits of its operands only:
//! every limb of an [`Element`] stays below 2^52, one bit above the radix, and nothing but [`Sum::carry`]
//! makes elements. Limbs are taken as 64-bit integers that never wrap; each operation states its bound.

use super::{Limbs, MASK, P};
use std::arch::x86_64::*;

/// Eight elements, limbs below 2^52.
#[derive(Clone, Copy)]
pub(crate) struct Element([__m512i; 5]);

/// Eight sums of products or elements that still have to be carried, limbs below 2^64.
#[derive(Clone, Copy)]
pub(crate) struct Sum([__m512i; 5]);

/// Eight numbers of one limb, lane 0 first.
pub(crate) type Lanes = [u64; 8];

/// 2048 p, which keeps a difference positive: every limb is at least 2^62 - 2^16, above twice any product's.
const BIAS: Limbs = [P[0] << 11, P[1] << 11, P[2] << 11, P[3] << 11, P[4] << 11];
const _: () = assert!(BIAS[0] > 2 * PRODUCT_BOUND && BIAS[1] as u128 + 4 * (PRODUCT_BOUND as u128) < 1 << 64);

/// Limbs of a product lie below this: column k has k + 1 low halves and k doubled high ones, column k + 5 has 4 - k and
/// twice 5 - k, and counts 19 times; for k = 0 that is 1 + 19 * 14 halves below 2^52.
const PRODUCT_BOUND: u64 = 267 << 52;

impl Element {
    /// Limbs below 2^52.
    #[inline]
    pub(crate) fn from_vectors(limbs: [__m512i; 5]) -> Self {
        Self(limbs)
    }

    #[inline]
    pub(crate) fn vectors(&self) -> [__m512i; 5] {
        self.0
    }

    /// The same element in every lane; limbs below 2^52.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(crate) fn splat(limbs: &Limbs) -> Self {
        Self(limbs.map(|limb| _mm512_set1_epi64(limb as i64)))
    }

    /// Limbs below 2^52, those of lane i in `limbs[..][i]`.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(crate) fn from_lanes(limbs: &[Lanes; 5]) -> Self {
        Self(limbs.map(|lanes| load(&lanes)))
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(crate) fn to_lanes(self) -> [Lanes; 5] {
        self.0.map(|vector| store(vector))
    }

    /// Limbs below [`PRODUCT_BOUND`].
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    #[inline]
    pub(crate) fn mul_wide(&self, other: &Self) -> Sum {
        let (a, b) = (&self.0, &other.0);
        let zero = _mm512_setzero_si512();
        let mut columns = [zero; 10];
        for i in 0..5 {
            for j in 0..5 {
                columns[i + j + 1] = _mm512_madd52hi_epu64(columns[i + j + 1], a[i], b[j]);
            }
        }
        for column in &mut columns {
            *column = double(*column);
        }
        for i in 0..5 {
            for j in 0..5 {
                columns[i + j] = _mm512_madd52lo_epu64(columns[i + j], a[i], b[j]);
            }
        }
        fold(&columns)
    }

    /// Limbs below [`PRODUCT_BOUND`]: the product of an element with itself, the cross products taken once.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    #[inline]
    pub(crate) fn square_wide(&self) -> Sum {
        let a = &self.0;
        let mut columns = [_mm512_setzero_si512(); 10];
        for i in 0..5 {
            for j in i + 1..5 {
                columns[i + j + 1] = _mm512_madd52hi_epu64(columns[i + j + 1], a[i], a[j]);
            }
        }
        for column in &mut columns {
            *column = double(*column);
        }
        for i in 0..5 {
            columns[2 * i + 1] = _mm512_madd52hi_epu64(columns[2 * i + 1], a[i], a[i]);
            for j in i + 1..5 {
                columns[i + j] = _mm512_madd52lo_epu64(columns[i + j], a[i], a[j]);
            }
        }
        for column in &mut columns {
            *column = double(*column);
        }
        for i in 0..5 {
            columns[2 * i] = _mm512_madd52lo_epu64(columns[2 * i], a[i], a[i]);
        }
        fold(&columns)
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    #[inline]
    pub(crate) fn mul(&self, other: &Self) -> Self {
        self.mul_wide(other).carry()
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    #[inline]
    pub(crate) fn square(&self) -> Self {
        self.square_wide().carry()
    }

    #[inline]
    pub(crate) fn widen(&self) -> Sum {
        Sum(self.0)
    }

    /// self + self
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn double(&self) -> Self {
        self.widen().add(&self.widen()).carry()
    }

    /// self^(2^count)
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn square_times(&self, count: u32) -> Self {
        let mut power = *self;
        for _ in 0..count {
            power = power.square();
        }
        power
    }

    /// self^((p - 5) / 8), by the same chain as the portable twin's.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(crate) fn power_p_minus_5_over_8(&self) -> Self {
        let square = self.square();
        let to_9 = square.square_times(2).mul(self);
        let ones_5 = to_9.mul(&square).square().mul(&to_9);
        let ones_10 = ones_5.square_times(5).mul(&ones_5);
        let ones_20 = ones_10.square_times(10).mul(&ones_10);
        let ones_40 = ones_20.square_times(20).mul(&ones_20);
        let ones_50 = ones_40.square_times(10).mul(&ones_10);
        let ones_100 = ones_50.square_times(50).mul(&ones_50);
        let ones_200 = ones_100.square_times(100).mul(&ones_100);
        let ones_250 = ones_200.square_times(50).mul(&ones_50);
        ones_250.square_times(2).mul(self)
    }

    /// In lanes whose bit is set, `other`.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(crate) fn replace(&self, lanes: u8, other: &Self) -> Self {
        Self(std::array::from_fn(|i| _mm512_mask_mov_epi64(self.0[i], lanes, other.0[i])))
    }

    /// A bit for each lane that holds 0 modulo p.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn zeros(&self) -> u8 {
        let limbs = self.canonical().0;
        let any = limbs.into_iter().fold(_mm512_setzero_si512(), |any, limb| _mm512_or_si512(any, limb));
        _mm512_testn_epi64_mask(any, any)
    }

    /// A bit for each lane whose representative in 0..p is odd: the sign of RFC 8032.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn odds(&self) -> u8 {
        _mm512_test_epi64_mask(self.canonical().0[0], _mm512_set1_epi64(1))
    }

    /// The representatives in 0..p: limbs below 2^51.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn canonical(&self) -> Self {
        // Carried, limbs are below 2^51 + 2^18, and the number below 2 p.
        let mut limbs = self.widen().carry().0;
        // Whether the number is p or more is whether 19 more reach 2^255.
        let mut over = _mm512_set1_epi64(19);
        for limb in limbs {
            over = _mm512_srli_epi64::<51>(_mm512_add_epi64(limb, over));
        }
        let mut carry = _mm512_madd52lo_epu64(_mm512_setzero_si512(), over, _mm512_set1_epi64(19));
        let mask = _mm512_set1_epi64(MASK as i64);
        for limb in &mut limbs {
            let sum = _mm512_add_epi64(*limb, carry);
            *limb = _mm512_and_si512(sum, mask);
            carry = _mm512_srli_epi64::<51>(sum);
        }
        Self(limbs)
    }
}

impl Sum {
    /// self + self: the limbs stay below 2^64.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(crate) fn double(&self) -> Self {
        self.add(self)
    }

    /// The limbs of both together stay below 2^64.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(crate) fn add(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| _mm512_add_epi64(self.0[i], other.0[i])))
    }

    /// self - other + 2048 p: `self` is at most four products, `other` at most two.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(crate) fn sub(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|i| {
            let bias = _mm512_set1_epi64(BIAS[i] as i64);
            _mm512_sub_epi64(_mm512_add_epi64(self.0[i], bias), other.0[i])
        }))
    }

    /// One round of carries, all limbs at once: any limbs below 2^64 give limbs below 2^51 + 19 * 2^13 < 2^52.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub(crate) fn carry(&self) -> Element {
        let mask = _mm512_set1_epi64(MASK as i64);
        let low = self.0.map(|limb| _mm512_and_si512(limb, mask));
        let high = self.0.map(|limb| _mm512_srli_epi64::<51>(limb));
        Element([
            _mm512_madd52lo_epu64(low[0], high[4], _mm512_set1_epi64(19)),
            _mm512_add_epi64(low[1], high[0]),
            _mm512_add_epi64(low[2], high[1]),
            _mm512_add_epi64(low[3], high[2]),
            _mm512_add_epi64(low[4], high[3]),
        ])
    }
}

/// Columns 5..10 stand at 2^255 and more: 2^255 = 19 modulo p.
#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
fn fold(columns: &[__m512i; 10]) -> Sum {
    let nineteen = _mm512_set1_epi64(19);
    Sum(std::array::from_fn(|i| _mm512_add_epi64(columns[i], _mm512_mullo_epi64(columns[i + 5], nineteen))))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn double(vector: __m512i) -> __m512i {
    _mm512_add_epi64(vector, vector)
}

#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) fn load(lanes: &Lanes) -> __m512i {
    // SAFETY: the array is 64 bytes long, and the load asks for no alignment.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) fn store(vector: __m512i) -> Lanes {
    let mut lanes = [0; 8];
    // SAFETY: the array is 64 bytes long, and the store asks for no alignment.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) };
    lanes
}
