//! Every kernel against fiat-crypto, the p256 crate and Wycheproof, and on crafted scalars.

mod arithmetic;
mod degenerate;
mod one_off;
mod scalars;
mod signatures;
mod tables;
mod wycheproof;

use super::equation::{self, Divide, Scalars};
use super::limbs::{self, Limbs};
use super::table::Table;
use super::{Kernel, OneOffKernel, portable};
use ::p256::ecdsa::SigningKey;

/// Random cases of each differential test; a million and more before a release.
pub(super) fn cases() -> usize {
    std::env::var("ITRON_CORE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(4000)
}

/// splitmix64: the same numbers in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Limbs that are often all zeros, all ones, or next to a power of two, so that carries run far.
    pub(super) fn limbs(&mut self) -> Limbs {
        std::array::from_fn(|_| match self.next() % 6 {
            0 => 0,
            1 => u64::MAX,
            2 => (1 << (self.next() % 64)) - 1,
            3 => u64::MAX << (self.next() % 64),
            _ => self.next(),
        })
    }

    /// As `limbs`, below `modulus`, and often next to its ends.
    pub(super) fn below(&mut self, modulus: &Limbs) -> Limbs {
        if self.next().is_multiple_of(8) {
            let small = [self.next() % 4, 0, 0, 0];
            let large = limbs::sub(modulus, &[1 + self.next() % 4, 0, 0, 0]).0;
            return if self.next().is_multiple_of(2) { small } else { large };
        }
        let mut limbs = self.limbs();
        while !limbs::less_than(&limbs, modulus) {
            limbs[3] &= self.next();
        }
        limbs
    }
}

fn divides() -> Vec<(&'static str, Divide)> {
    let mut divides: Vec<(&'static str, Divide)> = vec![("portable", equation::divide)];
    #[cfg(target_arch = "x86_64")]
    if crate::features::detected().avx512ifma {
        divides.push(("avx512ifma", super::avx512ifma::divide));
    }
    divides
}

/// Everything that turns scalars into verdicts.
fn kernels() -> Vec<(&'static str, Kernel)> {
    let mut kernels: Vec<(&'static str, Kernel)> = vec![("portable", portable::verify), ("one by one", one_by_one)];
    #[cfg(target_arch = "x86_64")]
    if crate::features::detected().avx512ifma {
        kernels.push(("avx512ifma", super::avx512ifma::verify));
    }
    kernels
}

/// As `kernels`, for keys without tables.
fn one_off_kernels() -> Vec<(&'static str, OneOffKernel)> {
    let mut kernels: Vec<(&'static str, OneOffKernel)> = vec![("portable", super::one_off::verify)];
    #[cfg(target_arch = "x86_64")]
    if crate::features::detected().avx512ifma {
        kernels.push(("avx512ifma", super::avx512ifma::verify_one_off));
    }
    kernels
}

fn one_by_one(tables: &[&Table], scalars: &[Scalars], verdicts: &mut [bool]) {
    for ((table, scalars), verdict) in tables.iter().zip(scalars).zip(verdicts) {
        *verdict = portable::verify_one(table, scalars);
    }
}

fn signing_key(number: usize) -> SigningKey {
    let mut bytes = [0x2a; 32];
    bytes[24..].copy_from_slice(&(number as u64).to_be_bytes());
    SigningKey::from_slice(&bytes).expect("a scalar below n")
}

fn public_key(key: &SigningKey) -> [u8; 64] {
    key.verifying_key().to_sec1_point(false).as_bytes()[1..].try_into().expect("64 bytes")
}
