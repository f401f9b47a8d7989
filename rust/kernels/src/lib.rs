//! Arithmetic on many lanes at once. This crate knows numbers only: no keys, no formats, no policy.
//!
//! Each kernel exists twice: portable, and for AVX-512 IFMA with eight lanes (SHA-256 by SHA-NI, AES by AES-NI, GHASH by PCLMULQDQ). The twins
//! agree bit for bit, and [`features`] says which one runs. It is the only crate with `unsafe`.

pub mod aes;
pub mod allocator;
pub mod cmac;
pub mod ed25519;
pub mod features;
mod field25519;
pub mod hmac;
pub mod huge_pages;
mod inverse;
pub mod memory;
pub mod p256;
pub mod sha256;
mod sha512;
pub mod stack;
#[cfg(target_arch = "x86_64")]
mod transpose;
#[cfg(feature = "memcheck")]
pub mod verdict;
#[cfg(not(feature = "memcheck"))]
mod verdict;
pub mod windows;

/// A message as the concatenation of at most four slices, so that a signed structure is hashed from where
/// its pieces lie.
pub type Message<'a> = [&'a [u8]; 4];
