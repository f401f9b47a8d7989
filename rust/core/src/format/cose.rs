//! The `COSE_Sign1` envelope (RFC 9052 section 4.2), its protected header, and the exact bytes that are signed.
//!
//! ```cddl
//! token = #6.18([ protected: bstr .cbor phdr, unprotected: {}, payload: bstr .cbor claims, signature: bstr ])
//! phdr  = { 1 => alg: int, 4 => kid: bstr .size 8, 16 => typ: tstr }
//! Sig_structure = ["Signature1", protected, h'', payload]
//! ```

use super::cbor::{Head, Key, Major, NULL, Pairs, Reader, Writer};
use super::token_type::TokenType;
use crate::code::{Check, Code};

/// The shortest token that can be.
pub const MIN_TOKEN: usize = 96;
/// The longest protected header, in bytes.
pub const MAX_PROTECTED: u64 = 128;

/// What stands before the protected bytes in every `Sig_structure`: an array of four, "Signature1".
pub const SIGNED_PREFIX: &[u8] = b"\x84\x6aSignature1";
/// The external data of every `Sig_structure`: none.
pub const SIGNED_EXTERNAL: &[u8] = b"\x40";

/// An envelope, borrowed from the token.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The protected header with the head of its byte string, as received and signed.
    pub protected_item: &'a [u8],
    /// The protected header.
    pub protected: &'a [u8],
    /// The payload with the head of its byte string, as received and signed.
    pub payload_item: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// The signature, of whatever length.
    pub signature: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Reads an envelope whose payload is at most `max_payload` bytes.
    ///
    /// # Errors
    /// 100, 102, 103, 105, 110 to 113.
    #[inline]
    pub fn read(token: &'a [u8], max_payload: usize) -> Check<Self> {
        let mut reader = Reader::new(token);
        let tag = reader.head()?;
        if tag != (Head { major: Major::Tag, argument: 18 }) {
            return Err(Code::EnvelopeTag);
        }
        expect(reader.head()?, Major::Array, Some(4))?;
        let start = reader.position();
        let protected = reader.head()?;
        let (protected_item, protected) = document(&mut reader, start, protected, MAX_PROTECTED)?;
        let unprotected = reader.head()?;
        expect(unprotected, Major::Map, None)?;
        if unprotected.argument != 0 {
            return Err(Code::UnprotectedNotEmpty);
        }
        let start = reader.position();
        let payload = reader.head()?;
        if payload == NULL {
            return Err(Code::PayloadDetached);
        }
        let (payload_item, payload) = document(&mut reader, start, payload, max_payload as u64)?;
        let signature = reader.head()?;
        expect(signature, Major::Bytes, None)?;
        let signature = reader.take(signature.argument)?;
        reader.finish()?;
        Ok(Self { protected_item, protected, payload_item, payload, signature })
    }

    /// The `Sig_structure` in pieces, straight from the token.
    #[must_use]
    #[inline]
    pub const fn signed(&self) -> [&'a [u8]; 4] {
        [SIGNED_PREFIX, self.protected_item, SIGNED_EXTERNAL, self.payload_item]
    }
}

fn expect(head: Head, major: Major, argument: Option<u64>) -> Check<()> {
    let fits = head.major == major && argument.is_none_or(|argument| head.argument == argument);
    if fits { Ok(()) } else { Err(Code::EnvelopeShape) }
}

/// The byte string that began at `start` with `head`, and holds a document: with its head, and without.
#[inline]
fn document<'a>(reader: &mut Reader<'a>, start: usize, head: Head, limit: u64) -> Check<(&'a [u8], &'a [u8])> {
    expect(head, Major::Bytes, None)?;
    if head.argument == 0 {
        return Err(Code::CborMalformed);
    }
    let content = reader.take(head.argument)?;
    if head.argument > limit {
        return Err(Code::TooLarge);
    }
    Ok((reader.since(start), content))
}

/// A protected header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// COSE algorithm number; any that does not fit is unknown.
    pub alg: Option<i64>,
    /// Key id.
    pub kid: [u8; 8],
    /// Type of the token (RFC 9596).
    pub typ: &'a str,
}

const ALG: i64 = 1;
const CRIT: i64 = 2;
const KID: i64 = 4;
const TYP: i64 = 16;

impl<'a> Header<'a> {
    /// Reads a protected header.
    ///
    /// # Errors
    /// 102 to 106 for its syntax; then the lowest of 200 (a label outside the profile), 201, 202, 203.
    pub fn read(document: &'a [u8]) -> Check<Self> {
        let mut reader = Reader::new(document);
        let head = reader.head()?;
        if head.major != Major::Map {
            reader.skip_rest(head, 0)?;
            reader.finish()?;
            return Err(Code::HeaderType);
        }
        let (mut unknown, mut crit, mut wrong_type) = (false, false, false);
        let (mut alg, mut kid, mut typ) = (None, None, None);
        let mut pairs = Pairs::new(head.argument, 1);
        while let Some(label) = pairs.next_key(&mut reader)? {
            let value = reader.head()?;
            match (label, value.major) {
                (Key::Integer(ALG), Major::Unsigned) => alg = Some(i64::try_from(value.argument).ok()),
                (Key::Integer(ALG), Major::Negative) => {
                    alg = Some(i64::try_from(value.argument).ok().map(|argument| -1 - argument));
                }
                (Key::Integer(KID), Major::Bytes) => {
                    let bytes = reader.take(value.argument)?;
                    wrong_type |= bytes.len() != 8;
                    kid = Some(<[u8; 8]>::try_from(bytes).unwrap_or_default());
                }
                (Key::Integer(TYP), Major::Text) => typ = Some(reader.take_text(value.argument)?),
                (label, _) => {
                    reader.skip_rest(value, 1)?;
                    match label {
                        Key::Integer(CRIT) => crit = true,
                        Key::Integer(label @ (ALG | KID | TYP)) => {
                            wrong_type = true;
                            // Present, if useless: what is wrong with it is its type.
                            match label {
                                ALG => alg = Some(None),
                                KID => kid = Some([0; 8]),
                                _ => typ = Some(""),
                            }
                        }
                        _ => unknown = true,
                    }
                }
            }
        }
        reader.finish()?;
        if unknown {
            return Err(Code::HeaderUnknown);
        }
        let (Some(alg), Some(kid), Some(typ)) = (alg, kid, typ) else { return Err(Code::HeaderMissing) };
        match (wrong_type, crit) {
            (true, _) => Err(Code::HeaderType),
            (false, true) => Err(Code::CritUnsupported),
            (false, false) => Ok(Self { alg, kid, typ }),
        }
    }

    /// The header when it is, to the byte, one of `token_type` with an algorithm of one byte: what nearly every token has.
    /// `None` says nothing.
    #[must_use]
    #[inline]
    pub fn read_usual(document: &'a [u8], token_type: TokenType) -> Option<Self> {
        let typ = token_type.typ();
        let [0xa3, 0x01, alg @ 0x20..=0x37, 0x04, 0x48, rest @ ..] = document else { return None };
        let (kid, rest) = rest.split_first_chunk::<8>()?;
        let [0x10, 0x78, length, text @ ..] = rest else { return None };
        let usual = usize::from(*length) == typ.len() && text == typ.as_bytes();
        usual.then(|| Self { alg: Some(-1 - i64::from(alg & 0x1f)), kid: *kid, typ })
    }

    /// Writes the header.
    #[must_use]
    pub fn to_bytes(alg: i64, kid: [u8; 8], token_type: TokenType) -> Vec<u8> {
        let mut writer = Writer::with_capacity(48);
        writer.head(Major::Map, 3);
        writer.integer(ALG).integer(alg);
        writer.integer(KID).byte_string(&kid);
        writer.integer(TYP).text(token_type.typ());
        writer.into_bytes()
    }
}

/// The `Sig_structure` of a token to be: the bytes that its signer signs.
#[must_use]
pub fn sig_structure(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(payload.len() + protected.len() + 20);
    writer.raw(SIGNED_PREFIX).byte_string(protected).raw(SIGNED_EXTERNAL).byte_string(payload);
    writer.into_bytes()
}

/// Writes the token.
#[must_use]
pub fn write(protected: &[u8], payload: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(protected.len() + payload.len() + signature.len() + 16);
    writer.head(Major::Tag, 18).head(Major::Array, 4);
    writer.byte_string(protected).head(Major::Map, 0).byte_string(payload).byte_string(signature);
    writer.into_bytes()
}
