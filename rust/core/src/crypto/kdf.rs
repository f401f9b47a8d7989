//! TEMPORARY placeholder by the lead until the colleague's file arrives: overwrite it whole.
#![allow(missing_docs)]
pub struct MasterKey(Vec<u8>);
impl MasterKey { #[must_use] pub fn from_bytes(bytes: &[u8]) -> Self { Self(bytes.to_vec()) } }
#[derive(Clone, Copy, Debug, PartialEq, Eq)] pub enum Kdf { A }
impl Kdf { pub const ALL: [Self; 1] = [Self::A]; #[must_use] pub fn name(self) -> &'static str { "kbkdf-hmac-sha256" } #[must_use] pub fn from_name(_: &str) -> Option<Self> { Some(Self::A) } }
#[derive(Clone, Copy, Debug, PartialEq, Eq)] pub enum Label { A }
impl Label { pub const ALL: [Self; 1] = [Self::A]; #[must_use] pub fn name(self) -> &'static str { "read-enc" } #[must_use] pub fn from_name(_: &str) -> Option<Self> { Some(Self::A) } }
pub struct Derivation<'a> { pub kdf: Kdf, pub label: Label, pub utility: &'a [u8], pub key_version: u64, pub extra: Option<&'a [u8]>, pub length: usize }
pub fn derive_many(_m: &MasterKey, _d: &Derivation<'_>, _ids: &[[u8; 8]], _out: &mut [u8]) -> Result<(), String> { Err("not there yet".into()) }
pub fn derive_all(_m: &MasterKey, _d: &Derivation<'_>, _ids: &[[u8; 8]], _threads: usize, _out: &mut [u8]) -> Result<(), String> { Err("not there yet".into()) }
pub fn check_values(_m: &MasterKey, _d: &Derivation<'_>, _ids: &[[u8; 8]], _out: &mut [u8]) -> Result<(), String> { Err("not there yet".into()) }
