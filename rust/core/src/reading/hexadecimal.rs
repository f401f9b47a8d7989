//! Hexadecimal text as bytes, without a branch or a table that a digit decides: it may be that of a key.

/// Appends what `text` stands for: digits of any case in pairs, white space around and between pairs passed over, after an optional
/// `0x`. `None` where it is anything else; then nothing is appended.
#[must_use]
pub fn append(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X")).unwrap_or(text);
    let start = out.len();
    let (mut bad, mut at) = (0, 0);
    while let Some(&first) = text.get(at) {
        if first.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let (high, low) = (digit(first), digit(text.get(at + 1).copied().unwrap_or_default()));
        bad |= high | low;
        out.push((high << 4 | low) as u8);
        at += 2;
    }
    if bad & !0xf != 0 {
        out.truncate(start);
        return None;
    }
    Some(())
}

/// The value of a digit; above 15 for any other byte.
const fn digit(byte: u8) -> u32 {
    /// All ones where `byte` lies in a range.
    const fn within(byte: i32, first: u8, last: u8) -> i32 {
        ((first as i32 - 1 - byte) & (byte - last as i32 - 1)) >> 31
    }
    let byte = byte as i32;
    let mut value = 0x100;
    value += within(byte, b'0', b'9') & (byte - b'0' as i32 - 0x100);
    value += within(byte, b'a', b'f') & (byte - b'a' as i32 + 10 - 0x100);
    value += within(byte, b'A', b'F') & (byte - b'A' as i32 + 10 - 0x100);
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_read_from_its_digits_in_both_cases() {
        for byte in 0..=u8::MAX {
            for text in [format!("{byte:02x}"), format!(" 0x{byte:02X}\n")] {
                let mut out = vec![7];
                assert_eq!(append(text.as_bytes(), &mut out), Some(()));
                assert_eq!(out, [7, byte]);
            }
        }
    }

    #[test]
    fn each_other_byte_is_refused_and_leaves_nothing() {
        for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_hexdigit() && !byte.is_ascii_whitespace()) {
            for text in [[b'1', byte], [byte, b'1']] {
                let mut out = vec![7];
                assert_eq!(append(&text, &mut out), None, "{byte}");
                assert_eq!(out, [7]);
            }
        }
        for text in ["0", "000", "0 0", "0x0", "0x0x00", "\\x00"] {
            assert_eq!(append(text.as_bytes(), &mut Vec::new()), None, "{text}");
        }
        assert_eq!(append(b"00 ff\t0a", &mut Vec::new()), Some(()));
        assert_eq!(append(b"", &mut Vec::new()), Some(()));
    }
}
