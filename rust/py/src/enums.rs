//! The names of the enumerations that columns carry, compared with Python's by a test.

/// The actions by number: `(group - 1) * 8 + bit`.
const ACTIONS: [(u8, &str); 24] = [
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
];

/// An enumeration: its members' numbers and names.
pub type Enumeration = &'static [(u8, &'static str)];

/// `DeviceClass`.
pub const DEVICE_CLASS: Enumeration = &[(0, "basic"), (1, "enhanced"), (2, "multi_mode")];
/// `Mode`.
pub const MODE: Enumeration = &[(0, "mobile"), (1, "network"), (2, "unknown")];
/// `SecurityLevel`.
pub const SECURITY_LEVEL: Enumeration = &[(0, "ready_to_secure"), (1, "command"), (2, "full"), (3, "unknown")];
/// `Action`.
pub const ACTION: Enumeration = &ACTIONS;

/// The member that a name in any case, with `-` or `_`, names.
pub fn member(enumeration: Enumeration, name: &[u8]) -> Option<u8> {
    let same = |given: u8, wanted: u8| {
        let given = if given == b'-' { b'_' } else { given.to_ascii_lowercase() };
        given == wanted
    };
    let is_it = |wanted: &str| {
        wanted.len() == name.len() && name.iter().zip(wanted.bytes()).all(|(&given, wanted)| same(given, wanted))
    };
    enumeration.iter().find(|(_, wanted)| is_it(wanted)).map(|&(number, _)| number)
}

/// The number, where it is a member's.
pub fn numbered(enumeration: Enumeration, number: i64) -> Option<u8> {
    enumeration.iter().map(|&(known, _)| known).find(|&known| i64::from(known) == number)
}

/// The number of the action of this name.
pub fn action(name: &str) -> Option<u8> {
    member(ACTION, name.as_bytes())
}
