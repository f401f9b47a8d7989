//! The claims of a token (CWT, RFC 8392; ACE-OAuth, RFC 9200): read in one pass, judged, and written again.
//!
//! [`Claims::read`] answers the steps "claims syntax" and "claim rules" up to `claim_range`; [`Claims::check`] answers the
//! rules between claims, which every claim must be readable for.

use super::cbor::{Head, Key, Major, Pairs, Reader, Writer};
use super::device;
use super::scope::{self, Scope};
use super::token_type::{TokenType, TypeSet};
use crate::code::{Check, Code};

/// The earliest time that a claim may name: 2020-01-01, in seconds since 1970.
pub const MIN_TIME: u64 = 1_577_836_800;
/// The latest: 2100-01-01.
pub const MAX_TIME: u64 = 4_102_444_800;
/// The shortest and the longest session, in seconds.
pub const SESSION_SECONDS: std::ops::RangeInclusive<u64> = 60..=28_800;

const MAX_ENTRIES: u64 = 16;

/// A claim, in the order of its key's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Iss,
    Sub,
    Aud,
    Exp,
    Nbf,
    Iat,
    Cti,
    Cnf,
    Scope,
    Exi,
    Epoch,
    Command,
    Rkey,
    Types,
    Version,
    RevokedIssuers,
    RevokedDevices,
    RevokedTokens,
}

/// Each claim's key, and whether an authorization, a command, a reading key, a delegation and a revocation snapshot
/// have it: `R` required, `O` optional, `-` absent. A command has exi when, and only when, it opens a session.
const TABLE: [(Claim, i64, &[u8; 5]); 18] = [
    (Claim::Iss, 1, b"---RR"),
    (Claim::Sub, 2, b"OOO--"),
    (Claim::Aud, 3, b"RRRO-"),
    (Claim::Exp, 4, b"RRRRR"),
    (Claim::Nbf, 5, b"OOOO-"),
    (Claim::Iat, 6, b"RRRRR"),
    (Claim::Cti, 7, b"RRRR-"),
    (Claim::Cnf, 8, b"OOOR-"),
    (Claim::Scope, 9, b"RRRR-"),
    (Claim::Exi, 40, b"RO---"),
    (Claim::Epoch, -65_537, b"RRR--"),
    (Claim::Command, -65_538, b"-R---"),
    (Claim::Rkey, -65_539, b"--R--"),
    (Claim::Types, -65_540, b"---R-"),
    (Claim::Version, -65_541, b"----R"),
    (Claim::RevokedIssuers, -65_542, b"----R"),
    (Claim::RevokedDevices, -65_543, b"----R"),
    (Claim::RevokedTokens, -65_544, b"----R"),
];

/// A set of claims, by their place in the table.
type ClaimSet = u32;

const fn claims_with(presence: u8, token_type: usize) -> ClaimSet {
    let mut set = 0;
    let mut index = 0;
    while index < TABLE.len() {
        if TABLE[index].2[token_type] == presence {
            set |= 1 << index;
        }
        index += 1;
    }
    set
}

const fn sets(presence: u8) -> [ClaimSet; 5] {
    [
        claims_with(presence, 0),
        claims_with(presence, 1),
        claims_with(presence, 2),
        claims_with(presence, 3),
        claims_with(presence, 4),
    ]
}

const REQUIRED: [ClaimSet; 5] = sets(b'R');
const ABSENT: [ClaimSet; 5] = sets(b'-');

impl Claim {
    /// The claim with this key. The arms repeat the table's keys, which a test holds against it.
    #[inline]
    const fn of_key(key: i64) -> Option<Self> {
        Some(match key {
            1 => Self::Iss,
            2 => Self::Sub,
            3 => Self::Aud,
            4 => Self::Exp,
            5 => Self::Nbf,
            6 => Self::Iat,
            7 => Self::Cti,
            8 => Self::Cnf,
            9 => Self::Scope,
            40 => Self::Exi,
            -65_537 => Self::Epoch,
            -65_538 => Self::Command,
            -65_539 => Self::Rkey,
            -65_540 => Self::Types,
            -65_541 => Self::Version,
            -65_542 => Self::RevokedIssuers,
            -65_543 => Self::RevokedDevices,
            -65_544 => Self::RevokedTokens,
            _ => return None,
        })
    }

    const fn bit(self) -> ClaimSet {
        1 << self as u32
    }
}

/// A public key as a claim carries it: exactly the members of its thumbprint (RFC 9679).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoseKey<'a> {
    /// kty OKP, crv Ed25519.
    Okp([u8; 32]),
    /// kty EC2, crv P-256: x, y.
    Ec2([u8; 32], [u8; 32]),
    /// kty AKP (RFC 9964): alg, pub.
    Akp(i64, &'a [u8]),
}

/// Each alg of a key of kty AKP, with the length of its pub: ML-DSA-44 and ML-DSA-65 (FIPS 204 section 4, table 2).
const AKP: [(i64, usize); 2] = [(-48, 1_312), (-49, 1_952)];

/// Whom a token is bound to (RFC 8747).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation<'a> {
    /// A key known by its id.
    Kid([u8; 8]),
    /// A whole key.
    Key(CoseKey<'a>),
}

/// Which reading key a grant names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadingKey {
    /// Key derivation function, 1 to 4.
    pub kdf: u8,
    /// Version of the master key.
    pub key_version: u64,
    /// The first bytes of the derivation with label `kcv`.
    pub check_value: [u8; 4],
}

/// The claims of a token of any type; what its type does not have is `None` or empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims<'a> {
    /// iss: the issuer, as it names itself.
    pub issuer: Option<&'a str>,
    /// sub: the worker or field tool it was issued to.
    pub subject: Option<&'a str>,
    /// aud: one device, or the prefix of a delegation.
    pub audience: Option<&'a str>,
    /// The device that aud names.
    pub device: u64,
    /// exp, in seconds since 1970.
    pub expires_at: u64,
    /// nbf, where it is present.
    pub not_before: Option<u64>,
    /// iat.
    pub issued_at: u64,
    /// cti: the token's id.
    pub cti: Option<[u8; 16]>,
    /// cnf.
    pub confirmation: Option<Confirmation<'a>>,
    /// scope.
    pub scope: Option<Scope<'a>>,
    /// exi: how long the session lasts, in seconds.
    pub session_seconds: Option<u32>,
    /// The device's security epoch.
    pub epoch: Option<u32>,
    /// The command, opaque.
    pub command: Option<&'a [u8]>,
    /// rkey.
    pub reading_key: Option<ReadingKey>,
    /// What a delegated key may sign.
    pub types: Option<TypeSet>,
    /// The order of a delegation's types, as numbers of [`TokenType`]; it is kept so that writing gives the same bytes.
    pub types_order: [u8; 5],
    /// Version of a revocation snapshot.
    pub version: Option<u64>,
    /// Revoked kids, devices and tokens: whole CBOR arrays, judged.
    pub revoked: Option<[&'a [u8]; 3]>,
}

/// Which rules were broken; the lowest is the answer.
#[derive(Clone, Copy, Default)]
struct Faults {
    missing: bool,
    wrong_type: bool,
    unknown: bool,
    range: bool,
}

impl Faults {
    fn add(&mut self, code: Code) {
        match code {
            Code::ClaimType => self.wrong_type = true,
            _ => self.range = true,
        }
    }

    fn range_unless(&mut self, fits: bool) {
        self.range |= !fits;
    }

    fn lowest(self) -> Check<()> {
        match self {
            Self { missing: true, .. } => Err(Code::ClaimMissing),
            Self { wrong_type: true, .. } => Err(Code::ClaimType),
            Self { unknown: true, .. } => Err(Code::ClaimUnknown),
            Self { range: true, .. } => Err(Code::ClaimRange),
            _ => Ok(()),
        }
    }
}

impl<'a> Claims<'a> {
    /// Reads the payload of a token of `token_type`.
    ///
    /// # Errors
    /// 102 to 106 and 400 for the payload, 102 to 106 for the scope in it, then the lowest of 401 to 404.
    pub fn read(payload: &'a [u8], token_type: TokenType) -> Check<Self> {
        let mut claims = Self::default();
        Self::read_into(&mut claims, payload, token_type)?;
        Ok(claims)
    }

    /// As [`Self::read`], into claims that are the default; after an error they mean nothing.
    ///
    /// # Errors
    /// As [`Self::read`].
    #[inline]
    pub fn read_into(&mut self, payload: &'a [u8], token_type: TokenType) -> Check<()> {
        let mut pass = Pass::new(token_type, self);
        pass.run(payload)?;
        pass.judge()
    }

    /// nbf, or iat where there is none.
    #[must_use]
    pub const fn begins_at(&self) -> u64 {
        match self.not_before {
            Some(not_before) => not_before,
            None => self.issued_at,
        }
    }

    /// What the scope grants.
    #[must_use]
    pub fn actions(&self) -> scope::Actions {
        self.scope.map_or(0, |scope| scope.actions)
    }

    /// The sequence number of a token for one device.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        self.cti.map(|cti| halves(cti).1)
    }

    /// The rules between claims.
    ///
    /// # Errors
    /// The lowest of 405, 406, 407.
    pub fn check(&self, token_type: TokenType, max_lifetime: u64) -> Check<()> {
        if self.expires_at.saturating_sub(self.issued_at) > max_lifetime {
            return Err(Code::LifetimeTooLong);
        }
        if self.expires_at <= self.begins_at() || self.expires_at <= self.issued_at {
            return Err(Code::WindowInverted);
        }
        let of_another_device =
            token_type.is_for_one_device() && self.cti.is_some_and(|cti| halves(cti).0 != self.device);
        let session_without_opening = token_type == TokenType::SecureCommand
            && self.session_seconds.is_some()
            && !self.scope.is_some_and(|scope| scope.opens_session);
        if of_another_device || session_without_opening { Err(Code::ClaimInconsistent) } else { Ok(()) }
    }

    /// Writes the payload: the same bytes that would be read as these claims.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Writer::with_capacity(192);
        let mut entries = 0;
        for (claim, key, _) in TABLE {
            let mut value = Writer::default();
            if self.write_value(claim, &mut value) {
                body.integer(key).raw(&value.into_bytes());
                entries += 1;
            }
        }
        let mut writer = Writer::with_capacity(200);
        writer.head(Major::Map, entries).raw(&body.into_bytes());
        writer.into_bytes()
    }

    /// Writes one claim's value; false where it is absent.
    fn write_value(&self, claim: Claim, writer: &mut Writer) -> bool {
        let written = match claim {
            Claim::Iss => self.issuer.map(|text| writer.text(text)),
            Claim::Sub => self.subject.map(|text| writer.text(text)),
            Claim::Aud => self.audience.map(|text| writer.text(text)),
            Claim::Exp => Some(writer.unsigned(self.expires_at)),
            Claim::Nbf => self.not_before.map(|time| writer.unsigned(time)),
            Claim::Iat => Some(writer.unsigned(self.issued_at)),
            Claim::Cti => self.cti.map(|cti| writer.byte_string(&cti)),
            Claim::Cnf => self.confirmation.map(|confirmation| write_confirmation(writer, confirmation)),
            Claim::Scope => self.scope.map(|scope| writer.byte_string(&scope.to_bytes())),
            Claim::Exi => self.session_seconds.map(|seconds| writer.unsigned(seconds.into())),
            Claim::Epoch => self.epoch.map(|epoch| writer.unsigned(epoch.into())),
            Claim::Command => self.command.map(|command| writer.byte_string(command)),
            Claim::Rkey => self.reading_key.map(|key| {
                writer.head(Major::Array, 3).unsigned(key.kdf.into()).unsigned(key.key_version);
                writer.byte_string(&key.check_value)
            }),
            Claim::Types => self.types.map(|types| {
                let count = types.iter().count();
                writer.head(Major::Array, count as u64);
                for &number in &self.types_order[..count] {
                    writer.text(TokenType::ALL[usize::from(number)].typ());
                }
                writer
            }),
            Claim::Version => self.version.map(|version| writer.unsigned(version)),
            Claim::RevokedIssuers => self.revoked.map(|lists| writer.raw(lists[0])),
            Claim::RevokedDevices => self.revoked.map(|lists| writer.raw(lists[1])),
            Claim::RevokedTokens => self.revoked.map(|lists| writer.raw(lists[2])),
        };
        written.is_some()
    }
}

/// A cti's device id and sequence.
const fn halves(cti: [u8; 16]) -> (u64, u64) {
    let whole = u128::from_be_bytes(cti);
    ((whole >> 64) as u64, whole as u64)
}

fn write_confirmation<'w>(writer: &'w mut Writer, confirmation: Confirmation<'_>) -> &'w mut Writer {
    writer.head(Major::Map, 1);
    match confirmation {
        Confirmation::Kid(kid) => writer.integer(3).byte_string(&kid),
        Confirmation::Key(key) => {
            writer.integer(1);
            key.write(writer)
        }
    }
}

impl CoseKey<'_> {
    /// Writes the `COSE_Key`, which is also what its thumbprint hashes (RFC 9679 section 4).
    pub fn write<'w>(&self, writer: &'w mut Writer) -> &'w mut Writer {
        match self {
            Self::Okp(x) => {
                writer.head(Major::Map, 3).integer(1).integer(1).integer(-1).integer(6);
                writer.integer(-2).byte_string(x)
            }
            Self::Ec2(x, y) => {
                writer.head(Major::Map, 4).integer(1).integer(2).integer(-1).integer(1);
                writer.integer(-2).byte_string(x).integer(-3).byte_string(y)
            }
            Self::Akp(alg, public) => {
                writer.head(Major::Map, 3).integer(1).integer(7).integer(3).integer(*alg);
                writer.integer(-1).byte_string(public)
            }
        }
    }
}

/// One pass over a payload.
struct Pass<'p, 'a> {
    token_type: TokenType,
    claims: &'p mut Claims<'a>,
    faults: Faults,
    present: ClaimSet,
    malformed: bool,
    scope: Option<&'a [u8]>,
    lists: [&'a [u8]; 3],
}

impl<'p, 'a> Pass<'p, 'a> {
    fn new(token_type: TokenType, claims: &'p mut Claims<'a>) -> Self {
        Self {
            token_type,
            claims,
            faults: Faults::default(),
            present: 0,
            malformed: false,
            scope: None,
            lists: [&[]; 3],
        }
    }

    /// Reads the payload to its end; only its syntax stops it.
    fn run(&mut self, payload: &'a [u8]) -> Check<()> {
        let mut reader = Reader::new(payload);
        let head = reader.head()?;
        if head.major != Major::Map {
            reader.skip_rest(head, 0)?;
            self.malformed = true;
            return reader.finish();
        }
        self.malformed = head.argument > MAX_ENTRIES;
        let absent = ABSENT[self.token_type as usize];
        let mut pairs = Pairs::new(head.argument, 1);
        while let Some(key) = pairs.next_key(&mut reader)? {
            self.malformed |= key == Key::Other;
            let claim = if let Key::Integer(key) = key { Claim::of_key(key) } else { None };
            if let Some(claim) = claim.filter(|claim| absent & claim.bit() == 0) {
                self.present |= claim.bit();
                self.value(claim, &mut reader)?;
            } else {
                self.faults.unknown = true;
                reader.skip(1)?;
            }
        }
        reader.finish()
    }

    /// Judges what was read.
    fn judge(mut self) -> Check<()> {
        if self.malformed {
            return Err(Code::ClaimsMalformed);
        }
        if let Some(document) = self.scope {
            match Scope::read(document)? {
                scope::Reading::Scope(scope) => self.claims.scope = Some(scope),
                scope::Reading::Fault(code) => self.faults.add(code),
            }
        }
        let mut required = REQUIRED[self.token_type as usize];
        if let (TokenType::SecureCommand, Some(scope)) = (self.token_type, self.claims.scope) {
            self.faults.range_unless(scope.is_one_bit);
            if scope.opens_session {
                required |= Claim::Exi.bit();
            }
        }
        self.faults.missing = required & !self.present != 0;
        if self.token_type == TokenType::Revocation {
            self.claims.revoked = Some(self.lists);
        }
        self.faults.lowest()
    }

    /// Reads one claim's value.
    #[inline]
    fn value(&mut self, claim: Claim, reader: &mut Reader<'a>) -> Check<()> {
        let start = reader.position();
        let head = reader.head()?;
        if head.major != major_of(claim) {
            self.faults.wrong_type = true;
            return reader.skip_rest(head, 1);
        }
        match head.major {
            Major::Unsigned => self.unsigned(claim, head.argument),
            Major::Text => self.text(claim, reader.take_text(head.argument)?),
            Major::Bytes => self.bytes(claim, reader.take(head.argument)?),
            _ => {
                reader.skip_rest(head, 1)?;
                if let Err(code) = self.container(claim, reader.since(start)) {
                    self.faults.add(code);
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn unsigned(&mut self, claim: Claim, value: u64) {
        let claims = &mut *self.claims;
        let is_time = (MIN_TIME..=MAX_TIME).contains(&value);
        match claim {
            Claim::Exp => {
                claims.expires_at = value;
                self.faults.range_unless(is_time);
            }
            Claim::Nbf => {
                claims.not_before = Some(value);
                self.faults.range_unless(is_time);
            }
            Claim::Iat => {
                claims.issued_at = value;
                self.faults.range_unless(is_time);
            }
            Claim::Exi => {
                claims.session_seconds = Some(value as u32);
                self.faults.range_unless(SESSION_SECONDS.contains(&value));
            }
            Claim::Epoch => {
                claims.epoch = Some(value as u32);
                self.faults.range_unless(u32::try_from(value).is_ok());
            }
            _ => claims.version = Some(value),
        }
    }

    #[inline]
    fn text(&mut self, claim: Claim, text: &'a str) {
        self.faults.range_unless((1..=64).contains(&text.len()));
        match claim {
            Claim::Iss => self.claims.issuer = Some(text),
            Claim::Sub => self.claims.subject = Some(text),
            _ => {
                self.claims.audience = Some(text);
                if self.token_type.is_for_one_device() {
                    let device = device::parse(text.as_bytes());
                    self.faults.range_unless(device.is_some());
                    self.claims.device = device.unwrap_or_default();
                }
            }
        }
    }

    #[inline]
    fn bytes(&mut self, claim: Claim, bytes: &'a [u8]) {
        match claim {
            Claim::Cti => {
                let cti = <[u8; 16]>::try_from(bytes).ok();
                let is_free = self.token_type == TokenType::Delegation;
                self.faults.range_unless(cti.is_some_and(|cti| is_free || halves(cti).1 >> 63 == 0));
                self.claims.cti = cti;
            }
            Claim::Command => {
                self.faults.range_unless((1..=256).contains(&bytes.len()));
                self.claims.command = Some(bytes);
            }
            _ => self.scope = Some(bytes),
        }
    }

    /// Judges a claim that is an array or a map, `item`, whose syntax has been read.
    fn container(&mut self, claim: Claim, item: &'a [u8]) -> Check<()> {
        let mut reader = Reader::new(item);
        let count = reader.head()?.argument;
        match claim {
            Claim::Cnf => {
                let key_wanted = self.token_type == TokenType::Delegation;
                self.claims.confirmation = Some(read_confirmation(&mut reader, count, key_wanted)?);
            }
            Claim::Rkey => self.claims.reading_key = Some(read_reading_key(&mut reader, count)?),
            Claim::Types => (self.claims.types, self.claims.types_order) = read_types(&mut reader, count)?,
            list => {
                let index = list as usize - Claim::RevokedIssuers as usize;
                self.lists[index] = item;
                judge_list(&mut reader, count, index)?;
            }
        }
        Ok(())
    }
}

/// The major type of a claim's value.
const fn major_of(claim: Claim) -> Major {
    match claim {
        Claim::Iss | Claim::Sub | Claim::Aud => Major::Text,
        Claim::Exp | Claim::Nbf | Claim::Iat | Claim::Exi | Claim::Epoch | Claim::Version => Major::Unsigned,
        Claim::Cti | Claim::Scope | Claim::Command => Major::Bytes,
        Claim::Cnf => Major::Map,
        Claim::Rkey | Claim::Types | Claim::RevokedIssuers | Claim::RevokedDevices | Claim::RevokedTokens => {
            Major::Array
        }
    }
}

/// `cnf = {3: bstr .size 8} / {1: COSE_Key}`.
fn read_confirmation<'a>(reader: &mut Reader<'a>, count: u64, key_wanted: bool) -> Check<Confirmation<'a>> {
    if count != 1 {
        return Err(Code::ClaimType);
    }
    let member = Pairs::new(1, 2).next_key(reader)?;
    let value = reader.head()?;
    match (member, value.major) {
        (Some(Key::Integer(3)), Major::Bytes) if !key_wanted => {
            let kid = reader.take(value.argument)?.try_into().map_err(|_| Code::ClaimRange)?;
            Ok(Confirmation::Kid(kid))
        }
        (Some(Key::Integer(1)), Major::Map) => read_cose_key(reader, value.argument).map(Confirmation::Key),
        _ => Err(Code::ClaimType),
    }
}

/// Reads a `COSE_Key` that has exactly the members of its thumbprint; anything else about it is 404. Its syntax was read before.
fn read_cose_key<'a>(reader: &mut Reader<'a>, count: u64) -> Check<CoseKey<'a>> {
    match (key_member(reader, 1, Major::Unsigned)?, count) {
        (1, 3) if key_member(reader, -1, Major::Unsigned)? == 6 => Ok(CoseKey::Okp(coordinate(reader, -2)?)),
        (2, 4) if key_member(reader, -1, Major::Unsigned)? == 1 => {
            Ok(CoseKey::Ec2(coordinate(reader, -2)?, coordinate(reader, -3)?))
        }
        (7, 3) => {
            let argument = key_member(reader, 3, Major::Negative)?;
            let public = key_bytes(reader, -1)?;
            let known = AKP.into_iter().find(|&(alg, length)| (-1 - alg) as u64 == argument && length == public.len());
            known.map(|(alg, _)| CoseKey::Akp(alg, public)).ok_or(Code::ClaimRange)
        }
        _ => Err(Code::ClaimRange),
    }
}

/// The argument of the next member of a `COSE_Key`, which is `label` and of this type.
fn key_member(reader: &mut Reader<'_>, label: i64, major: Major) -> Check<u64> {
    let found = Pairs::new(1, 3).next_key(reader);
    let head = reader.head();
    match (found, head) {
        (Ok(Some(Key::Integer(found))), Ok(head)) if found == label && head.major == major => Ok(head.argument),
        _ => Err(Code::ClaimRange),
    }
}

fn key_bytes<'a>(reader: &mut Reader<'a>, label: i64) -> Check<&'a [u8]> {
    let length = key_member(reader, label, Major::Bytes)?;
    reader.take(length).map_err(|_| Code::ClaimRange)
}

fn coordinate(reader: &mut Reader<'_>, label: i64) -> Check<[u8; 32]> {
    key_bytes(reader, label)?.try_into().map_err(|_| Code::ClaimRange)
}

/// `rkey = [kdf: 1..4, key-version: uint, kcv: bstr .size 4]`.
fn read_reading_key(reader: &mut Reader<'_>, count: u64) -> Check<ReadingKey> {
    if count != 3 {
        return Err(Code::ClaimType);
    }
    let kdf = typed(reader, Major::Unsigned)?.argument;
    let key_version = typed(reader, Major::Unsigned)?.argument;
    let length = typed(reader, Major::Bytes)?.argument;
    let check_value = reader.take(length)?.try_into().map_err(|_| Code::ClaimRange)?;
    if !(1..=4).contains(&kdf) {
        return Err(Code::ClaimRange);
    }
    Ok(ReadingKey { kdf: kdf as u8, key_version, check_value })
}

/// `types = [1*5 tstr]`, each the typ of a token, all different.
fn read_types(reader: &mut Reader<'_>, count: u64) -> Check<(Option<TypeSet>, [u8; 5])> {
    let mut types = TypeSet::NONE;
    let mut order = [0; 5];
    let mut fits = (1..=5).contains(&count);
    for index in 0..count {
        let length = typed(reader, Major::Text)?.argument;
        let found = TokenType::from_typ(reader.take_text(length)?).filter(|&found| !types.contains(found));
        fits &= found.is_some();
        if let (Some(found), Some(place)) = (found, order.get_mut(index as usize)) {
            types = types.with(found);
            *place = found as u8;
        }
    }
    if fits { Ok((Some(types), order)) } else { Err(Code::ClaimRange) }
}

/// A head of the type wanted, else 402.
fn typed(reader: &mut Reader<'_>, major: Major) -> Check<Head> {
    let head = reader.head()?;
    if head.major == major { Ok(head) } else { Err(Code::ClaimType) }
}

/// A row of a revocation list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revoked<'a> {
    /// A kid.
    Issuer(&'a [u8]),
    /// A device, and the least sequence, iat and epoch of a token that still counts.
    Device(&'a str, [u64; 3]),
    /// A token: kid, cti.
    Token(&'a [u8], &'a [u8]),
}

impl<'a> Revoked<'a> {
    /// Reads a row of the list `index`; 402 for its shape.
    fn read(reader: &mut Reader<'a>, index: usize) -> Check<Self> {
        if index == 0 {
            return Ok(Self::Issuer(byte_string(reader)?));
        }
        let length = if index == 1 { 4 } else { 2 };
        if typed(reader, Major::Array)?.argument != length {
            return Err(Code::ClaimType);
        }
        if index == 2 {
            return Ok(Self::Token(byte_string(reader)?, byte_string(reader)?));
        }
        let length = typed(reader, Major::Text)?.argument;
        let aud = reader.take_text(length)?;
        let mut watermarks = [0; 3];
        for watermark in &mut watermarks {
            *watermark = typed(reader, Major::Unsigned)?.argument;
        }
        Ok(Self::Device(aud, watermarks))
    }

    fn is_in_range(&self) -> bool {
        match self {
            Self::Issuer(kid) => kid.len() == 8,
            Self::Device(aud, _) => device::parse(aud.as_bytes()).is_some(),
            Self::Token(kid, cti) => kid.len() == 8 && cti.len() == 16,
        }
    }

    /// Whether it stands strictly below `next`: issuers and tokens bytewise, devices by the bytes of aud.
    fn is_below(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Device(aud, _), Self::Device(next, _)) => aud.as_bytes() < next.as_bytes(),
            _ => self < next,
        }
    }

    /// The rows of a list of a revocation snapshot that was read.
    pub fn rows(list: &'a [u8], index: usize) -> impl Iterator<Item = Self> {
        let mut reader = Reader::new(list);
        let count = reader.head().map_or(0, |head| head.argument);
        (0..count).map_while(move |_| Self::read(&mut reader, index).ok())
    }
}

fn byte_string<'a>(reader: &mut Reader<'a>) -> Check<&'a [u8]> {
    let length = typed(reader, Major::Bytes)?.argument;
    reader.take(length)
}

fn judge_list(reader: &mut Reader<'_>, count: u64, index: usize) -> Check<()> {
    let mut fits = true;
    let mut previous: Option<Revoked<'_>> = None;
    for _ in 0..count {
        let row = Revoked::read(reader, index)?;
        fits &= row.is_in_range() && previous.is_none_or(|previous| previous.is_below(&row));
        previous = Some(row);
    }
    if fits { Ok(()) } else { Err(Code::ClaimRange) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_the_table_name_its_claims_in_the_order_of_their_bytes() {
        let mut encoded = Vec::new();
        for (index, (claim, key, _)) in TABLE.into_iter().enumerate() {
            assert_eq!((Claim::of_key(key), claim as usize), (Some(claim), index));
            let mut writer = Writer::default();
            writer.integer(key);
            encoded.push(writer.into_bytes());
        }
        assert!(encoded.is_sorted());
    }

    #[test]
    fn the_worked_example_is_read_and_written_again() {
        let payload = b"\xa7\x03\x6d\x65\x72\x74\x3a\x31\x30\x30\x30\x30\x30\x30\x30\x31\x04\x1a\x6b\x06\xc1\x40\x06\
            \x1a\x6a\xfd\x86\xc0\x07\x50\x00\x00\x00\x00\x05\xf5\xe1\x01\x00\x00\x00\x00\x00\x00\x00\x07\x09\x45\x81\
            \x82\x01\x18\x3f\x18\x28\x19\x0e\x10\x3a\x00\x01\x00\x00\x04";
        let claims = Claims::read(payload, TokenType::Authorization).unwrap();
        assert_eq!((claims.device, claims.sequence(), claims.epoch), (100_000_001, Some(7), Some(4)));
        assert_eq!((claims.actions(), claims.session_seconds), (0b1_1111, Some(3_600)));
        assert_eq!(claims.check(TokenType::Authorization, 604_800), Ok(()));
        assert_eq!(claims.to_bytes(), payload);
    }
}
