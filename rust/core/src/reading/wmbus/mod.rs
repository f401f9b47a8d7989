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

use super::cipher::{Block, ccm_open};
use super::code::{Check, Protection, ReadingCode};
use super::cursor::Cursor;
use super::device::DeviceId;
use super::secrets::Secrets;
use super::{Facts, Job, Outcome, room_for};
use crate::parallel::stop::Stop;
use afl::Afl;
use crc::crc16;
pub(super) use frame::{Form, LONGEST, form};
use itron_core_kernels::aes::{Cbc, Cmac, Ctr, Key, cbc_decrypt, cmac, cmac_of_two, ctr_apply};
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
    /// So many blocks from `start`, and a clear tail after them.
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
}

/// A row, and its key.
type Row<'a> = (Job<'a, Sealed>, &'a Block);

/// Checks and decrypts in place, and tells each row's answer: the payload's place. What was decrypted of a refused frame, the
/// caller wipes.
pub(super) fn open(
    jobs: Vec<Job<'_, Sealed>>,
    answer: &mut impl FnMut(usize, Check<Range<usize>>),
) -> Result<(), Stop> {
    let mut rows: Vec<Row<'_>> = room_for(jobs.len())?;
    for job in jobs {
        match job.keys.key.and_then(|key| key.try_into().ok()) {
            Some(key) => rows.push((job, key)),
            None => answer(job.at, Err(ReadingCode::KeyLength)),
        }
    }
    rows.sort_unstable_by_key(|(job, _)| protection(job.sealed));
    let mut rest = &mut rows[..];
    let mut rows_of = |last: Protection| {
        let count = rest.partition_point(|(job, _)| protection(job.sealed) <= last);
        rest.split_off_mut(..count).unwrap_or_default()
    };
    open_mode_5(rows_of(Protection::Mode5), answer)?;
    open_mode_7(rows_of(Protection::Mode7), answer)?;
    open_mode_10(rows_of(Protection::Mode10), answer)?;
    open_ell_ctr(rows_of(Protection::EllCtr), answer)
}

fn protection(sealed: &Sealed) -> Protection {
    match sealed {
        Sealed::Mode5 { .. } => Protection::Mode5,
        Sealed::Mode7 { .. } => Protection::Mode7,
        Sealed::Mode10 { .. } => Protection::Mode10,
        Sealed::EllCtr { .. } => Protection::EllCtr,
    }
}

fn encrypted(start: u8, blocks: u8) -> Range<usize> {
    usize::from(start)..usize::from(start) + usize::from(blocks) * BLOCK
}

fn open_mode_5(rows: &mut [Row<'_>], answer: &mut impl FnMut(usize, Check<Range<usize>>)) -> Result<(), Stop> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut messages = room_for(rows.len())?;
    for (job, key) in &mut *rows {
        let &Sealed::Mode5 { access, address, start, blocks } = job.sealed else { continue };
        let mut iv = [access; BLOCK];
        iv[..8].copy_from_slice(&address);
        messages.push(Cbc { key, iv, data: &mut job.telegram[encrypted(start, blocks)] });
    }
    cbc_decrypt(&mut messages);
    for (job, _) in rows {
        let &Sealed::Mode5 { start, .. } = job.sealed else { continue };
        let payload = usize::from(start)..job.telegram.len();
        let fits = job.telegram[payload.clone()].starts_with(&CHECK_BYTES);
        answer(job.at, if fits { Ok(payload) } else { Err(ReadingCode::CheckFailed) });
    }
    Ok(())
}

fn open_mode_7(rows: &mut [Row<'_>], answer: &mut impl FnMut(usize, Check<Range<usize>>)) -> Result<(), Stop> {
    if rows.is_empty() {
        return Ok(());
    }
    let keys = kdf(rows, |sealed| match *sealed {
        Sealed::Mode7 { counter, id, .. } => (counter, id),
        _ => Default::default(),
    })?;
    let mut messages = room_for(rows.len())?;
    let mut given = room_for(rows.len())?;
    for ((job, _), [_, key]) in rows.iter_mut().zip(pairs(&keys)) {
        let Sealed::Mode7 { afl, transport, .. } = job.sealed else { continue };
        given.push(MacOf::new(&job.telegram[afl.mac()]));
        // What it covers of the authentication layer goes where that layer ended: it is longer than its fields.
        let mut start = usize::from(*transport);
        for piece in afl.covered().into_iter().rev() {
            start -= piece.len();
            job.telegram[start..][..piece.len()].copy_from_slice(piece);
        }
        messages.push(Cmac { key, message: &job.telegram[start..] });
    }
    let mut macs = Secrets::zeros(messages.len() * BLOCK)?;
    let (macs, _) = macs.as_chunks_mut();
    cmac(&messages, macs);
    let mut messages = room_for(macs.len())?;
    for ((((job, _), [key, _]), mac), given) in rows.iter_mut().zip(pairs(&keys)).zip(macs).zip(given) {
        let &Sealed::Mode7 { start, blocks, .. } = job.sealed else { continue };
        if given.is(mac) {
            answer(job.at, Ok(usize::from(start)..job.telegram.len()));
            messages.push(Cbc { key, iv: [0; BLOCK], data: &mut job.telegram[encrypted(start, blocks)] });
        } else {
            answer(job.at, Err(ReadingCode::TagInvalid));
        }
    }
    cbc_decrypt(&mut messages);
    Ok(())
}

/// The MAC that came with a frame, cut to its length.
struct MacOf {
    bytes: Block,
    length: usize,
}

impl MacOf {
    fn new(mac: &[u8]) -> Self {
        let mut bytes = Block::default();
        bytes[..mac.len()].copy_from_slice(mac);
        Self { bytes, length: mac.len() }
    }

    fn is(&self, mac: &Block) -> bool {
        self.bytes[..self.length].ct_eq(&mac[..self.length]).into()
    }
}

fn open_mode_10(rows: &mut [Row<'_>], answer: &mut impl FnMut(usize, Check<Range<usize>>)) -> Result<(), Stop> {
    if rows.is_empty() {
        return Ok(());
    }
    let keys = kdf(rows, |sealed| match *sealed {
        Sealed::Mode10 { counter, address, .. } => (counter, address_id(address)),
        _ => Default::default(),
    })?;
    for ((job, _), [key, _]) in rows.iter_mut().zip(pairs(&keys)) {
        let Sealed::Mode10 { counter, address, header, start } = job.sealed else { continue };
        let (start, end) = (usize::from(*start), job.telegram.len());
        let mut nonce = [0; 13];
        nonce[..8].copy_from_slice(address);
        nonce[9..].copy_from_slice(counter);
        nonce[9..].reverse();
        let split = job.telegram[start..].split_last_chunk_mut();
        let genuine = split.is_some_and(|(data, tag)| ccm_open(key, &nonce, header, data, *tag));
        answer(job.at, if genuine { Ok(start..end - CCM_TAG) } else { Err(ReadingCode::TagInvalid) });
    }
    Ok(())
}

fn open_ell_ctr(rows: &mut [Row<'_>], answer: &mut impl FnMut(usize, Check<Range<usize>>)) -> Result<(), Stop> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut messages = room_for(rows.len())?;
    for (job, key) in &mut *rows {
        let &Sealed::EllCtr { counter_block, start } = job.sealed else { continue };
        let data = &mut job.telegram[start.into()..];
        messages.push(Ctr { key: Key::Aes128(key), counter: counter_block, data });
    }
    ctr_apply(&mut messages);
    for (job, _) in rows {
        let &Sealed::EllCtr { start, .. } = job.sealed else { continue };
        let payload = usize::from(start) + 2..job.telegram.len();
        // No tag: whoever sees the code sees whether it was right.
        let fits = job.telegram[start.into()..].starts_with(&crc16(&job.telegram[payload.clone()]).to_le_bytes());
        answer(job.at, if fits { Ok(payload) } else { Err(ReadingCode::CheckFailed) });
    }
    Ok(())
}

/// KDF-A (OMS annex N; CEN/TR 17167, F.3): the keys for encryption and for the MAC, in the meter's direction.
fn kdf(rows: &[Row<'_>], of: impl Fn(&Sealed) -> ([u8; 4], [u8; 4])) -> Result<Secrets, Stop> {
    let (mut keys, mut derived) = (room_for(rows.len())?, Secrets::zeros(rows.len() * 2 * BLOCK)?);
    let messages = derived.as_chunks_mut().0.as_chunks_mut::<2>().0;
    for ((job, key), messages) in rows.iter().zip(&mut *messages) {
        let (counter, id) = of(job.sealed);
        for (constant, message) in (0..).zip(messages) {
            *message = [0x07; BLOCK];
            message[0] = constant;
            message[1..5].copy_from_slice(&counter);
            message[5..9].copy_from_slice(&id);
        }
        keys.push(*key);
    }
    cmac_of_two(&keys, messages);
    Ok(derived)
}

/// Both keys of each row.
fn pairs(derived: &Secrets) -> &[[Block; 2]] {
    derived.as_chunks().0.as_chunks().0
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
