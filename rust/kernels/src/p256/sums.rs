//! Affine additions by the hundred, with one inversion for all of them: 5 multiplications and 1 squaring each.
//!
//! The formulas fail where both points have the same x. This is seen exactly, as a zero difference; such a slot is
//! marked, keeps its place in the shared product with a 1, and its sum means nothing from then on.

use super::field::Fe;
use super::point::Affine;

/// A running sum and the addition it is waiting for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Slot {
    pub(crate) sum: Affine,
    dx: Fe,
    dy: Fe,
    /// Product of the differences of all slots before this one.
    prefix: Fe,
    pub(crate) degenerate: bool,
}

impl Slot {
    #[inline]
    pub(crate) fn start(&mut self, point: &Affine) {
        self.sum = *point;
        self.degenerate = false;
    }

    /// Notes that `addend` is to be added by the next [`add_all`].
    #[inline]
    pub(crate) fn prepare(&mut self, addend: &Affine) {
        self.dx = addend.x.sub(&self.sum.x);
        self.dy = addend.y.sub(&self.sum.y);
        if self.dx.is_zero() {
            self.degenerate = true;
            self.dx = Fe::ONE;
        }
    }
}

/// Carries out the prepared additions: every slot must have been prepared.
pub(crate) fn add_all(slots: &mut [Slot]) {
    let mut product = Fe::ONE;
    for slot in &mut *slots {
        slot.prefix = product;
        product = product.mul(&slot.dx);
    }
    let mut inverse = product.invert();
    for slot in slots.iter_mut().rev() {
        let slope = slot.dy.mul(&inverse.mul(&slot.prefix));
        inverse = inverse.mul(&slot.dx);
        let Affine { x, y } = slot.sum;
        let new_x = slope.square().sub(&x.double()).sub(&slot.dx);
        slot.sum = Affine { x: new_x, y: slope.mul(&x.sub(&new_x)).sub(&y) };
    }
}
