//! Fixed-base tables: the odd multiples `(2 j + 1) * 2^(w i) * Q` for every digit i and j < 2^(w - 1).

use super::digits;
use super::field::Fe;
use super::point::{self, Affine, Jacobian};
use super::sums::{self, Slot};
use crate::huge_pages;

/// The windows a table can have, in bits.
pub const WINDOWS: std::ops::RangeInclusive<u32> = 4..=16;

/// Window of the table of G, which all verifications share: 5 MB, built in some 3 to 10 ms when first needed.
pub(crate) const GENERATOR_WINDOW: u32 = 13;

/// How many additions of a table's building share an inversion.
const BATCH: usize = 1024;

/// x and y, each `2^256` times the coordinate mod p in four limbs: one cache line.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct Entry {
    pub(crate) x: [u64; 4],
    pub(crate) y: [u64; 4],
}

impl Entry {
    #[inline]
    pub(crate) fn point(&self) -> Affine {
        Affine { x: Fe(self.x), y: Fe(self.y) }
    }
}

impl From<Affine> for Entry {
    fn from(point: Affine) -> Self {
        Self { x: point.x.0, y: point.y.0 }
    }
}

/// Multiples of one public key. Immutable; two verifications may share it from any threads.
pub struct Table {
    public_key: [u8; 64],
    window: u32,
    entries: Box<[Entry]>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Table").field("window", &self.window).finish_non_exhaustive()
    }
}

impl Table {
    /// The table of a key, of entries that one of the kernels built.
    pub(super) fn of_entries(public_key: [u8; 64], window: u32, entries: Box<[Entry]>) -> Self {
        Self { public_key, window, entries }
    }

    /// x || y, as given.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 64] {
        &self.public_key
    }

    /// Bits a digit.
    #[must_use]
    pub fn window(&self) -> u32 {
        self.window
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        Self::size_of_window(self.window)
    }

    /// Bytes of memory that a table of `window` holds.
    #[must_use]
    pub const fn size_of_window(window: u32) -> usize {
        size_of::<Self>() + (digits::count(window) << (window - 1)) * size_of::<Entry>()
    }

    /// The entries of digit `i`.
    #[inline]
    pub(crate) fn digit(&self, i: usize) -> &[Entry] {
        let half = 1 << (self.window - 1);
        &self.entries[i * half..][..half]
    }

    /// Brings the multiple that `code` stands for as digit `i` into the cache, where the processor can be asked to.
    #[inline]
    pub(crate) fn fetch(&self, i: usize, code: u32) {
        let entry = &self.digit(i)[(code & !digits::NEGATIVE) as usize];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: every x86-64 processor has the instruction, and it takes any address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(entry).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = entry;
    }

    /// The multiple that `code` stands for as digit `i`.
    #[inline]
    pub(crate) fn multiple(&self, i: usize, code: u32) -> Affine {
        let entry = &self.digit(i)[(code & !digits::NEGATIVE) as usize];
        entry.point().negate_if(code & digits::NEGATIVE != 0)
    }
}

/// Builds the windows by doubling their length: the multiples 2^k..2^(k + 1) of a window are those before them plus
/// `2^(w i + k + 1) * Q`. No two points added are equal or opposite, since n is a prime far above 2^(w + 1).
pub(super) fn portable_multiples(point: &Affine, window: u32) -> Box<[Entry]> {
    let count = digits::count(window);
    let powers = powers_of_two(point, count * window as usize);
    let half = 1 << (window - 1);
    let mut entries = empty_entries(window);
    for i in 0..count {
        entries[i * half] = powers[i * window as usize].into();
    }
    let mut slots = vec![Slot::default(); BATCH];
    for k in 0..window as usize - 1 {
        let length = 1 << k;
        let total = count * length;
        for start in (0..total).step_by(BATCH) {
            let slots = &mut slots[..BATCH.min(total - start)];
            for (slot, number) in slots.iter_mut().zip(start..) {
                let (i, j) = (number / length, number % length);
                slot.start(&entries[i * half + j].point());
                slot.prepare(&powers[i * window as usize + k + 1]);
            }
            sums::add_all(slots);
            for (slot, number) in slots.iter().zip(start..) {
                let (i, j) = (number / length, number % length);
                debug_assert!(!slot.degenerate);
                entries[i * half + length + j] = slot.sum.into();
            }
        }
    }
    entries
}

/// Room for all entries of a table.
pub(super) fn empty_entries(window: u32) -> Box<[Entry]> {
    let count = digits::count(window) << (window - 1);
    let mut entries = Vec::with_capacity(count);
    huge_pages::advise(entries.spare_capacity_mut());
    entries.resize(count, Entry::default());
    entries.into_boxed_slice()
}

/// `2^i * point` for i < `count`.
pub(super) fn powers_of_two(point: &Affine, count: usize) -> Vec<Affine> {
    let first = Jacobian::from(*point);
    let powers: Vec<_> = std::iter::successors(Some(first), |power| Some(power.double())).take(count).collect();
    point::to_affine(&powers)
}
