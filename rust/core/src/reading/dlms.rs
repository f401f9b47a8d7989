//! DLMS/COSEM: whole APDUs of the general, global and dedicated ciphering, and how they are opened.
//!
//! ```text
//! general = DB or DC, length, system title, ciphered        glo, ded = tag, ciphered        (no title: it is the association's)
//! ciphered = length, SC, IC(4), body, [tag(12)]
//! nonce    = system title (8) || IC;  AAD = SC || AK, and the message behind them where it is only authenticated
//! ```

use super::cipher::{Tag, ctr_apply, gcm_open};
use super::code::{Check, Protection, ReadingCode};
use super::cursor::Cursor;
use super::{Facts, Outcome, Span};
use std::ops::Range;
use zeroize::Zeroizing;

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

    /// Checks the tag where there is one and a key for it, and decrypts in place; the payload's place.
    #[inline]
    pub(super) fn open(&self, key: &[u8], authentication_key: Option<&[u8]>, apdu: &mut [u8]) -> Check<Range<usize>> {
        let title = self.title.ok_or(ReadingCode::TitleMissing)?;
        let mut nonce = [0; 12];
        nonce[..TITLE].copy_from_slice(&title);
        nonce[TITLE..].copy_from_slice(&self.counter);
        let body = &mut apdu[self.body.range()];
        let Some(authentication_key) = authentication_key.filter(|_| self.is_authenticated()) else {
            if self.control & ENCRYPTED != 0 {
                // GCM without its tag: the counter block behind that of the tag.
                let mut block = [0; 16];
                block[..12].copy_from_slice(&nonce);
                block[15] = 2;
                ctr_apply(key, &block, body).ok_or(ReadingCode::KeyLength)?;
            }
            return Ok(self.body.range());
        };
        let (_, rest) = apdu.split_at_mut(self.body.start as usize);
        let (body, rest) = rest.split_at_mut(self.body.range().len());
        let tag = Tag::Twelve(rest.first_chunk::<TAG>().ok_or(ReadingCode::TelegramMalformed)?);
        let header = Zeroizing::new([&[self.control], authentication_key].concat());
        let genuine = if self.control & ENCRYPTED != 0 {
            gcm_open(key, &nonce, &header, body, tag)
        } else {
            let covered = Zeroizing::new([&header[..], body].concat());
            gcm_open(key, &nonce, &covered, &mut [], tag)
        };
        if genuine { Ok(self.body.range()) } else { Err(ReadingCode::TagInvalid) }
    }
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
