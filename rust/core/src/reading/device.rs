//! The devices of the profiles: 8 bytes in a telegram, and one name each.
//!
//! cose: `ert:…` or `eui64:…`, the id as a number, big-endian. wmbus: `wmbus:MMM-IIIIIIII-VV-TT`, the maker's letters, id, version
//! and type, in the bytes of the address as it is sent. dlms: `dlms:` and the system title's 16 digits. Digits are lower case.

use super::Profile;
use crate::format::device;

/// The 8 bytes that stand for a device.
pub type DeviceId = [u8; 8];

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// The two digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0xf]];
        byte += 1;
    }
    pairs
};

/// The bit of a maker that is no part of its letters.
const NOT_OF_LETTERS: u8 = 0x80;

/// The most bytes of a name.
pub const LONGEST_NAME: usize = 24;

/// Appends the device's name.
pub fn append_name(profile: Profile, id: &DeviceId, out: &mut Vec<u8>) {
    let pair = |byte: u8| PAIRS[usize::from(byte)];
    match profile {
        Profile::Cose => out.extend_from_slice(device::audience(u64::from_be_bytes(*id)).as_bytes()),
        Profile::Dlms => {
            let mut name = *b"dlms:0000000000000000";
            for (digits, &byte) in name[5..].as_chunks_mut::<2>().0.iter_mut().zip(id) {
                *digits = pair(byte);
            }
            out.extend_from_slice(&name);
        }
        Profile::Wmbus => {
            let mut name = *b"wmbus:MMM-IIIIIIII-VV-TT";
            let maker = u16::from_le_bytes([id[0], id[1]]);
            name[6] = 64 + (maker >> 10 & 31) as u8;
            name[7] = 64 + (maker >> 5 & 31) as u8;
            name[8] = 64 + (maker & 31) as u8;
            for (digits, &byte) in name[10..18].as_chunks_mut::<2>().0.iter_mut().zip(id[2..6].iter().rev()) {
                *digits = pair(byte);
            }
            name[19..21].copy_from_slice(&pair(id[6]));
            name[22..24].copy_from_slice(&pair(id[7]));
            out.extend_from_slice(&name);
        }
    }
}

/// The device of a name, and the profile that names devices so. `None` where it names none.
#[must_use]
pub fn parse_name(name: &[u8]) -> Option<(Profile, DeviceId)> {
    if let Some(digits) = name.strip_prefix(b"dlms:") {
        return Some((Profile::Dlms, bytes_of(digits)?));
    }
    if let Some(rest) = name.strip_prefix(b"wmbus:") {
        return Some((Profile::Wmbus, wmbus(rest)?));
    }
    device::parse(name).map(|id| (Profile::Cose, id.to_be_bytes()))
}

/// `MMM-IIIIIIII-VV-TT`.
fn wmbus(name: &[u8]) -> Option<DeviceId> {
    let &[a, b, c, b'-', ref id @ .., b'-', v1, v2, b'-', t1, t2] = name else { return None };
    let letters = [a, b, c]
        .into_iter()
        .try_fold(0, |maker, letter| (64..96).contains(&letter).then(|| maker << 5 | u16::from(letter - 64)))?;
    let mut id: [u8; 4] = bytes_of(id)?;
    id.reverse();
    let [version, kind] = bytes_of(&[v1, v2, t1, t2])?;
    let [first, second] = letters.to_le_bytes();
    Some([first, second, id[0], id[1], id[2], id[3], version, kind])
}

fn bytes_of<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let value = |digit: u8| DIGITS.iter().position(|&known| known == digit).map(|value| value as u8);
    let bytes: Option<Vec<u8>> = pairs.iter().map(|&[high, low]| Some(value(high)? << 4 | value(low)?)).collect();
    bytes?.try_into().ok()
}

/// The id under which a device is looked up by name: bits that its name does not show are zero.
#[must_use]
#[inline]
pub fn as_named(profile: Profile, mut id: DeviceId) -> DeviceId {
    if profile == Profile::Wmbus {
        id[1] &= !NOT_OF_LETTERS;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(profile: Profile, id: DeviceId) -> String {
        let mut out = Vec::new();
        append_name(profile, &id, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn names_are_those_of_the_page() {
        assert_eq!(name(Profile::Cose, 100_000_001_u64.to_be_bytes()), "ert:100000001");
        assert_eq!(name(Profile::Cose, [0, 7, 0x81, 0, 0xaa, 0xbb, 0xcc, 0xdd]), "eui64:00078100aabbccdd");
        assert_eq!(name(Profile::Dlms, *b"KFM\x10\x10\0\0\x23"), "dlms:4b464d1010000023");
        let id = [0x2d, 0x2c, 0x99, 0x87, 0x34, 0x76, 0x1b, 0x16];
        assert_eq!(name(Profile::Wmbus, id), "wmbus:KAM-76348799-1b-16");
    }

    #[test]
    fn each_name_is_read_as_its_device() {
        for seed in 0..1_000_u64 {
            let id = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            for profile in Profile::ALL {
                let id = as_named(profile, id);
                assert_eq!(parse_name(name(profile, id).as_bytes()), Some((profile, id)));
            }
        }
    }

    #[test]
    fn other_texts_name_no_device() {
        for text in [
            "",
            "dlms:",
            "dlms:4b464d101000002",
            "dlms:4B464d1010000023",
            "dlms:4b464d10100000234",
            "wmbus:kam-76348799-1b-16",
            "wmbus:KAM-76348799-1B-16",
            "wmbus:KAM-7634879-1b-16",
            "wmbus:KAM-76348799-1b-16 ",
            "wmbus:KAM76348799-1b-16",
            "ert:01",
            "KAM",
        ] {
            assert_eq!(parse_name(text.as_bytes()), None, "{text}");
        }
    }
}
