//! Device keys from a master key: the key derivation of the wire format, in bulk.
//!
//! KBKDF in counter mode (NIST SP 800-108r1 section 4.1) with a 32-bit counter before the fixed input, and HKDF (RFC 5869).
//!
//! ```text
//! fixed input = Label || 00 || Context || L                 L: bits of output, 4 bytes big-endian
//! Label       = "itron_core/v1/" || device | read-enc | read-auth | session | kcv
//! Context     = [1, utility bstr(1..16), device-id bstr(8), key-version uint, ? extra bstr(0..32)]
//! kbkdf       = PRF(master, 00000001 || fixed input) || PRF(master, 00000002 || fixed input) ...
//! hkdf        = HKDF-SHA-256(IKM = master, salt empty, info = fixed input)
//! ```
//!
//! Only the master key and what is derived are secret. The device id is at one place whatever the device, so the rest of the
//! input is built, and hashed, once.

use crate::parallel::chunks::{Split, Workers, addresses, in_chunks};
use crate::parallel::stop::Stop;
use itron_core_kernels::stack::wiped;
use itron_core_kernels::{cmac, hmac};
use std::fmt;
use std::iter::once;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// What stands before the name of each label.
const LABEL_PREFIX: &[u8] = b"itron_core/v1/";
/// The first item of the context.
const CONTEXT_VERSION: u8 = 1;
/// Bytes of a key check value.
pub const CHECK_VALUE: usize = 4;
/// Bytes of one AES-CMAC.
const CMAC: usize = 16;

/// The key derivation functions, with their ids on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kdf {
    /// KBKDF in counter mode with HMAC-SHA-256.
    HmacSha256 = 1,
    /// KBKDF in counter mode with AES-256-CMAC.
    CmacAes256 = 2,
    /// HKDF with SHA-256.
    HkdfSha256 = 3,
    /// KBKDF in counter mode with AES-128-CMAC.
    CmacAes128 = 4,
}

impl Kdf {
    /// All of them, by id.
    pub const ALL: [Self; 4] = [Self::HmacSha256, Self::CmacAes256, Self::HkdfSha256, Self::CmacAes128];

    /// The one with this id on the wire.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kdf| kdf.id() == id)
    }

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kdf| kdf.name() == name)
    }

    /// The id on the wire.
    #[must_use]
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The name in interfaces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "kbkdf-hmac-sha256",
            Self::CmacAes256 => "kbkdf-cmac-aes256",
            Self::HkdfSha256 => "hkdf-sha256",
            Self::CmacAes128 => "kbkdf-cmac-aes128",
        }
    }

    /// The lengths of a master key that it takes, in bytes.
    fn master_lengths(self) -> (usize, Option<usize>) {
        match self {
            Self::HmacSha256 | Self::HkdfSha256 => (16, None),
            Self::CmacAes256 => (32, Some(32)),
            Self::CmacAes128 => (16, Some(16)),
        }
    }
}

/// What a key is for: keys of different labels tell nothing about each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The key of a device, from which others come.
    Device,
    /// Encryption of readings.
    ReadEnc,
    /// Authentication of readings.
    ReadAuth,
    /// A session with a device.
    Session,
    /// Key check values; never a key.
    Kcv,
}

impl Label {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Device, Self::ReadEnc, Self::ReadAuth, Self::Session, Self::Kcv];

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|label| label.name() == name)
    }

    /// The name, as it ends the label on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::ReadEnc => "read-enc",
            Self::ReadAuth => "read-auth",
            Self::Session => "session",
            Self::Kcv => "kcv",
        }
    }
}

/// A master key: wiped when dropped, compared in constant time, and shown to nobody.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey(Box<[u8]>);

impl MasterKey {
    /// From its bytes. Which lengths are right depends on the derivation and is checked there.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for MasterKey {}

impl fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MasterKey(..)")
    }
}

/// What is derived for each device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Derivation<'a> {
    /// The function.
    pub kdf: Kdf,
    /// What the keys are for.
    pub label: Label,
    /// The utility's id, 1 to 16 bytes.
    pub utility: &'a [u8],
    /// The version of the key.
    pub key_version: u64,
    /// What else the keys are bound to, 0 to 32 bytes; empty is not the same as absent.
    pub extra: Option<&'a [u8]>,
    /// Bytes of each key, 16 or 32.
    pub length: usize,
}

/// Why nothing was derived: what came, and what was expected. No byte of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KdfError {
    /// The master key has not the length that the function takes.
    MasterLength {
        /// The function.
        kdf: Kdf,
        /// Bytes that came.
        got: usize,
    },
    /// The utility's id is empty or too long.
    UtilityLength {
        /// Bytes that came.
        got: usize,
    },
    /// The extra context is too long.
    ExtraLength {
        /// Bytes that came.
        got: usize,
    },
    /// The keys would be neither of 16 nor of 32 bytes.
    Length {
        /// Bytes that were asked.
        got: usize,
    },
    /// The output has not room for exactly the keys.
    OutputLength {
        /// Bytes that came.
        got: usize,
        /// Bytes of all keys together.
        wanted: usize,
    },
    /// The call ended before the last key.
    Stopped(Stop),
    /// Some rows were not derived, by a fault of this program; the output was wiped.
    Internal,
}

impl fmt::Display for KdfError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MasterLength { kdf, got } => {
                let least = if kdf.master_lengths().1.is_some() { "" } else { "at least " };
                let (bytes, name) = (kdf.master_lengths().0, kdf.name());
                write!(formatter, "master key: got {got} bytes, expected {least}{bytes} for {name}")
            }
            Self::UtilityLength { got } => write!(formatter, "utility: got {got} bytes, expected 1..16"),
            Self::ExtraLength { got } => write!(formatter, "extra: got {got} bytes, expected 0..32"),
            Self::Length { got } => write!(formatter, "length: got {got}, expected 16 or 32"),
            Self::OutputLength { got, wanted } => write!(formatter, "output: got {got} bytes, expected {wanted}"),
            Self::Stopped(why) => why.fmt(formatter),
            Self::Internal => formatter.write_str("internal: some keys were not derived"),
        }
    }
}

impl std::error::Error for KdfError {}

/// Bytes of the keys of `devices` devices together: what a caller makes room for.
///
/// # Errors
/// [`KdfError`] when a length is wrong.
pub fn output_length(master: &MasterKey, derivation: &Derivation<'_>, devices: usize) -> Result<usize, KdfError> {
    check(master, derivation)?;
    Ok(devices * derivation.length)
}

/// Derives the key of each device into `out`, `derivation.length` bytes a device, side by side.
///
/// # Errors
/// [`KdfError`] when a length is wrong; `out` is then as it was.
pub fn derive_many(
    master: &MasterKey,
    derivation: &Derivation<'_>,
    ids: &[[u8; 8]],
    out: &mut [u8],
) -> Result<(), KdfError> {
    output_fits(out, output_length(master, derivation, ids.len())?)?;
    wiped(|| Prepared::new(master, derivation).map(|prepared| prepared.derive(ids, out)))
}

/// [`derive_many`] on several threads.
///
/// # Errors
/// [`KdfError`] when a length is wrong; `out` is then as it was. [`KdfError::Stopped`]; `out` is then zero.
pub fn derive_all<'w>(
    master: &MasterKey,
    derivation: &Derivation<'_>,
    ids: &[[u8; 8]],
    workers: impl Into<Workers<'w>>,
    out: &mut [u8],
) -> Result<(), KdfError> {
    output_fits(out, output_length(master, derivation, ids.len())?)?;
    let workers = workers.into();
    let derived = wiped(|| derive_on_threads(master, derivation, ids, workers, out));
    if let Err(KdfError::Stopped(_)) = derived {
        out.zeroize();
    }
    let derived = derived?;
    // A chunk that panicked has left zeros where its keys should be.
    if derived != ids.len() {
        out.zeroize();
        return Err(KdfError::Internal);
    }
    Ok(())
}

/// How many keys were derived.
fn derive_on_threads(
    master: &MasterKey,
    derivation: &Derivation<'_>,
    ids: &[[u8; 8]],
    workers: Workers<'_>,
    out: &mut [u8],
) -> Result<usize, KdfError> {
    let prepared = Prepared::new(master, derivation)?;
    let derived = AtomicUsize::new(0);
    in_chunks(Keys { bytes: out, length: derivation.length }, workers, &|_, start, keys: Keys<'_>| {
        let rows = keys.rows();
        prepared.derive(&ids[start..start + rows], keys.bytes);
        derived.fetch_add(rows, Ordering::Relaxed);
        Ok(())
    })
    .map_err(KdfError::Stopped)?;
    Ok(derived.into_inner())
}

/// The key check value of each device into `out`, 4 bytes a device: the first bytes of 16 derived with the label `kcv`, so
/// they are the same whatever the label and the length of `derivation`.
///
/// # Errors
/// [`KdfError`] when a length is wrong; `out` is then as it was.
pub fn check_values(
    master: &MasterKey,
    derivation: &Derivation<'_>,
    ids: &[[u8; 8]],
    out: &mut [u8],
) -> Result<(), KdfError> {
    output_fits(out, ids.len() * CHECK_VALUE)?;
    let derivation = Derivation { label: Label::Kcv, length: 16, ..*derivation };
    wiped(|| Prepared::new(master, &derivation).map(|prepared| prepared.derive_width(ids, CHECK_VALUE, out)))
}

fn output_fits(out: &[u8], wanted: usize) -> Result<(), KdfError> {
    if out.len() == wanted { Ok(()) } else { Err(KdfError::OutputLength { got: out.len(), wanted }) }
}

/// Keys side by side.
struct Keys<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

impl Split for Keys<'_> {
    fn rows(&self) -> usize {
        self.bytes.len() / self.length
    }

    fn split(self, at: usize) -> (Self, Self) {
        let (left, right) = self.bytes.split_at_mut(at * self.length);
        (Self { bytes: left, length: self.length }, Self { bytes: right, length: self.length })
    }

    fn memory(&self) -> impl Iterator<Item = Range<usize>> {
        once(addresses(self.bytes))
    }
}

/// The function under its key.
enum Prf {
    Hmac(hmac::Key),
    Cmac(Box<cmac::Key>),
}

/// All that is the same for every device.
struct Prepared {
    prf: Prf,
    /// The input of each call of the PRF that one key takes, zeros in place of the device id.
    inputs: Vec<Vec<u8>>,
    /// Where the device id lies in each.
    at: usize,
    length: usize,
}

impl Prepared {
    fn new(master: &MasterKey, derivation: &Derivation<'_>) -> Result<Self, KdfError> {
        check(master, derivation)?;
        let fixed = FixedInput::new(derivation);
        let length = derivation.length;
        let counted = |counter: u32| [&counter.to_be_bytes(), &fixed.bytes[..]].concat();
        let wrong = KdfError::MasterLength { kdf: derivation.kdf, got: master.0.len() };
        let (prf, inputs, at) = match derivation.kdf {
            Kdf::HmacSha256 => (Prf::Hmac(hmac::Key::new(&master.0)), vec![counted(1)], 4 + fixed.at),
            Kdf::CmacAes256 | Kdf::CmacAes128 => {
                let calls = (length / CMAC) as u32;
                let key = cmac::Key::new(&master.0).ok_or(wrong)?;
                (Prf::Cmac(Box::new(key)), (1..=calls).map(counted).collect(), 4 + fixed.at)
            }
            // RFC 5869 section 2.3: T(1) = HMAC(PRK, info || 01), 32 bytes, which is as long as keys get.
            Kdf::HkdfSha256 => (Prf::Hmac(extract(master)), vec![[&fixed.bytes[..], &[1]].concat()], fixed.at),
        };
        Ok(Self { prf, inputs, at, length })
    }

    fn derive(&self, ids: &[[u8; 8]], out: &mut [u8]) {
        self.derive_width(ids, self.length, out);
    }

    /// The first `width` bytes of each key.
    fn derive_width(&self, ids: &[[u8; 8]], width: usize, out: &mut [u8]) {
        match &self.prf {
            Prf::Hmac(key) => hmac::derive_many(key, &self.inputs[0], self.at, ids, width, out),
            Prf::Cmac(key) => {
                for (input, place) in self.inputs.iter().zip((0..width).step_by(CMAC)) {
                    let out = out.get_mut(place..).unwrap_or_default();
                    cmac::derive_many(key, input, self.at, ids, width, CMAC.min(width - place), out);
                }
            }
        }
    }
}

/// RFC 5869 section 2.2 with an empty salt, which is as many zeros as a hash has bytes; the PRK is ready as a key.
fn extract(master: &MasterKey) -> hmac::Key {
    let mut prk = hmac::Key::new(&[0; 32]).authenticate(&master.0);
    let key = hmac::Key::new(&prk);
    prk.zeroize();
    key
}

fn check(master: &MasterKey, derivation: &Derivation<'_>) -> Result<(), KdfError> {
    let got = master.0.len();
    let (least, most) = derivation.kdf.master_lengths();
    if got < least || most.is_some_and(|most| got > most) {
        return Err(KdfError::MasterLength { kdf: derivation.kdf, got });
    }
    if !(1..=16).contains(&derivation.utility.len()) {
        return Err(KdfError::UtilityLength { got: derivation.utility.len() });
    }
    if let Some(extra) = derivation.extra
        && extra.len() > 32
    {
        return Err(KdfError::ExtraLength { got: extra.len() });
    }
    if ![16, 32].contains(&derivation.length) {
        return Err(KdfError::Length { got: derivation.length });
    }
    Ok(())
}

/// `Label || 00 || Context || L`.
struct FixedInput {
    /// The device id's bytes are zero.
    bytes: Vec<u8>,
    /// Where they begin.
    at: usize,
}

impl FixedInput {
    fn new(derivation: &Derivation<'_>) -> Self {
        let mut bytes = [LABEL_PREFIX, derivation.label.name().as_bytes(), &[0]].concat();
        push_head(&mut bytes, ARRAY, if derivation.extra.is_some() { 5 } else { 4 });
        push_head(&mut bytes, UNSIGNED, CONTEXT_VERSION.into());
        push_bytes(&mut bytes, derivation.utility);
        push_bytes(&mut bytes, &[0; 8]);
        let at = bytes.len() - 8;
        push_head(&mut bytes, UNSIGNED, derivation.key_version);
        if let Some(extra) = derivation.extra {
            push_bytes(&mut bytes, extra);
        }
        bytes.extend_from_slice(&(8 * derivation.length as u32).to_be_bytes());
        Self { bytes, at }
    }
}

/// Major types of RFC 8949 section 3.1, in their three bits.
const UNSIGNED: u8 = 0 << 5;
const BYTES: u8 = 2 << 5;
const ARRAY: u8 = 4 << 5;

/// A CBOR head in its shortest form, RFC 8949 section 4.2.1. Crypto does not reach for the format's writer.
fn push_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let bytes = argument.to_be_bytes();
    match argument {
        0..=23 => out.push(major + bytes[7]),
        24..=0xff => out.extend_from_slice(&[major + 24, bytes[7]]),
        0x100..=0xffff => out.extend([major + 25].iter().chain(&bytes[6..])),
        0x1_0000..=0xffff_ffff => out.extend([major + 26].iter().chain(&bytes[4..])),
        _ => out.extend([major + 27].iter().chain(&bytes)),
    }
}

fn push_bytes(out: &mut Vec<u8>, value: &[u8]) {
    push_head(out, BYTES, value.len() as u64);
    out.extend_from_slice(value);
}
