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

/// The fields of the layer; an absent MAC has no bytes.
#[derive(Clone, Copy, Debug)]
pub(in crate::reading) struct Afl {
    /// MCL.
    control: Option<u8>,
    /// MCR.
    pub counter: Option<[u8; 4]>,
    /// ML.
    length: Option<[u8; 2]>,
    /// Where the MAC lies in the frame.
    mac_at: u8,
    mac_bytes: u8,
    /// Whether the MAC is a CMAC.
    pub is_cmac: bool,
}

impl Afl {
    /// The fields that the MAC covers before the transport layer, in its order: MCL, MCR, ML.
    pub fn covered(&self) -> [&[u8]; 3] {
        let counter = self.counter.as_ref().map_or(&[][..], |counter| counter);
        [self.control.as_slice(), counter, self.length.as_ref().map_or(&[][..], |length| length)]
    }

    /// The place of the MAC, cut to its length.
    pub fn mac(&self) -> Range<usize> {
        let start = usize::from(self.mac_at);
        start..start + usize::from(self.mac_bytes)
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
    let message_control = if has(MESSAGE_CONTROL) { Some(cursor.byte()?) } else { None };
    if has(KEY_INFORMATION) {
        cursor.array::<2>()?;
    }
    let counter = if has(MESSAGE_COUNTER) { Some(cursor.array()?) } else { None };
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
    let mac_at = cursor.position() as u8;
    cursor.take(usize::from(mac_bytes))?;
    let message_length = if has(MESSAGE_LENGTH) { Some(cursor.array()?) } else { None };
    if cursor.position() != end {
        return Err(ReadingCode::TelegramMalformed);
    }
    if has(MORE_FRAGMENTS) {
        return Err(facts.unsupported());
    }
    Ok(Afl { control: message_control, counter, length: message_length, mac_at, mac_bytes, is_cmac })
}
