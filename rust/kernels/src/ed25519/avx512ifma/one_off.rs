//! Rows that each have a key of their own: decompressed, multiplied with doublings, and [S]B added from its table.

use super::super::entry::Entry;
use super::super::window::Window;
use super::batch::{SIGN, to_limbs};
use super::plan::{Multiples, Plan};
use super::point::{Addends, NEGATED, Points};
use super::rows::{Scalars, Signed, challenges, scalars, words_in_lanes};
use crate::field25519::MASK;
use crate::field25519::avx512ifma::{Element, load, store};
use crate::field25519::portable::{D, ONE, SQRT_MINUS_ONE};
use crate::transpose::transpose;
use std::arch::x86_64::*;

/// Bits of a digit of h.
const WINDOW: Window = Window::new(5);
const _: () = assert!(WINDOW.top() <= WINDOW.half());
/// Multiples of each key, from 0 on.
const MULTIPLES: usize = WINDOW.half() + 1;

/// The multiples of eight keys, each lane's in a row: Y + X, Y - X and 2dT as an entry, and 2Z.
struct KeyMultiples {
    entries: [[Entry; MULTIPLES]; 8],
    double_zs: [[Line; MULTIPLES]; 8],
}

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// [S]B - [h]A in each lane, and a bit for each whose S is below L and whose A is the canonical encoding of a point.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn sum(rows: &[Signed<'_>; 8], plan: &mut Plan) -> (Points, u8) {
    let (s, below) = scalars(rows);
    let (points, decoded) = combine(&rows.map(|row| row.public_key), &s, &challenges(rows), plan);
    (points, below & decoded)
}

/// [s]B - [h]A in each lane, and a bit for each whose A is the canonical encoding of a point.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn combine(keys: &[&[u8; 32]; 8], s: &Scalars, h: &Scalars, plan: &mut Plan) -> (Points, u8) {
    plan.fill_base(s);
    let (keys, decoded) = decode(keys);
    let multiple = multiply(&keys.negate(), h);
    // SAFETY: the plan holds addresses of the base point's table, which is never dropped.
    (unsafe { plan.add_to(multiple, 0) }, decoded)
}

/// The points of eight encodings (RFC 8032, section 5.1.3), and a bit for each that is canonical; the others become the
/// neutral point.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn decode(encoded: &[&[u8; 32]; 8]) -> (Points, u8) {
    let mut limbs = to_limbs(words_in_lanes(encoded).map(|lanes| load(&lanes)));
    let negative = _mm512_test_epi64_mask(limbs[4], _mm512_set1_epi64(SIGN as i64));
    limbs[4] = _mm512_and_si512(limbs[4], _mm512_set1_epi64(MASK as i64));
    let y = Element::from_vectors(limbs);
    let smallest = y.canonical().vectors();
    let below_p = (0..5).fold(0xff, |same, i| same & _mm512_cmpeq_epi64_mask(smallest[i], limbs[i]));

    let (x, on_curve) = recover_x(&y);
    let zero = Element::splat(&[0; 5]);
    let x = x.replace(x.odds() ^ negative, &zero.widen().sub(&x.widen()).carry());
    // -0 is 0, whose sign cannot be set.
    let valid = below_p & on_curve & !(x.odds() ^ negative);
    let (x, y) = (x.replace(!valid, &zero), y.replace(!valid, &Element::splat(&ONE.limbs())));
    (Points::of_affine(&x, &y), valid)
}

/// A root of x^2 = (y^2 - 1) / (d y^2 + 1), and a bit for each lane that has one.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn recover_x(y: &Element) -> (Element, u8) {
    let one = Element::splat(&ONE.limbs()).widen();
    let yy = y.square();
    let u = yy.widen().sub(&one).carry();
    let v = yy.mul_wide(&Element::splat(&D.limbs())).add(&one).carry();
    let v3 = v.square().mul(&v);
    let v7 = v3.square().mul(&v);
    let x = u.mul(&v3).mul(&u.mul(&v7).power_p_minus_5_over_8());
    let vxx = v.mul_wide(&x.square());
    let is_root = vxx.sub(&u.widen()).carry().zeros();
    let is_root_of_minus = vxx.add(&u.widen()).carry().zeros();
    let other = x.mul(&Element::splat(&SQRT_MINUS_ONE.limbs()));
    (x.replace(is_root_of_minus & !is_root, &other), is_root | is_root_of_minus)
}

/// `scalars` times the points, by signed digits of five bits.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn multiply(points: &Points, scalars: &Scalars) -> Points {
    let mut multiples = KeyMultiples::new();
    multiples.fill(points);
    let mut steps = [[0; 8]; WINDOW.rows()];
    multiples.layout().place(&mut steps, WINDOW, scalars);
    let mut sum = Points::neutral();
    for (row, addresses) in steps.iter().enumerate().rev() {
        if row + 1 < steps.len() {
            sum = sum.double_times(WINDOW.bits());
        }
        // SAFETY: the addresses are those of `multiples`.
        let (addends, double_z) = unsafe { (Addends::load(addresses), multiples.load_double_z(addresses)) };
        sum = sum.add_projective(&addends, &double_z);
    }
    sum
}

impl KeyMultiples {
    #[allow(
        clippy::large_stack_arrays,
        reason = "one a call: it stays in the nearest cache, where the heap's might not"
    )]
    fn new() -> Self {
        let entry = Entry::new([0; 5], [0; 5], [0; 5]);
        Self { entries: [[entry; MULTIPLES]; 8], double_zs: [[Line([0; 8]); MULTIPLES]; 8] }
    }

    /// 0, 1, 2, ... times the points.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn fill(&mut self, points: &Points) {
        let double_d = Element::splat(&D.add(&D).carry().limbs());
        let (step, step_double_z) = points.addends(&double_d);
        let mut multiple = Points::neutral();
        for index in 0..MULTIPLES {
            let (addends, double_z) = multiple.addends(&double_d);
            self.store(index, &addends, &double_z);
            multiple = multiple.add_projective(&step, &step_double_z);
        }
    }

    #[target_feature(enable = "avx512f")]
    fn store(&mut self, index: usize, addends: &Addends, double_z: &Element) {
        let (first, second) = addends.to_lines();
        let [z0, z1, z2, z3, z4] = double_z.vectors();
        let zero = _mm512_setzero_si512();
        let double_z = transpose([z0, z1, z2, z3, z4, zero, zero, zero]);
        for lane in 0..8 {
            self.entries[lane][index] = Entry { first: store(first[lane]), second: store(second[lane]) };
            self.double_zs[lane][index] = Line(store(double_z[lane]));
        }
    }

    /// Every row of digits is looked up in the same entries.
    fn layout(&self) -> Multiples {
        let zero = std::array::from_fn(|lane| (&raw const self.entries[lane]).expose_provenance() as u64);
        Multiples { zero, before_first: zero, stride: 0 }
    }

    /// # Safety
    ///
    /// Each address is that of either line of an entry of its lane.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    unsafe fn load_double_z(&self, addresses: &[u64; 8]) -> Element {
        let zero = self.layout().zero;
        let [z0, z1, z2, z3, z4, ..] = transpose(std::array::from_fn(|lane| {
            let index = (addresses[lane] - zero[lane]) as usize / size_of::<Entry>();
            debug_assert!(addresses[lane] & NEGATED == 0 || index > 0);
            load(&self.double_zs[lane][index].0)
        }));
        Element::from_vectors([z0, z1, z2, z3, z4])
    }
}
