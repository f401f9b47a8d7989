//! Reading profile 1, the project's own: `COSE_Encrypt0` (RFC 9052 section 5.2) in one form.
//!
//! ```text
//! reading = D0 83 bstr(protected) A0 bstr(ciphertext and tag)
//! protected = { 1: alg, 4: kid bstr(4), 5: IV bstr(12), 16: "application/x.mtr-read" }
//! IV = device id (8, big-endian) || counter (4, big-endian);  AAD = ["Encrypt0", protected, h'']
//! ```

use super::cipher::gcm_seal;
use super::code::{Check, Protection, ReadingCode};
use super::cursor::Cursor;
use super::device::DeviceId;
use super::{Facts, Job, Outcome, Span, room_for};
use crate::parallel::stop::Stop;
use itron_core_kernels::aes::{Gcm, Key, gcm_open};
use std::ops::Range;
use subtle::ConstantTimeEq;

/// The most bytes of a reading, and of its payload.
pub(super) const MAX_READING: usize = 1_152;
/// The most bytes that one reading carries.
pub const MAX_PAYLOAD: usize = 1_024;
const TAG: usize = 16;
const TAG_BITS: u16 = 8 * TAG as u16;
/// Tag 16, and an array of three.
const ENVELOPE: [u8; 2] = [0xd0, 0x83];
const KID: [u8; 2] = [0x04, 0x44];
const IV: [u8; 2] = [0x05, 0x4c];
const TYPE: &[u8; 24] = b"\x10\x76application/x.mtr-read";
/// Bytes of a protected header whose algorithm is one byte.
const PROTECTED: usize = 47;
const A128GCM: u64 = 1;
const A256GCM: u64 = 3;

/// A reading: where its parts lie, and all that it takes beside the key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    key_length: usize,
    /// The check value of its key.
    kid: [u8; 4],
    nonce: [u8; 12],
    protected: Span,
    body: Span,
}

impl Sealed {
    /// Bytes of the key.
    pub(super) fn key_length(&self) -> usize {
        self.key_length
    }

    /// Bits that the tag has.
    pub(super) fn assurance(&self) -> u16 {
        TAG_BITS
    }
}

/// Checks the tag and decrypts in place, and tells each row's answer: the payload's place.
pub(super) fn open(
    mut jobs: Vec<Job<'_, Sealed>>,
    answer: &mut impl FnMut(usize, Check<Range<usize>>),
) -> Result<(), Stop> {
    let mut headers = room_for(jobs.len())?;
    headers.extend(jobs.iter().map(|job| associated(&job.telegram[job.sealed.protected.range()])));
    let (mut tagged, mut rows) = (room_for(jobs.len())?, room_for(jobs.len())?);
    for (job, aad) in jobs.iter_mut().zip(&headers) {
        let Sealed { kid, nonce, body, .. } = *job.sealed;
        let of_another = job.keys.check_value.is_some_and(|value| !bool::from(value.ct_eq(&kid)));
        let (data, rest) = job.telegram[body.start as usize..].split_at_mut(body.range().len());
        match (job.keys.key.and_then(Key::new), rest.first_chunk::<TAG>()) {
            _ if of_another => answer(job.at, Err(ReadingCode::KeyMismatch)),
            (None, _) => answer(job.at, Err(ReadingCode::KeyLength)),
            (_, None) => answer(job.at, Err(ReadingCode::TelegramMalformed)),
            (Some(key), Some(tag)) => {
                tagged.push(Gcm { key, nonce, aad, data, tag });
                rows.push((job.at, body));
            }
        }
    }
    for ((at, body), genuine) in rows.into_iter().zip(gcm_open(&mut tagged)) {
        answer(at, if genuine { Ok(body.range()) } else { Err(ReadingCode::TagInvalid) });
    }
    Ok(())
}

/// `Enc_structure`: `["Encrypt0", protected, h'']`.
fn associated(protected: &[u8]) -> [u8; 12 + PROTECTED + 1] {
    let mut aad = [0; 12 + PROTECTED + 1];
    aad[..12].copy_from_slice(b"\x83\x68Encrypt0\x58\x2f");
    aad[12..12 + PROTECTED].copy_from_slice(protected);
    aad[12 + PROTECTED] = 0x40;
    aad
}

/// Reads a reading to where its protection begins.
pub(super) fn read(reading: &[u8], facts: &mut Facts) -> Check<Outcome> {
    if reading.len() > MAX_READING {
        return Err(ReadingCode::TelegramMalformed);
    }
    let mut cursor = Cursor::new(reading);
    expect(&mut cursor, &ENVELOPE)?;
    let bytes = string(&mut cursor, 2)?;
    let protected = Span::new(cursor.position(), cursor.position() + bytes)?;
    expect(&mut cursor, &[0xa4, 0x01])?;
    let algorithm = algorithm(&mut cursor)?;
    expect(&mut cursor, &KID)?;
    let kid = cursor.array()?;
    expect(&mut cursor, &IV)?;
    let nonce: [u8; 12] = cursor.array()?;
    let (device, counter) = nonce.split_at(8);
    facts.device = device.try_into().ok();
    facts.counter = counter.try_into().ok().map(u32::from_be_bytes);
    expect(&mut cursor, TYPE)?;
    if cursor.position() != protected.end as usize {
        return Err(ReadingCode::TelegramMalformed);
    }
    expect(&mut cursor, &[0xa0])?;
    let bytes = string(&mut cursor, 2)?;
    if bytes != cursor.left() {
        return Err(ReadingCode::TelegramMalformed);
    }
    let key_length = match algorithm {
        Some(A128GCM) => 16,
        Some(A256GCM) => 32,
        _ => return Err(facts.unsupported()),
    };
    facts.protection = Some(Protection::Cose);
    let payload = bytes.checked_sub(TAG).filter(|&payload| payload <= MAX_PAYLOAD);
    let (start, payload) = (cursor.position(), payload.ok_or(ReadingCode::TelegramMalformed)?);
    Ok(Outcome::Cose(Sealed { key_length, kid, nonce, protected, body: Span::new(start, start + payload)? }))
}

fn expect(cursor: &mut Cursor<'_>, wanted: &[u8]) -> Check<()> {
    if cursor.take(wanted.len())? == wanted { Ok(()) } else { Err(ReadingCode::TelegramMalformed) }
}

/// The argument of a head in its shortest form, whose major type is `major`.
fn argument(cursor: &mut Cursor<'_>, major: u8) -> Check<u64> {
    let head = cursor.byte()?;
    if head >> 5 != major {
        return Err(ReadingCode::TelegramMalformed);
    }
    let (value, least) = match head & 0x1f {
        small @ 0..24 => return Ok(small.into()),
        24 => (u64::from(cursor.byte()?), 24),
        25 => (u16::from_be_bytes(cursor.array()?).into(), 1 << 8),
        26 => (u32::from_be_bytes(cursor.array()?).into(), 1 << 16),
        27 => (u64::from_be_bytes(cursor.array()?), 1 << 32),
        _ => return Err(ReadingCode::TelegramMalformed),
    };
    if value < least { Err(ReadingCode::TelegramMalformed) } else { Ok(value) }
}

/// The length of a string of that major type, which lies in the reading.
fn string(cursor: &mut Cursor<'_>, major: u8) -> Check<usize> {
    let length = argument(cursor, major)?;
    usize::try_from(length).ok().filter(|&length| length <= cursor.left()).ok_or(ReadingCode::TelegramMalformed)
}

/// The algorithm; `None` for one that is no number from 0 up.
fn algorithm(cursor: &mut Cursor<'_>) -> Check<Option<u64>> {
    let mut ahead = *cursor;
    match ahead.byte()? >> 5 {
        0 => argument(cursor, 0).map(Some),
        1 => argument(cursor, 1).map(|_| None),
        // RFC 9052 section 3.1: an algorithm may have a name.
        3 => {
            let bytes = string(cursor, 3)?;
            let name = std::str::from_utf8(cursor.take(bytes)?);
            if name.is_ok() { Ok(None) } else { Err(ReadingCode::TelegramMalformed) }
        }
        _ => Err(ReadingCode::TelegramMalformed),
    }
}

/// A reading to be made: whose, the how many-th, and under which key.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    /// 0 to [`MAX_PAYLOAD`] bytes.
    pub payload: &'a [u8],
    /// Whose reading it is.
    pub device: DeviceId,
    /// One counter never twice under one key.
    pub counter: u32,
    /// 16 bytes for A128GCM, 32 for A256GCM.
    pub key: &'a [u8],
    /// The check value of the key.
    pub check_value: [u8; 4],
}

/// Appends the reading. `None` where the payload or the key has a wrong length; then nothing is appended.
#[must_use]
pub fn protect(plain: &Plain<'_>, out: &mut Vec<u8>) -> Option<()> {
    let algorithm = match plain.key.len() {
        16 => A128GCM,
        32 => A256GCM,
        _ => return None,
    };
    if plain.payload.len() > MAX_PAYLOAD {
        return None;
    }
    let nonce: [u8; 12] = [&plain.device[..], &plain.counter.to_be_bytes()].concat().try_into().ok()?;
    let begin = out.len();
    out.extend_from_slice(&ENVELOPE);
    out.extend_from_slice(&[0x58, PROTECTED as u8]);
    let protected = out.len();
    out.extend_from_slice(&[0xa4, 0x01, algorithm as u8]);
    out.extend_from_slice(&KID);
    out.extend_from_slice(&plain.check_value);
    out.extend_from_slice(&IV);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(TYPE);
    let aad = associated(&out[protected..]);
    out.push(0xa0);
    let sealed = plain.payload.len() + TAG;
    match sealed {
        0..24 => out.push(0x40 + sealed as u8),
        24..0x100 => out.extend_from_slice(&[0x58, sealed as u8]),
        _ => out.extend_from_slice(&[0x59, (sealed >> 8) as u8, sealed as u8]),
    }
    let body = out.len();
    out.extend_from_slice(plain.payload);
    let tag = gcm_seal(plain.key, &nonce, &aad, &mut out[body..]);
    match tag {
        Some(tag) => out.extend_from_slice(&tag),
        None => out.truncate(begin),
    }
    tag.map(|_| ())
}
