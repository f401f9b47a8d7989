//! Verification of eight rows at a time, by AVX-512 IFMA.

mod batch;
mod build;
mod one_off;
mod plan;
mod point;
mod rows;
mod spread;
#[cfg(test)]
mod tests;

use super::{OneOffRow, Row};
use crate::features;
use batch::{Batch, GROUPS};
pub(crate) use build::entries;
use plan::Plan;
use rows::{Signed, challenges, scalars};
use spread::FEW;

/// As [`super::verify`].
///
/// # Panics
///
/// When the processor lacks AVX-512 IFMA.
pub(crate) fn verify(rows: &[Row<'_>], verdicts: &mut [bool]) {
    assert!(features::detected().avx512ifma, "AVX-512 IFMA is missing");
    // SAFETY: the features were detected.
    unsafe { verify_batches(rows, verdicts) }
}

/// As [`super::verify_one_off`].
///
/// # Panics
///
/// When the processor lacks AVX-512 IFMA.
pub(crate) fn verify_one_off(rows: &[OneOffRow<'_>], verdicts: &mut [bool]) {
    assert!(features::detected().avx512ifma, "AVX-512 IFMA is missing");
    // SAFETY: the features were detected.
    unsafe { verify_one_off_batches(rows, verdicts) }
}

/// Takes the rows in groups of one window.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn verify_batches(rows: &[Row<'_>], verdicts: &mut [bool]) {
    let window_of = |&index: &u32| rows[index as usize].table.window();
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    if !order.is_sorted_by_key(window_of) {
        order.sort_by_key(window_of);
    }
    let mut groups: Vec<&[u32]> = Vec::with_capacity(rows.len() / 8 + FEW);
    for same_window in order.chunk_by(|a, b| window_of(a) == window_of(b)) {
        let (full, tail) = same_window.as_chunks::<8>();
        groups.extend(full.iter().map(<[u32; 8]>::as_slice));
        // A group of one row is spread over the lanes.
        groups.extend(tail.chunks(if tail.len() < FEW { 1 } else { 8 }));
    }
    let mut batch = Batch::new(groups.len());
    for groups in groups.chunks(GROUPS) {
        verify_groups(rows, groups, &mut batch, verdicts);
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn verify_groups(rows: &[Row<'_>], groups: &[&[u32]], batch: &mut Batch, verdicts: &mut [bool]) {
    // The lanes that are left over repeat the last row.
    let lanes = |group: usize| std::array::from_fn(|i| &rows[groups[group][i.min(groups[group].len() - 1)] as usize]);
    let fills_lanes = |group: usize| groups.get(group).is_some_and(|group| group.len() > 1);
    let (mut plan, mut next, mut prepared) = (Plan::new(), Plan::new(), None);
    for group in 0..groups.len() {
        if !fills_lanes(group) {
            let (points, valid) = spread::sum(lanes(group)[0]);
            batch.push(&points, valid, true);
            continue;
        }
        // The group before prepares this one, but for the first and for one after a row of its own.
        let valid = match prepared.take() {
            Some(valid) => valid,
            None => prepare(&mut next, &lanes(group)),
        };
        std::mem::swap(&mut plan, &mut next);
        if fills_lanes(group + 1) {
            prepared = Some(prepare(&mut next, &lanes(group + 1)));
            plan.follow(&next);
        }
        // SAFETY: the plan was filled from tables that the rows borrow.
        batch.push(&unsafe { plan.sum() }, valid, false);
    }
    batch.finish(|group| lanes(group).map(signed), |group, matching| tell(verdicts, groups[group], matching));
}

/// Hashes the rows and looks up the digits; a bit for each row whose S is below L.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn prepare(plan: &mut Plan, rows: &[&Row<'_>; 8]) -> u8 {
    let signed = rows.map(signed);
    let (s, valid) = scalars(&signed);
    plan.fill(&rows.map(|row| row.table), &s, &challenges(&signed));
    valid
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn verify_one_off_batches(rows: &[OneOffRow<'_>], verdicts: &mut [bool]) {
    let mut plan = Plan::new();
    let mut batch = Batch::new(rows.len().div_ceil(8));
    for (rows, verdicts) in rows.chunks(8 * GROUPS).zip(verdicts.chunks_mut(8 * GROUPS)) {
        let lanes = |group: usize| std::array::from_fn(|i| rows[(8 * group + i).min(rows.len() - 1)]);
        for group in 0..rows.len().div_ceil(8) {
            let (points, valid) = one_off::sum(&lanes(group), &mut plan);
            batch.push(&points, valid, false);
        }
        batch.finish(lanes, |group, matching| {
            for (lane, verdict) in verdicts.iter_mut().skip(8 * group).take(8).enumerate() {
                *verdict = matching >> lane & 1 == 1;
            }
        });
    }
}

fn signed<'a>(row: &Row<'a>) -> Signed<'a> {
    Signed { public_key: row.table.public_key(), signature: row.signature, message: row.message }
}

fn tell(verdicts: &mut [bool], indices: &[u32], matching: u8) {
    for (lane, &index) in indices.iter().enumerate() {
        verdicts[index as usize] = matching >> lane & 1 == 1;
    }
}
