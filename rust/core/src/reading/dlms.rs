//! DLMS/COSEM: whole APDUs of the general, global and dedicated ciphering, and how they are opened.
//!
//! ```text
//! general = DB or DC, length, system title, ciphered        glo, ded = tag, ciphered        (no title: it is the association's)
//! ciphered = length, SC, IC(4), body, [tag(12)]
//! nonce    = system title (8) || IC;  AAD = SC || AK, and the message after them where it is only authenticated
//! ```

use super::code::{Check, Protection, ReadingCode};
use super::cursor::Cursor;
use super::secrets::Secrets;
use super::{Facts, Job, Outcome, Span, room_for};
use crate::parallel::stop::Stop;
use itron_core_kernels::aes::{Ctr, Gcm, Key, ctr_apply, gcm_open};
use std::ops::Range;

/// Bytes of a system title.
const TITLE: usize = 8;
const TAG: usize = 12;
/// Bits of the tag.
const TAG_BITS: u16 = 8 * TAG as u16;

/// The bits of the security control byte.
const NEITHER: u8 = 0xc0;
const ENCRYPTED: u8 = 0x20;
const AUTHENTICATED: u8 = 0x10;

/// A ciphered APDU: where its parts lie, and all that it takes beside the keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    control: u8,
    /// The title that the APDU carries, else the association's; absent where nobody knows it.
    pub title: Option<[u8; TITLE]>,
    counter: [u8; 4],
    body: Span,
}

impl Sealed {
    /// Bytes of each key.
    pub(super) fn key_length(&self) -> usize {
        if self.control & 0xf == 2 { 32 } else { 16 }
    }

    /// Whether a tag is there.
    pub(super) fn is_authenticated(&self) -> bool {
        self.control & AUTHENTICATED != 0
    }

    /// Bits that the tag has.
    pub(super) fn assurance(&self) -> u16 {
        if self.is_authenticated() { TAG_BITS } else { 0 }
    }

    fn is_encrypted(&self) -> bool {
        self.control & ENCRYPTED != 0
    }

    /// `None` without a title.
    fn nonce(&self) -> Option<[u8; 12]> {
        let mut nonce = [0; 12];
        nonce[..TITLE].copy_from_slice(&self.title?);
        nonce[TITLE..].copy_from_slice(&self.counter);
        Some(nonce)
    }
}

/// Checks the tag where there is one and a key for it, decrypts in place, and tells each row's answer: the payload's place.
pub(super) fn open(
    mut jobs: Vec<Job<'_, Sealed>>,
    answer: &mut impl FnMut(usize, Check<Range<usize>>),
) -> Result<(), Stop> {
    let (headers, places) = headers(&jobs)?;
    let (mut tagged, mut rows, mut streams) = (room_for(jobs.len())?, room_for(jobs.len())?, Vec::new());
    for (job, place) in jobs.iter_mut().zip(places) {
        let sealed = job.sealed;
        let (key, nonce) = match (job.keys.key.and_then(Key::new), sealed.nonce()) {
            (Some(key), Some(nonce)) => (key, nonce),
            (None, _) => {
                answer(job.at, Err(ReadingCode::KeyLength));
                continue;
            }
            (_, None) => {
                answer(job.at, Err(ReadingCode::TitleMissing));
                continue;
            }
        };
        let (_, rest) = job.telegram.split_at_mut(sealed.body.start as usize);
        let (body, rest) = rest.split_at_mut(sealed.body.range().len());
        let Some(place) = place else {
            answer(job.at, Ok(sealed.body.range()));
            if sealed.is_encrypted() {
                // GCM without its tag: the counter block after that of the tag.
                let mut counter = [0; 16];
                counter[..12].copy_from_slice(&nonce);
                counter[15] = 2;
                streams.try_reserve(1)?;
                streams.push(Ctr { key, counter, data: body });
            }
            continue;
        };
        let Some(tag) = rest.first_chunk::<TAG>() else {
            answer(job.at, Err(ReadingCode::TelegramMalformed));
            continue;
        };
        let data = if sealed.is_encrypted() { body } else { &mut [] };
        tagged.push(Gcm { key, nonce, aad: &headers[place], data, tag });
        rows.push((job.at, sealed.body));
    }
    ctr_apply(&mut streams);
    for ((at, body), genuine) in rows.into_iter().zip(gcm_open(&mut tagged)) {
        answer(at, if genuine { Ok(body.range()) } else { Err(ReadingCode::TagInvalid) });
    }
    Ok(())
}

/// The additional data of the rows whose tag is checked, one after another, and each row's place in it.
type Headers = (Secrets, Vec<Option<Range<usize>>>);

fn headers(jobs: &[Job<'_, Sealed>]) -> Result<Headers, Stop> {
    let message = |sealed: &Sealed| if sealed.is_encrypted() { 0..0 } else { sealed.body.range() };
    let length =
        |job: &Job<'_, Sealed>| 1 + job.keys.authentication_key.map_or(0, <[u8]>::len) + message(job.sealed).len();
    let (mut bytes, mut places) = (Secrets::zeros(jobs.iter().map(length).sum())?, room_for(jobs.len())?);
    let mut end = 0;
    for job in jobs {
        let key = job.keys.authentication_key.filter(|_| job.sealed.is_authenticated());
        places.push(key.map(|key| {
            let start = end;
            for piece in [&[job.sealed.control], key, &job.telegram[message(job.sealed)]] {
                bytes[end..end + piece.len()].copy_from_slice(piece);
                end += piece.len();
            }
            start..end
        }));
    }
    Ok((bytes, places))
}

/// The tags of APDUs that carry no ciphering at all.
const fn is_plain(tag: u8) -> bool {
    matches!(tag, 1 | 5 | 6 | 8 | 12..=16 | 22 | 24 | 96..=99 | 192..=199 | 216)
}

/// Reads an APDU to where its protection begins; `title` is that of the association, where the caller knows it.
pub(super) fn read(apdu: &[u8], title: Option<[u8; TITLE]>, facts: &mut Facts) -> Check<Outcome> {
    facts.device = title;
    let mut cursor = Cursor::new(apdu);
    let title = match cursor.byte()? {
        33 | 40 | 200..=215 => title,
        219 | 220 => match cursor.byte()? {
            0 => title,
            8 => Some(cursor.array()?),
            _ => return Err(ReadingCode::TelegramMalformed),
        },
        tag if is_plain(tag) => {
            facts.protection = Some(Protection::None);
            return Ok(Outcome::Plain(Span::new(0, apdu.len())?));
        }
        _ => return Err(facts.unsupported()),
    };
    facts.device = title;
    if length(&mut cursor)? != cursor.left() {
        return Err(ReadingCode::TelegramMalformed);
    }
    let control = cursor.byte()?;
    let counter = cursor.array()?;
    facts.counter = Some(u32::from_be_bytes(counter));
    let protection = match control & (NEITHER | ENCRYPTED | AUTHENTICATED) {
        ENCRYPTED => Protection::Encrypted,
        AUTHENTICATED => Protection::Authenticated,
        0x30 => Protection::Both,
        _ => return Err(facts.unsupported()),
    };
    if control & 0xf > 2 {
        return Err(facts.unsupported());
    }
    facts.protection = Some(protection);
    let tag = if control & AUTHENTICATED == 0 { 0 } else { TAG };
    let bytes = cursor.left().checked_sub(tag).ok_or(ReadingCode::TelegramMalformed)?;
    let start = cursor.position();
    Ok(Outcome::Dlms(Sealed { control, title, counter, body: Span::new(start, start + bytes)? }))
}

/// A length: one byte below 80, else 81 to 84 and as many bytes, the most significant first.
fn length(cursor: &mut Cursor<'_>) -> Check<usize> {
    match cursor.byte()? {
        short @ 0..=0x7f => Ok(short.into()),
        count @ 0x81..=0x84 => {
            let bytes = cursor.take(usize::from(count & 0x7f))?;
            Ok(bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)))
        }
        _ => Err(ReadingCode::TelegramMalformed),
    }
}
