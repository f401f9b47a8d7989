//! Arbitrary rows of a route, and what must hold of each answer.

use crate::issuers::{DEVICES, GENUINE, KEYRING, NOW};
use crate::source::Source;
use crate::tokens;
use itron_core::code::{Check, Code};
use itron_core::format::device;
use itron_core::format::scope::ALL_ACTIONS;
use itron_core::parallel::scratch::{Place, Scratch};
use itron_core::parallel::stop::Stop;
use itron_core::route::{Choice, Decision, MATERIALS, Policy, Route, RouteCall, RouteColumns, Row, process};
use itron_core::time::{SessionState, Unit, session};
use itron_core::token::verify::Call;

const PERMISSION: u32 = 1;
const ON_MENU: u32 = 2;
const READING_KEY: u32 = 4;
const OPEN_SESSION: u32 = 8;
const SECURE_COMMAND: u32 = 16;
const AUTHORIZATION: u32 = 32;
const KEY_EXCHANGE: u32 = 64;
const RESYNC: u32 = 128;
const NEVER: u32 = 256;
const ALL_NEEDS: u32 = 2 * NEVER - 1;
/// Reasons that a combination is never allowed for: not on the menu, service unavailable unsecured, state unknown.
const NEVER_REASONS: [i16; 3] = [1001, 1002, 1004];
/// Classes, modes, levels.
const SITUATIONS: usize = 3 * 3 * 4;
const MULTI_MODE: u8 = 2;
/// Permissions that there are, as bits.
const PERMISSIONS: i64 = 0b1_1111;

/// A table of needs and what it was made of.
struct Table {
    needs: Vec<u32>,
    actions: Vec<(u8, i64)>,
    policy: Policy,
}

impl Table {
    fn new(source: &mut Source<'_>) -> Self {
        let numbers: Vec<u8> = (0..64).filter(|number| ALL_ACTIONS >> number & 1 == 1).collect();
        let combinations = SITUATIONS * numbers.len();
        let noise = source.noise(3 * combinations);
        // Tables with few needs leave something to be allowed.
        let mask = source.choose(&[ALL_NEEDS, ALL_NEEDS & !NEVER, AUTHORIZATION | OPEN_SESSION, SECURE_COMMAND, 0]);
        let cell = |cell: &[u8]| u32::from(u16::from_le_bytes([cell[0], cell[1]])) & mask | PERMISSION | ON_MENU;
        let needs: Vec<u32> = noise.chunks(3).map(cell).collect();
        let reason = |(needs, noise): (&u32, &[u8])| {
            if needs & NEVER == 0 { 0 } else { NEVER_REASONS[usize::from(noise[2]) % 3] }
        };
        let never = needs.iter().zip(noise.chunks(3)).map(reason).collect();
        let actions: Vec<_> = numbers.iter().map(|&number| (number, 1 << (number % 5))).collect();
        // As the real table has them: what opens a session, and an authorization's uses and some commands' count.
        let opener = |index: usize| {
            let of_modes = index / numbers.len() / 4;
            if of_modes == usize::from(MULTI_MODE) * 3 + 1 { AUTHORIZATION } else { SECURE_COMMAND }
        };
        let opens = |(index, needs): (usize, &u32)| if needs & OPEN_SESSION == 0 { 0 } else { opener(index) };
        let openers: Vec<u32> = needs.iter().enumerate().map(opens).collect();
        let counted = needs.iter().map(|needs| AUTHORIZATION | needs & SECURE_COMMAND).collect();
        let limits = [source.number(), source.number()];
        let policy = Policy::new([needs.clone(), openers, counted], never, &actions, limits).expect("a whole table");
        Self { needs, actions, policy }
    }

    /// What a readable row with one mode needs, and its permission.
    fn needs(&self, row: &Owned) -> Option<(u32, i64)> {
        let number = |choice| if let Choice::Member(number) = choice { number } else { Policy::MODE_UNKNOWN };
        let [class, mode, level, action] = [row.class, row.mode, row.level, row.action].map(number);
        let place = self.actions.iter().position(|&(number, _)| number == action)?;
        let situation = (usize::from(class) * 3 + usize::from(mode)) * 4 + usize::from(level);
        Some((self.needs[situation * self.actions.len() + place], self.actions[place].1))
    }
}

/// A row with its bytes.
#[derive(Clone)]
struct Owned {
    device: Option<Vec<u8>>,
    class: Choice,
    mode: Choice,
    level: Choice,
    action: Choice,
    session: [Option<i64>; 2],
    used: [i64; 2],
    flags: [bool; 5],
    permissions: i64,
    epoch: Option<i64>,
    tokens: [Option<Vec<u8>>; 3],
}

impl Owned {
    fn new(source: &mut Source<'_>) -> Self {
        let place = source.below(DEVICES.len());
        let device = match source.byte() % 8 {
            0 => source.choose(&[None, Some(&b"ert:01"[..]), Some(b"")]).map(<[u8]>::to_vec),
            _ => Some(device::audience(DEVICES[place]).into_bytes()),
        };
        let tokens = MATERIALS.map(|token_type| match source.byte() % 8 {
            0 => None,
            1 => Some(tokens::altered(source)),
            kind => {
                let issuer = usize::from(kind == 2) * 2 + source.below(2);
                let fits = |token: &&crate::issuers::Genuine| token.token_type == token_type && token.issuer == issuer;
                GENUINE.iter().filter(fits).nth(place).map(|genuine| genuine.token.clone())
            }
        });
        let mut sometimes = |usual: &[Option<i64>]| {
            let any = Some(source.number());
            if source.once_in(4) { any } else { source.choose(usual) }
        };
        let opened_at = sometimes(&[None, Some(NOW as i64 - 60), Some(NOW as i64 + 60)]);
        let seconds = sometimes(&[None, Some(600), Some(30)]);
        let epoch = sometimes(&[None, Some(4)]);
        let limit = |source: &mut Source<'_>| if source.flag() { 0 } else { source.number() };
        Self {
            device,
            class: choice(source, 3),
            mode: choice(source, 3),
            level: choice(source, 4),
            action: choice(source, 40),
            session: [opened_at, seconds],
            used: [limit(source), limit(source)],
            flags: std::array::from_fn(|_| source.once_in(4)),
            permissions: if source.flag() { PERMISSIONS } else { source.number() },
            epoch,
            tokens,
        }
    }

    fn row(&self, scratch: &mut Scratch) -> Result<Row, Stop> {
        let [session_opened_at, session_seconds] = self.session;
        let [commands_used, authorizations_used] = self.used;
        let [secure_command_used, authorization_used, off_menu, level_verified, no_exchange] = self.flags;
        Ok(Row {
            device: self.device.as_deref().map(|device| scratch.push(device)).transpose()?,
            class: self.class,
            mode: self.mode,
            level: self.level,
            action: self.action,
            session_opened_at,
            session_seconds,
            commands_used,
            authorizations_used,
            secure_command_used,
            authorization_used,
            on_menu: !off_menu,
            level_verified,
            key_exchange: !no_exchange,
            permissions: self.permissions,
            epoch: self.epoch,
        })
    }
}

fn choice(source: &mut Source<'_>, members: usize) -> Choice {
    match source.byte() {
        255 => Choice::Null,
        254 => Choice::Unknown,
        253 => Choice::Member(source.byte()),
        byte => Choice::Member(byte % members as u8),
    }
}

struct Rows {
    rows: Vec<Owned>,
    columns: [bool; 3],
}

impl Route for Rows {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn fetch(&self, start: usize, rows: &mut [Row], scratch: &mut Scratch) -> Result<(), Stop> {
        for (row, owned) in rows.iter_mut().zip(&self.rows[start..]) {
            *row = owned.row(scratch)?;
        }
        Ok(())
    }

    fn token(&self, material: usize, index: usize, scratch: &mut Scratch) -> Result<Check<Place>, Stop> {
        let token = self.rows[index].tokens[material].as_deref();
        token.map_or(Ok(Err(Code::NoToken)), |token| scratch.push(token).map(Ok))
    }

    fn has(&self, material: usize) -> bool {
        self.columns[material]
    }
}

/// Decides arbitrary rows: each answer is sound, and depends on its row alone.
pub fn check(source: &mut Source<'_>) {
    let table = Table::new(source);
    let call = RouteCall {
        call: Call::new(MATERIALS[0], NOW),
        now: Unit::Second.nanos(NOW as i64),
        session_unit: source.choose(&[Unit::Second, Unit::Second, Unit::Milli, Unit::Nano]),
        policy: &table.policy,
    };
    let columns = std::array::from_fn(|_| !source.once_in(8));
    let few: Vec<_> = (0..=source.below(10)).map(|_| Owned::new(source)).collect();
    // More than the rows for which no thread is woken, now and then.
    let count = if source.once_in(16) { 65 + source.below(70) } else { few.len() };
    let rows = Rows { rows: few.iter().cycle().take(count).cloned().collect(), columns };
    let answers = process(&rows, &KEYRING, &call, |_| true, 1).expect("memory for a few rows");
    for index in 0..count {
        check_row(&rows, index, &answers, &table, &call);
    }
    let backwards = Rows { rows: rows.rows.iter().rev().cloned().collect(), columns };
    let backwards = process(&backwards, &KEYRING, &call, |_| true, 3).expect("memory for a few rows");
    for index in 0..count {
        assert_eq!(line(&answers, index), line(&backwards, count - 1 - index));
        assert_eq!(line(&answers, index), line(&answers, index % few.len()));
    }
}

/// One row of the answers: `i64::MIN` for the end of a session that is not open, -1 for the code of a token that was not given.
fn line(answers: &RouteColumns, row: usize) -> (i8, i16, i32, bool, i64, [i16; 3]) {
    let codes = [
        (&answers.authorization_code, &answers.authorization_given),
        (&answers.secure_command_code, &answers.secure_command_given),
        (&answers.reading_key_code, &answers.reading_key_given),
    ];
    let codes = codes.map(|(codes, given)| if given.get(row) { codes[row] } else { -1 });
    let until = if answers.session_open.get(row) { answers.session_until[row] } else { i64::MIN };
    let (decision, reason, missing) = (answers.decision[row], answers.reason[row], answers.missing[row]);
    (decision, reason, missing, answers.unverified.get(row), until, codes)
}

fn check_row(rows: &Rows, index: usize, answers: &RouteColumns, table: &Table, call: &RouteCall<'_>) {
    let (decision, reason, missing, _, until, codes) = line(answers, index);
    let missing = missing as u32;
    assert_ne!(reason, 900);
    if reason == Policy::ROW_UNREADABLE {
        assert_eq!((decision, missing, codes), (Decision::Refused as i8, 0, [-1; 3]));
        return;
    }
    let is = |wanted: Decision| decision == wanted as i8;
    let allowed = is(Decision::Allowed) || is(Decision::AllowedAfterOpen);
    assert_eq!(allowed, reason == 0);
    assert!(if allowed { missing == 0 } else { missing != 0 || is(Decision::Undetermined) });
    let row = &rows.rows[index];
    let (needs, permission) = table.needs(row).expect("a readable row has a place in the table");
    let denied = row.permissions & permission != permission;
    assert_eq!(denied, missing & PERMISSION != 0);
    assert_eq!(row.flags[2], missing & ON_MENU != 0);
    assert!(!(denied && allowed));
    let mode_known = row.class != Choice::Member(MULTI_MODE)
        || !matches!(row.mode, Choice::Null | Choice::Member(Policy::MODE_UNKNOWN));
    if !mode_known {
        return assert!(!allowed);
    }
    assert!(!is(Decision::Undetermined));
    assert_eq!(missing & !(needs | SECURE_COMMAND | AUTHORIZATION | RESYNC), 0);
    let [opened_at, seconds] = row.session;
    let window = itron_core::time::Session { opened_at, seconds, closed_at: None };
    let (state, _) = session(window, call.session_unit, Unit::Second, call.now);
    let open = state == SessionState::Open;
    assert_eq!(open, until != i64::MIN);
    if allowed {
        let fresh = |material: usize, used: bool| rows.columns[material] && codes[material] == 0 && !used;
        let in_hand = [
            (AUTHORIZATION, fresh(0, row.flags[1])),
            (SECURE_COMMAND, fresh(1, row.flags[0])),
            (READING_KEY, fresh(2, false)),
            (KEY_EXCHANGE, !row.flags[4]),
            (OPEN_SESSION, open || is(Decision::AllowedAfterOpen)),
            (NEVER, false),
        ];
        assert!(in_hand.into_iter().all(|(need, in_hand)| needs & need == 0 || in_hand));
        // What opens the session is held.
        let opener = row.class == Choice::Member(MULTI_MODE) && row.mode == Choice::Member(1);
        assert!(!is(Decision::AllowedAfterOpen) || if opener { in_hand[0].1 } else { in_hand[1].1 });
        assert_eq!(is(Decision::AllowedAfterOpen), needs & OPEN_SESSION != 0 && !open);
    }
}
