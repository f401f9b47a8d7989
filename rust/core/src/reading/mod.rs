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
pub mod keys;
mod pieces;
mod secrets;
mod wmbus;

use crate::crypto::kdf::{KdfError, Label};
use crate::parallel::chunks::{Split, Workers, in_chunks};
use crate::parallel::columns::{Bits, columns};
use crate::parallel::scratch::{Place, Scratch};
use crate::parallel::stop::Stop;
use code::{Check, Protection, ReadingCode};
use device::DeviceId;
use itron_core_kernels::stack::wiped;
use keys::{KeySource, Keys, KeysOfRow, LONGEST_KEY};
use pieces::Pieces;
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
    /// Copies the telegram, `None` where the row has none.
    ///
    /// # Errors
    /// [`Stop`] ends the call.
    fn telegram(&self, row: usize, scratch: &mut Scratch) -> Result<Option<Place>, Stop>;
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
        /// The payloads.
        payloads: Pieces = (),
        /// The names.
        names: Pieces = (),
    }
}

impl ReadingColumns {
    /// All payloads, then all names, each one after another.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn take_bytes(&mut self, workers: Workers<'_>) -> Result<[Vec<u8>; 2], Stop> {
        let payloads = std::mem::take(&mut self.payloads).joined(workers)?;
        Ok([payloads, std::mem::take(&mut self.names).joined(workers)?])
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

/// Opens each row.
///
/// # Errors
/// [`Stop`], and no row is answered.
pub fn open_many<'w, R: Rows>(
    rows: &R,
    call: &Call<'_>,
    workers: impl Into<Workers<'w>>,
) -> Result<ReadingColumns, Stop> {
    let mut columns = ReadingColumns::new(rows.rows(), |_| true)?;
    in_chunks(columns.slices(), workers, &|scratch, start, mut slices| {
        // What the rows' keys and keys from them leave on the stack.
        wiped(|| open_chunk(rows, call, start, &mut slices, scratch))
    })?;
    Ok(columns)
}

/// What a row comes to: the payload's place in the telegram, and the bits of the check that passed.
type Opened = Check<(Range<usize>, u16)>;

fn open_chunk<R: Rows>(
    rows: &R,
    call: &Call<'_>,
    start: usize,
    slices: &mut ReadingSlices<'_>,
    scratch: &mut Scratch,
) -> Result<(), Stop> {
    let range = start..start + slices.rows();
    let mut read = room_for(range.len())?;
    for row in range.clone() {
        read.push(read_row(rows, call.profile, row, scratch)?);
    }
    let mut keys = room_for(range.len())?;
    let (mut rooms, derived);
    match call.keys {
        Keys::Column(column) => {
            rooms = Secrets::zeros(range.len() * ROOMS)?;
            let rooms = rooms.as_chunks_mut().0.as_chunks_mut().0.iter_mut();
            keys.extend(range.clone().zip(rooms).map(|(row, rooms)| KeysOfRow::of(column, row, rooms)));
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
            *opened = Err(ReadingCode::CounterNotAbove);
        }
    }
    slices.put(call.profile, &read, &opened, scratch)
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
    for (at, ((read, &keys), telegram)) in read.iter().zip(keys).zip(telegrams).enumerate() {
        opened.push(read.outcome.as_ref().map_err(|code| *code).and_then(|outcome| {
            let assurance = allow(outcome, call, &keys)?;
            match outcome {
                Outcome::Plain(data) => return Ok((data.range(), assurance)),
                Outcome::Wmbus(sealed) => wmbus.push(Job { at, sealed, keys, telegram }),
                Outcome::Dlms(sealed) => dlms.push(Job { at, sealed, keys, telegram }),
                Outcome::Cose(sealed) => cose.push(Job { at, sealed, keys, telegram }),
            }
            Ok((0..0, assurance))
        }));
    }
    let mut answer = |at: usize, payload: Check<Range<usize>>| {
        if let Some(opened) = opened.get_mut(at) {
            *opened = opened.as_ref().map_err(|code| *code).and_then(|(_, assurance)| Ok((payload?, *assurance)));
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
    keys: KeysOfRow<'a>,
    telegram: &'a mut [u8],
}

impl ReadingSlices<'_> {
    /// The answers of a chunk. Its bytes come first: a chunk that panics before its codes are written leaves refusals.
    fn put(&mut self, profile: Profile, read: &[Read], opened: &[Opened], scratch: &mut Scratch) -> Result<(), Stop> {
        let (mut payloads, mut names) = (room_for(read.len() * PAYLOAD)?, room_for(read.len() * NAME)?);
        for (at, (read, opened)) in read.iter().zip(opened).enumerate() {
            match opened {
                Ok((payload, _)) => {
                    let payload = &scratch.get(read.place)[payload.clone()];
                    payloads.try_reserve(payload.len())?;
                    payloads.extend_from_slice(payload);
                    self.payload_length[at] = payload.len() as u32;
                }
                Err(_) => scratch.get_mut(read.place).zeroize(),
            }
            if let Some(device) = &read.facts.device {
                let before = names.len();
                device::append_name(profile, device, &mut names);
                self.name_length[at] = (names.len() - before) as u32;
            }
        }
        self.payloads.put(payloads);
        self.names.put(names);
        for (at, (Read { facts, .. }, opened)) in read.iter().zip(opened).enumerate() {
            match opened {
                Ok((_, assurance)) => {
                    self.code[at] = ReadingCode::Ok as i16;
                    self.assurance[at] = *assurance as i16;
                    self.opened.set(at);
                }
                Err(code) => self.code[at] = *code as i16,
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
fn read_row<R: Rows>(rows: &R, profile: Profile, row: usize, scratch: &mut Scratch) -> Result<Read, Stop> {
    let mut facts = Facts::default();
    let nothing = scratch.push(&[])?;
    let Some(telegram) = rows.telegram(row, scratch)? else {
        return Ok(Read { facts, place: nothing, outcome: Err(ReadingCode::NullTelegram) });
    };
    let place = match plain_bytes(rows, profile, telegram, scratch)? {
        Ok(place) => place,
        Err(code) => return Ok(Read { facts, place: nothing, outcome: Err(code) }),
    };
    let bytes = scratch.get(place);
    let outcome = match profile {
        Profile::Cose => cose::read(bytes, &mut facts),
        Profile::Wmbus => wmbus::read(bytes, &mut facts),
        Profile::Dlms => dlms::read(bytes, rows.title(row), &mut facts),
    };
    Ok(Read { facts, place, outcome })
}

/// Where the bytes lie that are read of a telegram: behind its digits, and of a radio frame without checksums.
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

/// Bytes for both keys of a row.
const ROOMS: usize = 2 * LONGEST_KEY;
/// Bytes of most devices' names, and of most payloads.
const NAME: usize = 24;
const PAYLOAD: usize = 64;

/// An empty list with room for that many items.
fn room_for<T>(items: usize) -> Result<Vec<T>, Stop> {
    let mut list = Vec::new();
    list.try_reserve_exact(items)?;
    Ok(list)
}
