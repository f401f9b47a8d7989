//! Tables of a point's multiples, from which a scalar's multiple is summed without doublings.

use super::point::{Addend, Extended};
use super::window::{WINDOWS, Window};
use crate::features;
use crate::field25519::Limbs;
use crate::field25519::portable::{D, HALF, Tight, invert_all};
use crate::huge_pages;
use std::sync::OnceLock;

/// An affine point as (y + x)/2, (y - x)/2 and dxy, in two cache lines.
///
/// Swapping the lines exchanges the first two, which with the sign of dxy is all that negating the point takes:
/// lanes negate by their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(128))]
pub(crate) struct Entry {
    /// (y + x)/2, then limbs 0, 1, 2 of dxy.
    pub(crate) first: [u64; 8],
    /// (y - x)/2, then limbs 3, 4 of dxy and a zero.
    pub(crate) second: [u64; 8],
}

/// Fixed-base table of -A for one public key A: immutable, shared between threads.
///
/// Row i holds j * 2^(W * i) * -A for j = 1..=2^(W-1), W being the window.
pub struct Table {
    public_key: [u8; 32],
    window: Window,
    entries: Box<[Entry]>,
}

/// The window of the base point's table, which all keys share: 5.8 MB, built in 1.5 ms by lanes.
const BASE_WINDOW: Window = Window::new(12);
/// The same where no lanes build it: 1.6 MB in 3.5 ms, for that of 12 would take as long as 2,000 verifications.
const PORTABLE_BASE_WINDOW: Window = Window::new(10);

/// The encoding of the base point, y = 4/5.
const BASE: [u8; 32] = {
    let mut bytes = [0x66; 32];
    bytes[0] = 0x58;
    bytes
};

/// The table of B.
pub(crate) fn base() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let point = Extended::decode(&BASE).expect("the base point is a point");
        let window = if features::chosen().avx512ifma { BASE_WINDOW } else { PORTABLE_BASE_WINDOW };
        Table::of_point(&point, BASE, window)
    })
}

impl Entry {
    pub(crate) const fn new(plus: Limbs, minus: Limbs, dxy: Limbs) -> Self {
        Self {
            first: [plus[0], plus[1], plus[2], plus[3], plus[4], dxy[0], dxy[1], dxy[2]],
            second: [minus[0], minus[1], minus[2], minus[3], minus[4], dxy[3], dxy[4], 0],
        }
    }

    #[inline]
    pub(crate) fn plus(&self) -> Tight {
        let [l0, l1, l2, l3, l4, ..] = self.first;
        Tight::from_limbs([l0, l1, l2, l3, l4])
    }

    #[inline]
    pub(crate) fn minus(&self) -> Tight {
        let [l0, l1, l2, l3, l4, ..] = self.second;
        Tight::from_limbs([l0, l1, l2, l3, l4])
    }

    #[inline]
    pub(crate) fn dxy(&self) -> Tight {
        let [.., l0, l1, l2] = self.first;
        let [.., l3, l4, _] = self.second;
        Tight::from_limbs([l0, l1, l2, l3, l4])
    }

    /// Asks for both cache lines, where the processor can be asked.
    #[inline]
    pub(crate) fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: prefetching is a hint, and both addresses lie within the entry.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(self.first.as_ptr().cast());
                _mm_prefetch::<_MM_HINT_T0>(self.second.as_ptr().cast());
            }
        }
    }

    /// The entry of the affine point (X/Z, Y/Z), its limbs below 2^51.
    pub(crate) fn of_point(x: &Tight, y: &Tight, inverse_of_z: &Tight) -> Self {
        let (x, y) = (x.mul(inverse_of_z), y.mul(inverse_of_z));
        let plus = y.add(&x).mul(&HALF.relax());
        let minus = y.sub(&x).mul(&HALF.relax());
        let dxy = x.mul(&y).mul(&D);
        Self::new(plus.canonical().limbs(), minus.canonical().limbs(), dxy.canonical().limbs())
    }
}

impl Table {
    /// The table of -A for the key `public_key` and a window in [`WINDOWS`].
    ///
    /// `None` when the key is not the canonical encoding of a point of the curve (RFC 8032, section 5.1.3), or the window
    /// is not one of those.
    #[must_use]
    pub fn new(public_key: &[u8; 32], window: u32) -> Option<Self> {
        if !WINDOWS.contains(&window) {
            return None;
        }
        let point = Extended::decode(public_key)?;
        Some(Self::of_point(&point.negate(), *public_key, Window::new(window)))
    }

    /// The key whose negative this table is of.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// Bits of a digit.
    #[must_use]
    pub fn window(&self) -> u32 {
        self.window.bits()
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        size_of_val::<[Entry]>(&self.entries)
    }

    /// Bytes on the heap that a table of that window takes.
    ///
    /// # Panics
    ///
    /// For a window that is not in [`WINDOWS`].
    #[must_use]
    pub const fn size_of_window(window: u32) -> usize {
        Window::new(window).entries() * size_of::<Entry>()
    }

    pub(crate) fn digits(&self) -> Window {
        self.window
    }

    /// Where the entries lie, row after row.
    pub(crate) fn address(&self) -> u64 {
        self.entries.as_ptr().expose_provenance() as u64
    }

    /// The entries of a row: 1, 2, 3, ... times its point.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> &[Entry] {
        let start = row * self.window.half();
        &self.entries[start..start + self.window.row_entries(row)]
    }

    fn of_point(point: &Extended, public_key: [u8; 32], window: Window) -> Self {
        #[cfg(target_arch = "x86_64")]
        if features::chosen().avx512ifma {
            return Self { public_key, window, entries: super::avx512ifma::entries(point, window) };
        }
        Self { public_key, window, entries: entries(point, window) }
    }
}

/// The entries of a point's table.
pub(crate) fn entries(point: &Extended, window: Window) -> Box<[Entry]> {
    let mut multiples = Vec::with_capacity(window.entries());
    let mut row_point = *point;
    for row in 0..window.rows() {
        let last = push_multiples(&mut multiples, &row_point, window.row_entries(row));
        row_point = last.double();
    }
    let mut entries = empty_entries(window);
    push_entries(&mut entries, &multiples);
    entries.into_boxed_slice()
}

/// Pushes 1, 2, ... `count` times the point, and returns the last.
fn push_multiples(multiples: &mut Vec<Extended>, point: &Extended, count: usize) -> Extended {
    let addend: Addend = point.addend();
    let mut multiple = *point;
    multiples.push(multiple);
    for _ in 1..count {
        multiple = multiple.add(&addend);
        multiples.push(multiple);
    }
    multiple
}

/// Memory for the entries of a table.
pub(crate) fn empty_entries(window: Window) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(window.entries());
    huge_pages::advise(entries.spare_capacity_mut());
    entries
}

fn push_entries(entries: &mut Vec<Entry>, points: &[Extended]) {
    let mut inverses: Vec<Tight> = points.iter().map(|point| point.z).collect();
    invert_all(&mut inverses, &mut vec![HALF; points.len()]);
    let affine = points.iter().zip(&inverses);
    entries.extend(affine.map(|(point, inverse)| Entry::of_point(&point.x, &point.y, inverse)));
}
