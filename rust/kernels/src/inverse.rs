//! Modular inverses by divsteps (Bernstein and Yang, "Fast constant-time gcd computation and modular
//! inversion", 2019), in variable time: every input here is public.
//!
//! f and g start as the modulus and the number, and each batch of 62 steps is first run on their low words
//! alone, as a matrix of small integers, and then applied to the whole. d and e follow with
//! `d * x = f` and `e * x = g` mod the modulus, so that d is +-1/x when g has come to 0 and f to +-1.

/// A number of four 64-bit limbs, least significant first.
type Limbs = [u64; 4];

const STEPS: u32 = 62;
const MASK: u64 = (1 << STEPS) - 1;

/// An odd modulus below 2^256, in signed limbs of 62 bits.
pub(crate) struct Modulus {
    limbs: Wide,
    /// modulus^-1 mod 2^62
    inverse: u64,
}

/// Five limbs of 62 bits; the top one carries the sign.
type Wide = [i64; 5];

/// `(f, g) <- (u f + v g, q f + r g) / 2^62`; each row's absolute values sum to at most 2^62.
struct Matrix {
    u: i64,
    v: i64,
    q: i64,
    r: i64,
}

impl Modulus {
    pub(crate) const fn new(modulus: &Limbs) -> Self {
        // Newton's iteration doubles the right bits: 3, 6, 12, 24, 48, 96.
        let mut inverse = modulus[0];
        let mut i = 0;
        while i < 5 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(modulus[0].wrapping_mul(inverse)));
            i += 1;
        }
        Self { limbs: split(modulus), inverse: inverse & MASK }
    }

    /// 1 / x mod the modulus, in 0..modulus, for a prime modulus and `x` below it; 0 for 0.
    pub(crate) fn invert(&self, x: &Limbs) -> Limbs {
        let (mut f, mut g) = (self.limbs, split(x));
        let (mut d, mut e) = ([0; 5], [1, 0, 0, 0, 0]);
        let mut eta = -1;
        while g != [0; 5] {
            let (next, matrix) = divsteps(eta, f[0] as u64, g[0] as u64);
            eta = next;
            (d, e) = self.update_cofactors(&d, &e, &matrix);
            (f, g) = update_values(&f, &g, &matrix);
        }
        join(&self.normalize(&d, f[4] < 0))
    }

    /// `(d, e) <- matrix * (d, e) / 2^62` mod the modulus; both stay in -2 modulus .. modulus.
    fn update_cofactors(&self, d: &Wide, e: &Wide, t: &Matrix) -> (Wide, Wide) {
        (self.combine(d, e, t.u, t.v), self.combine(d, e, t.q, t.r))
    }

    /// `(a d + b e + k * modulus) / 2^62` with the k that makes it whole and keeps it in range.
    fn combine(&self, d: &Wide, e: &Wide, a: i64, b: i64) -> Wide {
        // A negative d or e counts as d + modulus: then the sum lies within (-modulus, modulus) * 2^62.
        let mut k = (a & (d[4] >> 63)) + (b & (e[4] >> 63));
        let mut sum = product(a, d[0]) + product(b, e[0]);
        let low = (sum as u64).wrapping_mul(self.inverse).wrapping_add(k as u64) & MASK;
        k -= low as i64;
        sum += product(k, self.limbs[0]);
        debug_assert_eq!(sum as u64 & MASK, 0);
        let mut out = [0; 5];
        for i in 1..5 {
            sum >>= STEPS;
            sum += product(a, d[i]) + product(b, e[i]) + product(k, self.limbs[i]);
            out[i - 1] = (sum as u64 & MASK) as i64;
        }
        out[4] = (sum >> STEPS) as i64;
        out
    }

    /// `a`, or `-a`, from -2 modulus .. modulus to 0..modulus.
    fn normalize(&self, a: &Wide, negative: bool) -> Wide {
        let mut a = self.add_if(a, a[4] < 0);
        if negative {
            a = carry(a.map(|limb| -limb));
        }
        self.add_if(&a, a[4] < 0)
    }

    fn add_if(&self, a: &Wide, wanted: bool) -> Wide {
        let mask = -i64::from(wanted);
        carry(std::array::from_fn(|i| a[i] + (self.limbs[i] & mask)))
    }
}

/// 62 divsteps on the low words of f (odd) and g. `eta` is -delta, where delta starts at 1.
fn divsteps(mut eta: i64, mut f: u64, mut g: u64) -> (i64, Matrix) {
    let (mut u, mut v, mut q, mut r) = (1i64, 0i64, 0i64, 1i64);
    let mut left = STEPS;
    loop {
        // Steps on an even g only halve it; rather than g and its row, f's row is doubled.
        let zeros = (g | (u64::MAX << left)).trailing_zeros();
        g >>= zeros;
        u <<= zeros;
        v <<= zeros;
        eta -= i64::from(zeros);
        left -= zeros;
        if left == 0 {
            return (eta, Matrix { u, v, q, r });
        }
        if eta < 0 {
            eta = -eta;
            (f, g) = (g, f.wrapping_neg());
            (u, q) = (q, -u);
            (v, r) = (r, -v);
        }
        // Until eta turns negative f stays, so a multiple of f that clears several low bits of g at once does
        // the work of as many steps: w = -g / f modulo 2^bits, with 1 / f = f (2 - f^2) modulo 2^6.
        let bits = (eta + 1).min(i64::from(left)).min(6) as u32;
        let inverse = f.wrapping_mul(2u64.wrapping_sub(f.wrapping_mul(f)));
        let w = g.wrapping_neg().wrapping_mul(inverse) & ((1 << bits) - 1);
        g = g.wrapping_add(f.wrapping_mul(w));
        q += u * w as i64;
        r += v * w as i64;
    }
}

fn update_values(f: &Wide, g: &Wide, t: &Matrix) -> (Wide, Wide) {
    let row = |a: i64, b: i64| {
        let mut sum = product(a, f[0]) + product(b, g[0]);
        debug_assert_eq!(sum as u64 & MASK, 0);
        let mut out = [0; 5];
        for i in 1..5 {
            sum >>= STEPS;
            sum += product(a, f[i]) + product(b, g[i]);
            out[i - 1] = (sum as u64 & MASK) as i64;
        }
        out[4] = (sum >> STEPS) as i64;
        out
    };
    (row(t.u, t.v), row(t.q, t.r))
}

#[inline]
fn product(a: i64, b: i64) -> i128 {
    i128::from(a) * i128::from(b)
}

/// Brings the lower four limbs back to 0..2^62.
fn carry(mut a: Wide) -> Wide {
    for i in 0..4 {
        a[i + 1] += a[i] >> STEPS;
        a[i] &= MASK as i64;
    }
    a
}

const fn split(a: &Limbs) -> Wide {
    [
        (a[0] & MASK) as i64,
        ((a[0] >> 62 | a[1] << 2) & MASK) as i64,
        ((a[1] >> 60 | a[2] << 4) & MASK) as i64,
        ((a[2] >> 58 | a[3] << 6) & MASK) as i64,
        (a[3] >> 56) as i64,
    ]
}

fn join(a: &Wide) -> Limbs {
    let a = a.map(|limb| limb as u64);
    [a[0] | a[1] << 62, a[1] >> 2 | a[2] << 60, a[2] >> 4 | a[3] << 58, a[3] >> 6 | a[4] << 56]
}
