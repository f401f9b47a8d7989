//! Layer 4, beside routes: protected readings, opened in bulk. One file a profile, and the order of the checks here, once.
//!
//! 1 null · 2 structure and lengths · 3 the link layer's checksums · 4 what protects it · 5 plain · 6 the system title · 7 the keys and
//! their lengths · 8 the authentication key · 9 the assurance asked · 10 the check: 16 bits, the key's check value, a MAC or tag ·
//! 11 the counter. The first failure is the answer, and bytes are handed out for `Ok` alone.

mod cipher;
pub mod code;
pub mod cose;
mod cursor;
pub mod device;
mod dlms;
pub mod hexadecimal;
mod in_order;
pub mod keys;
mod secrets;
mod wmbus;

use crate::crypto::kdf::{KdfError, Label};
use crate::parallel::chunks::{Split, Workers, in_chunks_of};
use crate::parallel::columns::{Bits, columns, zeros};
use crate::parallel::scratch::{Place, Scratch};
use crate::parallel::stop::Stop;
use code::{Check, Protection, ReadingCode};
use device::DeviceId;
use in_order::{InOrder, Turn};
use itron_core_kernels::stack::wiped;
use keys::{Copied, KeySource, Keys, KeysOfRow};
use secrets::Secrets;
use std::ops::Range;
use zeroize::Zeroize;

/// What telegrams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// Reading profile 1.
    Cose,
    /// Wireless M-Bus and OMS.
    Wmbus,
    /// DLMS/COSEM.
    Dlms,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cose, Self::Wmbus, Self::Dlms];

    /// The name in interfaces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cose => "cose",
            Self::Wmbus => "wmbus",
            Self::Dlms => "dlms",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The most bytes of a telegram, where there is a limit: a longer one is refused unread.
    const fn longest(self) -> Option<usize> {
        match self {
            Self::Cose => Some(cose::MAX_READING),
            Self::Wmbus => Some(wmbus::LONGEST),
            Self::Dlms => None,
        }
    }

    /// Bits of assurance that are asked when a call does not say.
    #[must_use]
    pub const fn default_assurance(self) -> u16 {
        match self {
            Self::Cose | Self::Dlms => 64,
            Self::Wmbus => 16,
        }
    }
}

/// What holds for every row of a call.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// What the telegrams are.
    pub profile: Profile,
    /// Bits that a check must have.
    pub minimum_assurance: u16,
    /// Whether plain telegrams are handed out, where no key is given for them.
    pub allow_plain: bool,
    /// The keys.
    pub keys: Keys<'a>,
}

/// The rows of a call.
pub trait Rows: Sync {
    /// How many.
    fn rows(&self) -> usize;
    /// The most bytes that `most` bytes of each telegram can be together.
    fn bytes(&self, most: usize) -> usize;
    /// Copies the telegram, and of a longer one its first `most` bytes; `None` where the row has none.
    ///
    /// # Errors
    /// [`Stop`] ends the call.
    fn telegram(&self, row: usize, most: usize, scratch: &mut Scratch) -> Result<Option<Place>, Stop>;
    /// Whether telegrams are hexadecimal text.
    fn hexadecimal(&self) -> bool;
    /// The system title of the association.
    fn title(&self, row: usize) -> Option<[u8; 8]>;
    /// The counter that the row's must be above.
    fn floor(&self, row: usize, device: DeviceId) -> Option<i64>;
}

columns! {
    /// The answers, row for row.
    pub struct ReadingColumns / ReadingSlices {
        /// [`ReadingCode`].
        code: Vec<i16> = ReadingCode::Internal as i16,
        /// Bits of the check that passed.
        assurance: Vec<i16> = 0,
        /// [`Protection`], where it was read.
        protection: Vec<i16> = 0,
        /// Rows whose protection was read.
        protection_known: Bits = false,
        /// The device, where it was read.
        device: Vec<DeviceId> = [0; 8],
        /// Rows whose device was read.
        device_known: Bits = false,
        /// The counter, where it was read.
        counter: Vec<i64> = 0,
        /// Rows whose counter was read.
        counter_known: Bits = false,
        /// Rows with a payload: those of code 0.
        opened: Bits = false,
        /// Bytes of each payload.
        payload_length: Vec<u32> = 0,
        /// Bytes of each device's name.
        name_length: Vec<u32> = 0,
    }
}

/// What a telegram says of itself, as far as it was read: nothing vouches for it.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    device: Option<DeviceId>,
    counter: Option<u32>,
    protection: Option<Protection>,
}

impl Facts {
    /// The refusal of a protection that is not opened here.
    #[cold]
    fn unsupported(&mut self) -> ReadingCode {
        self.protection = Some(Protection::Unsupported);
        ReadingCode::ProtectionUnsupported
    }
}

/// A place in a telegram.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// `None` where it is beyond 4 GiB.
    fn new(start: usize, end: usize) -> Check<Self> {
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) => Ok(Self { start, end }),
            _ => Err(ReadingCode::TelegramMalformed),
        }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// What reading a telegram comes to.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// Its data, which nothing protects.
    Plain(Span),
    Wmbus(wmbus::Sealed),
    Dlms(dlms::Sealed),
    Cose(cose::Sealed),
}

impl Outcome {
    /// Bytes of its key; `None` where it takes none.
    fn key_length(&self) -> Option<usize> {
        match self {
            Self::Plain(_) => None,
            Self::Wmbus(_) => Some(16),
            Self::Dlms(sealed) => Some(sealed.key_length()),
            Self::Cose(sealed) => Some(sealed.key_length()),
        }
    }

    /// Bits that its check has.
    fn assurance(&self) -> u16 {
        match self {
            Self::Plain(_) => 0,
            Self::Wmbus(sealed) => sealed.assurance(),
            Self::Dlms(sealed) => sealed.assurance(),
            Self::Cose(sealed) => sealed.assurance(),
        }
    }

    /// Whether its tag takes a second key.
    fn is_checked_by_two_keys(&self) -> bool {
        matches!(self, Self::Dlms(sealed) if sealed.is_authenticated())
    }

    /// Whether the system title is missing.
    fn lacks_title(&self) -> bool {
        matches!(self, Self::Dlms(sealed) if sealed.title.is_none())
    }
}

/// A telegram as far as it is read before any key is used.
#[derive(Clone, Copy)]
struct Read {
    facts: Facts,
    /// Where its bytes lie.
    place: Place,
    outcome: Check<Outcome>,
}

/// The answers to a call.
#[derive(Debug)]
pub struct Readings {
    /// Row for row.
    pub columns: ReadingColumns,
    /// The payloads, one after another.
    pub payloads: Vec<u8>,
    /// The devices' names, one after another.
    pub names: Vec<u8>,
}

/// Opens each row.
///
/// # Errors
/// [`Stop`], and no row is answered.
pub fn open_many<'w, R: Rows>(rows: &R, call: &Call<'_>, workers: impl Into<Workers<'w>>) -> Result<Readings, Stop> {
    let mut columns = ReadingColumns::new(rows.rows(), |_| true)?;
    // Text has two digits for a byte, and nothing that is opened has more bytes than its telegram. What is not used is never touched.
    let bytes = rows.bytes(most_bytes(rows, call.profile)) / if rows.hexadecimal() { 2 } else { 1 };
    let (mut payloads, mut names) = (zeros(bytes)?, zeros(rows.rows() * device::LONGEST_NAME)?);
    let orders = (InOrder::new(&mut payloads), InOrder::new(&mut names));
    in_chunks_of(AT_ONCE, columns.slices(), workers, &|scratch, start, mut slices: ReadingSlices<'_>| {
        let end = start + slices.rows();
        let mut turns = (orders.0.turn(start, end), orders.1.turn(start, end));
        // What the rows' keys and keys from them leave on the stack.
        wiped(|| open_chunk(rows, call, start, &mut slices, &mut turns, scratch))
    })?;
    let used = (orders.0.used(), orders.1.used());
    payloads.truncate(used.0);
    names.truncate(used.1);
    Ok(Readings { columns, payloads, names })
}

/// Rows of a chunk: so many that threads seldom write to neighbouring cache lines, and few enough for the second-level cache. A
/// chunk's bytes are placed together, so that one which began earlier has mostly placed its own before.
const AT_ONCE: usize = 1_024;

/// The most bytes that are copied of a telegram: one more than the longest has, so that a longer one shows.
fn most_bytes(rows: &impl Rows, profile: Profile) -> usize {
    let longest = profile.longest().filter(|_| !rows.hexadecimal());
    longest.map_or(usize::MAX, |longest| longest + 1)
}

/// What a row comes to. It begins as an internal error, and only a check that passed makes it `Ok`.
struct Opened {
    code: ReadingCode,
    /// Bits that the check has.
    assurance: u16,
    /// The payload's place in the telegram.
    payload: Range<usize>,
}

impl Opened {
    fn refused(code: ReadingCode) -> Self {
        Self { code, assurance: 0, payload: 0..0 }
    }

    fn is_ok(&self) -> bool {
        self.code == ReadingCode::Ok
    }
}

fn open_chunk<R: Rows>(
    rows: &R,
    call: &Call<'_>,
    start: usize,
    slices: &mut ReadingSlices<'_>,
    turns: &mut (Turn<'_, '_>, Turn<'_, '_>),
    scratch: &mut Scratch,
) -> Result<(), Stop> {
    let range = start..start + slices.rows();
    let most = most_bytes(rows, call.profile);
    let mut read = room_for(range.len())?;
    for row in range.clone() {
        read.push(read_row(rows, call.profile, row, most, scratch)?);
    }
    let mut keys = room_for(range.len())?;
    let (copied, derived);
    match call.keys {
        Keys::Column(column) => {
            copied = Copied::of(column, range.clone())?;
            keys.extend((0..range.len()).map(|at| copied.keys(at)));
        }
        Keys::Table(table) => keys.extend(
            read.iter().map(|read| read.facts.device.map(|device| table.get(call.profile, device)).unwrap_or_default()),
        ),
        Keys::Source(source) => {
            // What cannot be derived is an internal error, and its rows stay as they began.
            let Ok(all) = Derived::of(source, call.profile, &read) else { return Ok(()) };
            derived = all;
            keys.extend((0..range.len()).map(|at| derived.keys(at)));
        }
    }
    let mut opened = open(call, &read, &keys, scratch)?;
    for ((row, read), opened) in range.zip(&read).zip(&mut opened) {
        let floor = read.facts.device.filter(|_| opened.is_ok()).and_then(|device| rows.floor(row, device));
        let counters = read.facts.counter.zip(floor);
        if counters.is_some_and(|(counter, floor)| i64::from(counter) <= floor) {
            *opened = Opened::refused(ReadingCode::CounterNotAbove);
        }
    }
    slices.put(call.profile, &read, &opened, turns, scratch)
}

/// Steps 5 to 10 of each row.
fn open(call: &Call<'_>, read: &[Read], keys: &[KeysOfRow<'_>], scratch: &mut Scratch) -> Result<Vec<Opened>, Stop> {
    let mut opened: Vec<Opened> = room_for(read.len())?;
    // One list has rows: a call has one profile.
    let (mut wmbus, mut dlms, mut cose) = (Vec::new(), Vec::new(), Vec::new());
    match call.profile {
        Profile::Wmbus => wmbus = room_for(read.len())?,
        Profile::Dlms => dlms = room_for(read.len())?,
        Profile::Cose => cose = room_for(read.len())?,
    }
    let telegrams = scratch.each_mut(read.iter().map(|read| read.place));
    for (at, ((read, keys), telegram)) in read.iter().zip(keys).zip(telegrams).enumerate() {
        let outcome = match &read.outcome {
            Ok(outcome) => outcome,
            Err(code) => {
                opened.push(Opened::refused(*code));
                continue;
            }
        };
        let assurance = match allow(outcome, call, keys) {
            Ok(assurance) => assurance,
            Err(code) => {
                opened.push(Opened::refused(code));
                continue;
            }
        };
        opened.push(Opened { code: ReadingCode::Internal, assurance, payload: 0..0 });
        match outcome {
            Outcome::Plain(data) => opened[at] = Opened { code: ReadingCode::Ok, assurance, payload: data.range() },
            Outcome::Wmbus(sealed) => wmbus.push(Job { at, sealed, keys, telegram }),
            Outcome::Dlms(sealed) => dlms.push(Job { at, sealed, keys, telegram }),
            Outcome::Cose(sealed) => cose.push(Job { at, sealed, keys, telegram }),
        }
    }
    let mut answer = |at: usize, payload: Check<Range<usize>>| {
        if let Some(opened) = opened.get_mut(at) {
            match payload {
                Ok(payload) => (opened.code, opened.payload) = (ReadingCode::Ok, payload),
                Err(code) => *opened = Opened::refused(code),
            }
        }
    };
    wmbus::open(wmbus, &mut answer)?;
    dlms::open(dlms, &mut answer)?;
    cose::open(cose, &mut answer)?;
    Ok(opened)
}

/// A row that passed steps 1 to 9.
struct Job<'a, S> {
    /// Which row of the chunk it is.
    at: usize,
    sealed: &'a S,
    keys: &'a KeysOfRow<'a>,
    telegram: &'a mut [u8],
}

impl ReadingSlices<'_> {
    /// The answers of a chunk. Its bytes come first: a chunk that panics before its codes are written leaves refusals.
    fn put(
        &mut self,
        profile: Profile,
        read: &[Read],
        opened: &[Opened],
        (payloads, names): &mut (Turn<'_, '_>, Turn<'_, '_>),
        scratch: &mut Scratch,
    ) -> Result<(), Stop> {
        let mut bytes = 0;
        for ((length, read), opened) in self.payload_length.iter_mut().zip(read).zip(opened) {
            if opened.is_ok() {
                bytes += opened.payload.len();
                *length = opened.payload.len() as u32;
            } else {
                scratch.get_mut(read.place).zeroize();
            }
        }
        payloads.put(read.len(), bytes, |mut place| {
            for (read, opened) in read.iter().zip(opened).filter(|(_, opened)| opened.is_ok()) {
                let payload = &scratch.get(read.place)[opened.payload.clone()];
                let (here, rest) = place.split_at_mut(payload.len());
                here.copy_from_slice(payload);
                place = rest;
            }
        })?;
        let mut all = room_for(read.len() * device::LONGEST_NAME)?;
        for (length, read) in self.name_length.iter_mut().zip(read) {
            let before = all.len();
            if let Some(device) = &read.facts.device {
                device::append_name(profile, device, &mut all);
            }
            *length = (all.len() - before) as u32;
        }
        names.put(read.len(), all.len(), |place| place.copy_from_slice(&all))?;
        for (at, (Read { facts, .. }, opened)) in read.iter().zip(opened).enumerate() {
            self.code[at] = opened.code as i16;
            if opened.is_ok() {
                self.assurance[at] = opened.assurance as i16;
                self.opened.set(at);
            }
            if let Some(protection) = facts.protection {
                self.protection[at] = protection as i16;
                self.protection_known.set(at);
            }
            if let Some(counter) = facts.counter {
                self.counter[at] = counter.into();
                self.counter_known.set(at);
            }
            if let Some(device) = facts.device {
                self.device[at] = device;
                self.device_known.set(at);
            }
        }
        Ok(())
    }
}

/// Steps 1 to 4: copies the telegram, a single time, and reads the copy.
#[inline]
fn read_row<R: Rows>(rows: &R, profile: Profile, row: usize, most: usize, scratch: &mut Scratch) -> Result<Read, Stop> {
    let mut facts = Facts::default();
    let Some(telegram) = rows.telegram(row, most, scratch)? else {
        return Ok(Read { facts, place: scratch.push(&[])?, outcome: Err(ReadingCode::NullTelegram) });
    };
    let place = match plain_bytes(rows, profile, telegram, scratch)? {
        Ok(place) => place,
        Err(code) => return Ok(Read { facts, place: telegram.first(0), outcome: Err(code) }),
    };
    let bytes = scratch.get(place);
    let outcome = match profile {
        Profile::Cose => cose::read(bytes, &mut facts),
        Profile::Wmbus => wmbus::read(bytes, &mut facts),
        Profile::Dlms => dlms::read(bytes, rows.title(row), &mut facts),
    };
    Ok(Read { facts, place, outcome })
}

/// Where the bytes lie that are read of a telegram: decoded from its digits, and of a radio frame without checksums.
fn plain_bytes<R: Rows>(
    rows: &R,
    profile: Profile,
    mut place: Place,
    scratch: &mut Scratch,
) -> Result<Check<Place>, Stop> {
    if rows.hexadecimal() {
        let mut bytes = room_for(place.len() / 2)?;
        if hexadecimal::append(scratch.get(place), &mut bytes).is_none() {
            return Ok(Err(ReadingCode::TelegramMalformed));
        }
        place = scratch.push(&bytes)?;
    }
    match profile {
        Profile::Wmbus => match wmbus::form(scratch.get(place)) {
            Ok(wmbus::Form::Plain(length)) => Ok(Ok(place.first(length))),
            Ok(wmbus::Form::Checked(frame)) => scratch.push(&frame).map(Ok),
            Err(code) => Ok(Err(code)),
        },
        Profile::Cose if place.len() > cose::MAX_READING => Ok(Err(ReadingCode::TelegramMalformed)),
        Profile::Cose | Profile::Dlms => Ok(Ok(place)),
    }
}

/// Steps 5 to 9: the bits that the row's check has.
#[inline]
fn allow(outcome: &Outcome, call: &Call<'_>, keys: &KeysOfRow<'_>) -> Check<u16> {
    let Some(key_length) = outcome.key_length() else {
        return if call.allow_plain && keys.key.is_none() { Ok(0) } else { Err(ReadingCode::NotProtected) };
    };
    if outcome.lacks_title() {
        return Err(ReadingCode::TitleMissing);
    }
    let key = keys.key.ok_or(ReadingCode::NoKey)?;
    if key.len() != key_length {
        return Err(ReadingCode::KeyLength);
    }
    let mut assurance = outcome.assurance();
    if outcome.is_checked_by_two_keys() {
        match keys.authentication_key {
            Some(key) if key.len() != key_length => return Err(ReadingCode::KeyLength),
            None if call.minimum_assurance > 0 => return Err(ReadingCode::AuthenticationKeyMissing),
            None => assurance = 0,
            Some(_) => {}
        }
    }
    if assurance < call.minimum_assurance { Err(ReadingCode::TooWeak) } else { Ok(assurance) }
}

/// What was derived for the rows of a chunk, where the keys come from one master.
#[derive(Default)]
struct Derived {
    /// Which of the keys of which length is the row's.
    places: Vec<Option<(usize, usize)>>,
    /// Of 16 bytes, of 32 bytes.
    keys: [Secrets; 2],
    authentication_keys: [Secrets; 2],
    check_values: [Vec<[u8; keys::CHECK_VALUE]>; 2],
}

/// Bytes of the derived keys.
const LENGTHS: [usize; 2] = [16, 32];

impl Derived {
    fn of(source: &KeySource, profile: Profile, read: &[Read]) -> Result<Self, KdfError> {
        let mut ids = [const { Vec::new() }; 2];
        let mut derived = Self::default();
        for read in read {
            let outcome = read.outcome.as_ref().ok();
            // A plain telegram is refused for its key, which is not needed for that.
            let length = outcome.map(|outcome| outcome.key_length().unwrap_or(LENGTHS[0]));
            let place = length.zip(read.facts.device).map(|(length, device)| {
                let which = usize::from(length != LENGTHS[0]);
                ids[which].push(device);
                (which, ids[which].len() - 1)
            });
            derived.places.push(place);
        }
        for (which, ids) in ids.iter().enumerate().filter(|(_, ids)| !ids.is_empty()) {
            derived.keys[which] = source.keys(Label::ReadEnc, LENGTHS[which], ids)?;
            match profile {
                Profile::Cose => derived.check_values[which] = source.check_values(ids)?,
                Profile::Dlms => {
                    derived.authentication_keys[which] = source.keys(Label::ReadAuth, LENGTHS[which], ids)?;
                }
                Profile::Wmbus => {}
            }
        }
        Ok(derived)
    }

    /// The keys of row `at` of the chunk.
    #[inline]
    fn keys(&self, at: usize) -> KeysOfRow<'_> {
        let Some((which, place)) = self.places.get(at).copied().flatten() else { return KeysOfRow::default() };
        let length = LENGTHS[which];
        KeysOfRow {
            key: self.keys[which].get(place * length..(place + 1) * length),
            authentication_key: self.authentication_keys[which].get(place * length..(place + 1) * length),
            check_value: self.check_values[which].get(place).copied(),
        }
    }
}

/// An empty list with room for that many items.
fn room_for<T>(items: usize) -> Result<Vec<T>, Stop> {
    let mut list = Vec::new();
    list.try_reserve_exact(items)?;
    Ok(list)
}
