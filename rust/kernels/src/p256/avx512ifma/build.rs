//! Tables of multiples, eight entries at a time: the portable twin's plan.

use super::SLOTS;
use super::field;
use super::lanes::{self, Limbs52};
use super::sums::{self, Addends, Slot};
use crate::p256::digits;
use crate::p256::limbs::Limbs;
use crate::p256::point::Affine;
use crate::p256::table::{Entry, empty_entries, powers_of_two};
use std::array::from_fn;
use std::ptr;

/// 2^258 mod p and 2^259 mod p, which take the sums' x and y, at 2^258 and 2^257, to the tables', at 2^256.
const FROM_X: Limbs52 = [0x4, 0xf_c000_0000_0000, 0xf_ffff_ffff_ffff, 0xf_ffbf_ffff_ffff, 0x3_ffff];
const FROM_Y: Limbs52 = [0x8, 0xf_8000_0000_0000, 0xf_ffff_ffff_ffff, 0xf_ff7f_ffff_ffff, 0x7_ffff];

/// As the portable `multiples`.
///
/// # Panics
/// Without AVX-512 IFMA.
pub(crate) fn multiples(point: &Affine, window: u32) -> Box<[Entry]> {
    super::assert_features();
    // SAFETY: the processor has the features.
    unsafe { build(point, window) }
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn build(point: &Affine, window: u32) -> Box<[Entry]> {
    let count = digits::count(window);
    let powers = powers_of_two(point, count * window as usize).into_iter().map(Entry::from).collect::<Vec<_>>();
    let half = 1 << (window - 1);
    let mut entries = empty_entries(window);
    for i in 0..count {
        entries[i * half] = powers[i * window as usize];
    }
    let mut slots = Vec::with_capacity(SLOTS);
    let mut degenerate = [0; SLOTS];
    for k in 0..window as usize - 1 {
        let length = 1 << k;
        let total = count * length;
        for first in (0..total).step_by(8 * SLOTS) {
            let groups = (total - first).div_ceil(8).min(SLOTS);
            // Lanes after the last entry repeat it.
            let number = |group: usize, lane: usize| (first + 8 * group + lane).min(total - 1);
            slots.clear();
            for group in 0..groups {
                let own = addends(|lane| &entries[number(group, lane) / length * half + number(group, lane) % length]);
                let power = addends(|lane| &powers[number(group, lane) / length * window as usize + k + 1]);
                // SAFETY: `entries` and `powers` are borrowed.
                unsafe {
                    slots.push(Slot::start(&own));
                    slots[group].prepare(&power);
                }
            }
            sums::add_all(&mut slots, &mut degenerate[..groups]);
            for (group, slot) in slots.iter().enumerate() {
                for (lane, entry) in to_entries(slot).into_iter().enumerate() {
                    let number = number(group, lane);
                    entries[number / length * half + length + number % length] = entry;
                }
            }
        }
    }
    debug_assert_eq!(degenerate, [0; SLOTS], "no two points added are equal or opposite");
    entries
}

fn addends<'a>(entry: impl Fn(usize) -> &'a Entry) -> Addends {
    Addends { entries: from_fn(|lane| ptr::from_ref(entry(lane))), negative: 0 }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn to_entries(slot: &Slot) -> [Entry; 8] {
    let coordinates =
        |sums, scale| -> [Limbs; 8] { lanes::unpack(&field::canonical(&field::mul(sums, &lanes::broadcast(scale)))) };
    let (x, y) = (coordinates(&slot.x, &FROM_X), coordinates(&slot.y, &FROM_Y));
    from_fn(|lane| Entry { x: x[lane], y: y[lane] })
}
