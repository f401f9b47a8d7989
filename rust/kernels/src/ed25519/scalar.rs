//! Scalars modulo L = 2^252 + C, the order of the base point (RFC 8032, section 5.1).

use super::window::Words;

/// C = 27742317777372353535851937790883648493 = L - 2^252, of 125 bits.
const C: [u64; 2] = [0x5812_631a_5cf5_d3ed, 0x14de_f9de_a2f7_9cd6];

/// L, least significant word first.
pub(crate) const L: Words = [C[0], C[1], 0, 1 << 60];

/// The low 252 bits of four words.
const LOW_60: u64 = (1 << 60) - 1;

/// S of a signature, `None` when it is not below L (RFC 8032, section 5.1.7, step 1).
#[inline]
pub(crate) fn from_signature(signature: &[u8; 64]) -> Option<Words> {
    let (words, _) = signature.as_chunks::<8>();
    let s: Words = std::array::from_fn(|i| u64::from_le_bytes(words[4 + i]));
    let below = s[3] < 1 << 60 || s.iter().rev().lt(L.iter().rev());
    below.then_some(s)
}

/// A hash of eight words, least significant first, modulo L.
///
/// 2^252 = -C modulo L, so x = x0 + 2^252 x1 = x0 - C x1, three times over: the parts above bit 252 shrink from 260 bits
/// to 133 and then to 6.
#[inline]
pub(crate) fn reduce(hash: &[u64; 8]) -> Words {
    let (x0, x1) = split(hash);
    let (y0, y1) = split(&times_c(&[x1[0], x1[1], x1[2], x1[3], x1[4], 0]));
    let (z0, z1) = split(&times_c(&[y1[0], y1[1], y1[2], 0, 0, 0]));
    // C * z1 stays below 2^132.
    let last = times_c(&[z1[0], 0, 0, 0, 0, 0]);
    // x0 - y0 + z0 - last lies in -2^252 - 2^132 .. 2^253, and 2 L more than that in 0 .. 4.01 * 2^252.
    let (sum, _) = add(&x0, &z0);
    let (sum, _) = add(&sum, &[L[0] << 1, L[1] << 1 | L[0] >> 63, L[2] << 1 | L[1] >> 63, L[3] << 1]);
    let (sum, _) = sub(&sum, &y0);
    let (mut sum, _) = sub(&sum, &[last[0], last[1], last[2], last[3]]);
    for _ in 0..4 {
        let (less, borrow) = sub(&sum, &L);
        if borrow {
            break;
        }
        sum = less;
    }
    sum
}

/// (x modulo 2^252, x >> 252)
#[inline]
fn split(x: &[u64; 8]) -> (Words, [u64; 5]) {
    let above = std::array::from_fn(|i| x[3 + i] >> 60 | x.get(4 + i).map_or(0, |word| word << 4));
    ([x[0], x[1], x[2], x[3] & LOW_60], above)
}

/// C * x modulo 2^512; x has at most six words, and the product no more than eight.
#[inline]
fn times_c(x: &[u64; 6]) -> [u64; 8] {
    let mut product = [0; 8];
    for (i, &c) in C.iter().enumerate() {
        let mut carry = 0;
        for (j, &word) in x.iter().enumerate() {
            let wide = u128::from(c) * u128::from(word) + u128::from(product[i + j]) + carry;
            product[i + j] = wide as u64;
            carry = wide >> 64;
        }
        product[i + 6] = carry as u64;
    }
    product
}

#[inline]
fn add(a: &Words, b: &Words) -> (Words, bool) {
    let mut carry = false;
    let sum = std::array::from_fn(|i| {
        let (sum, over) = a[i].overflowing_add(b[i]);
        let (sum, over_again) = sum.overflowing_add(u64::from(carry));
        carry = over | over_again;
        sum
    });
    (sum, carry)
}

#[inline]
fn sub(a: &Words, b: &Words) -> (Words, bool) {
    let mut borrow = false;
    let difference = std::array::from_fn(|i| {
        let (difference, under) = a[i].overflowing_sub(b[i]);
        let (difference, under_again) = difference.overflowing_sub(u64::from(borrow));
        borrow = under | under_again;
        difference
    });
    (difference, borrow)
}
