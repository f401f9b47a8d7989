//! The field of p = 2^255 - 19, in five limbs of radix 2^51, least significant first.
//!
//! Both twins share the radix, so what one stores in a table the other reads.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512ifma;
pub(crate) mod portable;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;

/// Five limbs of radix 2^51.
pub(crate) type Limbs = [u64; 5];

/// Bits of a limb.
pub(crate) const RADIX: u32 = 51;
/// The low 51 bits.
pub(crate) const MASK: u64 = (1 << RADIX) - 1;
/// p, every limb below 2^51.
pub(crate) const P: Limbs = [MASK - 18, MASK, MASK, MASK, MASK];

/// d = -121665/121666 (RFC 8032, section 5.1), little-endian.
const D_BYTES: [u8; 32] = *b"\xa3\x78\x59\x13\xca\x4d\xeb\x75\xab\xd8\x41\x41\x4d\x0a\x70\x00\
    \x98\xe8\x79\x77\x79\x40\xc7\x8c\x73\xfe\x6f\x2b\xee\x6c\x03\x52";

/// A square root of -1, 2^((p-1)/4), little-endian.
const SQRT_MINUS_ONE_BYTES: [u8; 32] = *b"\xb0\xa0\x0e\x4a\x27\x1b\xee\xc4\x78\xe4\x2f\xad\x06\x18\x43\x2f\
    \xa7\xd7\xfb\x3d\x99\x00\x4d\x2b\x0b\xdf\xc1\x4f\x80\x24\x83\x2b";

/// 1/2 = (p + 1) / 2, little-endian.
const HALF_BYTES: [u8; 32] = {
    let mut bytes = [0xff; 32];
    bytes[0] = 0xf7;
    bytes[31] = 0x3f;
    bytes
};
