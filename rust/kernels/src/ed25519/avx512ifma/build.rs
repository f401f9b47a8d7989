//! Tables of multiples, eight entries at a time.
//!
//! Each row is cut into eight runs, one a lane; every lane steps through its run by adding the row's point. What is stored
//! first is projective, and made affine when all of it is there, by one inversion.

use super::super::entry::Entry;
use super::super::point::Extended;
use super::super::table::empty_entries;
use super::super::window::Window;
use super::batch::invert_lanes;
use super::point::{Addends, Addresses, Points};
use crate::features;
use crate::field25519::avx512ifma::{Element, store};
use crate::field25519::portable::{D, ONE, Tight};

/// As [`super::super::table::entries`].
///
/// # Panics
///
/// When the processor lacks AVX-512 IFMA.
pub(crate) fn entries(point: &Extended, window: Window) -> Box<[Entry]> {
    assert!(features::detected().avx512ifma, "AVX-512 IFMA is missing");
    // SAFETY: the features were detected.
    unsafe { build(point, window) }
}

/// A row, as its runs lie.
struct Row<'a> {
    entries: &'a mut [Entry],
    /// Entries of a lane.
    run: usize,
    /// A bit for each lane that has a run; a short row leaves some without.
    lanes: u8,
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn build(point: &Extended, window: Window) -> Box<[Entry]> {
    let mut entries = empty_entries(window);
    entries.resize(window.entries(), Entry::new([0; 5], [0; 5], [0; 5]));
    let mut entries = entries.into_boxed_slice();
    let mut prefixes = Vec::with_capacity(window.entries() / 8 + 1);
    let mut product = Element::splat(&ONE.limbs());
    let mut row_point = *point;
    for mut row in rows(&mut entries, window) {
        let (starts, last_start) = row.starts(&row_point);
        row.fill(starts, &row_point, &mut product, &mut prefixes);
        row_point = double_times(&last_start, window.bits() - row.run.ilog2());
    }
    let mut inverse = invert_lanes(&product, 8);
    for mut row in rows(&mut entries, window).rev() {
        row.normalize(&mut inverse, &mut prefixes);
    }
    entries
}

/// The rows of a table.
fn rows(entries: &mut [Entry], window: Window) -> impl DoubleEndedIterator<Item = Row<'_>> {
    let (lower, top) = entries.split_at_mut((window.rows() - 1) * window.half());
    lower.chunks_exact_mut(window.half()).chain([top]).map(|entries| {
        let run = entries.len().div_ceil(8);
        let lanes = (0xffu32 >> (8 - entries.len() / run)) as u8;
        Row { entries, run, lanes }
    })
}

/// 2^count times the point.
fn double_times(point: &Extended, count: u32) -> Extended {
    (0..count).fold(*point, |point, _| point.double())
}

impl Row<'_> {
    /// The first point of each lane's run, and the point that is a run's length times the row's.
    fn starts(&self, row_point: &Extended) -> ([Extended; 8], Extended) {
        let run_point = double_times(row_point, self.run.ilog2());
        let addend = run_point.addend();
        let mut starts = [*row_point; 8];
        for lane in 1..8 {
            starts[lane] = starts[lane - 1].add(&addend);
        }
        (starts, run_point)
    }

    /// Stores Y + X, Y - X and, in place of dxy, 2Z; multiplies each 2Z into the product.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn fill(&mut self, starts: [Extended; 8], step: &Extended, product: &mut Element, prefixes: &mut Vec<Element>) {
        let double_d = Element::splat(&D.add(&D).carry().limbs());
        let (step, step_double_z) = to_points(&[*step; 8]).addends(&double_d);
        let mut multiple = to_points(&starts);
        for place in 0..self.run {
            let double_z = self.in_use(&multiple.z.double());
            prefixes.push(*product);
            *product = product.mul(&double_z);
            self.store(place, &Addends { plus: multiple.plus, minus: multiple.minus, dxy: double_z });
            multiple = multiple.add_projective(&step, &step_double_z);
        }
    }

    /// Makes affine what [`Row::fill`] stored: the inverse is that of the product so far, and leaves it as that of the rows
    /// before.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn normalize(&mut self, inverse: &mut Element, prefixes: &mut Vec<Element>) {
        let d = Element::splat(&D.limbs());
        for place in (0..self.run).rev() {
            // SAFETY: the addresses are those of this row's entries.
            let projective = unsafe { Addends::load(&self.addresses(place)) };
            let prefix = prefixes.pop().expect("a prefix for each place");
            let inverse_of_double_z = inverse.mul(&prefix);
            *inverse = inverse.mul(&self.in_use(&projective.dxy));
            let plus = projective.plus.mul(&inverse_of_double_z);
            let minus = projective.minus.mul(&inverse_of_double_z);
            // ((y + x)/2)^2 - ((y - x)/2)^2 = xy
            let xy = plus.square_wide().sub(&minus.square_wide()).carry();
            let dxy = xy.mul(&d).canonical();
            self.store(place, &Addends { plus: plus.canonical(), minus: minus.canonical(), dxy });
        }
    }

    /// The element, but 1 in lanes without a run.
    #[target_feature(enable = "avx512f")]
    fn in_use(&self, element: &Element) -> Element {
        element.replace(!self.lanes, &Element::splat(&ONE.limbs()))
    }

    /// Where the entries at a place of each run lie. Lanes without a run have the first lane's.
    fn addresses(&self, place: usize) -> Addresses {
        let in_row = |lane: usize| if self.lanes >> lane & 1 == 1 { lane * self.run + place } else { place };
        std::array::from_fn(|lane| (&raw const self.entries[in_row(lane)]).expose_provenance() as u64)
    }

    #[target_feature(enable = "avx512f")]
    fn store(&mut self, place: usize, addends: &Addends) {
        let (first, second) = addends.to_lines();
        for (lane, run) in self.entries.chunks_exact_mut(self.run).enumerate() {
            run[place] = Entry { first: store(first[lane]), second: store(second[lane]) };
        }
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn to_points(points: &[Extended; 8]) -> Points {
    let lanes = |coordinate: fn(&Extended) -> &Tight| {
        let limbs = points.each_ref().map(|point| coordinate(point).limbs());
        Element::from_lanes(&std::array::from_fn(|limb| limbs.map(|limbs| limbs[limb])))
    };
    let (x, y) = (lanes(|point| &point.x), lanes(|point| &point.y));
    Points { z: lanes(|point| &point.z), t: lanes(|point| &point.t), ..Points::of_affine(&x, &y) }
}
