//! The transport header, which says the mode, and how many blocks it encrypts.

use super::{Afl, BLOCK, CCM_TAG, Sealed, address_id};
use crate::reading::code::{Check, Protection, ReadingCode};
use crate::reading::cursor::Cursor;
use crate::reading::device::DeviceId;
use crate::reading::{Facts, Outcome, Span};

/// The only key derivation, KDF-A, in its two bits of the configuration field's extension.
const KDF_A: u8 = 1;

/// Reads the header after its CI, which lies at `transport`; `link` is the link layer's address.
#[inline]
pub(super) fn read(
    ci: u8,
    transport: usize,
    mut cursor: Cursor<'_>,
    link: DeviceId,
    afl: Option<Afl>,
    facts: &mut Facts,
) -> Check<Outcome> {
    let address = match ci {
        0x7a | 0x7b => link,
        0x72 | 0x73 => {
            let [i0, i1, i2, i3, m0, m1, version, kind] = cursor.array()?;
            [m0, m1, i0, i1, i2, i3, version, kind]
        }
        _ => return Err(facts.unsupported()),
    };
    facts.device = Some(address);
    let transport = transport as u8;
    let [access, status, c0, c1] = cursor.array()?;
    let (mode, blocks) = (c1 & 0x1f, c0 >> 4);
    match mode {
        0 => {
            facts.protection = Some(Protection::None);
            let start = cursor.position();
            Ok(Outcome::Plain(Span::new(start, start + cursor.left())?))
        }
        5 => {
            facts.protection = Some(Protection::Mode5);
            let start = start_of(blocks, cursor)?;
            Ok(Outcome::Wmbus(Sealed::Mode5 { access, address, start, blocks }))
        }
        7 => {
            facts.protection = Some(Protection::Mode7);
            facts.counter = afl.as_ref().and_then(|afl| afl.counter).map(u32::from_le_bytes);
            let extension = cursor.byte()?;
            // Without its counter there is no key, without its MAC nothing to believe.
            let start = start_of(blocks, cursor)?;
            let afl = afl.filter(|afl| !afl.mac().is_empty()).ok_or(ReadingCode::TelegramMalformed)?;
            let counter = afl.counter.ok_or(ReadingCode::TelegramMalformed)?;
            if kdf_of(extension) != KDF_A || !afl.is_cmac {
                return Err(facts.unsupported());
            }
            let id = address_id(address);
            Ok(Outcome::Wmbus(Sealed::Mode7 { counter, id, afl, transport, start, blocks }))
        }
        10 => {
            facts.protection = Some(Protection::Mode10);
            let [e0, e1] = cursor.array()?;
            let counter: [u8; 4] = cursor.array()?;
            facts.counter = Some(u32::from_le_bytes(counter));
            // The low byte counts bytes here; whatever it says, the tag covers all that comes before it.
            if blocks == 0 || cursor.left() < CCM_TAG {
                return Err(ReadingCode::TelegramMalformed);
            }
            if kdf_of(e0) != KDF_A {
                return Err(facts.unsupported());
            }
            let header = [ci, access, status, c0, c1, e0, e1];
            Ok(Outcome::Wmbus(Sealed::Mode10 { counter, address, header, start: cursor.position() as u8 }))
        }
        _ => Err(facts.unsupported()),
    }
}

const fn kdf_of(extension: u8) -> u8 {
    extension >> 4 & 3
}

/// Where the encrypted blocks begin; all of them lie in the frame.
fn start_of(blocks: u8, cursor: Cursor<'_>) -> Check<u8> {
    if blocks == 0 || usize::from(blocks) * BLOCK > cursor.left() {
        return Err(ReadingCode::TelegramMalformed);
    }
    Ok(cursor.position() as u8)
}
