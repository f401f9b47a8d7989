//! The link layer: how long a frame is, with or without the checksums of frame format A.

use super::crc::crc16;
use crate::reading::code::{Check, ReadingCode};

/// Bytes of the first block of format A: L, C, M, A.
const FIRST: usize = 10;
/// Bytes of each further block.
const FURTHER: usize = 16;
/// Bytes of a checksum.
const CHECKSUM: usize = 2;
/// Bytes that receivers add after a frame: signal strength, status.
const ADDED: usize = 3;
/// The most bytes of a telegram: the longest frame with all checksums, and what a receiver adds.
pub const LONGEST: usize = with_checksums(1 + u8::MAX as usize) + ADDED;

/// Bytes of a frame with its checksums.
const fn with_checksums(frame: usize) -> usize {
    frame + CHECKSUM * (1 + (frame - FIRST).div_ceil(FURTHER))
}

/// The form that a frame came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Its first bytes, as many as these.
    Plain(usize),
    /// With checksums, which are right; these are its bytes without them.
    Checked(Vec<u8>),
}

/// The frame without its checksums, and without what a receiver added. The length says which of both forms it is: with checksums
/// a frame has at least two of them, which are more bytes than receivers add.
#[inline]
pub fn form(telegram: &[u8]) -> Check<Form> {
    let frame = 1 + usize::from(*telegram.first().ok_or(ReadingCode::TelegramMalformed)?);
    if frame <= FIRST {
        return Err(ReadingCode::TelegramMalformed);
    }
    if (frame..=frame + ADDED).contains(&telegram.len()) {
        return Ok(Form::Plain(frame));
    }
    let with_checksums = with_checksums(frame);
    if !(with_checksums..=with_checksums + ADDED).contains(&telegram.len()) {
        return Err(ReadingCode::TelegramMalformed);
    }
    let (first, rest) = telegram[..with_checksums].split_at(FIRST + CHECKSUM);
    let mut stripped = Vec::with_capacity(frame);
    for block in std::iter::once(first).chain(rest.chunks(FURTHER + CHECKSUM)) {
        let (data, checksum) = block.split_at(block.len() - CHECKSUM);
        if crc16(data).to_be_bytes() != checksum {
            return Err(ReadingCode::FrameChecksum);
        }
        stripped.extend_from_slice(data);
    }
    Ok(Form::Checked(stripped))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u8) -> Vec<u8> {
        (0..=length).map(|at| if at == 0 { length } else { at.wrapping_mul(37) }).collect()
    }

    fn with_checksums(frame: &[u8]) -> Vec<u8> {
        let (first, rest) = frame.split_at(FIRST);
        std::iter::once(first)
            .chain(rest.chunks(FURTHER))
            .flat_map(|block| [block, &crc16(block).to_be_bytes()].concat())
            .collect()
    }

    fn stripped(telegram: &[u8]) -> Check<Vec<u8>> {
        form(telegram).map(|form| match form {
            Form::Plain(length) => telegram[..length].to_vec(),
            Form::Checked(frame) => frame,
        })
    }

    #[test]
    fn both_forms_of_each_length_are_one_frame_with_up_to_three_bytes_after_it() {
        for length in 10..=u8::MAX {
            let frame = frame(length);
            for form in [frame.clone(), with_checksums(&frame)] {
                for added in 0..=ADDED {
                    assert_eq!(stripped(&[&form[..], &[0xaa; ADDED][..added]].concat()), Ok(frame.clone()));
                }
                // Cut by a byte, a frame of two blocks with checksums is as long as one without them and three bytes after it.
                let cut = stripped(&form[..form.len() - 1]);
                assert!(cut.is_err() || form.len() == frame.len() + ADDED + 1, "{length}");
                assert!(stripped(&[&form[..], &[0; ADDED + 1]].concat()).is_err(), "{length}");
            }
        }
        for length in 0..10 {
            assert_eq!(stripped(&frame(length)), Err(ReadingCode::TelegramMalformed));
        }
        assert_eq!(stripped(&[]), Err(ReadingCode::TelegramMalformed));
    }

    #[test]
    fn a_changed_bit_of_a_frame_with_checksums_is_found() {
        let telegram = with_checksums(&frame(60));
        for bit in 8..8 * telegram.len() {
            let mut changed = telegram.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(stripped(&changed), Err(ReadingCode::FrameChecksum), "bit {bit}");
        }
    }
}
