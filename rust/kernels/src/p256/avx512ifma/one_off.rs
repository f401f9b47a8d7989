//! Verification without tables of the keys, in eight lanes: [u1]G from its table, [u2]Q by doublings and digits of
//! five bits.

use super::each::{self, Groups};
use super::field;
use super::lanes::{self, Vectors};
use super::plan::{self, Plan};
use super::point::Jacobian;
use super::sums::{self, Slot};
use super::{matching_lanes, sum};
use crate::p256::digits::{self, NEGATIVE};
use crate::p256::equation::Scalars;
use crate::p256::limbs;
use crate::p256::one_off;
use crate::p256::point::{self, Affine};
use std::arch::x86_64::*;

/// Bits a digit of u2.
const WINDOW: u32 = 5;
const DIGITS: usize = digits::count(WINDOW);
/// Odd multiples of each key: 1, 3, .. 31.
const MULTIPLES: usize = 1 << (WINDOW - 1);

/// (x, y) of eight points, below 2p.
type Point = [Vectors; 2];

/// Verdicts of at most some hundred rows; slices of one length, not empty. `None` stands for a key that is no point.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn verify_together(keys: &[Option<Affine>], scalars: &[Scalars], verdicts: &mut [bool]) {
    let groups = keys.len().div_ceil(8);
    let multiples = odd_multiples(keys, groups);
    let (generator_sums, degenerate) = sum(&Plan::of_generator(scalars));
    let rows = Rows { keys, scalars, multiples: &multiples, generator_sums: &generator_sums, degenerate: &degenerate };
    let pairs = groups / 2 * 2;
    for first in (0..pairs).step_by(2) {
        rows.verify_groups::<2>(first, verdicts);
    }
    if pairs < groups {
        rows.verify_groups::<1>(pairs, verdicts);
    }
}

/// All rows and what is known of them.
struct Rows<'a> {
    keys: &'a [Option<Affine>],
    scalars: &'a [Scalars],
    /// Odd multiples of the keys, group by group.
    multiples: &'a [Point],
    /// [u1]G of each group.
    generator_sums: &'a [Slot],
    /// Lanes of `generator_sums` that mean nothing.
    degenerate: &'a [__mmask8],
}

impl Rows<'_> {
    /// Verdicts for the rows of K groups from `first` on. Two together fill each other's waits.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn verify_groups<const K: usize>(&self, first: usize, verdicts: &mut [bool]) {
        let mut u2 = [[_mm512_setzero_si512(); 5]; K];
        let (mut x, mut y) = (u2, u2);
        for k in 0..K {
            u2[k] = lanes::gather(self.scalars.len(), first + k, |row| self.scalars[row].u2);
            (x[k], y[k]) = (self.generator_sums[first + k].x, self.generator_sums[first + k].y);
        }
        let of_key = times(&u2, |k| &self.multiples[(first + k) * MULTIPLES..][..MULTIPLES]);
        let mut total = on_table_curve(&of_key);
        total.add_affine(&x, &y);
        for k in 0..K {
            let failed = field::zero_lanes(&total.z[k]) | self.degenerate[first + k];
            self.decide(first + k, &total.x[k], &field::square(&total.z[k]), failed, verdicts);
        }
    }

    /// Verdicts for one group, whose sums have these X and Z^2; those of `failed` mean nothing.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn decide(&self, group: usize, x: &Vectors, zz: &Vectors, failed: __mmask8, verdicts: &mut [bool]) {
        let rows = 8 * group..self.keys.len().min(8 * group + 8);
        let right = matching_lanes(x, &self.scalars[rows.clone()], |x| field::mul(x, zz));
        for (lane, row) in rows.enumerate() {
            let (key, scalars) = (self.keys[row], &self.scalars[row]);
            verdicts[row] = if failed >> lane & 1 == 1 {
                one_off::verify_one(key, scalars)
            } else {
                key.is_some() && scalars.well_formed && right >> lane & 1 == 1
            };
        }
    }
}

/// The points in the coordinates of tables: x / 4 and y / 8, which is Z doubled.
#[inline]
#[target_feature(enable = "avx512f")]
fn on_table_curve<const K: usize>(point: &Jacobian<K>) -> Jacobian<K> {
    Jacobian { z: each::reduce_columns(&each::add_columns(&point.z, &point.z)), ..*point }
}

/// `[u2]Q`, from the top digit down; `multiples` gives those of a group's keys.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn times<'a, const K: usize>(u2: &Groups<K>, multiples: impl Fn(usize) -> &'a [Point]) -> Jacobian<K> {
    let mut codes = [[[0; 8]; DIGITS]; K];
    for k in 0..K {
        plan::encode(&u2[k], WINDOW, &mut codes[k], 1);
    }
    let pick_all = |digit: usize| {
        let (mut x, mut y) = (*u2, *u2);
        for k in 0..K {
            let [point_x, point_y] = pick(multiples(k), &codes[k][digit]);
            (x[k], y[k]) = (point_x, lanes::carry(point_y));
        }
        (x, y)
    };
    let (x, y) = pick_all(DIGITS - 1);
    let y = each::reduce_columns(&y);
    let mut sum = Jacobian { x, y, z: [lanes::broadcast(&field::ONE); K] };
    for digit in (0..DIGITS - 1).rev() {
        for _ in 0..WINDOW {
            sum.double();
        }
        let (x, y) = pick_all(digit);
        sum.add_affine(&x, &y);
    }
    sum
}

/// The multiples that the codes stand for: x below 2p, y as columns of a value in 0..=2p.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn pick(multiples: &[Point], codes: &[u32; 8]) -> Point {
    // SAFETY: the array is the 32 bytes read; the load needs no alignment.
    let codes = unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) };
    let negative = _mm256_movepi32_mask(codes);
    let indices = _mm256_and_si256(codes, _mm256_set1_epi32(!NEGATIVE as i32));
    let [mut x, mut y] = multiples[0];
    for (index, point) in multiples.iter().enumerate().skip(1) {
        let here = _mm256_cmpeq_epi32_mask(indices, _mm256_set1_epi32(index as i32));
        x = lanes::select(here, &x, &point[0]);
        y = lanes::select(here, &y, &point[1]);
    }
    [x, lanes::select(negative, &y, &lanes::sub(&lanes::broadcast(&field::P2), &y))]
}

/// The odd multiples of every key, group by group. As for tables, those from 2^k on are those below plus `2^(k + 1) Q`.
/// A missing key has G's multiples.
#[target_feature(enable = "avx512f,avx512ifma")]
fn odd_multiples(keys: &[Option<Affine>], groups: usize) -> Vec<Point> {
    let keys: Vec<Point> = (0..groups)
        .map(|group| {
            let of = |row: usize| keys[row].unwrap_or(point::GENERATOR);
            [load(keys.len(), group, |row| of(row).x.0), load(keys.len(), group, |row| of(row).y.0)]
        })
        .collect();
    let powers = doublings(&keys);
    let mut multiples = vec![[lanes::broadcast(&[0; 5]); 2]; groups * MULTIPLES];
    for (group, key) in keys.iter().enumerate() {
        multiples[group * MULTIPLES] = *key;
    }
    let mut slots = Vec::with_capacity(groups * MULTIPLES / 2);
    let mut degenerate = vec![0; groups * MULTIPLES / 2];
    for (k, powers) in powers.chunks(groups).enumerate() {
        let length = 1 << k;
        slots.clear();
        for (group, [x, y]) in powers.iter().enumerate() {
            for addend in &multiples[group * MULTIPLES..][..length] {
                let mut slot = Slot::new(&addend[0], &addend[1]);
                slot.prepare_point(x, y);
                slots.push(slot);
            }
        }
        sums::add_all(&mut slots, &mut degenerate[..groups * length]);
        for (group, slots) in slots.chunks(length).enumerate() {
            for (slot, sum) in slots.iter().zip(&mut multiples[group * MULTIPLES + length..]) {
                *sum = [slot.x, slot.y];
            }
        }
    }
    // No multiple of a point of order n up to 31 is infinity, or equal to another up to its sign.
    debug_assert!(degenerate.iter().all(|&degenerate| degenerate == 0));
    multiples
}

/// 2Q of all groups, then 4Q of all, 8Q and 16Q.
#[target_feature(enable = "avx512f,avx512ifma")]
fn doublings(keys: &[Point]) -> Vec<Point> {
    let one = lanes::broadcast(&field::ONE);
    let mut points: Vec<_> = keys.iter().map(|[x, y]| Jacobian { x: [*x], y: [*y], z: [one] }).collect();
    for i in 0..(WINDOW as usize - 1) * keys.len() {
        let mut point = points[i];
        point.double();
        points.push(point);
    }
    to_affine(&points[keys.len()..])
}

/// The affine forms, with one inversion. None may be infinity.
#[target_feature(enable = "avx512f,avx512ifma")]
fn to_affine(points: &[Jacobian<1>]) -> Vec<Point> {
    let mut product = lanes::broadcast(&field::ONE);
    let mut prefixes = Vec::with_capacity(points.len());
    for point in points {
        prefixes.push(product);
        product = field::mul(&product, &point.z[0]);
    }
    let mut inverse = field::invert(&product).expect("no point is infinity");
    let mut affine = vec![[product; 2]; points.len()];
    for ((point, prefix), affine) in points.iter().zip(&prefixes).zip(&mut affine).rev() {
        let z = field::mul(&inverse, prefix);
        inverse = field::mul(&inverse, &point.z[0]);
        let zz = field::square(&z);
        *affine = [field::mul(&point.x[0], &zz), field::mul(&point.y[0], &field::mul(&zz, &z))];
    }
    affine
}

/// Elements of the portable field, `2^256 x`, as this field's, `2^260 x`.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(rows: usize, group: usize, of: impl Fn(usize) -> limbs::Limbs) -> Vectors {
    let mut element = lanes::gather(rows, group, of);
    // Times 16, below 16p, as columns.
    for limb in &mut element {
        *limb = _mm512_slli_epi64::<4>(*limb);
    }
    field::reduce_columns(element)
}
