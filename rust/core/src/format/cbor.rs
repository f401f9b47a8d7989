//! Deterministic CBOR (RFC 8949 section 4.2.1): a strict reader over a borrowed slice, and its mirror.
//!
//! The reader goes front to back, without recursion or allocation, and stops at the first byte where a fault can be known:
//! 102 malformed, 103 not deterministic, 104 duplicate key, 106 nested too deep. 105, bytes left over, is [`Reader::finish`].

use crate::code::{Check, Code};

/// Arrays, maps and tags nest at most this deep in one document.
pub const MAX_DEPTH: usize = 4;

/// The major types of RFC 8949 section 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Major {
    /// An integer from 0.
    Unsigned,
    /// An integer below 0: -1 - argument.
    Negative,
    /// A byte string of argument bytes.
    Bytes,
    /// UTF-8 text of argument bytes.
    Text,
    /// An array of argument items.
    Array,
    /// A map of argument pairs.
    Map,
    /// A tag; one item follows.
    Tag,
    /// A simple value or a float.
    Simple,
}

const MAJORS: [Major; 8] =
    [Major::Unsigned, Major::Negative, Major::Bytes, Major::Text, Major::Array, Major::Map, Major::Tag, Major::Simple];

/// What stands at the front of every item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The kind of item.
    pub major: Major,
    /// Value, length or count.
    pub argument: u64,
}

/// The head of the simple value null.
pub const NULL: Head = Head { major: Major::Simple, argument: 22 };

/// One container that is open while an item is skipped.
#[derive(Clone, Copy, Default)]
struct Open {
    /// Items still to come; twice the pairs in a map.
    left: u64,
    map: bool,
    /// Where the item that is being read began, and the key before it.
    start: usize,
    previous: (usize, usize),
}

/// A strict reader of one document.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Begins at the front of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been read.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// The bytes from `start` to here.
    #[must_use]
    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    /// Whether everything has been read.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// # Errors
    /// 105 when bytes are left over.
    pub const fn finish(&self) -> Check<()> {
        if self.is_at_end() { Ok(()) } else { Err(Code::CborTrailing) }
    }

    /// Reads a head.
    ///
    /// # Errors
    /// 102 for truncation, reserved additional information, a break, an integer or tag of indefinite length, and a simple
    /// value below 32 in two bytes (not well-formed: RFC 8949 section 3.3). 103 for another indefinite length, and where a
    /// shorter head says the same.
    #[inline]
    pub fn head(&mut self) -> Check<Head> {
        let first = *self.bytes.get(self.at).ok_or(Code::CborMalformed)?;
        self.at += 1;
        let major = MAJORS[usize::from(first >> 5)];
        let info = first & 0x1f;
        if info < 24 {
            return Ok(Head { major, argument: u64::from(info) });
        }
        self.long_head(major, info)
    }

    #[inline]
    fn long_head(&mut self, major: Major, info: u8) -> Check<Head> {
        if info > 27 {
            let string_or_container = matches!(major, Major::Bytes | Major::Text | Major::Array | Major::Map);
            let indefinite = info == 31 && string_or_container;
            return Err(if indefinite { Code::CborNotDeterministic } else { Code::CborMalformed });
        }
        let (argument, least) = match info {
            24 => (self.fixed::<1>()?[0].into(), 24),
            25 => (u16::from_be_bytes(self.fixed()?).into(), 1 << 8),
            26 => (u32::from_be_bytes(self.fixed()?).into(), 1 << 16),
            _ => (u64::from_be_bytes(self.fixed()?), 1 << 32),
        };
        if major == Major::Simple {
            let below_32 = info == 24 && argument < 32;
            return if below_32 { Err(Code::CborMalformed) } else { Ok(Head { major, argument: u64::MAX }) };
        }
        // Below the least, a shorter head says the same.
        if argument < least { Err(Code::CborNotDeterministic) } else { Ok(Head { major, argument }) }
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Check<[u8; N]> {
        let bytes = *self.bytes[self.at..].first_chunk().ok_or(Code::CborMalformed)?;
        self.at += N;
        Ok(bytes)
    }

    /// The next `length` bytes: a string's content.
    ///
    /// # Errors
    /// 102 when they run over the end.
    #[inline]
    pub fn take(&mut self, length: u64) -> Check<&'a [u8]> {
        if length > (self.bytes.len() - self.at) as u64 {
            return Err(Code::CborMalformed);
        }
        let start = self.at;
        self.at += length as usize;
        Ok(&self.bytes[start..self.at])
    }

    /// The next `length` bytes as text.
    ///
    /// # Errors
    /// 102 when they run over the end or are no UTF-8.
    #[inline]
    pub fn take_text(&mut self, length: u64) -> Check<&'a str> {
        std::str::from_utf8(self.take(length)?).map_err(|_| Code::CborMalformed)
    }

    /// Reads one whole item that stands inside `depth` open containers.
    ///
    /// # Errors
    /// 102, 103, 104, 106, at the first byte where one can be known.
    pub fn skip(&mut self, depth: usize) -> Check<()> {
        let head = self.head()?;
        self.skip_rest(head, depth)
    }

    /// Reads the rest of an item whose head has been read.
    ///
    /// # Errors
    /// As [`Self::skip`].
    pub fn skip_rest(&mut self, first: Head, depth: usize) -> Check<()> {
        let mut open = [Open::default(); MAX_DEPTH];
        let mut count = 0;
        let mut head = first;
        loop {
            let opened = match head.major {
                Major::Unsigned | Major::Negative | Major::Simple => None,
                Major::Bytes => self.take(head.argument).map(|_| None)?,
                Major::Text => self.take_text(head.argument).map(|_| None)?,
                Major::Array => Some(head.argument),
                // No slice holds 2^62 pairs: such a map ends in truncation, its parity kept.
                Major::Map => Some(head.argument.min(1 << 62) * 2),
                Major::Tag => Some(1),
            };
            if let Some(left) = opened {
                if depth + count >= MAX_DEPTH {
                    return Err(Code::CborDepth);
                }
                let map = head.major == Major::Map;
                open[count] = Open { left, map, start: self.at, previous: (0, 0) };
                count += 1;
            }
            if opened.is_none_or(|left| left == 0) {
                count = self.close(&mut open, if opened.is_some() { count - 1 } else { count })?;
                if count == 0 {
                    return Ok(());
                }
            }
            open[count - 1].start = self.at;
            head = self.head()?;
        }
    }

    /// An item has ended inside `count` containers: counts it there, and closes those that are full.
    fn close(&self, open: &mut [Open; MAX_DEPTH], mut count: usize) -> Check<usize> {
        while count > 0 {
            let container = &mut open[count - 1];
            if container.map && container.left.is_multiple_of(2) {
                let key = (container.start, self.at);
                self.check_order(container.previous, key)?;
                container.previous = key;
            }
            container.left -= 1;
            if container.left > 0 {
                break;
            }
            count -= 1;
        }
        Ok(count)
    }

    /// Map keys rise bytewise. `previous` is empty before the first key.
    #[inline]
    fn check_order(&self, previous: (usize, usize), key: (usize, usize)) -> Check<()> {
        match self.bytes[previous.0..previous.1].cmp(&self.bytes[key.0..key.1]) {
            std::cmp::Ordering::Less => Ok(()),
            std::cmp::Ordering::Equal => Err(Code::CborDuplicateKey),
            std::cmp::Ordering::Greater => Err(Code::CborNotDeterministic),
        }
    }
}

/// A map key: an integer, or anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// An integer that fits 64 bits with its sign.
    Integer(i64),
    /// An integer beyond that: known to nobody.
    BigInteger,
    /// No integer.
    Other,
}

/// Reads the pairs of a map that stands inside `depth` containers, itself included, keys checked.
#[derive(Clone, Copy, Debug)]
pub struct Pairs {
    left: u64,
    previous: Previous,
    depth: usize,
}

/// The key before.
#[derive(Clone, Copy, Debug)]
enum Previous {
    None,
    /// Integers rise bytewise as (major, argument) do, since the shortest head grows with its argument.
    Integer(bool, u64),
    /// Where it stands. No integer follows it: theirs are the first two majors.
    Other(usize, usize),
}

impl Pairs {
    /// Begins a map of `count` pairs whose head has been read.
    #[must_use]
    pub const fn new(count: u64, depth: usize) -> Self {
        Self { left: count, previous: Previous::None, depth }
    }

    /// Reads the next key; the caller reads its value.
    ///
    /// # Errors
    /// The key's own fault, then 103 or 104 for its order.
    #[inline]
    pub fn next_key(&mut self, reader: &mut Reader<'_>) -> Check<Option<Key>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let start = reader.at;
        let head = reader.head()?;
        if !matches!(head.major, Major::Unsigned | Major::Negative) {
            return self.other_key(reader, start, head).map(Some);
        }
        let rank = (head.major == Major::Negative, head.argument);
        match self.previous {
            Previous::Integer(negative, argument) if rank <= (negative, argument) => {
                let equal = rank == (negative, argument);
                return Err(if equal { Code::CborDuplicateKey } else { Code::CborNotDeterministic });
            }
            Previous::Other(..) => return Err(Code::CborNotDeterministic),
            _ => self.previous = Previous::Integer(rank.0, rank.1),
        }
        Ok(Some(match (rank.0, i64::try_from(head.argument)) {
            (false, Ok(value)) => Key::Integer(value),
            (true, Ok(value)) => Key::Integer(-1 - value),
            (_, Err(_)) => Key::BigInteger,
        }))
    }

    #[cold]
    fn other_key(&mut self, reader: &mut Reader<'_>, start: usize, head: Head) -> Check<Key> {
        reader.skip_rest(head, self.depth)?;
        if let Previous::Other(start_before, end_before) = self.previous {
            reader.check_order((start_before, end_before), (start, reader.at))?;
        }
        self.previous = Previous::Other(start, reader.at);
        Ok(Key::Other)
    }
}

/// Writes deterministic CBOR: what it writes, [`Reader`] reads.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty document with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Writes the shortest head.
    pub fn head(&mut self, major: Major, argument: u64) -> &mut Self {
        let high = (major as u8) << 5;
        let wide = argument.to_be_bytes();
        let (info, width) = match argument {
            0..=23 => (argument as u8, 0),
            24..=0xff => (24, 1),
            0x100..=0xffff => (25, 2),
            0x1_0000..=0xffff_ffff => (26, 4),
            _ => (27, 8),
        };
        self.bytes.push(high | info);
        self.bytes.extend_from_slice(&wide[8 - width..]);
        self
    }

    /// Writes an integer from 0.
    pub fn unsigned(&mut self, value: u64) -> &mut Self {
        self.head(Major::Unsigned, value)
    }

    /// Writes an integer of either sign.
    pub fn integer(&mut self, value: i64) -> &mut Self {
        match u64::try_from(value) {
            Ok(value) => self.head(Major::Unsigned, value),
            Err(_) => self.head(Major::Negative, (-1 - value) as u64),
        }
    }

    /// Writes a byte string.
    pub fn byte_string(&mut self, value: &[u8]) -> &mut Self {
        self.head(Major::Bytes, value.len() as u64).raw(value)
    }

    /// Writes a text string.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.head(Major::Text, value.len() as u64).raw(value.as_bytes())
    }

    /// Appends what is encoded already.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code for one document, 0 when it reads to its end.
    fn read(hex: &str) -> i16 {
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
        let mut reader = Reader::new(&bytes);
        reader.skip(0).and_then(|()| reader.finish()).map_or_else(|code| code as i16, |()| 0)
    }

    #[test]
    fn each_fault_has_its_code() {
        let cases = [
            ("00", 0),
            ("17", 0),
            ("1817", 103), // 23 in two bytes
            ("1818", 0),
            ("1900ff", 103),
            ("190100", 0),
            ("1a0000ffff", 103),
            ("1b00000000ffffffff", 103),
            ("1b0000000100000000", 0),
            ("1c", 102),   // reserved additional information
            ("1f", 102),   // an integer of indefinite length
            ("df", 102),   // a tag of indefinite length
            ("ff", 102),   // a lone break
            ("5fff", 103), // a string of indefinite length
            ("9fff", 103),
            ("bfff", 103),
            ("42ff", 102), // truncated
            ("", 102),
            ("61ff", 102),     // no UTF-8
            ("63eda080", 102), // a surrogate
            ("62c080", 102),   // overlong
            ("a2010002", 102), // the second value is missing
            ("a201000200", 0),
            ("a202000100", 103), // keys fall
            ("a201000100", 104), // a key twice
            ("a2200001", 103),   // -1 before 1, before the truncation after it
            ("0000", 105),
            ("81818180", 0),
            ("8181818180", 106),
            ("818181c100", 0),
            ("818181c1c100", 106),
            ("81818181a0", 106),
            ("f818", 102), // a simple value below 32 in two bytes
            ("f820", 0),
            ("f97e00", 0),
            ("a1818100f6", 0), // an array as a key
            ("a2818000818000", 104),
            ("9b7fffffffffffffff00", 102),
            ("bbffffffffffffffff00", 102),
        ];
        for (document, code) in cases {
            assert_eq!(read(document), code, "{document}");
        }
    }

    #[test]
    fn the_writer_is_the_readers_mirror() {
        for value in [0, 23, 24, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            let mut writer = Writer::default();
            writer.unsigned(value);
            let bytes = writer.into_bytes();
            let head = Reader::new(&bytes).head().unwrap();
            assert_eq!(head, Head { major: Major::Unsigned, argument: value });
        }
    }
}
