//! Scopes (AIF, RFC 9237) and the actions that they grant.
//!
//! ```cddl
//! scope = [1*16 [group: uint, bits: uint .size 4]]       ; groups strictly rising, bits nonzero
//! ```

use super::cbor::{Major, Reader, Writer};
use crate::code::{Check, Code};

/// A set of actions, by their numbers: `(group - 1) * 8 + bit`.
pub type Actions = u64;

/// The bits of each group that have an action: READ, CONFIGURE, SERVICE, SESSION, SECURITY.
const KNOWN_BITS: [u8; 5] = [0b1_1111, 0b11_1111, 0b111_1111, 0b11, 0b1111];

/// All 24 actions.
pub const ALL_ACTIONS: Actions =
    u64::from_le_bytes([KNOWN_BITS[0], KNOWN_BITS[1], KNOWN_BITS[2], KNOWN_BITS[3], KNOWN_BITS[4], 0, 0, 0]);

/// The action `open_session`, which every authorization grants by its type.
pub const OPEN_SESSION: u8 = 24;

const MAX_PAIRS: u64 = 16;

/// A scope: what it grants, and the document that was read, if one was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    document: Option<&'a [u8]>,
    /// What it grants. Groups and bits without an action grant nothing.
    pub actions: Actions,
    /// Whether it is one pair with one bit, as a secure command's.
    pub is_one_bit: bool,
    /// Whether it is exactly `[[4, 1]]`.
    pub opens_session: bool,
}

/// What one reading of a scope document tells.
#[derive(Clone, Copy, Debug)]
pub enum Reading<'a> {
    /// A scope.
    Scope(Scope<'a>),
    /// Well-formed, but no array of pairs of unsigned integers (402), or out of its bounds (404).
    Fault(Code),
}

impl<'a> Scope<'a> {
    /// The scope that grants exactly `actions`.
    #[must_use]
    pub fn from_actions(actions: Actions) -> Self {
        let actions = actions & ALL_ACTIONS;
        let is_one_bit = actions.is_power_of_two();
        Self { document: None, actions, is_one_bit, opens_session: actions == 1 << OPEN_SESSION }
    }

    /// Reads a scope document to its end, then judges it.
    ///
    /// # Errors
    /// 102 to 106 for the document's syntax; an empty one is 102.
    #[inline]
    pub fn read(document: &'a [u8]) -> Check<Reading<'a>> {
        match Self::read_exact(document) {
            Some(scope) => Ok(Reading::Scope(scope)),
            None => fault(document).map(Reading::Fault),
        }
    }

    /// The scope when nothing at all is wrong with it.
    #[inline]
    fn read_exact(document: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(document);
        let outer = reader.head().ok()?;
        if outer.major != Major::Array || !(1..=MAX_PAIRS).contains(&outer.argument) {
            return None;
        }
        let mut scope = Self { document: Some(document), actions: 0, is_one_bit: false, opens_session: false };
        let mut before = None;
        for _ in 0..outer.argument {
            let (group, bits) = read_pair(&mut reader)?;
            let bits = u32::try_from(bits).ok().filter(|&bits| bits != 0)?;
            if before.is_some_and(|before| group <= before) {
                return None;
            }
            before = Some(group);
            scope.is_one_bit = outer.argument == 1 && bits.is_power_of_two();
            scope.opens_session = outer.argument == 1 && (group, bits) == (4, 1);
            if let (1..=5, low) = (group, bits as u8) {
                let index = group as usize - 1;
                scope.actions |= u64::from(low & KNOWN_BITS[index]) << (8 * index);
            }
        }
        reader.is_at_end().then_some(scope)
    }

    /// Writes the document.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        if let Some(document) = self.document {
            return document.to_vec();
        }
        let groups = (1..).zip(self.actions.to_le_bytes()).filter(|&(_, bits)| bits != 0);
        let mut writer = Writer::default();
        writer.head(Major::Array, groups.clone().count() as u64);
        for (group, bits) in groups {
            writer.head(Major::Array, 2).unsigned(group).unsigned(bits.into());
        }
        writer.into_bytes()
    }
}

/// What is wrong with a document that is not a scope.
#[cold]
fn fault(document: &[u8]) -> Check<Code> {
    let mut reader = Reader::new(document);
    reader.skip(0)?;
    reader.finish()?;
    Ok(if is_pairs(document) { Code::ClaimRange } else { Code::ClaimType })
}

fn read_pair(reader: &mut Reader<'_>) -> Option<(u64, u64)> {
    let pair = reader.head().ok()?;
    let is_pair = pair.major == Major::Array && pair.argument == 2;
    let (group, bits) = is_pair.then(|| Some((reader.head().ok()?, reader.head().ok()?)))??;
    let both_unsigned = group.major == Major::Unsigned && bits.major == Major::Unsigned;
    both_unsigned.then_some((group.argument, bits.argument))
}

/// Whether a well-formed document is an array of pairs of unsigned integers.
fn is_pairs(document: &[u8]) -> bool {
    let mut reader = Reader::new(document);
    let Ok(outer) = reader.head() else { return false };
    outer.major == Major::Array && (0..outer.argument).all(|_| read_pair(&mut reader).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(document: &[u8]) -> i16 {
        match Scope::read(document) {
            Ok(Reading::Scope(_)) => 0,
            Ok(Reading::Fault(code)) | Err(code) => code as i16,
        }
    }

    #[test]
    fn each_fault_has_its_code() {
        let cases: &[(&[u8], i16)] = &[
            (b"\x81\x82\x01\x18\x3f", 0),
            (b"\x80", 404),
            (b"", 102),
            (b"\x81\x82\x01\x00", 404), // no bit
            (b"\x81\x82\x01\x1a\xff\xff\xff\xff", 0),
            (b"\x81\x82\x01\x1b\x00\x00\x00\x01\x00\x00\x00\x00", 404),
            (b"\x82\x82\x02\x01\x82\x01\x01", 404), // groups fall
            (b"\x82\x82\x02\x01\x82\x02\x01", 404), // groups stand
            (b"\x81\x81\x01", 402),
            (b"\x81\x83\x01\x01\x01", 402),
            (b"\x81\x82\x20\x01", 402),
            (b"\xa0", 402),
            (b"\x81\x82\x01\x01\x00", 105),
            (b"\x81\x82\x18\x01\x01", 103),
            (b"\x81\x82\x1b\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0), // an unusual group
        ];
        for (document, expected) in cases {
            assert_eq!(code(document), *expected, "{document:02x?}");
        }
    }

    #[test]
    fn unknown_groups_and_bits_grant_nothing() {
        let Ok(Reading::Scope(scope)) = Scope::read(b"\x82\x82\x01\x19\x01\x3f\x82\x06\x01") else { panic!() };
        assert_eq!(scope.actions, 0b1_1111);
        assert_eq!(scope.to_bytes(), b"\x82\x82\x01\x19\x01\x3f\x82\x06\x01");
    }

    #[test]
    fn actions_make_the_scope_that_grants_them() {
        for number in (0..64).filter(|number| ALL_ACTIONS >> number & 1 == 1) {
            let scope = Scope::from_actions(1 << number);
            let document = scope.to_bytes();
            let Ok(Reading::Scope(read)) = Scope::read(&document) else { panic!() };
            assert_eq!((read.actions, read.is_one_bit), (1 << number, true));
            assert_eq!((read.opens_session, read.to_bytes()), (scope.opens_session, document.clone()));
        }
    }
}
