//! Tokens as text: base64, base64url or hexadecimal, as other programs write them.
//!
//! A token begins with the bytes d2 84, so its text begins with `0oR` or with `d284`, and nothing has to be guessed.

use crate::code::{Check, Code};

/// Reads a token's text piece by piece, each byte once.
#[derive(Debug)]
pub struct TextReader {
    form: Form,
    /// The text's first characters, until they say what it is.
    head: [u8; 6],
    head_len: usize,
    /// Whether white space came before them.
    is_indented: bool,
    /// Bits that do not make a byte yet.
    bits: u32,
    digits: usize,
    pads: usize,
    /// Marks of the alphabets whose own digits came.
    alphabets: u8,
    /// Bytes that were read, those beyond the room for them too.
    len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Unknown,
    Base64,
    Hex,
    Unreadable,
}

/// A digit's value, and which alphabet alone has it; both marks on what is not a digit.
const STANDARD: u8 = 0x40;
const URL: u8 = 0x80;
const NEITHER: u8 = 0xff;
const SPACE: u8 = 0xc0;
const PAD: u8 = 0xc1;

const BASE64: [u8; 256] = {
    let mut table = [NEITHER; 256];
    let mut value = 0;
    while value < 62 {
        let digit = match value {
            0..26 => b'A' + value,
            26..52 => b'a' + (value - 26),
            _ => b'0' + (value - 52),
        };
        table[digit as usize] = value;
        value += 1;
    }
    table[b'+' as usize] = 0x3e | STANDARD;
    table[b'/' as usize] = 0x3f | STANDARD;
    table[b'-' as usize] = 0x3e | URL;
    table[b'_' as usize] = 0x3f | URL;
    table[b'=' as usize] = PAD;
    table[b' ' as usize] = SPACE;
    table[b'\t' as usize] = SPACE;
    table[b'\n' as usize] = SPACE;
    table[b'\r' as usize] = SPACE;
    table[0x0b] = SPACE;
    table[0x0c] = SPACE;
    table
};

impl Default for TextReader {
    fn default() -> Self {
        Self {
            form: Form::Unknown,
            head: [0; 6],
            head_len: 0,
            is_indented: false,
            bits: 0,
            digits: 0,
            pads: 0,
            alphabets: 0,
            len: 0,
        }
    }
}

impl TextReader {
    /// The bytes of a whole text.
    ///
    /// # Errors
    /// [`Code::TextUnreadable`], or [`Code::TooLarge`] for over `most` bytes.
    pub fn decode(text: &[u8], most: usize) -> Check<Vec<u8>> {
        let (mut reader, mut out) = (Self::default(), vec![0; most.min(text.len())]);
        reader.read(text, &mut out);
        let len = reader.finish()?;
        if len > most {
            return Err(Code::TooLarge);
        }
        out.truncate(len);
        Ok(out)
    }

    /// Reads on, and writes the bytes as far as there is room for them in `out`, which is the same each time.
    pub fn read(&mut self, text: &[u8], out: &mut [u8]) {
        let mut text = text;
        while self.form == Form::Unknown {
            let Some((&first, rest)) = text.split_first() else { return };
            self.begin(first, out);
            text = rest;
        }
        match self.form {
            Form::Base64 => self.base64(text, out),
            Form::Hex => text.iter().for_each(|&digit| self.hex(digit, out)),
            Form::Unknown | Form::Unreadable => {}
        }
    }

    /// The number of bytes, when the text has ended: more than there was room for, where they were not all written.
    ///
    /// # Errors
    /// [`Code::TextUnreadable`].
    pub fn finish(&self) -> Check<usize> {
        let is_whole = match self.form {
            Form::Base64 => {
                let missing = (4 - self.digits % 4) % 4;
                missing < 3 && (self.pads == 0 || self.pads == missing) && self.alphabets != STANDARD | URL
            }
            Form::Hex => self.digits.is_multiple_of(2),
            Form::Unknown | Form::Unreadable => false,
        };
        if is_whole { Ok(self.len) } else { Err(Code::TextUnreadable) }
    }

    /// One of the first characters.
    fn begin(&mut self, character: u8, out: &mut [u8]) {
        if BASE64[character as usize] == SPACE {
            self.is_indented = true;
            return;
        }
        self.head[self.head_len] = character;
        self.head_len += 1;
        let head = self.head;
        let (head, is_hex) = (&head[..self.head_len], |digits: &[u8]| digits.eq_ignore_ascii_case(b"d284"));
        match head {
            b"0oR" => {
                self.form = Form::Base64;
                self.base64(head, out);
            }
            digits @ [_, _, _, _] if is_hex(digits) && !self.is_indented => self.hex_begins(digits, out),
            [b'0' | b'\\', b'x' | b'X', digits @ ..] if is_hex(digits) && !self.is_indented => {
                self.hex_begins(digits, out);
            }
            _ if head.len() == self.head.len() => self.form = Form::Unreadable,
            _ => {}
        }
    }

    fn hex_begins(&mut self, digits: &[u8], out: &mut [u8]) {
        self.form = Form::Hex;
        for &digit in digits {
            self.hex(digit, out);
        }
    }

    fn hex(&mut self, digit: u8, out: &mut [u8]) {
        let Some(value) = (digit as char).to_digit(16) else {
            self.form = Form::Unreadable;
            return;
        };
        self.bits = self.bits << 4 | value;
        self.digits += 1;
        if self.digits.is_multiple_of(2) {
            self.write(self.bits as u8, out);
        }
    }

    fn base64(&mut self, text: &[u8], out: &mut [u8]) {
        let mut text = text;
        while let Some((&quad, rest)) = text.split_first_chunk::<4>() {
            let values = quad.map(|digit| BASE64[digit as usize]);
            let marks = (values[0] | values[1] | values[2] | values[3]) & (STANDARD | URL);
            let room = out.get_mut(self.len..self.len + 3);
            let (true, Some(room)) = (marks == 0 && self.digits.is_multiple_of(4) && self.pads == 0, room) else {
                for digit in quad {
                    self.digit(digit, out);
                }
                text = rest;
                continue;
            };
            let bits = values.iter().fold(0_u32, |bits, &value| bits << 6 | u32::from(value));
            room.copy_from_slice(&bits.to_be_bytes()[1..]);
            self.digits += 4;
            self.len += 3;
            text = rest;
        }
        for &digit in text {
            self.digit(digit, out);
        }
    }

    /// One character of base64.
    fn digit(&mut self, character: u8, out: &mut [u8]) {
        let value = BASE64[character as usize];
        match value {
            SPACE => {}
            PAD => self.pads += 1,
            NEITHER => self.form = Form::Unreadable,
            _ if self.pads > 0 => self.form = Form::Unreadable,
            _ => {
                self.alphabets |= value & (STANDARD | URL);
                self.bits = self.bits << 6 | u32::from(value & 0x3f);
                self.digits += 1;
                match self.digits % 4 {
                    2 => self.write((self.bits >> 4) as u8, out),
                    3 => self.write((self.bits >> 2) as u8, out),
                    0 => self.write(self.bits as u8, out),
                    _ => {}
                }
            }
        }
    }

    fn write(&mut self, byte: u8, out: &mut [u8]) {
        if let Some(place) = out.get_mut(self.len) {
            *place = byte;
        }
        self.len += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a text, read in pieces of `step`.
    fn read(text: &[u8], step: usize) -> Check<Vec<u8>> {
        let (mut reader, mut out) = (TextReader::default(), [0; 64]);
        text.chunks(step).for_each(|piece| reader.read(piece, &mut out));
        reader.finish().map(|len| out[..len.min(64)].to_vec())
    }

    const TOKEN: [u8; 11] = [0xd2, 0x84, 0x58, 0xfb, 0xff, 0xfe, 0, 1, 0x3f, 0xf0, 9];

    #[test]
    fn every_form_of_a_token_is_read_however_it_is_cut() {
        let texts: [&[u8]; 12] = [
            b"0oRY+//+AAE/8Ak=",
            b"0oRY+//+AAE/8Ak",
            b"0oRY-__-AAE_8Ak=",
            b"0oRY-__-AAE_8Ak",
            b" 0o\nRY+//+\tAAE/\r\n8Ak =\n",
            b"d28458fbfffe00013ff009",
            b"D28458FBFFFE00013FF009",
            b"d28458FBfffe00013ff009",
            b"0xd28458fbfffe00013ff009",
            b"0XD28458FBFFFE00013FF009",
            b"\\xd28458fbfffe00013ff009",
            b"\\xD28458fbfffe00013ff009",
        ];
        for text in texts {
            for step in 1..=text.len() {
                assert_eq!(read(text, step), Ok(TOKEN.to_vec()), "{:?} by {step}", String::from_utf8_lossy(text));
            }
        }
        assert_eq!(read(b"0oRY-__-AAE_8A==", 5), Ok(TOKEN[..10].to_vec()));
    }

    #[test]
    fn any_other_text_is_unreadable() {
        let texts: [&[u8]; 22] = [
            b"",
            b" ",
            b"0o",
            b"d28",
            b"hello, world",
            b"0oRY+__+AAE/8Ak=",
            b"0oRY*",
            b"0oRYA",
            b"0oRYAA=",
            b"0oRYAAA==",
            b"0oRYAAA=A",
            b"0oRY=",
            b"0oRYAAAA=",
            b"d28458f",
            b"d28458 fb",
            b" d28458fb",
            b"d28458fb\n",
            b"0x0xd28458fb",
            b"xd28458fb",
            b"0x d28458fb",
            b"d2:84:58",
            "0oRY\u{a0}AAAA".as_bytes(),
        ];
        for text in texts {
            for step in 1..=text.len().max(1) {
                assert_eq!(read(text, step), Err(Code::TextUnreadable), "{:?}", String::from_utf8_lossy(text));
            }
        }
    }

    #[test]
    fn what_has_no_room_is_counted_and_still_read() {
        let long = [b"0oRY".as_slice(), &[b'A'; 400]].concat();
        assert_eq!(TextReader::counted(&long), Ok(303));
        assert_eq!(TextReader::counted(&[&long[..], b"*"].concat()), Err(Code::TextUnreadable));
        assert_eq!(TextReader::counted(&[b"d284".as_slice(), &[b'0'; 400]].concat()), Ok(202));
    }

    impl TextReader {
        fn counted(text: &[u8]) -> Check<usize> {
            let (mut reader, mut out) = (Self::default(), [0; 64]);
            text.chunks(7).for_each(|piece| reader.read(piece, &mut out));
            reader.finish()
        }
    }
}
