//! Tokens made of genuine ones, and what may be said of them.

use crate::issuers::{GENUINE, ISSUERS, Issuer, KEYRING, KNOWN, NOW};
use crate::source::Source;
use itron_core::code::Code;
use itron_core::format::cose::{self, Envelope};
use itron_core::format::token_type::TokenType;
use itron_core::parallel::scratch::Scratch;
use itron_core::token::issue::Unsigned;
use itron_core::token::verify::{Call, Question, copied, verify_many, verify_single};
use p256::elliptic_curve::ff::PrimeField;

/// Some edits of `bytes`, as the input says.
#[must_use]
pub fn edited(bytes: &[u8], source: &mut Source<'_>) -> Vec<u8> {
    let mut edited = bytes.to_vec();
    for _ in 0..source.below(4) {
        let at = source.below(edited.len() + 1);
        match (source.byte() % 6, edited.get_mut(at)) {
            (0, Some(byte)) => *byte ^= 1 << source.below(8),
            (1, Some(byte)) => *byte = source.byte(),
            (2, Some(_)) => _ = edited.remove(at),
            (3, _) => edited.insert(at, source.byte()),
            (4, _) => edited.truncate(at),
            (_, _) => {
                let length = source.below(edited.len() - at + 1);
                edited.copy_within(at..at + length, 0);
            }
        }
    }
    edited
}

/// A token of the genuine ones' parts: edited, spliced, or with its twin's signature.
#[must_use]
pub fn altered(source: &mut Source<'_>) -> Vec<u8> {
    let genuine = &GENUINE[source.below(GENUINE.len())];
    match source.byte() % 5 {
        0 => genuine.token.clone(),
        1 => twin(&genuine.token),
        2 => edited(&genuine.token, source),
        3 => {
            let parts = Envelope::read(&genuine.token, usize::MAX).expect("a genuine token");
            let mut signature = parts.signature.to_vec();
            signature.resize(source.choose(&[0, 32, 63, 65, 96, 128, 2_419, 3_310]), source.byte());
            cose::write(parts.protected, parts.payload, &signature)
        }
        _ => {
            let other = &GENUINE[source.below(GENUINE.len())].token;
            let parts = |token| Envelope::read(token, usize::MAX).expect("a genuine token");
            let (a, b) = (parts(&genuine.token), parts(other));
            let mut pick = |a, b| if source.flag() { b } else { a };
            let (protected, payload) = (pick(a.protected, b.protected), pick(a.payload, b.payload));
            let signature = pick(a.signature, b.signature);
            cose::write(protected, payload, signature)
        }
    }
}

/// The token with n - s in the place of s.
fn twin(token: &[u8]) -> Vec<u8> {
    let (front, s) = token.split_last_chunk::<32>().expect("longer than a signature");
    let s = Option::<p256::Scalar>::from(p256::Scalar::from_repr((*s).into()));
    s.map_or(token.to_vec(), |s| [front, &(-s).to_repr()].concat())
}

/// Whether a known issuer issued this very token, or its twin under ESP256.
fn is_genuine(token: &[u8], token_type: TokenType) -> bool {
    let issued = |bytes: &[u8]| {
        let is_it = |genuine: &&crate::issuers::Genuine| {
            genuine.token == bytes && genuine.token_type == token_type && genuine.issuer < KNOWN
        };
        GENUINE.iter().find(is_it).map(|genuine| &ISSUERS[genuine.issuer])
    };
    issued(token).is_some() || token.len() > 32 && matches!(issued(&twin(token)), Some(Issuer::Esp256(_)))
}

/// A call as a caller could make it.
#[must_use]
pub fn call(source: &mut Source<'_>, token_type: TokenType) -> Call<'static> {
    let now = match source.byte() % 8 {
        0 => source.number() as u64,
        1 => NOW + 3_600 + source.below(300) as u64,
        2 => NOW - source.below(300) as u64,
        _ => NOW,
    };
    let lifetime = if source.once_in(4) { source.below(8_000) as u64 } else { token_type.default_lifetime() };
    Call {
        skew: source.choose(&[0, 120, 600]),
        max_lifetime: lifetime,
        legacy_algorithms: source.flag(),
        ..Call::new(token_type, now)
    }
}

/// The verdict on one token: no fault of the library's, and no allowance but for a genuine token in its time.
pub fn check(call: &Call<'_>, token: &[u8]) {
    let verdict = verify_single(&KEYRING, call, Question { token: Ok(token), ..Question::default() });
    assert_ne!(verdict.code, Code::Internal);
    let genuine = is_genuine(token, call.token_type);
    if verdict.code == Code::Ok || verdict.claims.is_some() {
        assert!(genuine, "{:?} was accepted: {token:02x?}", verdict.code);
    }
    let usual = Call { legacy_algorithms: call.legacy_algorithms, ..Call::new(call.token_type, NOW) };
    if genuine && format!("{usual:?}") == format!("{call:?}") {
        assert_eq!(verdict.code, Code::Ok);
    }
}

/// The answers for many tokens are those for each alone, for any number of threads.
pub fn check_many(call: &Call<'_>, tokens: &[Vec<u8>], rows: usize) {
    let question = |row: usize| {
        let token = tokens.get(row % (tokens.len() + 1)).map(Vec::as_slice).ok_or(Code::NoToken);
        Question { token, ..Question::default() }
    };
    let alone: Vec<i16> =
        (0..=tokens.len()).map(|row| verify_single(&KEYRING, call, question(row)).code as i16).collect();
    let fetch = |row: usize, scratch: &mut Scratch| copied(&question(row), scratch);
    let one = verify_many(&KEYRING, call, rows, 1, fetch).expect("memory for a few rows");
    let three = verify_many(&KEYRING, call, rows, 3, fetch).expect("memory for a few rows");
    assert_eq!(format!("{one:?}"), format!("{three:?}"));
    assert!(one.code.iter().zip(alone.iter().cycle()).all(|(together, alone)| together == alone));
}

/// A token whose header and payload were edited before a known issuer signed it: accepted only if issuing its claims gives
/// the same bytes.
pub fn check_signed(source: &mut Source<'_>, call: &Call<'_>) {
    let genuine = &GENUINE[source.below(GENUINE.len())];
    let issuer = &ISSUERS[genuine.issuer % KNOWN];
    let known =
        GENUINE.iter().find(|other| other.issuer == genuine.issuer % KNOWN && other.token_type == call.token_type);
    let header = Envelope::read(&known.expect("each issues every type").token, usize::MAX).expect("genuine").protected;
    let protected = if source.once_in(4) { edited(header, source) } else { header.to_vec() };
    let payload = Envelope::read(&genuine.token, usize::MAX).expect("genuine").payload;
    let payload = edited(payload, source);
    let token = cose::write(&protected, &payload, &issuer.sign(&cose::sig_structure(&protected, &payload)));
    let verdict = verify_single(&KEYRING, call, Question { token: Ok(&token), ..Question::default() });
    assert_ne!(verdict.code, Code::Internal);
    let Some(claims) = verdict.claims else { return assert_ne!(verdict.code, Code::Ok) };
    assert_eq!(claims.to_bytes(), payload);
    let reissued = Unsigned::new(&claims, call.token_type, &issuer.public_key(), call.max_lifetime);
    if verdict.code == Code::Ok && protected == header {
        let reissued = reissued.expect("what is accepted can be issued");
        assert_eq!(reissued.token(&issuer.sign(&reissued.message())), token);
    }
}
