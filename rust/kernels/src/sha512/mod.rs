//! SHA-512 (FIPS 180-4) of messages that lie in pieces.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
mod blocks;
#[cfg(target_arch = "x86_64")]
mod constants;
pub(crate) mod portable;
#[cfg(test)]
mod tests;
