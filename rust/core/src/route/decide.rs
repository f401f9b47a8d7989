//! One row decided: missing = needed and not in hand. What opens a session and what counts is in the table, as what is needed.

use crate::code::Code;
use crate::format::scope::OPEN_SESSION as OPEN_SESSION_ACTION;
use crate::time::SessionState;

/// What may be done with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Decision {
    /// It may be done now.
    Allowed = 0,
    /// It may be done once the held session-opening material was sent.
    AllowedAfterOpen = 1,
    /// It may not be done.
    Refused = 2,
    /// The device must be asked first.
    Undetermined = 3,
}

/// A set of needs.
type Needs = u32;

const PERMISSION: Needs = 1;
const ON_MENU: Needs = 2;
const READING_KEY: Needs = 4;
const OPEN_SESSION: Needs = 8;
const SECURE_COMMAND: Needs = 16;
const AUTHORIZATION: Needs = 32;
const KEY_EXCHANGE: Needs = 64;
const RESYNC: Needs = 128;
const NEVER: Needs = 256;

const PERMISSION_DENIED: i16 = 1000;
const NOT_ON_MENU: i16 = 1001;
const MODE_UNKNOWN: i16 = 1003;
const SESSION_REQUIRED: i16 = 1010;
const SESSION_EXPIRED: i16 = 1011;
const SESSION_NOT_STARTED: i16 = 1012;
const SECURE_COMMAND_MISSING: i16 = 1020;
const READING_KEY_MISSING: i16 = 1021;
const AUTHORIZATION_MISSING: i16 = 1022;
const KEY_EXCHANGE_MISSING: i16 = 1023;
const RESYNC_REQUIRED: i16 = 1030;
const REPLAY: i16 = 1031;

const CLASSES: usize = 3;
const MODES: usize = 3;
const LEVELS: usize = 4;
const ACTIONS: usize = 24;
const COMBINATIONS: usize = CLASSES * MODES * LEVELS * ACTIONS;

const BASIC: u8 = 0;
const MULTI_MODE: u8 = 2;
const MOBILE: u8 = 0;
const NETWORK: u8 = 1;
const LEVEL_UNKNOWN: u8 = 3;

/// What every combination needs, as Python's policy says it.
#[derive(Clone, Debug)]
pub struct Policy {
    /// By class, mode, level and action, the last fastest.
    needs: Vec<Needs>,
    /// Why a combination is never allowed, else 0.
    never_reasons: Vec<i16>,
    /// The material that opens the session which is needed.
    openers: Vec<Needs>,
    /// The material whose uses count until the next sync.
    counted: Vec<Needs>,
    /// The place of an action's number in the table.
    places: [Option<u8>; 64],
    /// The permission that each action asks for.
    permissions: Vec<i64>,
    /// Connects and disconnects before a resync.
    command_limit: i64,
    /// Authorizations before a resync.
    authorization_limit: i64,
}

/// A table that is not the one wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableError;

impl std::fmt::Display for TableError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expected {COMBINATIONS} rows in each column, and {ACTIONS} actions below 64 with their permissions")
    }
}

impl Policy {
    /// The number of the mode that is not known.
    pub const MODE_UNKNOWN: u8 = 2;
    /// The reason of a row that cannot be read.
    pub const ROW_UNREADABLE: i16 = 1005;

    /// A policy from its table: needs, openers and counted material, and why a combination is never allowed. `actions` are
    /// (number, permission), rising, as the table's last index counts them.
    ///
    /// # Errors
    /// The table has another size.
    pub fn new(
        [needs, openers, counted]: [Vec<u32>; 3],
        never_reasons: Vec<i16>,
        actions: &[(u8, i64)],
        [command_limit, authorization_limit]: [i64; 2],
    ) -> Result<Self, TableError> {
        let columns = [needs.len(), openers.len(), counted.len(), never_reasons.len()];
        if columns != [COMBINATIONS; 4] || actions.len() != ACTIONS {
            return Err(TableError);
        }
        let mut places = [None; 64];
        for (place, &(number, _)) in (0..).zip(actions) {
            *places.get_mut(usize::from(number)).ok_or(TableError)? = Some(place);
        }
        let permissions = actions.iter().map(|&(_, permission)| permission).collect();
        Ok(Self { needs, never_reasons, openers, counted, places, permissions, command_limit, authorization_limit })
    }

    /// The action to ask each of [`MATERIALS`](super::MATERIALS) for where all of this is missing: class, mode, level and action
    /// are a readable row's. Nothing is asked for a row that is not permitted, or that no material can make possible.
    #[must_use]
    pub fn requests(&self, [class, mode, level, action]: [u8; 4], missing: u32) -> [Option<u8>; 3] {
        let session = if missing & OPEN_SESSION == 0 { SessionState::Open } else { SessionState::None };
        let Some(situation) = self.situation(class, mode, level, action, session) else { return [None; 3] };
        if missing & (PERMISSION | ON_MENU | NEVER) != 0 {
            return [None; 3];
        }
        let needs = [AUTHORIZATION, SECURE_COMMAND, READING_KEY];
        std::array::from_fn(|material| situation.asked_of(material).filter(|_| missing & needs[material] != 0))
    }

    /// What a row with these enumerations asks; `None` when a number has no meaning.
    pub(super) fn situation(
        &self,
        class: u8,
        mode: u8,
        level: u8,
        action: u8,
        session: SessionState,
    ) -> Option<Situation> {
        let known = usize::from(class) < CLASSES && usize::from(mode) < MODES && usize::from(level) < LEVELS;
        let place = usize::from(self.places.get(usize::from(action)).copied().flatten().filter(|_| known)?);
        let index = |mode: u8| {
            let combination = (usize::from(class) * MODES + usize::from(mode)) * LEVELS + usize::from(level);
            combination * ACTIONS + place
        };
        // Mode matters to a multi-mode device alone; where it is not known, the answer is the union over both.
        let is_undetermined = class == MULTI_MODE && mode == Self::MODE_UNKNOWN;
        let variant = |mode: u8, network: bool| {
            let index = index(mode);
            Variant { needs: self.needs[index], opener: self.openers[index], counted: self.counted[index], network }
        };
        let possible = |mode: u8| {
            let variant = variant(mode, mode == NETWORK);
            Variant { needs: variant.needs & !NEVER, ..variant }
        };
        let variants = if is_undetermined {
            [possible(MOBILE), possible(NETWORK)]
        } else {
            [variant(mode, class == MULTI_MODE && mode == NETWORK); 2]
        };
        Some(Situation {
            class,
            level,
            action,
            session,
            permission: self.permissions[place],
            never_reason: if is_undetermined { 0 } else { self.never_reasons[index(mode)] },
            is_undetermined,
            variants,
        })
    }
}

/// What a row needs in one mode.
#[derive(Clone, Copy, Debug)]
struct Variant {
    needs: Needs,
    opener: Needs,
    counted: Needs,
    network: bool,
}

/// What a row asks: its enumerations looked up, before anything in hand is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    class: u8,
    level: u8,
    action: u8,
    pub(super) session: SessionState,
    permission: i64,
    never_reason: i16,
    is_undetermined: bool,
    /// Both modes of a device whose mode is not known, else twice the same.
    variants: [Variant; 2],
}

/// A token of a row: the code it was verified with, if there is one, and whether it was used already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Material {
    pub(super) code: Option<Code>,
    pub(super) used: bool,
}

/// What is in hand for a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hand {
    pub(super) authorization: Material,
    pub(super) secure_command: Material,
    pub(super) reading_key: Material,
    pub(super) key_exchange: bool,
    pub(super) on_menu: bool,
    pub(super) permissions: i64,
    pub(super) commands_used: i64,
    pub(super) authorizations_used: i64,
}

/// The answer for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) decision: Decision,
    pub(super) reason: i16,
    pub(super) missing: Needs,
}

/// What is missing, and the first reason by its place in the policy's order.
#[derive(Clone, Copy, Debug, Default)]
struct Lack {
    missing: Needs,
    /// Place in the order, and the reason given there: its own, or a token's code.
    first: Option<(i16, i16)>,
}

impl Lack {
    fn add(&mut self, need: Needs, place: i16, reason: i16) {
        self.missing |= need;
        if self.first.is_none_or(|(first, _)| place < first) {
            self.first = Some((place, reason));
        }
    }

    /// A need that `material` should meet, in `place` of the order. True when it does.
    fn unless_met_by(&mut self, material: Material, need: Needs, place: i16, absent: i16) -> bool {
        match material {
            Material { code: None, .. } => self.add(need, place, absent),
            Material { code: Some(Code::Ok), used: false } => return true,
            Material { code: Some(Code::Ok), used: true } => self.add(need, REPLAY, REPLAY),
            Material { code: Some(refused), .. } => self.add(need, place, refused as i16),
        }
        false
    }
}

impl Situation {
    /// The action that a token of a material must cover; none where the row has no need of it.
    pub(super) fn asked_of(&self, material: usize) -> Option<u8> {
        let need = [AUTHORIZATION, SECURE_COMMAND, READING_KEY][material];
        if self.variants.iter().any(|variant| variant.needs & need != 0) {
            return Some(self.action);
        }
        let opens = |variant: &Variant| self.opener(*variant) == need;
        let would_open = self.variants.iter().any(opens);
        // A secure command opens by being for open_session; an authorization by its type, and its scope says what for.
        would_open.then_some(if need == SECURE_COMMAND { OPEN_SESSION_ACTION } else { self.action })
    }

    /// The material that would open the session that the row needs and has not; no bit where nothing would.
    fn opener(&self, variant: Variant) -> Needs {
        if self.session == SessionState::Open { 0 } else { variant.opener }
    }

    /// Whether the answer rests on a level that is unknown or known from an import only.
    pub(super) fn is_unverified(&self, level_verified: bool) -> bool {
        let level_counts = self.class != BASIC && self.variants.iter().any(|variant| !variant.network);
        level_counts && (self.level == LEVEL_UNKNOWN || !level_verified)
    }

    pub(super) fn decide(&self, hand: &Hand, policy: &Policy) -> Answer {
        let mut lack = Lack::default();
        if hand.permissions & self.permission != self.permission {
            lack.add(PERMISSION, PERMISSION_DENIED, PERMISSION_DENIED);
        }
        if !hand.on_menu {
            lack.add(ON_MENU, NOT_ON_MENU, NOT_ON_MENU);
        }
        if self.is_undetermined {
            lack.add(0, MODE_UNKNOWN, MODE_UNKNOWN);
        }
        let mut opens_first = false;
        // Twice the same is decided once.
        for &variant in if self.is_undetermined { &self.variants[..] } else { &self.variants[..1] } {
            opens_first |= self.lack_of(variant, hand, policy, &mut lack);
        }
        let decision = match lack.first {
            Some((MODE_UNKNOWN, _)) => Decision::Undetermined,
            Some(_) => Decision::Refused,
            None if opens_first => Decision::AllowedAfterOpen,
            None => Decision::Allowed,
        };
        Answer { decision, reason: lack.first.map_or(0, |(_, reason)| reason), missing: lack.missing }
    }

    /// Adds what one mode lacks. True when held material opens the session first.
    fn lack_of(&self, variant: Variant, hand: &Hand, policy: &Policy, lack: &mut Lack) -> bool {
        if variant.needs & NEVER != 0 {
            lack.add(NEVER, self.never_reason, self.never_reason);
            return false;
        }
        let opens_first = variant.needs & OPEN_SESSION != 0 && self.lack_of_session(variant, hand, lack);
        let tokens = [
            (SECURE_COMMAND, hand.secure_command, SECURE_COMMAND_MISSING),
            (READING_KEY, hand.reading_key, READING_KEY_MISSING),
            (AUTHORIZATION, hand.authorization, AUTHORIZATION_MISSING),
        ];
        for (need, material, absent) in tokens.into_iter().filter(|(need, ..)| variant.needs & need != 0) {
            lack.unless_met_by(material, need, absent, absent);
        }
        if variant.needs & KEY_EXCHANGE != 0 && !hand.key_exchange {
            lack.add(KEY_EXCHANGE, KEY_EXCHANGE_MISSING, KEY_EXCHANGE_MISSING);
        }
        if self.needs_resync(variant, hand, policy) {
            lack.add(RESYNC, RESYNC_REQUIRED, RESYNC_REQUIRED);
        }
        opens_first
    }

    /// Adds a session that is neither open nor opened by held material. True when held material opens it.
    fn lack_of_session(&self, variant: Variant, hand: &Hand, lack: &mut Lack) -> bool {
        let required = match self.session {
            SessionState::Open => return false,
            SessionState::Expired => SESSION_EXPIRED,
            SessionState::NotStarted => SESSION_NOT_STARTED,
            SessionState::Closed | SessionState::None => SESSION_REQUIRED,
        };
        let material = match variant.opener {
            AUTHORIZATION => hand.authorization,
            SECURE_COMMAND => hand.secure_command,
            _ => {
                lack.add(OPEN_SESSION, required, required);
                return false;
            }
        };
        lack.unless_met_by(material, OPEN_SESSION | variant.opener, required, required)
    }

    /// Whether the row would spend what the uses before a sync no longer allow.
    fn needs_resync(&self, variant: Variant, hand: &Hand, policy: &Policy) -> bool {
        let counted = (variant.needs | self.opener(variant)) & variant.counted;
        counted & SECURE_COMMAND != 0 && hand.commands_used >= policy.command_limit
            || counted & AUTHORIZATION != 0 && hand.authorizations_used >= policy.authorization_limit
    }
}
