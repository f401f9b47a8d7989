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
pub(super) use frame::strip;
use std::ops::Range;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Bits of the checks that are no MAC.
const CHECK_BITS: u16 = 16;
/// What mode 5 decrypts to first.
const CHECK_BYTES: [u8; 2] = [0x2f, 0x2f];
/// Bits of mode 10's tag.
const CCM_BITS: u16 = 64;
const CCM_TAG: usize = 8;
const BLOCK: usize = 16;

/// A protected telegram: where its parts lie in the frame, and all that its protection takes beside the key.
#[derive(Clone, Debug)]
pub(super) enum Sealed {
    /// From the payload's checksum to the frame's end.
    EllCtr { counter_block: Block, encrypted: Range<usize> },
    /// Whole blocks, and a clear tail behind them.
    Mode5 { iv: Block, encrypted: Range<usize>, end: usize },
    /// As mode 5, under keys from [`kdf`].
    Mode7 { counter: [u8; 4], id: [u8; 4], afl: Afl, transport: usize, encrypted: Range<usize>, end: usize },
    /// With its tag behind it.
    Mode10 { counter: [u8; 4], address: DeviceId, header: [u8; 7], encrypted: Range<usize> },
}

impl Sealed {
    /// Bits that the check has.
    pub(super) fn assurance(&self) -> u16 {
        match self {
            Self::EllCtr { .. } | Self::Mode5 { .. } => CHECK_BITS,
            Self::Mode7 { afl, .. } => 8 * afl.mac.len() as u16,
            Self::Mode10 { .. } => CCM_BITS,
        }
    }

    /// Checks and decrypts in place; the payload's place. What was decrypted of a refused frame, the caller wipes.
    #[inline]
    pub(super) fn open(&self, key: &Block, frame: &mut [u8]) -> Check<Range<usize>> {
        match self {
            Self::EllCtr { counter_block, encrypted } => {
                let data = &mut frame[encrypted.clone()];
                ctr_apply(key, counter_block, data).ok_or(ReadingCode::KeyLength)?;
                let (checksum, payload) = data.split_at(2);
                // No tag: whoever sees the code sees whether it was right.
                if crc16(payload).to_le_bytes() != checksum {
                    return Err(ReadingCode::CheckFailed);
                }
                Ok(encrypted.start + 2..encrypted.end)
            }
            Self::Mode5 { iv, encrypted, end } => {
                cbc_decrypt(key, iv, &mut frame[encrypted.clone()]);
                if frame[encrypted.start..encrypted.start + 2] != CHECK_BYTES {
                    return Err(ReadingCode::CheckFailed);
                }
                Ok(encrypted.start..*end)
            }
            Self::Mode7 { counter, id, afl, transport, encrypted, end } => {
                let [encryption, authentication] = &mut kdf(key, *counter, *id);
                let covered = afl.covered(frame).chain([&frame[*transport..*end]]);
                let mac = cmac(authentication, covered);
                let genuine = mac[..afl.mac.len()].ct_eq(&frame[afl.mac.clone()]);
                if genuine.into() {
                    cbc_decrypt(encryption, &[0; BLOCK], &mut frame[encrypted.clone()]);
                }
                encryption.zeroize();
                authentication.zeroize();
                if genuine.into() { Ok(encrypted.start..*end) } else { Err(ReadingCode::TagInvalid) }
            }
            Self::Mode10 { counter, address, header, encrypted } => {
                let [encryption, unused] = &mut kdf(key, *counter, address_id(*address));
                let mut nonce = [0; 13];
                nonce[..8].copy_from_slice(address);
                nonce[9..].copy_from_slice(counter);
                nonce[9..].reverse();
                let (data, rest) = frame[encrypted.start..].split_at_mut(encrypted.len());
                let tag = rest.first_chunk::<CCM_TAG>().ok_or(ReadingCode::TelegramMalformed)?;
                let genuine = ccm_open(encryption, &nonce, header, data, *tag);
                encryption.zeroize();
                unused.zeroize();
                if genuine { Ok(encrypted.clone()) } else { Err(ReadingCode::TagInvalid) }
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
            let encrypted = cursor.position()..frame.len();
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
                    return Ok(Outcome::Wmbus(Sealed::EllCtr { counter_block, encrypted }));
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
