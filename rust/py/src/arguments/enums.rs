//! The names of the enumerations that columns carry, compared with Python's by a test.

use super::time;
use crate::errors::input;
use itron_core::code::Code;
use pyo3::prelude::*;

/// Numbers and names.
type Pairs = &'static [(u8, &'static str)];

/// An enumeration: its members, and the phrases that name them besides.
#[derive(Clone, Copy)]
pub struct Enumeration {
    /// Numbers and names of the members.
    pub members: Pairs,
    /// What people write for a member besides its name: the field manual's own words.
    pub phrases: Pairs,
}

impl Enumeration {
    const fn of(members: Pairs) -> Self {
        Self { members, phrases: &[] }
    }

    /// The name of a member.
    pub fn name(self, number: i64) -> Option<&'static str> {
        self.members.iter().find(|&&(known, _)| i64::from(known) == number).map(|&(_, name)| name)
    }
}

/// `DeviceClass`.
pub const DEVICE_CLASS: Enumeration = Enumeration {
    members: &[(0, "basic"), (1, "enhanced"), (2, "multi_mode")],
    phrases: &[(0, "basic_security"), (1, "enhanced_security_capable"), (2, "multi_mode_capable")],
};
/// `Mode`.
pub const MODE: Enumeration = Enumeration {
    members: &[(0, "mobile"), (1, "network"), (2, "unknown")],
    phrases: &[(0, "mobile_mode"), (1, "network_mode")],
};
/// `SecurityLevel`.
pub const SECURITY_LEVEL: Enumeration = Enumeration {
    members: &[(0, "ready_to_secure"), (1, "command"), (2, "full"), (3, "unknown")],
    phrases: &[(1, "command_security"), (2, "full_security")],
};
/// `Action`, by number: `(group - 1) * 8 + bit`.
pub const ACTION: Enumeration = Enumeration {
    members: &[
        (0, "read_endpoint"),
        (1, "check_endpoint"),
        (2, "read_interval_data"),
        (3, "get_service_status"),
        (4, "read_on_demand"),
        (8, "program_endpoint"),
        (9, "program_with_gdt"),
        (10, "change_mode"),
        (11, "reset_endpoint"),
        (12, "enable_rightsizing"),
        (13, "geomode"),
        (16, "connect_service"),
        (17, "disconnect_service"),
        (18, "restrict_service"),
        (19, "exercise_valve"),
        (20, "connect_override"),
        (21, "disconnect_override"),
        (22, "arm_service"),
        (24, "open_session"),
        (25, "close_session"),
        (32, "exchange_keys"),
        (33, "switch_to_network_mode"),
        (34, "switch_to_mobile_mode"),
        (35, "set_security_level"),
    ],
    phrases: &[(16, "connect"), (17, "disconnect"), (18, "restrict")],
};
/// `Decision`.
pub const DECISION: Enumeration =
    Enumeration::of(&[(0, "allowed"), (1, "allowed_after_open"), (2, "refused"), (3, "undetermined")]);
/// The states of a session.
pub const SESSION_STATE: Enumeration =
    Enumeration::of(&[(0, "open"), (1, "not_started"), (2, "expired"), (3, "closed"), (4, "none")]);
/// `Need`, by the place of its bit.
pub const NEED: Enumeration = Enumeration::of(&[
    (0, "permission"),
    (1, "on_menu"),
    (2, "reading_key"),
    (3, "open_session"),
    (4, "secure_command"),
    (5, "authorization"),
    (6, "key_exchange"),
    (7, "resync"),
    (8, "never"),
]);
/// `Reason`, from 1000 up, less that.
const POLICY_REASON: Enumeration = Enumeration::of(&[
    (0, "permission_denied"),
    (1, "not_on_menu"),
    (2, "service_unavailable_unsecured"),
    (3, "mode_unknown"),
    (4, "security_state_unknown"),
    (5, "row_unreadable"),
    (10, "session_required"),
    (11, "session_expired"),
    (12, "session_not_started"),
    (20, "secure_command_missing"),
    (21, "reading_key_missing"),
    (22, "authorization_missing"),
    (23, "key_exchange_missing"),
    (30, "resync_required"),
    (31, "replay"),
]);
const FIRST_POLICY_REASON: i64 = 1_000;

/// The member that a name or phrase names: without case; space, hyphen and underscore are one.
pub fn member(enumeration: Enumeration, name: &[u8]) -> Option<u8> {
    let same = |given: u8, wanted: u8| {
        let given = if matches!(given, b'-' | b' ') { b'_' } else { given.to_ascii_lowercase() };
        given == wanted
    };
    let is_it = |wanted: &str| {
        wanted.len() == name.len() && name.iter().zip(wanted.bytes()).all(|(&given, wanted)| same(given, wanted))
    };
    let mut known = enumeration.members.iter().chain(enumeration.phrases);
    known.find(|(_, wanted)| is_it(wanted)).map(|&(number, _)| number)
}

/// The number, where it is a member's.
pub fn numbered(enumeration: Enumeration, number: i64) -> Option<u8> {
    enumeration.name(number).and_then(|_| u8::try_from(number).ok())
}

/// The number of the action of this name.
pub fn action(name: &str) -> Option<u8> {
    member(ACTION, name.as_bytes())
}

/// The name of a reason: a token's code below 1000, the policy's own from there on.
pub fn reason(number: i64) -> Option<&'static str> {
    if number >= FIRST_POLICY_REASON {
        return POLICY_REASON.name(number - FIRST_POLICY_REASON);
    }
    Code::ALL.iter().find(|&&code| i64::from(code as i16) == number).map(|code| code.name())
}

/// The names of a bit set, joined by `|`.
pub fn set(enumeration: Enumeration, bits: i64) -> String {
    let names: Vec<_> =
        enumeration.members.iter().filter(|(bit, _)| bits >> bit & 1 == 1).map(|&(_, name)| name).collect();
    names.join("|")
}

/// The number of an action.
pub fn action_number(action: &Bound<'_, PyAny>) -> PyResult<u8> {
    let number = time::int(action).and_then(|number| numbered(ACTION, number));
    number.ok_or_else(|| input(format!("action: got {action}, expected an Action")))
}
