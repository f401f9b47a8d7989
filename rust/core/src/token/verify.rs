//! The order of checks, written once, for one token and for many.
//!
//! 1 size · 2 envelope · 3 protected header · 4 typ · 5 alg allowed · 6 kid known · 7 key fits the alg and may sign this typ ·
//! 8 signature form · 9 signature · 10 claims syntax · 11 claim rules · 12 the issuer's ceilings, then its validity ·
//! 13 time · 14 revocation · 15 audience · 16 scope. The first failure is the answer.

use super::details::Note;
use super::keyring::{Entry, Keyring};
use super::revocations::Revocations;
use crate::code::{Check, Code};
use crate::crypto::algorithm::Algorithm;
use crate::crypto::signatures;
use crate::format::claims::Claims;
use crate::format::cose::{Envelope, Header, MIN_TOKEN};
use crate::format::scope::OPEN_SESSION;
use crate::format::token_type::TokenType;
use crate::parallel::chunks::{self, Workers};
use crate::parallel::columns::{Bits, columns, put};
use crate::parallel::scratch::{Place, Scratch};
use crate::parallel::stop::Stop;
use std::ops::Range;

/// Clock skew accepted if a call names none, in seconds.
pub const DEFAULT_SKEW: u64 = 120;
/// The largest that a call may accept.
pub const MAX_SKEW: u64 = 600;

/// What holds for every row of a call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The type that each token must be.
    pub token_type: TokenType,
    /// Seconds since 1970.
    pub now: u64,
    /// Accepted clock skew, in seconds.
    pub skew: u64,
    /// The longest `exp - iat` accepted, in seconds.
    pub max_lifetime: u64,
    /// Whether -8 and -7 are accepted.
    pub legacy_algorithms: bool,
    /// The snapshot to check against, if any.
    pub revocations: Option<&'a Revocations>,
}

impl Call<'_> {
    /// A call with the defaults.
    #[must_use]
    pub const fn new(token_type: TokenType, now: u64) -> Self {
        Self {
            token_type,
            now,
            skew: DEFAULT_SKEW,
            max_lifetime: token_type.default_lifetime(),
            legacy_algorithms: false,
            revocations: None,
        }
    }
}

/// What is asked of one row.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The token, or the code that the row has without one.
    pub token: Check<&'a [u8]>,
    /// The device that it must be for.
    pub audience: Option<&'a [u8]>,
    /// The action that it must cover.
    pub action: Option<u8>,
    /// The device's security epoch.
    pub epoch: Option<i64>,
}

impl Default for Question<'_> {
    /// A row without a token.
    fn default() -> Self {
        Self { token: Err(Code::NoToken), audience: None, action: None, epoch: None }
    }
}

/// What is asked of one row, whose bytes were copied to a [`Scratch`].
#[derive(Clone, Copy, Debug)]
pub struct Fetched {
    /// The token, or the code that the row has without one.
    pub token: Check<Place>,
    /// The device that it must be for.
    pub audience: Option<Place>,
    /// The action that it must cover.
    pub action: Option<u8>,
    /// The device's security epoch.
    pub epoch: Option<i64>,
}

impl Default for Fetched {
    /// A row without a token.
    fn default() -> Self {
        Self { token: Err(Code::NoToken), audience: None, action: None, epoch: None }
    }
}

impl Fetched {
    /// The question, its bytes where they lie in `scratch`.
    #[inline]
    #[must_use]
    pub fn question<'a>(&self, scratch: &'a Scratch) -> Question<'a> {
        let &Self { token, audience, action, epoch } = self;
        let bytes = |place| scratch.get(place);
        Question { token: token.map(bytes), audience: audience.map(bytes), action, epoch }
    }
}

/// The answer for one row, with its claims or where they lie.
#[derive(Clone, Copy, Debug)]
pub struct Verdict<C> {
    /// `Ok`, or the first check that failed.
    pub code: Code,
    /// The index in the keyring of the key that the token names.
    pub key: Option<u32>,
    /// The kid that the token names.
    pub kid: Option<[u8; 8]>,
    /// The claims, when the signature verified and each can be read.
    pub claims: Option<C>,
}

/// A token as far as it is read before its signature is believed: steps 1 to 8.
struct Opened<'a> {
    envelope: Envelope<'a>,
    kid: [u8; 8],
    index: u32,
}

/// Why a token was refused before its signature was asked, and what it said of its key.
struct Refused {
    code: Code,
    kid: Option<[u8; 8]>,
    index: Option<u32>,
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self { code, kid: None, index: None }
    }
}

/// Steps 1 to 8.
#[inline]
fn open<'a>(keyring: &Keyring, call: &Call<'_>, token: Check<&'a [u8]>) -> Result<Opened<'a>, Refused> {
    let token = token?;
    if token.is_empty() {
        return Err(Code::NoToken.into());
    }
    let (max_token, max_payload) = call.token_type.size_limits();
    if token.len() > max_token {
        return Err(Code::TooLarge.into());
    }
    if token.len() < MIN_TOKEN {
        return Err(Code::TooSmall.into());
    }
    let envelope = Envelope::read(token, max_payload)?;
    let usual = Header::read_usual(envelope.protected, call.token_type);
    let header = usual.map_or_else(|| Header::read(envelope.protected), Ok)?;
    let kid = header.kid;
    let refused = |code| Refused { code, kid: Some(kid), index: keyring.find(kid).map(|(index, _)| index) };
    if usual.is_none() && header.typ != call.token_type.typ() {
        return Err(refused(Code::TypMismatch));
    }
    let algorithm = algorithm(header.alg, call.legacy_algorithms).map_err(refused)?;
    let (index, entry) = keyring.find(kid).ok_or_else(|| refused(Code::KeyUnknown))?;
    if entry.key.algorithm() != algorithm {
        return Err(refused(Code::KeyMismatch));
    }
    if !entry.token_types.contains(call.token_type) {
        return Err(refused(Code::KeyNotForType));
    }
    signatures::check_form(algorithm, envelope.signature).map_err(refused)?;
    Ok(Opened { envelope, kid, index })
}

/// Step 5.
#[inline]
fn algorithm(alg: Option<i64>, legacy: bool) -> Check<Algorithm> {
    let number = alg.ok_or(Code::AlgUnsupported)?;
    for algorithm in Algorithm::ALL {
        if algorithm.cose() == number {
            return Ok(algorithm);
        }
        if algorithm.legacy_cose() == Some(number) {
            return if legacy { Ok(algorithm) } else { Err(Code::AlgNotAllowed) };
        }
    }
    Err(Code::AlgUnsupported)
}

/// Steps 10 and 11, as far as the claims can be read: then they are shown, whatever is found later.
#[inline]
fn believe<'a>(opened: &Opened<'a>, token_type: TokenType, claims: &mut Claims<'a>) -> Check<()> {
    claims.read_into(opened.envelope.payload, token_type)
}

/// Steps 11 (the rules between claims) to 16.
#[inline]
fn judge(claims: &Claims<'_>, entry: &Entry, call: &Call<'_>, question: &Question<'_>) -> Check<()> {
    claims.check(call.token_type, call.max_lifetime)?;
    if !entry.covers(claims, call.token_type) {
        return Err(Code::CeilingExceeded);
    }
    if !entry.may_issue_at(claims.issued_at) {
        return Err(Code::IssuerWindow);
    }
    check_time(claims, call)?;
    Revocations::check(call.revocations, entry, claims, call.token_type, call.now, question.epoch)?;
    if question.audience.is_some_and(|audience| !is_for(claims, entry, call.token_type, audience)) {
        return Err(Code::AudienceMismatch);
    }
    if question.action.is_some_and(|action| !covers(claims, call.token_type, action)) {
        return Err(Code::ScopeDenied);
    }
    Ok(())
}

/// Step 13: valid when `nbf - skew <= now < exp + skew`.
#[inline]
fn check_time(claims: &Claims<'_>, call: &Call<'_>) -> Check<()> {
    let latest = call.now.saturating_add(call.skew);
    if latest < claims.issued_at {
        Err(Code::IatInFuture)
    } else if latest < claims.begins_at() {
        Err(Code::NotYetValid)
    } else if call.now >= claims.expires_at + call.skew {
        Err(Code::Expired)
    } else {
        Ok(())
    }
}

/// Step 15: bytewise; a delegation is for the devices that begin with its prefix, its parent's where it has none.
fn is_for(claims: &Claims<'_>, entry: &Entry, token_type: TokenType, audience: &[u8]) -> bool {
    if token_type == TokenType::Delegation {
        return audience.starts_with(claims.audience.unwrap_or(&entry.audience_prefix).as_bytes());
    }
    claims.audience.is_some_and(|aud| aud.as_bytes() == audience)
}

/// Step 16: an authorization covers `open_session` by its type.
fn covers(claims: &Claims<'_>, token_type: TokenType, action: u8) -> bool {
    let by_type = token_type == TokenType::Authorization && action == OPEN_SESSION;
    by_type || claims.actions() >> action & 1 == 1
}

/// Verifies the rows of a range, in order, and hands each verdict to `sink`.
///
/// `expected` is how many tokens of one key the call is likely to bring. A row's question is read more than once: its bytes must
/// not change meanwhile.
pub fn verify_range<'a>(
    keyring: &Keyring,
    call: &Call<'_>,
    range: Range<usize>,
    expected: u64,
    question: impl Fn(usize) -> Question<'a>,
    mut sink: impl FnMut(usize, &Verdict<&Claims<'a>>),
) {
    let opened: Vec<_> = range.clone().map(|row| open(keyring, call, question(row).token)).collect();
    let signed: Vec<_> = opened
        .iter()
        .flatten()
        .map(|opened| signatures::Row {
            key: &keyring.entries()[opened.index as usize].key,
            signature: opened.envelope.signature,
            message: opened.envelope.signed(),
        })
        .collect();
    let mut verified = vec![false; signed.len()];
    signatures::verify(&signed, expected, &mut verified);
    let mut verified = verified.into_iter();
    for (row, opened) in range.zip(opened) {
        match opened {
            Err(Refused { code, kid, index }) => sink(row, &Verdict { code, key: index, kid, claims: None }),
            Ok(opened) => {
                let mut claims = Claims::default();
                let verified = verified.next().unwrap_or(false);
                sink(row, &answer(keyring, call, &opened, verified, || question(row), &mut claims));
            }
        }
    }
}

/// Steps 9 to 16 for a token whose signature was asked; `claims` begin as the default.
#[inline]
fn answer<'c, 'a>(
    keyring: &Keyring,
    call: &Call<'_>,
    opened: &Opened<'a>,
    verified: bool,
    question: impl FnOnce() -> Question<'a>,
    claims: &'c mut Claims<'a>,
) -> Verdict<&'c Claims<'a>> {
    let refused = |code| Verdict { code, key: Some(opened.index), kid: Some(opened.kid), claims: None };
    if !verified {
        return refused(Code::SignatureInvalid);
    }
    if let Err(code) = believe(opened, call.token_type, claims) {
        return refused(code);
    }
    let entry = &keyring.entries()[opened.index as usize];
    let code = judge(claims, entry, call, &question()).err().unwrap_or(Code::Ok);
    Verdict { claims: Some(claims), ..refused(code) }
}

/// Verifies one token of which nothing but its validity is asked.
#[must_use]
pub fn verify_one<'a>(keyring: &Keyring, call: &Call<'_>, token: &'a [u8]) -> Verdict<Claims<'a>> {
    verify_single(keyring, call, Question { token: Ok(token), ..Question::default() })
}

/// Verifies one row.
#[must_use]
pub fn verify_single<'a>(keyring: &Keyring, call: &Call<'_>, question: Question<'a>) -> Verdict<Claims<'a>> {
    let mut verdict = Verdict { code: Code::Internal, key: None, kid: None, claims: None };
    verify_range(
        keyring,
        call,
        0..1,
        1,
        |_| question,
        |_, &Verdict { code, key, kid, claims }| {
            verdict = Verdict { code, key, kid, claims: claims.copied() };
        },
    );
    verdict
}

columns! {
    /// The answers for many rows, column by column, as they are handed out: a value that is not known is 0, and its bit too.
    pub struct TokenColumns / TokenSlices {
        /// Code; 900 until it is answered.
        code: Vec<i16> = Code::Internal as i16,
        /// Index in the keyring of the key that the token names.
        key: Vec<i32> = 0,
        /// Whether that key is in the keyring.
        key_known: Bits = false,
        /// The kid that the token names.
        kid: Vec<[u8; 8]> = [0; 8],
        /// Whether the kid was read.
        kid_known: Bits = false,
        /// Whether the claims were read: those that every token has.
        claims_known: Bits = false,
        /// iat, in microseconds since 1970.
        issued_at: Vec<i64> = 0,
        /// nbf or iat, in microseconds since 1970.
        not_before: Vec<i64> = 0,
        /// exp, in microseconds since 1970.
        expires_at: Vec<i64> = 0,
        /// exi.
        session_seconds: Vec<i32> = 0,
        /// Whether there is an exi.
        session_known: Bits = false,
        /// Bit set of actions.
        actions: Vec<i64> = 0,
        /// Sequence.
        sequence: Vec<i64> = 0,
        /// Whether there is a sequence.
        sequence_known: Bits = false,
        /// Epoch.
        epoch: Vec<i64> = 0,
        /// Whether there is an epoch.
        epoch_known: Bits = false,
    }
}

const MICROS: u64 = 1_000_000;

impl TokenSlices<'_> {
    #[inline]
    fn set(&mut self, at: usize, verdict: &Verdict<&Claims<'_>>, token_type: TokenType) {
        put(self.code, at, verdict.code as i16);
        if let Some(key) = verdict.key {
            put(self.key, at, key as i32);
            self.key_known.set(at);
        }
        if let Some(kid) = verdict.kid {
            put(self.kid, at, kid);
            self.kid_known.set(at);
        }
        if let Some(claims) = verdict.claims {
            self.set_claims(at, claims, token_type);
        }
    }

    #[inline]
    fn set_claims(&mut self, at: usize, claims: &Claims<'_>, token_type: TokenType) {
        self.claims_known.set(at);
        put(self.issued_at, at, (claims.issued_at * MICROS) as i64);
        put(self.not_before, at, (claims.begins_at() * MICROS) as i64);
        put(self.expires_at, at, (claims.expires_at * MICROS) as i64);
        put(self.actions, at, claims.actions() as i64);
        if let Some(seconds) = claims.session_seconds {
            put(self.session_seconds, at, seconds as i32);
            self.session_known.set(at);
        }
        if let Some(sequence) = claims.sequence().filter(|_| token_type.is_for_one_device()) {
            put(self.sequence, at, sequence as i64);
            self.sequence_known.set(at);
        }
        if let Some(epoch) = claims.epoch {
            put(self.epoch, at, epoch.into());
            self.epoch_known.set(at);
        }
    }
}

/// Verifies `rows` rows.
///
/// `fetch` copies the bytes of a row, once: a change at their source changes the row, but the bytes that are verified are always the
/// bytes that are used.
///
/// # Errors
/// [`Stop`], and no row is answered.
pub fn verify_many<'w>(
    keyring: &Keyring,
    call: &Call<'_>,
    rows: usize,
    workers: impl Into<Workers<'w>>,
    fetch: impl Fn(usize, &mut Scratch) -> Result<Fetched, Stop> + Sync,
) -> Result<TokenColumns, Stop> {
    verify_noting(keyring, call, rows, |_| true, workers, fetch, &())
}

/// As [`verify_many`], with the `wanted` of the columns alone, and `note` takes the claims of each row that shows them.
///
/// # Errors
/// [`Stop`], and no row is answered.
pub fn verify_noting<'w, N: Note>(
    keyring: &Keyring,
    call: &Call<'_>,
    rows: usize,
    wanted: impl Fn(&str) -> bool,
    workers: impl Into<Workers<'w>>,
    fetch: impl Fn(usize, &mut Scratch) -> Result<Fetched, Stop> + Sync,
    note: &N,
) -> Result<TokenColumns, Stop> {
    let mut columns = TokenColumns::new(rows, wanted)?;
    let expected = expected_rows(keyring, rows);
    chunks::in_chunks(columns.slices(), workers, &|scratch, start, mut slices: TokenSlices<'_>| {
        let range = start..start + slices.code.len();
        let mut fetched = Vec::with_capacity(range.len());
        for row in range.clone() {
            fetched.push(fetch(row, scratch)?);
        }
        let question = |row: usize| fetched[row - start].question(scratch);
        let mut noted = note.begin(range.len());
        verify_range(keyring, call, range, expected, question, |row, verdict| {
            slices.set(row - start, verdict, call.token_type);
            note.row(&mut noted, verdict.claims);
        });
        note.keep(start, noted);
        Ok(())
    })?;
    Ok(columns)
}

/// Copies a question whose bytes nobody changes, as [`verify_many`] fetches it.
///
/// # Errors
/// [`Stop::OutOfMemory`].
pub fn copied(question: &Question<'_>, scratch: &mut Scratch) -> Result<Fetched, Stop> {
    let token = match question.token {
        Ok(token) => Ok(scratch.push(token)?),
        Err(code) => Err(code),
    };
    let audience = question.audience.map(|audience| scratch.push(audience)).transpose()?;
    Ok(Fetched { token, audience, action: question.action, epoch: question.epoch })
}

/// How many of `rows` tokens one key is likely to have signed.
#[must_use]
pub fn expected_rows(keyring: &Keyring, rows: usize) -> u64 {
    (rows / keyring.entries().len().max(1)) as u64
}
