//! CRC-16 of EN 13757: polynomial 3D65, start 0, result inverted; the first bit is the most significant one.

const POLYNOMIAL: u16 = 0x3d65;

/// What a byte does to a remainder: `TABLES[n]` where `n` more bytes follow in the same step.
const TABLES: [[u16; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            remainder = remainder << 1 ^ if remainder >> 15 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = remainder;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before: u16 = tables[table - 1][byte];
            tables[table][byte] = before << 8 ^ tables[0][(before >> 8) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
};

/// The checksum of `bytes`.
#[must_use]
pub(super) fn crc16(bytes: &[u8]) -> u16 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let remainder = eights.iter().fold(0_u16, |remainder, eight| {
        let [high, low] = remainder.to_be_bytes();
        let at = |place: usize, byte: u8| TABLES[7 - place][usize::from(byte)];
        at(0, eight[0] ^ high) ^ at(1, eight[1] ^ low) ^ (2..8).fold(0, |sum, place| sum ^ at(place, eight[place]))
    });
    !rest
        .iter()
        .fold(remainder, |remainder, byte| remainder << 8 ^ TABLES[0][usize::from((remainder >> 8) as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One bit after another, as the polynomial division is written down.
    fn by_bits(bytes: &[u8]) -> u16 {
        !bytes.iter().fold(0_u16, |remainder, &byte| {
            (0..8).fold(remainder ^ u16::from(byte) << 8, |remainder, _| {
                remainder << 1 ^ if remainder >> 15 == 1 { POLYNOMIAL } else { 0 }
            })
        })
    }

    #[test]
    fn eight_bytes_at_a_time_divide_as_single_bits_do() {
        // The check value of CRC-16/EN-13757 in the catalogue of CRCs.
        assert_eq!(crc16(b"123456789"), 0xc2b7);
        let bytes: Vec<u8> = (0..300_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for length in 0..bytes.len() {
            assert_eq!(crc16(&bytes[..length]), by_bits(&bytes[..length]));
        }
    }
}
