//! Points of y^2 = x^3 - 3x + b: affine, and Jacobian (x = X / Z^2, y = Y / Z^3; infinity has Z = 0).
//!
//! Every addition here is right for every pair of points: equal and opposite points are recognised by their
//! coordinates and branched on. All inputs are public.

use super::field::Fe;

/// b, SP 800-186 section 3.2.1.3.
const B: Fe =
    Fe::from_integer(&[0x3bce_3c3e_27d2_604b, 0x651d_06b0_cc53_b0f6, 0xb3eb_bd55_7698_86bc, 0x5ac6_35d8_aa3a_93e7]);

/// G
pub(crate) const GENERATOR: Affine = Affine {
    x: Fe::from_integer(&[0xf4a1_3945_d898_c296, 0x7703_7d81_2deb_33a0, 0xf8bc_e6e5_63a4_40f2, 0x6b17_d1f2_e12c_4247]),
    y: Fe::from_integer(&[0xcbb6_4068_37bf_51f5, 0x2bce_3357_6b31_5ece, 0x8ee7_eb4a_7c0f_9e16, 0x4fe3_42e2_fe1a_7f9b]),
};

/// A point other than infinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Affine {
    pub(crate) x: Fe,
    pub(crate) y: Fe,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Jacobian {
    pub(crate) x: Fe,
    pub(crate) y: Fe,
    pub(crate) z: Fe,
}

impl Affine {
    /// The point x || y, big-endian, or `None` when there is none.
    pub(crate) fn from_bytes(public_key: &[u8; 64]) -> Option<Self> {
        let (halves, _) = public_key.as_chunks::<32>();
        let point = Self { x: Fe::from_be_bytes(&halves[0])?, y: Fe::from_be_bytes(&halves[1])? };
        point.is_on_curve().then_some(point)
    }

    fn is_on_curve(&self) -> bool {
        let three_x = self.x.double().add(&self.x);
        let right = self.x.square().mul(&self.x).sub(&three_x).add(&B);
        self.y.square() == right
    }

    #[inline]
    pub(crate) fn negate_if(&self, negative: bool) -> Self {
        Self { x: self.x, y: self.y.negate_if(negative) }
    }
}

impl From<Affine> for Jacobian {
    fn from(point: Affine) -> Self {
        Self { x: point.x, y: point.y, z: Fe::ONE }
    }
}

impl Jacobian {
    pub(crate) const INFINITY: Self = Self { x: Fe::ONE, y: Fe::ONE, z: Fe::ZERO };

    pub(crate) fn is_infinity(&self) -> bool {
        self.z.is_zero()
    }

    /// "dbl-2001-b" for a = -3: 3M + 5S. Infinity stays infinity; no point has order 2.
    #[inline]
    pub(crate) fn double(&self) -> Self {
        let delta = self.z.square();
        let gamma = self.y.square();
        let beta = self.x.mul(&gamma);
        let product = self.x.sub(&delta).mul(&self.x.add(&delta));
        let alpha = product.double().add(&product);
        let beta4 = beta.double().double();
        let x = alpha.square().sub(&beta4.double());
        let z = self.y.add(&self.z).square().sub(&gamma).sub(&delta);
        let gamma_squared8 = gamma.square().double().double().double();
        let y = alpha.mul(&beta4.sub(&x)).sub(&gamma_squared8);
        Self { x, y, z }
    }

    /// "madd" with Z2 = 1: 8M + 3S.
    #[inline]
    pub(crate) fn add_affine(&self, other: &Affine) -> Self {
        if self.is_infinity() {
            return (*other).into();
        }
        let zz = self.z.square();
        let u2 = other.x.mul(&zz);
        let s2 = other.y.mul(&zz.mul(&self.z));
        let h = u2.sub(&self.x);
        let r = s2.sub(&self.y);
        if h.is_zero() {
            return if r.is_zero() { self.double() } else { Self::INFINITY };
        }
        finish_addition(&self.x, &self.y, &h, &r, &self.z.mul(&h))
    }

    /// "add-1998-cmo-2": 12M + 4S.
    #[inline]
    pub(crate) fn add(&self, other: &Self) -> Self {
        if self.is_infinity() {
            return *other;
        }
        if other.is_infinity() {
            return *self;
        }
        let (zz1, zz2) = (self.z.square(), other.z.square());
        let (u1, u2) = (self.x.mul(&zz2), other.x.mul(&zz1));
        let s1 = self.y.mul(&zz2.mul(&other.z));
        let s2 = other.y.mul(&zz1.mul(&self.z));
        let (h, r) = (u2.sub(&u1), s2.sub(&s1));
        if h.is_zero() {
            return if r.is_zero() { self.double() } else { Self::INFINITY };
        }
        finish_addition(&u1, &s1, &h, &r, &self.z.mul(&other.z).mul(&h))
    }
}

/// The sum, from u1 and s1 of one point, the differences h = u2 - u1 and r = s2 - s1, and the sum's Z.
#[inline(always)]
fn finish_addition(u1: &Fe, s1: &Fe, h: &Fe, r: &Fe, z: &Fe) -> Jacobian {
    let hh = h.square();
    let hhh = hh.mul(h);
    let v = u1.mul(&hh);
    let x = r.square().sub(&hhh).sub(&v.double());
    let y = r.mul(&v.sub(&x)).sub(&s1.mul(&hhh));
    Jacobian { x, y, z: *z }
}

/// The affine forms of `points`, none of which may be infinity, with one inversion.
pub(crate) fn to_affine(points: &[Jacobian]) -> Vec<Affine> {
    let mut running = Fe::ONE;
    let prefix: Vec<Fe> = points
        .iter()
        .map(|point| {
            let before = running;
            running = running.mul(&point.z);
            before
        })
        .collect();
    let mut inverse = running.invert();
    let mut affine = vec![Affine::default(); points.len()];
    for ((point, before), out) in points.iter().zip(&prefix).zip(&mut affine).rev() {
        let z_inverse = inverse.mul(before);
        inverse = inverse.mul(&point.z);
        let zz = z_inverse.square();
        *out = Affine { x: point.x.mul(&zz), y: point.y.mul(&zz.mul(&z_inverse)) };
    }
    affine
}
