//! Device ids as audiences: `ert:` and a decimal below 2^48, or `eui64:` and sixteen lower-case hex digits from 2^48 up.

/// The most bytes that an audience has.
pub const LONGEST: usize = 64;

const FIRST_EUI64: u64 = 1 << 48;

/// The id that `aud` names. `None` when it names no device.
#[must_use]
#[inline]
pub fn parse(aud: &[u8]) -> Option<u64> {
    if let Some(digits) = aud.strip_prefix(b"ert:") {
        let well_formed = (1..=15).contains(&digits.len()) && (digits[0] != b'0' || digits.len() == 1);
        return if well_formed { decimal(digits).filter(|&id| id < FIRST_EUI64) } else { None };
    }
    let digits = aud.strip_prefix(b"eui64:").filter(|digits| digits.len() == 16)?;
    hexadecimal(digits).filter(|&id| id >= FIRST_EUI64)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, &digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, &digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(sum << 4 | u64::from(value))
    })
}

/// The audience of a device.
#[must_use]
pub fn audience(id: u64) -> String {
    if id < FIRST_EUI64 { format!("ert:{id}") } else { format!("eui64:{id:016x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_device_has_one_name() {
        for id in [0, 9, 100_000_001, FIRST_EUI64 - 1, FIRST_EUI64, u64::MAX] {
            assert_eq!(parse(audience(id).as_bytes()), Some(id));
        }
    }

    #[test]
    fn other_names_are_no_devices() {
        for aud in [
            "",
            "ert:",
            "ert:01",
            "ert:00",
            "ert:+1",
            "ert:281474976710656",
            "ert:99999999999999999999",
            "ERT:1",
            "ert:1 ",
            "eui64:0000ffffffffffff",
            "eui64:000100000000000",
            "eui64:000100000000000G",
            "eui64:00010000000000AB",
            "eui64:00010000000000000",
            "1",
        ] {
            assert_eq!(parse(aud.as_bytes()), None, "{aud}");
        }
    }
}
