//! Wireless M-Bus and OMS: what one frame says, and how it is opened.
//!
//! ```text
//! frame      = L C M(2) A(6) [extended link layer] [authentication layer] transport header, data
//! extended   = 8C CC ACC | 8D CC ACC SN(4) crc(2) ... | 8E CC ACC M(2) A(6) | 8F CC ACC M(2) A(6) SN(4) crc(2) ...
//! transport  = 7A or 7B ACC STS CF(2) | 72 or 73 ID(4) M(2) version type ACC STS CF(2), then what the mode adds
//! ```

mod afl;
mod crc;
mod frame;
mod transport;

use super::cipher::{Block, cbc_decrypt, ccm_open, cmac, cmac_of_two, ctr_apply};
use super::code::{Check, Protection, ReadingCode};
use super::cursor::Cursor;
use super::device::DeviceId;
use super::{Facts, Outcome};
use afl::Afl;
use crc::crc16;
pub(super) use frame::{Form, form};
use std::ops::Range;
use subtle::ConstantTimeEq;

/// Bits of the checks that are no MAC.
const CHECK_BITS: u16 = 16;
/// What mode 5 decrypts to first.
const CHECK_BYTES: [u8; 2] = [0x2f, 0x2f];
/// Bits of mode 10's tag.
const CCM_BITS: u16 = 64;
const CCM_TAG: usize = 8;
const BLOCK: usize = 16;

/// A protected telegram: where its parts lie in the frame, and all that its protection takes beside the key. A frame has at most
/// 256 bytes, so each place is one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sealed {
    /// From the payload's checksum, which lies at `start`, to the frame's end.
    EllCtr { counter_block: Block, start: u8 },
    /// So many blocks from `start`, and a clear tail behind them.
    Mode5 { access: u8, address: DeviceId, start: u8, blocks: u8 },
    /// As mode 5, under keys from [`kdf`].
    Mode7 { counter: [u8; 4], id: [u8; 4], afl: Afl, transport: u8, start: u8, blocks: u8 },
    /// From `start` to the tag at the frame's end.
    Mode10 { counter: [u8; 4], address: DeviceId, header: [u8; 7], start: u8 },
}

impl Sealed {
    /// Bits that the check has.
    pub(super) fn assurance(&self) -> u16 {
        match self {
            Self::EllCtr { .. } | Self::Mode5 { .. } => CHECK_BITS,
            Self::Mode7 { afl, .. } => 8 * afl.mac().len() as u16,
            Self::Mode10 { .. } => CCM_BITS,
        }
    }

    /// Checks and decrypts in place; the payload's place. What was decrypted of a refused frame, the caller wipes.
    #[inline]
    pub(super) fn open(&self, key: &Block, frame: &mut [u8]) -> Check<Range<usize>> {
        let end = frame.len();
        let encrypted = |start: u8, blocks: u8| usize::from(start)..usize::from(start) + usize::from(blocks) * BLOCK;
        match *self {
            Self::EllCtr { ref counter_block, start } => {
                let data = &mut frame[start.into()..];
                ctr_apply(key, counter_block, data).ok_or(ReadingCode::KeyLength)?;
                let (checksum, payload) = data.split_at(2);
                // No tag: whoever sees the code sees whether it was right.
                if crc16(payload).to_le_bytes() != checksum {
                    return Err(ReadingCode::CheckFailed);
                }
                Ok(usize::from(start) + 2..end)
            }
            Self::Mode5 { access, address, start, blocks } => {
                let mut iv = [access; BLOCK];
                iv[..8].copy_from_slice(&address);
                let data = &mut frame[encrypted(start, blocks)];
                cbc_decrypt(key, &iv, data);
                if data[..2] == CHECK_BYTES { Ok(start.into()..end) } else { Err(ReadingCode::CheckFailed) }
            }
            Self::Mode7 { counter, id, ref afl, transport, start, blocks } => {
                let [encryption, authentication] = &kdf(key, counter, id);
                let mac = cmac(authentication, afl.covered().chain([&frame[transport.into()..]]));
                let genuine = bool::from(mac[..afl.mac().len()].ct_eq(&frame[afl.mac()]));
                if genuine {
                    cbc_decrypt(encryption, &[0; BLOCK], &mut frame[encrypted(start, blocks)]);
                }
                if genuine { Ok(start.into()..end) } else { Err(ReadingCode::TagInvalid) }
            }
            Self::Mode10 { counter, address, ref header, start } => {
                let [encryption, _] = &kdf(key, counter, address_id(address));
                let mut nonce = [0; 13];
                nonce[..8].copy_from_slice(&address);
                nonce[9..].copy_from_slice(&counter);
                nonce[9..].reverse();
                let (data, tag) = frame[start.into()..].split_last_chunk_mut().ok_or(ReadingCode::TelegramMalformed)?;
                let genuine = ccm_open(encryption, &nonce, header, data, *tag);
                if genuine { Ok(start.into()..end - CCM_TAG) } else { Err(ReadingCode::TagInvalid) }
            }
        }
    }
}

/// KDF-A (OMS annex N; CEN/TR 17167, F.3): the keys for encryption and for the MAC, in the meter's direction.
fn kdf(key: &Block, counter: [u8; 4], id: [u8; 4]) -> [Block; 2] {
    let message = |constant: u8| {
        let mut message = [0x07; BLOCK];
        message[0] = constant;
        message[1..5].copy_from_slice(&counter);
        message[5..9].copy_from_slice(&id);
        message
    };
    cmac_of_two(key, &[message(0), message(1)])
}

fn address_id(address: DeviceId) -> [u8; 4] {
    [address[2], address[3], address[4], address[5]]
}

/// Reads a frame without checksums to where its protection begins.
pub(super) fn read(frame: &[u8], facts: &mut Facts) -> Check<Outcome> {
    let mut cursor = Cursor::new(frame);
    let [_length, _control] = cursor.array()?;
    let address: DeviceId = cursor.array()?;
    facts.device = Some(address);
    let mut start = cursor.position();
    let mut ci = cursor.byte()?;
    if let 0x8c..=0x8f = ci {
        let [communication, _access] = cursor.array()?;
        if ci >= 0x8e {
            cursor.array::<8>()?;
        }
        if ci & 1 == 1 {
            let session: [u8; 4] = cursor.array()?;
            let start = cursor.position() as u8;
            let checksum: [u8; 2] = cursor.array()?;
            let encryption = session[3] >> 5;
            // The session's number counts what it encrypts; a plain one says nothing of the layers above.
            facts.counter = (encryption != 0).then(|| u32::from_le_bytes(session) & 0x1fff_ffff);
            match encryption {
                0 if crc16(&frame[cursor.position()..]).to_le_bytes() == checksum => {}
                0 => return Err(ReadingCode::FrameChecksum),
                1 => {
                    facts.protection = Some(Protection::EllCtr);
                    let counter_block = counter_block(address, communication, session);
                    return Ok(Outcome::Wmbus(Sealed::EllCtr { counter_block, start }));
                }
                _ => return Err(facts.unsupported()),
            }
        }
        start = cursor.position();
        ci = cursor.byte()?;
    }
    let mut afl = None;
    if ci == 0x90 {
        afl = Some(afl::read(&mut cursor, facts)?);
        start = cursor.position();
        ci = cursor.byte()?;
    }
    transport::read(ci, start, cursor, address, afl, facts)
}

/// The first counter block of the extended link layer: M, A, CC without the bits that repeaters set, SN, FN, BC.
fn counter_block(address: DeviceId, communication: u8, session: [u8; 4]) -> Block {
    let mut block = [0; BLOCK];
    block[..8].copy_from_slice(&address);
    block[8] = communication & !0x12;
    block[9..13].copy_from_slice(&session);
    block
}
