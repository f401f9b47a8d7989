//! Verification of eight rows at a time, by AVX-512 IFMA.

mod plan;
mod point;
mod spread;

use super::table::Table;
use super::{Row, portable, scalar};
use crate::field25519::avx512ifma::{Element, Lanes, load, store};
use crate::field25519::portable::{ONE, Tight, invert_all};
use crate::field25519::{Limbs, MASK};
use crate::sha512;
use plan::{AHEAD, Plan, Scalars};
use point::{Addends, Points};
use spread::FEW;
use std::arch::x86_64::*;

/// Groups of eight rows that share an inversion: enough to make it cheap, few enough to stay in the cache.
const BATCH: usize = 64;

/// What is left of eight rows when their points are summed: Y + X, Y - X and 2Z, and later 1/2Z.
#[derive(Clone, Copy)]
struct Summed {
    plus: Element,
    minus: Element,
    double_z: Element,
    /// The product of the 2Z before this one.
    prefix: Element,
}

/// As [`super::verify`].
///
/// # Panics
///
/// When the processor lacks AVX-512 IFMA.
pub(crate) fn verify(rows: &[Row<'_>], verdicts: &mut [bool]) {
    assert!(crate::features::detected().avx512ifma, "AVX-512 IFMA is missing");
    // SAFETY: the features were detected.
    unsafe { verify_batches(rows, verdicts) }
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn verify_batches(rows: &[Row<'_>], verdicts: &mut [bool]) {
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    let window_of = |&index: &u32| rows[index as usize].table.window();
    if !order.is_sorted_by_key(window_of) {
        order.sort_by_key(window_of);
    }
    let mut groups = Vec::with_capacity(order.len().div_ceil(8));
    for same_window in order.chunk_by(|a, b| window_of(a) == window_of(b)) {
        let (full, tail) = same_window.as_chunks::<8>();
        groups.extend(full.iter().map(<[u32; 8]>::as_slice));
        // Row after row where they are few: a group of one row is spread over the lanes.
        groups.extend(tail.chunks(if tail.len() < FEW { 1 } else { 8 }));
    }
    let mut scratch = Vec::with_capacity(groups.len().min(BATCH));
    for batch in groups.chunks(BATCH) {
        verify_batch(rows, batch, &mut scratch, verdicts);
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn verify_batch(rows: &[Row<'_>], groups: &[&[u32]], scratch: &mut Vec<Summed>, verdicts: &mut [bool]) {
    let lanes_of = |group: &[u32]| -> [&Row<'_>; 8] {
        // The lanes that are left over repeat the last row.
        std::array::from_fn(|lane| &rows[group[lane.min(group.len() - 1)] as usize])
    };
    scratch.clear();
    let mut product = Element::splat(&ONE.limbs());
    let (mut plan, mut next) = (Plan::new(), Plan::new());
    let mut next_is_prepared = false;
    for i in 0..groups.len() {
        let points = if let [index] = groups[i] {
            spread::sum(&rows[*index as usize])
        } else {
            if !next_is_prepared {
                prepare(&mut next, &lanes_of(groups[i]));
            }
            std::mem::swap(&mut plan, &mut next);
            let following = groups.get(i + 1).filter(|group| group.len() > 1);
            next_is_prepared = following.is_some();
            if let Some(group) = following {
                prepare(&mut next, &lanes_of(group));
                plan.follow(&next);
            }
            // SAFETY: the plan's addresses come from tables that the rows borrow, and from statics.
            unsafe { sum(&plan) }
        };
        let double_z = points.z.widen().add(&points.z.widen()).carry();
        scratch.push(Summed { plus: points.plus, minus: points.minus, double_z, prefix: product });
        product = product.mul(&double_z);
    }
    let same_lanes = groups.iter().all(|group| group.len() == 1);
    let mut inverse = invert_lanes(&product, if same_lanes { 1 } else { 8 });
    for (summed, group) in scratch.iter().zip(groups).rev() {
        let inverse_of_double_z = inverse.mul(&summed.prefix);
        inverse = inverse.mul(&summed.double_z);
        let matching = matches(summed, &inverse_of_double_z, &lanes_of(group));
        for (lane, &index) in group.iter().enumerate() {
            let row = &rows[index as usize];
            verdicts[index as usize] = matching >> lane & 1 == 1 && scalar::from_signature(row.signature).is_some();
        }
    }
}

/// Hashes the rows and cuts their scalars into digits. An S that is not below L counts as 0.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn prepare(plan: &mut Plan, rows: &[&Row<'_>; 8]) {
    let mut s: Scalars = [[0; 8]; 4];
    for (lane, row) in rows.iter().enumerate() {
        for (word, lanes) in scalar::from_signature(row.signature).unwrap_or_default().into_iter().zip(&mut s) {
            lanes[lane] = word;
        }
    }
    plan.fill(&rows.map(|row| row.table), &s, &challenges(rows));
}

/// As [`portable::challenge`].
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn challenges(rows: &[&Row<'_>; 8]) -> Scalars {
    let messages: [[&[u8]; 6]; 8] = std::array::from_fn(|i| {
        let [a, b, c, d] = rows[i].message;
        [&rows[i].signature[..32], rows[i].table.public_key(), a, b, c, d]
    });
    let words = sha512::avx512::hash(&messages).map(|word| store(sha512::avx512::swap_bytes(word)));
    let mut scalars = [[0; 8]; 4];
    for lane in 0..8 {
        let hash = words.map(|word| word[lane]);
        for (word, lanes) in scalar::reduce(&hash).into_iter().zip(&mut scalars) {
            lanes[lane] = word;
        }
    }
    scalars
}

/// The sum of all entries of a plan, in each lane.
///
/// # Safety
///
/// Each address of the plan is that of either line of an entry that may be read.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
unsafe fn sum(plan: &Plan) -> Points {
    // SAFETY: the caller vouches for the addresses.
    let mut points = unsafe { Addends::load(plan.at(0)) }.to_points();
    for step in 1..plan.steps() {
        plan.prefetch(step + AHEAD - 1);
        // SAFETY: the caller vouches for the addresses.
        let addends = unsafe { Addends::load(plan.at(step)) };
        points = points.add_affine(&addends);
    }
    points
}

/// 1/x in each lane, by one inversion. No lane may be 0; the first `distinct` lanes (1 or 8) repeat.
#[target_feature(enable = "avx512f,avx512ifma")]
fn invert_lanes(elements: &Element, distinct: usize) -> Element {
    let limbs = elements.canonical().to_lanes();
    let mut lanes: [Tight; 8] =
        std::array::from_fn(|lane| Tight::from_limbs(std::array::from_fn(|limb| limbs[limb][lane])));
    invert_all(&mut lanes[..distinct], &mut [ONE; 8]);
    let limbs: [Limbs; 8] = lanes.map(|lane| lane.limbs());
    Element::from_lanes(&std::array::from_fn(|limb| std::array::from_fn(|lane| limbs[lane % distinct][limb])))
}

/// A bit for each lane whose encoded point is its signature's R.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn matches(summed: &Summed, inverse_of_double_z: &Element, rows: &[&Row<'_>; 8]) -> u8 {
    let (plus, minus) = (summed.plus.widen(), summed.minus.widen());
    let x = plus.sub(&minus).carry().mul(inverse_of_double_z).canonical().vectors();
    let mut y = plus.add(&minus).carry().mul(inverse_of_double_z).canonical().vectors();
    // Bit 255 is the sign of x, which is its lowest bit.
    let sign = _mm512_slli_epi64::<51>(_mm512_and_si512(x[0], _mm512_set1_epi64(1)));
    y[4] = _mm512_or_si512(y[4], sign);
    let r = r_limbs(rows);
    let differs = (0..5).fold(_mm512_setzero_si512(), |differs, i| {
        _mm512_ternarylogic_epi64::<0xf6>(differs, y[i], r[i])
    });
    _mm512_testn_epi64_mask(differs, differs)
}

/// R of each row, cut into limbs of 51 bits, the sign on top of the last.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn r_limbs(rows: &[&Row<'_>; 8]) -> [__m512i; 5] {
    let mut words: [Lanes; 4] = [[0; 8]; 4];
    for (lane, row) in rows.iter().enumerate() {
        for (bytes, lanes) in row.signature.as_chunks::<8>().0.iter().zip(&mut words) {
            lanes[lane] = u64::from_le_bytes(*bytes);
        }
    }
    let [w0, w1, w2, w3] = words.map(|lanes| load(&lanes));
    let mask = _mm512_set1_epi64(MASK as i64);
    let join = |low, high| _mm512_and_si512(_mm512_or_si512(low, high), mask);
    [
        _mm512_and_si512(w0, mask),
        join(_mm512_srli_epi64::<51>(w0), _mm512_slli_epi64::<13>(w1)),
        join(_mm512_srli_epi64::<38>(w1), _mm512_slli_epi64::<26>(w2)),
        join(_mm512_srli_epi64::<25>(w2), _mm512_slli_epi64::<39>(w3)),
        _mm512_srli_epi64::<12>(w3),
    ]
}
