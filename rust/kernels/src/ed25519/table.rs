//! Tables of a point's multiples, from which a scalar's multiple is summed without doublings.

use super::entry::Entry;
use super::point::{Addend, Extended};
use super::window::Window;
use crate::field25519::portable::{HALF, Tight, invert_all};
use crate::huge_pages;

/// Fixed-base table of -A for one public key A: immutable, shared between threads.
///
/// Row i holds j * 2^(W * i) * -A for j = 1..=2^(W-1), W being the window.
pub struct Table {
    public_key: [u8; 32],
    window: Window,
    entries: Box<[Entry]>,
}

impl Table {
    /// The table of a key, of entries that one of the kernels built.
    pub(super) fn of_entries(public_key: [u8; 32], window: Window, entries: Box<[Entry]>) -> Self {
        Self { public_key, window, entries }
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
