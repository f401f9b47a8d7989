//! The authentication and fragmentation layer: 90, its length, what it carries (FC), then the fields that FC names.

use crate::reading::Facts;
use crate::reading::code::{Check, ReadingCode};
use crate::reading::cursor::Cursor;
use std::ops::Range;

/// The bits of FC.
const MORE_FRAGMENTS: u16 = 0x4000;
const MESSAGE_CONTROL: u16 = 0x2000;
const MESSAGE_LENGTH: u16 = 0x1000;
const MESSAGE_COUNTER: u16 = 0x0800;
const MAC: u16 = 0x0400;
const KEY_INFORMATION: u16 = 0x0200;

/// Where the fields of the layer lie in its frame; an absent one is empty.
#[derive(Clone, Debug)]
pub(in crate::reading) struct Afl {
    message_control: Range<usize>,
    message_length: Range<usize>,
    /// MCR.
    pub counter: Option<[u8; 4]>,
    counter_at: Range<usize>,
    /// The MAC, cut to its length.
    pub mac: Range<usize>,
    /// Whether the MAC is a CMAC.
    pub is_cmac: bool,
}

impl Afl {
    /// The fields that the MAC covers, in its order: MCL, MCR, ML.
    pub fn covered<'a>(&self, frame: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        [&frame[self.message_control.clone()], &frame[self.counter_at.clone()], &frame[self.message_length.clone()]]
            .into_iter()
    }
}

/// Reads the layer after its CI. Fragments are not put together here.
pub(super) fn read(cursor: &mut Cursor<'_>, facts: &mut Facts) -> Check<Afl> {
    let length = usize::from(cursor.byte()?);
    if length > cursor.left() {
        return Err(ReadingCode::TelegramMalformed);
    }
    let end = cursor.position() + length;
    let control = u16::from_le_bytes(cursor.array()?);
    let has = |flag: u16| control & flag != 0;
    let message_control_at = cursor.position();
    let message_control = if has(MESSAGE_CONTROL) { Some(cursor.byte()?) } else { None };
    let message_control_at = message_control_at..cursor.position();
    skip(cursor, has(KEY_INFORMATION), 2)?;
    let counter_at = cursor.position();
    let counter = if has(MESSAGE_COUNTER) { Some(cursor.array()?) } else { None };
    let counter_at = counter_at..cursor.position();
    let (mac_bytes, is_cmac) = match message_control.map(|control| control & 0xf) {
        _ if !has(MAC) => (0, false),
        Some(3) => (2, true),
        Some(4) => (4, true),
        Some(5) => (8, true),
        Some(6) => (12, true),
        Some(7) => (16, true),
        // GMAC.
        Some(8) => (12, false),
        Some(_) => return Err(facts.unsupported()),
        None => return Err(ReadingCode::TelegramMalformed),
    };
    let mac = skip(cursor, has(MAC), mac_bytes)?;
    let message_length = skip(cursor, has(MESSAGE_LENGTH), 2)?;
    if cursor.position() != end {
        return Err(ReadingCode::TelegramMalformed);
    }
    if has(MORE_FRAGMENTS) {
        return Err(facts.unsupported());
    }
    Ok(Afl { message_control: message_control_at, message_length, counter, counter_at, mac, is_cmac })
}

/// The place of a field, no bytes where it is absent.
fn skip(cursor: &mut Cursor<'_>, present: bool, bytes: usize) -> Check<Range<usize>> {
    let start = cursor.position();
    cursor.take(if present { bytes } else { 0 })?;
    Ok(start..cursor.position())
}
