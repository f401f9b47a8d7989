//! Points of edwards25519, one at a time (RFC 8032, section 5.1.4: a = -1, d not a square, so every formula is complete).

use super::entry::Entry;
use crate::field25519::portable::{D, ONE, SQRT_MINUS_ONE, Tight, ZERO};

/// (X : Y : Z : T) with x = X/Z, y = Y/Z and T = XY/Z.
#[derive(Clone, Copy)]
pub(crate) struct Extended {
    pub(crate) x: Tight,
    pub(crate) y: Tight,
    pub(crate) z: Tight,
    pub(crate) t: Tight,
}

/// What a point needs to be added many times: Y + X, Y - X, Z and dT.
pub(crate) struct Addend {
    plus: Tight,
    minus: Tight,
    z: Tight,
    dt: Tight,
}

pub(crate) const IDENTITY: Extended = Extended { x: ZERO, y: ONE, z: ONE, t: ZERO };

impl Extended {
    /// The point of a canonical encoding (RFC 8032, section 5.1.3), `None` for any other 32 bytes.
    pub(crate) fn decode(encoded: &[u8; 32]) -> Option<Self> {
        let y = Tight::from_bytes(encoded);
        let negative = encoded[31] >> 7 == 1;
        let mut y_bytes = *encoded;
        y_bytes[31] &= 0x7f;
        let x = recover_x(&y)?;
        let x = if x.is_odd() == negative { x } else { x.negate() };
        // -0 is 0, whose sign cannot be set.
        let canonical = y.to_bytes() == y_bytes && x.is_odd() == negative;
        canonical.then(|| Self { x, y, z: ONE, t: x.mul(&y) })
    }

    /// The encoding, given 1/Z.
    #[inline]
    pub(crate) fn encode(&self, inverse_of_z: &Tight) -> [u8; 32] {
        let mut bytes = self.y.mul(inverse_of_z).to_bytes();
        bytes[31] |= u8::from(self.x.mul(inverse_of_z).is_odd()) << 7;
        bytes
    }

    pub(crate) fn negate(&self) -> Self {
        Self { x: self.x.negate(), t: self.t.negate(), ..*self }
    }

    /// Mixed addition of an affine entry, or of its negative: seven products.
    ///
    /// The entry holds (y + x)/2, (y - x)/2 and dxy, half of the usual, so that Z1 stands where 2 Z1 would.
    #[inline]
    pub(crate) fn add_entry(&self, entry: &Entry, negative: bool) -> Self {
        let (plus, minus) = if negative { (entry.minus(), entry.plus()) } else { (entry.plus(), entry.minus()) };
        let a = self.y.sub(&self.x).mul(&minus.relax());
        let b = self.y.add(&self.x).mul(&plus.relax());
        let c = self.t.mul(&entry.dxy());
        let (e, h) = (b.sub(&a), b.add(&a));
        let (f, g) = if negative { (self.z.add(&c), self.z.sub(&c)) } else { (self.z.sub(&c), self.z.add(&c)) };
        Self { x: e.mul(&f), y: g.mul(&h), z: f.mul(&g), t: e.mul(&h) }
    }

    pub(crate) fn add(&self, other: &Addend) -> Self {
        let a = self.y.sub(&self.x).mul(&other.minus.relax());
        let b = self.y.add(&self.x).mul(&other.plus.relax());
        let c = self.t.mul(&other.dt);
        let c = c.add(&c).carry();
        let z = self.z.mul(&other.z);
        let z = z.add(&z).carry();
        let (e, h) = (b.sub(&a), b.add(&a));
        let (f, g) = (z.sub(&c), z.add(&c));
        Self { x: e.mul(&f), y: g.mul(&h), z: f.mul(&g), t: e.mul(&h) }
    }

    pub(crate) fn double(&self) -> Self {
        let xx = self.x.square();
        let yy = self.y.square();
        let zz = self.z.square();
        let sum_squared = self.x.add(&self.y).square();
        let h = xx.add(&yy).carry();
        let e = h.sub(&sum_squared);
        let g = xx.sub(&yy).carry();
        let f = zz.add(&zz).carry().add(&g);
        let (g, h) = (g.relax(), h.relax());
        Self { x: e.mul(&f), y: g.mul(&h), z: f.mul(&g), t: e.mul(&h) }
    }

    pub(crate) fn addend(&self) -> Addend {
        Addend { plus: self.y.add(&self.x).carry(), minus: self.y.sub(&self.x).carry(), z: self.z, dt: self.t.mul(&D) }
    }
}

/// A root of x^2 = (y^2 - 1) / (d y^2 + 1), if there is one.
fn recover_x(y: &Tight) -> Option<Tight> {
    let yy = y.square();
    let u = yy.sub(&ONE).carry();
    let v = D.mul(&yy).add(&ONE).carry();
    let v3 = v.square().mul(&v);
    let v7 = v3.square().mul(&v);
    let x = u.mul(&v3).mul(&u.mul(&v7).power_p_minus_5_over_8());
    let vxx = v.mul(&x.square());
    if vxx.equals(&u) {
        return Some(x);
    }
    vxx.equals(&u.negate()).then(|| x.mul(&SQRT_MINUS_ONE))
}
