//! Verification with tables, portable: sums of table entries, many rows at a time.
//!
//! [u1]G + [u2]Q is a sum of one entry a digit, zero doublings. Each row's entries are dealt out to a few slots, so
//! that every step adds about [`SLOTS`] pairs of points with one inversion; then the slots of a row are summed.

use super::digits::{self, Odd};
use super::equation::{Scalars, second_x};
use super::field::Fe;
use super::generator;
use super::limbs::Limbs;
use super::point::{Affine, Jacobian};
use super::sums::{self, Slot};
use super::table::{GENERATOR_WINDOW, Table};

/// Slots worked on together: their 200 bytes each stay in the second-level cache.
const SLOTS: usize = 1024;
/// Rows worked on together.
pub(crate) const ROWS: usize = 512;
/// How many rows ahead table entries are fetched into the cache.
const AHEAD: usize = 6;
/// Below this many rows, the inversions cost more than they save.
const FEW: usize = 4;

/// Digits of G in every row.
const GENERATOR_DIGITS: usize = digits::count(GENERATOR_WINDOW);

/// Verdicts for rows whose tables all have the same window; slices of one length.
pub(crate) fn verify(tables: &[&Table], scalars: &[Scalars], verdicts: &mut [bool]) {
    let chunks = tables.chunks(ROWS).zip(scalars.chunks(ROWS)).zip(verdicts.chunks_mut(ROWS));
    for ((tables, scalars), verdicts) in chunks {
        if tables.len() < FEW {
            for ((table, scalars), verdict) in tables.iter().zip(scalars).zip(verdicts) {
                *verdict = verify_one(table, scalars);
            }
        } else {
            verify_together(tables, scalars, verdicts);
        }
    }
}

/// One row in Jacobian coordinates, right for any scalars: the path for few rows, and for the degenerate ones.
pub(crate) fn verify_one(table: &Table, scalars: &Scalars) -> bool {
    let terms = [(generator(), &scalars.u1), (table, &scalars.u2)];
    let mut sum = Jacobian::INFINITY;
    for (table, scalar) in terms {
        let odd = Odd::new(scalar);
        for i in 0..digits::count(table.window()) {
            sum = sum.add_affine(&table.multiple(i, odd.code(i, table.window())));
        }
    }
    scalars.well_formed && has_x(&sum, &scalars.r)
}

/// Whether the affine x of `sum` is r mod n, without leaving Jacobian coordinates. Infinity has no x.
pub(crate) fn has_x(sum: &Jacobian, r: &Limbs) -> bool {
    let zz = sum.z.square();
    let is_x = |x: &Limbs| Fe::from_integer(x).mul(&zz) == sum.x;
    !sum.is_infinity() && (is_x(r) || second_x(r).is_some_and(|x| is_x(&x)))
}

fn verify_together(tables: &[&Table], scalars: &[Scalars], verdicts: &mut [bool]) {
    let rows = tables.len();
    let terms = Terms::new(tables, scalars);
    let mut width = (SLOTS / rows).clamp(1, terms.count / 2);
    let mut slots = vec![Slot::default(); width * rows];
    terms.start(&mut slots, width);
    for first in (width..terms.count).step_by(width) {
        let used = width.min(terms.count - first);
        terms.prepare(&mut slots[..used * rows], first);
        sums::add_all(&mut slots[..used * rows]);
    }
    while width > 1 {
        let half = width.div_ceil(2);
        let (left, right) = slots[..width * rows].split_at_mut(half * rows);
        for (left, right) in left.iter_mut().zip(&*right) {
            left.prepare(&right.sum);
            left.degenerate |= right.degenerate;
        }
        sums::add_all(&mut left[..(width - half) * rows]);
        width = half;
    }
    for (row, verdict) in verdicts.iter_mut().enumerate() {
        *verdict = if slots[row].degenerate {
            verify_one(tables[row], &scalars[row])
        } else {
            scalars[row].well_formed && is_x(&slots[row].sum.x, &scalars[row].r)
        };
    }
}

fn is_x(x: &Fe, r: &Limbs) -> bool {
    Fe::from_integer(r) == *x || second_x(r).is_some_and(|second| Fe::from_integer(&second) == *x)
}

/// The terms of every row: one table entry for each digit of u1 (of G) and then of u2 (of Q).
struct Terms<'a> {
    tables: &'a [&'a Table],
    odd: Vec<[Odd; 2]>,
    /// Terms of each row.
    count: usize,
}

impl<'a> Terms<'a> {
    fn new(tables: &'a [&'a Table], scalars: &[Scalars]) -> Self {
        let odd = scalars.iter().map(|scalars| [Odd::new(&scalars.u1), Odd::new(&scalars.u2)]).collect();
        Self { tables, odd, count: GENERATOR_DIGITS + digits::count(tables[0].window()) }
    }

    #[inline]
    fn point(&self, generator: &Table, term: usize, row: usize) -> Affine {
        let [u1, u2] = &self.odd[row];
        if term < GENERATOR_DIGITS {
            return generator.multiple(term, u1.code(term, GENERATOR_WINDOW));
        }
        let (i, table) = (term - GENERATOR_DIGITS, self.tables[row]);
        table.multiple(i, u2.code(i, table.window()))
    }

    /// Brings the entry of a term into the cache, if there is such a row.
    #[inline]
    fn fetch(&self, generator: &Table, term: usize, row: usize) {
        let Some([u1, u2]) = self.odd.get(row) else { return };
        if term < GENERATOR_DIGITS {
            generator.fetch(term, u1.code(term, GENERATOR_WINDOW));
        } else {
            let (i, table) = (term - GENERATOR_DIGITS, self.tables[row]);
            table.fetch(i, u2.code(i, table.window()));
        }
    }

    /// Slot `j * rows + row` starts with term j of the row.
    fn start(&self, slots: &mut [Slot], width: usize) {
        let generator = generator();
        for (term, slots) in (0..width).zip(slots.chunks_mut(self.tables.len())) {
            for (row, slot) in slots.iter_mut().enumerate() {
                slot.start(&self.point(generator, term, row));
            }
        }
    }

    /// Slot `j * rows + row` is to add term `first + j` of the row.
    fn prepare(&self, slots: &mut [Slot], first: usize) {
        let generator = generator();
        for (term, slots) in (first..).zip(slots.chunks_mut(self.tables.len())) {
            for (row, slot) in slots.iter_mut().enumerate() {
                self.fetch(generator, term, row + AHEAD);
                slot.prepare(&self.point(generator, term, row));
            }
        }
    }
}
