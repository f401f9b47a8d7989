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
pub const ALL_ACTIONS: Actions = u64::from_le_bytes([
    KNOWN_BITS[0],
    KNOWN_BITS[1],
    KNOWN_BITS[2],
    KNOWN_BITS[3],
    KNOWN_BITS[4],
    0,
    0,
    0,
]);

/// The action `open_session`, which every authorization grants by its type.
pub const OPEN_SESSION: u8 = 24;

const MAX_PAIRS: usize = 16;

/// A scope that was read: its pairs as they came, and the actions that they grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    pairs: [(u64, u32); MAX_PAIRS],
    count: u8,
    /// What it grants. Groups and bits without an action grant nothing.
    pub actions: Actions,
}

/// What one reading of a scope document tells.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    /// A scope.
    Scope(Scope),
    /// Well-formed, but no array of pairs of unsigned integers (402), or out of its bounds (404).
    Fault(Code),
}

impl Scope {
    /// The scope that grants exactly `actions`.
    #[must_use]
    pub fn from_actions(actions: Actions) -> Self {
        let mut scope = Self { pairs: [(0, 0); MAX_PAIRS], count: 0, actions: actions & ALL_ACTIONS };
        for (group, bits) in (1..).zip(scope.actions.to_le_bytes()) {
            if bits != 0 {
                scope.push(group, u32::from(bits));
            }
        }
        scope
    }

    fn push(&mut self, group: u64, bits: u32) {
        self.pairs[usize::from(self.count)] = (group, bits);
        self.count += 1;
    }

    /// The pairs of group and bits, groups rising.
    #[must_use]
    pub fn pairs(&self) -> &[(u64, u32)] {
        &self.pairs[..usize::from(self.count)]
    }

    /// Whether it is one pair with one bit, as a secure command's.
    #[must_use]
    pub fn is_one_action(&self) -> bool {
        matches!(self.pairs(), [(_, bits)] if bits.is_power_of_two())
    }

    /// Whether it is exactly `[[4, 1]]`.
    #[must_use]
    pub fn opens_session(&self) -> bool {
        self.pairs() == [(4, 1)]
    }

    /// Reads a scope document to its end, then judges it.
    ///
    /// # Errors
    /// 102 to 106 for the document's syntax; an empty one is 102.
    pub fn read(document: &[u8]) -> Check<Reading> {
        if let Some(scope) = Self::read_exact(document) {
            return Ok(Reading::Scope(scope));
        }
        let mut reader = Reader::new(document);
        reader.skip(0)?;
        reader.finish()?;
        Ok(Reading::Fault(if is_pairs(document) { Code::ClaimRange } else { Code::ClaimType }))
    }

    /// The scope when nothing at all is wrong with it.
    #[inline]
    fn read_exact(document: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(document);
        let outer = reader.head().ok()?;
        if outer.major != Major::Array || !(1..=MAX_PAIRS as u64).contains(&outer.argument) {
            return None;
        }
        let mut scope = Self { pairs: [(0, 0); MAX_PAIRS], count: 0, actions: 0 };
        for _ in 0..outer.argument {
            let (group, bits) = read_pair(&mut reader)?;
            let bits = u32::try_from(bits).ok().filter(|&bits| bits != 0)?;
            if scope.pairs().last().is_some_and(|&(before, _)| group <= before) {
                return None;
            }
            scope.push(group, bits);
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
        let mut writer = Writer::default();
        writer.head(Major::Array, u64::from(self.count));
        for &(group, bits) in self.pairs() {
            writer.head(Major::Array, 2).unsigned(group).unsigned(u64::from(bits));
        }
        writer.into_bytes()
    }
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
            (b"\x81\x82\x01\x00", 404),                         // no bit
            (b"\x81\x82\x01\x1a\xff\xff\xff\xff", 0),
            (b"\x81\x82\x01\x1b\x00\x00\x00\x01\x00\x00\x00\x00", 404),
            (b"\x82\x82\x02\x01\x82\x01\x01", 404),             // groups fall
            (b"\x82\x82\x02\x01\x82\x02\x01", 404),             // groups stand
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
            let Ok(Reading::Scope(read)) = Scope::read(&scope.to_bytes()) else { panic!() };
            assert_eq!((read, read.actions), (scope, 1 << number));
        }
    }
}
