//! Layer 4: what each row of a route needs, against what is in hand.
//!
//! What is needed is not known here: it is a table that Python makes and hands in. Here it is set arithmetic.

mod decide;

use crate::code::{Check, Code};
use crate::format::device;
use crate::format::token_type::TokenType;
use crate::parallel::chunks::{self, Workers};
use crate::parallel::columns::{BitSlice, Bits, columns, put};
use crate::parallel::scratch::{Place, Scratch};
use crate::parallel::stop::Stop;
use crate::time::{Nanos, Session, SessionState, Unit, session, session_end};
use crate::token::keyring::Keyring;
use crate::token::verify::{Call, Fetched, expected_rows, verify_range};

pub use decide::{Decision, Policy, TableError};
use decide::{Hand, Material, Situation};

/// A name or a number of an enumeration, as a row gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// One of its members.
    Member(u8),
    /// Null, or the column is absent.
    Null,
    /// Nothing that the enumeration knows.
    Unknown,
}

impl Choice {
    const fn member(self) -> Option<u8> {
        match self {
            Self::Member(member) => Some(member),
            Self::Null | Self::Unknown => None,
        }
    }
}

/// The three materials of a row, in the order of their columns.
pub const MATERIALS: [TokenType; 3] = [TokenType::Authorization, TokenType::SecureCommand, TokenType::ReadingKey];

/// One row of a route, its device in a [`Scratch`].
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// aud of the device.
    pub device: Option<Place>,
    /// Device class.
    pub class: Choice,
    /// Mode.
    pub mode: Choice,
    /// Security level.
    pub level: Choice,
    /// Number of the action.
    pub action: Choice,
    /// When its session opened, in ticks of the call's unit.
    pub session_opened_at: Option<i64>,
    /// How long the session lasts, in seconds.
    pub session_seconds: Option<i64>,
    /// Connects and disconnects since the last sync.
    pub commands_used: i64,
    /// Authorizations since the last sync.
    pub authorizations_used: i64,
    /// Whether this very secure command was used.
    pub secure_command_used: bool,
    /// Whether this very authorization was used.
    pub authorization_used: bool,
    /// Whether the action is on the device's menu.
    pub on_menu: bool,
    /// Whether the level was asked of the device, not only imported.
    pub level_verified: bool,
    /// Whether keys can be exchanged.
    pub key_exchange: bool,
    /// Bit set of permissions.
    pub permissions: i64,
    /// The device's security epoch.
    pub epoch: Option<i64>,
}

impl Default for Row {
    /// A row of which no column says anything.
    fn default() -> Self {
        Self {
            device: None,
            class: Choice::Null,
            mode: Choice::Null,
            level: Choice::Null,
            action: Choice::Null,
            session_opened_at: None,
            session_seconds: None,
            commands_used: 0,
            authorizations_used: 0,
            secure_command_used: false,
            authorization_used: false,
            on_menu: true,
            level_verified: true,
            key_exchange: false,
            permissions: 0,
            epoch: None,
        }
    }
}

/// What holds for every row of a call.
#[derive(Clone, Copy, Debug)]
pub struct RouteCall<'a> {
    /// Verification, but for its type.
    pub call: Call<'a>,
    /// Now, as exactly as the caller knows it.
    pub now: Nanos,
    /// Unit of `session_opened_at`.
    pub session_unit: Unit,
    /// The table of needs and its limits.
    pub policy: &'a Policy,
}

columns! {
    /// The decisions, column by column.
    pub struct RouteColumns / RouteSlices {
        /// Decision.
        decision: Vec<i8> = Decision::Refused as i8,
        /// Why; 900 until it is answered.
        reason: Vec<i16> = Code::Internal as i16,
        /// Bit set of needs.
        missing: Vec<i32> = 0,
        /// Whether the answer rests on a level that nobody asked of the device.
        unverified: Bits = false,
        /// End of the open session, in microseconds since 1970.
        session_until: Vec<i64> = 0,
        /// Whether a session is open.
        session_open: Bits = false,
        /// Code of the authorization.
        authorization_code: Vec<i16> = 0,
        /// Whether an authorization was given.
        authorization_given: Bits = false,
        /// Code of the secure command.
        secure_command_code: Vec<i16> = 0,
        /// Whether a secure command was given.
        secure_command_given: Bits = false,
        /// Code of the reading key.
        reading_key_code: Vec<i16> = 0,
        /// Whether a reading key was given.
        reading_key_given: Bits = false,
        /// The device that the row was decided for.
        device: Vec<u64> = 0,
        /// Whether the row names a device.
        device_known: Bits = false,
    }
}

/// Where the columns of a route lie: its rows, and the token that a row holds of each material.
///
/// Each row and each token is fetched once, and its bytes are copied to the scratch: whoever changes them where they came from
/// never makes one part of a row be verified and another be believed.
pub trait Route: Sync {
    /// How many rows.
    fn rows(&self) -> usize;
    /// Fetches the rows from `start` on, each of which begins as the default.
    ///
    /// # Errors
    /// [`Stop`] ends the call.
    fn fetch(&self, start: usize, rows: &mut [Row], scratch: &mut Scratch) -> Result<(), Stop>;
    /// The token that a row holds in column `material` of [`MATERIALS`], or the code that it has without one.
    ///
    /// # Errors
    /// [`Stop`] ends the call.
    fn token(&self, material: usize, index: usize, scratch: &mut Scratch) -> Result<Check<Place>, Stop>;
    /// Whether the route has that column.
    fn has(&self, material: usize) -> bool;
}

/// Decides every row; of the columns, those that are `wanted`.
///
/// # Errors
/// [`Stop`], and no row is answered.
pub fn process<'w>(
    route: &impl Route,
    keyring: &Keyring,
    call: &RouteCall<'_>,
    wanted: impl Fn(&str) -> bool,
    workers: impl Into<Workers<'w>>,
) -> Result<RouteColumns, Stop> {
    let mut columns = RouteColumns::new(route.rows(), wanted)?;
    chunks::in_chunks(columns.slices(), workers, &|scratch, start, slices: RouteSlices<'_>| {
        process_chunk(route, keyring, call, start, slices, scratch)
    })?;
    Ok(columns)
}

fn process_chunk(
    route: &impl Route,
    keyring: &Keyring,
    call: &RouteCall<'_>,
    start: usize,
    mut slices: RouteSlices<'_>,
    scratch: &mut Scratch,
) -> Result<(), Stop> {
    let mut rows = vec![Row::default(); slices.decision.len()];
    route.fetch(start, &mut rows, scratch)?;
    let mut situations = Vec::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate() {
        let device = row.device.and_then(|device| device::parse(scratch.get(device)));
        if let Some(device) = device {
            put(slices.device, at, device);
            slices.device_known.set(at);
        }
        situations.push(device.and_then(|_| situation(row, call)));
    }
    let mut codes: [Vec<Option<Code>>; 3] = [Vec::new(), Vec::new(), Vec::new()];
    let devices_end = scratch.used();
    for (material, codes) in codes.iter_mut().enumerate().filter(|&(material, _)| route.has(material)) {
        codes.resize(rows.len(), None);
        scratch.rewind(devices_end);
        let fetched = fetch_material(route, start, material, (&rows, &situations), scratch)?;
        verify_material(route, keyring, call, material, &fetched, scratch, codes);
    }
    for (at, (row, situation)) in rows.iter().zip(&situations).enumerate() {
        let code_of = |material: usize| codes[material].get(at).copied().flatten();
        slices.set(at, row, situation.as_ref(), [code_of(0), code_of(1), code_of(2)], call);
    }
    Ok(())
}

/// Copies the tokens of one column, but for rows that are unreadable.
fn fetch_material(
    route: &impl Route,
    start: usize,
    material: usize,
    (rows, situations): (&[Row], &[Option<Situation>]),
    scratch: &mut Scratch,
) -> Result<Vec<Fetched>, Stop> {
    let mut fetched = Vec::with_capacity(rows.len());
    for (at, (row, situation)) in rows.iter().zip(situations).enumerate() {
        fetched.push(match situation {
            None => Fetched::default(),
            Some(situation) => Fetched {
                token: route.token(material, start + at, scratch)?,
                audience: row.device,
                action: situation.asked_of(material),
                epoch: row.epoch,
            },
        });
    }
    Ok(fetched)
}

/// Verifies the tokens of one column; `None` for a row that is unreadable or holds none.
fn verify_material(
    route: &impl Route,
    keyring: &Keyring,
    call: &RouteCall<'_>,
    material: usize,
    fetched: &[Fetched],
    scratch: &Scratch,
    codes: &mut [Option<Code>],
) {
    let token_type = MATERIALS[material];
    let verification = Call { token_type, max_lifetime: token_type.default_lifetime(), ..call.call };
    let question = |at: usize| fetched[at].question(scratch);
    let expected = expected_rows(keyring, route.rows());
    verify_range(keyring, &verification, 0..fetched.len(), expected, question, |at, verdict| {
        codes[at] = Some(verdict.code).filter(|&code| code != Code::NoToken);
    });
}

/// What a row with a device asks; `None` for one that cannot be read.
fn situation(row: &Row, call: &RouteCall<'_>) -> Option<Situation> {
    let mode = match row.mode {
        Choice::Member(mode) => mode,
        Choice::Null => Policy::MODE_UNKNOWN,
        Choice::Unknown => return None,
    };
    // A count or an epoch below zero is no fewer than none: nobody knows what was meant.
    if row.commands_used < 0 || row.authorizations_used < 0 || row.epoch.is_some_and(|epoch| epoch < 0) {
        return None;
    }
    let session_row = Session { opened_at: row.session_opened_at, seconds: row.session_seconds, closed_at: None };
    let (state, _) = session(session_row, call.session_unit, Unit::Second, call.now);
    call.policy.situation(row.class.member()?, mode, row.level.member()?, row.action.member()?, state)
}

impl RouteSlices<'_> {
    fn set(
        &mut self,
        at: usize,
        row: &Row,
        situation: Option<&Situation>,
        codes: [Option<Code>; 3],
        call: &RouteCall<'_>,
    ) {
        let Some(situation) = situation else {
            put(self.reason, at, Policy::ROW_UNREADABLE);
            return;
        };
        let material = |code, used| Material { code, used };
        let hand = Hand {
            authorization: material(codes[0], row.authorization_used),
            secure_command: material(codes[1], row.secure_command_used),
            reading_key: material(codes[2], false),
            key_exchange: row.key_exchange,
            on_menu: row.on_menu,
            permissions: row.permissions,
            commands_used: row.commands_used,
            authorizations_used: row.authorizations_used,
        };
        let answer = situation.decide(&hand, call.policy);
        put(self.decision, at, answer.decision as i8);
        put(self.reason, at, answer.reason);
        put(self.missing, at, answer.missing as i32);
        if situation.is_unverified(row.level_verified) {
            self.unverified.set(at);
        }
        if let (SessionState::Open, Some(opened_at), Some(seconds)) =
            (situation.session, row.session_opened_at, row.session_seconds)
        {
            put(self.session_until, at, session_end(opened_at, call.session_unit, seconds));
            self.session_open.set(at);
        }
        set_code(self.authorization_code, &mut self.authorization_given, at, codes[0]);
        set_code(self.secure_command_code, &mut self.secure_command_given, at, codes[1]);
        set_code(self.reading_key_code, &mut self.reading_key_given, at, codes[2]);
    }
}

fn set_code(column: &mut [i16], given: &mut BitSlice<'_>, at: usize, code: Option<Code>) {
    if let Some(code) = code {
        put(column, at, code as i16);
        given.set(at);
    }
}
