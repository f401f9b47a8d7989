"""What `process_route` predicts is what a device does: class, mode, level, action, and whatever material is in hand.

The device is written from the rules, and `process_route` subtracts sets by a table: two accounts of one page. Where the
prediction is ALLOWED, the message with the needed material is done; where it is ALLOWED_AFTER_OPEN, the opening and then
the message are; where it is REFUSED, nothing in hand makes the device do it, nothing is used up, and the reason is the
same.

Left out because it cannot matter, or does not exist:
- a reading key for an action outside READ is there and genuine, or not there: nobody looks at it;
- of an action that is not on the menu, three authorizations and four commands are tried: nobody looks at those either;
- each switch of `PolicyOptions` is tried where the policy's table changes with it (asserted below), and all together
  everywhere;
- a session of a device that asks for none (basic, ready to secure) is in the tool's row only: none can be opened there;
- limits of uses, permissions and unknown modes or levels are the tool's, and no device knows them.
"""

import itertools
from typing import NamedTuple

import pyarrow as pa
import pytest

from helpers import EVERY_PERMISSION, T
from itron_core import (
    Action,
    ActionGroup,
    Decision,
    DeviceClass,
    Keyring,
    Mode,
    Need,
    PolicyOptions,
    Reason,
    SecurityLevel,
    issue_tokens,
    needs,
    policy_table,
    process_route,
)
from itron_core.device import Device, Message, Outcome
from itron_core.testing import make_signer

pytestmark = pytest.mark.slow

DEVICE, OTHER = "ert:100000001", "ert:100000002"
EPOCH = 5
DAY = 86_400
EVERYTHING = sum(1 << action for action in Action)
SIGNER = make_signer(seed="a device and a route")
KEYRING = Keyring([SIGNER.public_key])
OPENED, ASKED = 100, 200  # readings of the device's timer; the tool's clock reads T - 100 and T then

AUTHORIZATIONS = ("none", "genuine", "wrong scope", "used", "expired", "stale", "other device")
COMMANDS = (
    *("none", "right", "open", "another action", "used", "used open", "expired", "expired open", "stale"),
    "other device",
)
READING_KEYS = ("none", "right", "wrong scope", "expired", "stale", "other device")
SESSIONS = {"none": (None, None), "open": (T - 100, 3_600), "expired": (T - 100, 60)}

SINGLE = [DeviceClass.ENHANCED, DeviceClass.MULTI_MODE]
LEVELS = [level for level in SecurityLevel if level is not SecurityLevel.UNKNOWN]
SECURED = [SecurityLevel.COMMAND, SecurityLevel.FULL]
SITUATIONS = [
    (DeviceClass.BASIC, Mode.MOBILE, SecurityLevel.READY_TO_SECURE),
    *((device_class, Mode.MOBILE, level) for device_class in SINGLE for level in LEVELS),
    *((DeviceClass.MULTI_MODE, Mode.NETWORK, level) for level in LEVELS),
]
NETWORK = [(DeviceClass.MULTI_MODE, Mode.NETWORK, level) for level in LEVELS]
IN_SECURED = [situation for situation in SITUATIONS if situation[1] is Mode.MOBILE and situation[2] in SECURED]
# Where each switch may matter.
SWITCHES = {
    "allow_service_on_basic": SITUATIONS[:1],
    "reads_without_session": IN_SECURED,
    "status_without_key": [situation for situation in IN_SECURED if situation[2] is SecurityLevel.FULL],
    "service_needs_command_in_network_mode": NETWORK,
}
BLOCKS = [
    *((situation, (), True) for situation in SITUATIONS),
    *((situation, (), False) for situation in SITUATIONS),
    *((situation, (switch,), True) for switch, where in SWITCHES.items() for situation in where),
    *((situation, tuple(SWITCHES), True) for situation in SITUATIONS),
]


class Row(NamedTuple):
    """What a field tool has in hand: kinds, and the tokens themselves."""

    action: Action
    authorization_kind: str
    command_kind: str
    reading_key_kind: str
    session: str
    key_exchange: bool
    authorization: bytes | None
    command: bytes | None
    reading_key: bytes | None


# --- The material, issued in bulk ---


class Orders:
    """Collects what is to be issued, a sequence number each."""

    def __init__(self):
        self.rows = []

    def add(self, key, token_type, actions, kind="genuine", *, seconds=None, issued_at=T - 1_000):
        device = OTHER if kind == "other device" else DEVICE
        epoch = EPOCH - 1 if kind == "stale" else EPOCH
        issued_at = T - 8 * DAY if kind.startswith("expired") else issued_at
        self.rows.append((key, token_type, issued_at, device, actions, len(self.rows) + 1, epoch, seconds))

    def issue(self):
        tokens = {}
        self.rows.sort(key=lambda row: row[1:3])
        for (token_type, issued_at), rows in itertools.groupby(self.rows, key=lambda row: row[1:3]):
            keys, _, _, devices, actions, sequences, epochs, seconds = zip(*rows, strict=True)
            request = {
                "device": list(devices),
                "actions": list(actions),
                "sequence": list(sequences),
                "epoch": list(epochs),
                "expires_at": [issued_at + 7 * DAY] * len(keys),
            }
            if token_type != "reading_key":
                request["session_seconds"] = pa.array(seconds, pa.int64())
            if token_type == "secure_command":
                request["command"] = [b"do it"] * len(keys)
            if token_type == "reading_key":
                request |= {
                    "kdf": [1] * len(keys),
                    "key_version": [1] * len(keys),
                    "check_value": [b"kcv."] * len(keys),
                }
            issued = issue_tokens(request, SIGNER, now=issued_at, token_type=token_type).to_pylist()
            tokens.update(zip(keys, issued, strict=True))
        return tokens


def another(action):
    return Action.CONNECT_SERVICE if action is not Action.CONNECT_SERVICE else Action.DISCONNECT_SERVICE


def command_action(action, kind):
    if kind in {"open", "used open", "expired open"}:
        return Action.OPEN_SESSION
    return another(action) if kind == "another action" else action


def all_material():
    orders = Orders()
    for action in Action:
        for kind in AUTHORIZATIONS[1:]:
            scope = EVERYTHING & ~(1 << action) if kind == "wrong scope" else 1 << action
            orders.add(("authorization", action, kind), "authorization", scope, kind, seconds=600)
        for kind in COMMANDS[1:]:
            commanded = command_action(action, kind)
            seconds = 600 if commanded is Action.OPEN_SESSION else None
            orders.add(("command", action, kind), "secure_command", 1 << commanded, kind, seconds=seconds)
        for kind in READING_KEYS[1:]:
            scope = EVERYTHING & ~(1 << action) if kind == "wrong scope" else 1 << action
            orders.add(("reading_key", action, kind), "reading_key", scope, kind)
    for session, (_, seconds) in SESSIONS.items():
        if seconds:
            orders.add((Mode.MOBILE, session), "secure_command", 1 << Action.OPEN_SESSION, seconds=seconds)
            orders.add((Mode.NETWORK, session), "authorization", EVERYTHING, seconds=seconds)
    orders.add("latest", "secure_command", 1 << Action.ARM_SERVICE, issued_at=T)
    return orders.issue()


# "used open" is one token for all actions, so that one log of a device holds all that was used.
MATERIAL = all_material()
USED_OPEN = MATERIAL["command", Action.OPEN_SESSION, "used"]


def held(name, action, kind):
    if kind == "none":
        return None
    return USED_OPEN if kind == "used open" else MATERIAL[name, action, kind]


def rows(*, on_menu):
    some = (AUTHORIZATIONS[:2] + AUTHORIZATIONS[3:4], COMMANDS[:3] + COMMANDS[4:5])
    authorizations, commands = (AUTHORIZATIONS, COMMANDS) if on_menu else some
    found = []
    for action in Action:
        keys = READING_KEYS if action.group is ActionGroup.READ and on_menu else READING_KEYS[:2]
        for kinds in itertools.product(authorizations, commands, keys, SESSIONS, (False, True)):
            tokens = zip(("authorization", "command", "reading_key"), kinds[:3], strict=True)
            found.append(Row(action, *kinds, *(held(name, action, kind) for name, kind in tokens)))
    return found


def columns(found):
    """Return a route's columns, but for what is the same in all its rows."""
    opened, seconds = zip(*(SESSIONS[row.session] for row in found), strict=True)
    return {
        "action": pa.array([int(row.action) for row in found]),
        "authorization": pa.array([row.authorization for row in found], pa.binary()),
        "secure_command": pa.array([row.command for row in found], pa.binary()),
        "reading_key": pa.array([row.reading_key for row in found], pa.binary()),
        "authorization_used": pa.array([row.authorization_kind == "used" for row in found]),
        "secure_command_used": pa.array([row.command_kind.startswith("used") for row in found]),
        "session_opened_at": pa.array(opened, pa.int64()),
        "session_seconds": pa.array(seconds, pa.int64()),
        "key_exchange": pa.array([row.key_exchange for row in found]),
    }


ROWS = {on_menu: rows(on_menu=on_menu) for on_menu in (True, False)}
COLUMNS = {on_menu: columns(found) for on_menu, found in ROWS.items()}


def predictions(situation, options, *, on_menu):
    device_class, mode, level = situation
    count = len(ROWS[on_menu])
    route = COLUMNS[on_menu] | {
        "device": [DEVICE] * count,
        "device_class": [int(device_class)] * count,
        "mode": [int(mode)] * count,
        "security_level": [int(level)] * count,
        "on_menu": [on_menu] * count,
        "epoch": [EPOCH] * count,
    }
    results = process_route(route, KEYRING, now=T, permissions=EVERY_PERMISSION, options=options)
    return zip(*(results[name].to_pylist() for name in ("decision", "reason", "missing")), strict=True)


# --- The devices ---


def device_of(device_class=DeviceClass.MULTI_MODE, mode=Mode.MOBILE, level=SecurityLevel.COMMAND, **more):
    return Device(DEVICE, device_class, keyring=KEYRING, epoch=EPOCH, mode=mode, level=level, **more)


def done(device, action, token, *, uptime=OPENED, **more):
    answer = device.answer(Message(action, token, **more), uptime=uptime)
    assert answer.outcome is Outcome.DONE, (action, answer)


def a_log_of_all_that_was_used():
    """Use each "used" token on a device that takes it, and return one log of them all, and the latest issue time."""
    uses = []
    for action in Action:
        network = device_of(mode=Mode.NETWORK)
        done(network, Action.OPEN_SESSION, MATERIAL["authorization", action, "used"])
        mobile = device_of()
        if Need.SECURE_COMMAND in needs(DeviceClass.MULTI_MODE, Mode.MOBILE, SecurityLevel.COMMAND, action):
            done(mobile, action, MATERIAL["command", action, "used"], level=SecurityLevel.FULL)
        uses += network.state.uses + mobile.state.uses
    latest = device_of()
    done(latest, Action.ARM_SERVICE, MATERIAL["latest"])
    return tuple(uses), latest.state.watermark


USES, WATERMARK = a_log_of_all_that_was_used()


class World:
    """Devices in states that are asked only once the same: every state has a number, every answer is remembered."""

    def __init__(self, situation, options, *, on_menu):
        self.options, self.on_menu = options, on_menu
        self.situation = situation
        self.states, self.answers = [], {}
        self.numbers = {}

    def start(self, action, session):
        """Return the number of the device with this session, whose menu has the action or lacks it."""
        key = session, self.on_menu or action
        if key not in self.numbers:
            menu = None if self.on_menu else set(Action) - {action}
            device = device_of(*self.situation, options=self.options)
            device._state = device.state._replace(uses=USES, watermark=WATERMARK)
            _, mode, level = self.situation
            asks = mode is Mode.NETWORK or level in SECURED
            if asks and session != "none":
                done(device, Action.OPEN_SESSION, MATERIAL[mode, session])
            if menu is not None:
                device._state = device.state._replace(menu=tuple(sorted(menu)))
            device._state = device.state._replace(uptime=ASKED)
            self.numbers[key] = self.add(device.state)
        return self.numbers[key]

    def add(self, state):
        self.states.append(state)
        return len(self.states) - 1

    def ask(self, number, action, token, row):
        """Return what the device of that number answers, and the number of what it is afterwards."""
        key = number, action, token, row.reading_key, row.key_exchange
        if key not in self.answers:
            self.answers[key] = self._asked(*key)
        return self.answers[key]

    def _asked(self, number, action, token, reading_key, key_exchange):
        message = Message(action, token, reading_key, key_exchange, level=SecurityLevel.FULL)
        answers, afterwards = [], []
        for now in (None, T):
            device = device_of()
            device._state = self.states[number]
            answers.append(device.answer(message, uptime=ASKED, now=now))
            afterwards.append(device.state)
        assert answers[0] == answers[1], (message, "with a clock and without")
        answer, after = answers[0], afterwards[0]
        if answer.outcome is not Outcome.DONE:
            assert after == self.states[number], (message, answer)
            return answer, number
        spends = len(after.uses) > len(self.states[number].uses)
        if spends:
            again = device.answer(message, uptime=ASKED)
            assert (again.outcome, again.reason, again.data) == (Outcome.REPLAYED, 800, answer.data)
            assert device.state == afterwards[1]
        return answer, self.add(after)


def opener_of(row, mode):
    return row.authorization if mode is Mode.NETWORK else row.command


def reason_of(answer):
    return Reason.REPLAY if answer.outcome is Outcome.REPLAYED else answer.reason


class Tool:
    """A field tool that acts on one prediction after the other."""

    def __init__(self, situation, options, *, on_menu):
        self.world = World(situation, options, on_menu=on_menu)
        self.situation, self.options = situation, options
        self.needs = {action: needs(*situation, action, options) for action in Action}

    def token_for(self, row):
        if Need.SECURE_COMMAND in self.needs[row.action]:
            return row.command
        return row.authorization if Need.AUTHORIZATION in self.needs[row.action] else None

    def act(self, row, decision, reason, missing):
        number = self.world.start(row.action, row.session)
        if decision == Decision.REFUSED:
            self.is_refused(row, number)
            self.gives_the_reason(row, number, reason, missing)
            return
        assert reason == missing == 0
        if decision == Decision.ALLOWED_AFTER_OPEN:
            answer, number = self.world.ask(number, Action.OPEN_SESSION, opener_of(row, self.situation[1]), row)
            assert answer.outcome is Outcome.DONE
        else:
            assert decision == Decision.ALLOWED
        answer, after = self.world.ask(number, row.action, self.token_for(row), row)
        assert (answer.outcome, answer.reason) == (Outcome.DONE, 0)
        if row.action.group is not ActionGroup.READ:
            assert self.world.states[after] != self.world.states[number]

    def is_refused(self, row, number):
        """Nothing in hand, in whatever place, makes the device do it; not after an opening either."""
        tokens = {None, row.authorization, row.command}
        for token in tokens:
            answer, _ = self.world.ask(number, row.action, token, row)
            assert answer.outcome is not Outcome.DONE
        if row.action is Action.CLOSE_SESSION:
            return  # a session can be opened and closed again; the page only says that one is not opened for this
        for opener in tokens - {None}:
            answer, opened = self.world.ask(number, Action.OPEN_SESSION, opener, row)
            if answer.outcome is Outcome.DONE and row.action is not Action.OPEN_SESSION:
                for token in tokens:
                    answer, _ = self.world.ask(opened, row.action, token, row)
                    assert answer.outcome is not Outcome.DONE

    def opens_first(self, row, lacks):
        """Whether a tool would send the held opener before the message itself."""
        is_possible = not lacks & (Need.NEVER | Need.ON_MENU) and row.action is not Action.CLOSE_SESSION
        lacks_session = Need.OPEN_SESSION in self.needs[row.action] and row.session != "open"
        return is_possible and lacks_session and opener_of(row, self.situation[1]) is not None

    def gives_the_reason(self, row, number, reason, missing):
        """The device's first reason is the prediction's, but that what was used is answered from its log first."""
        token = self.token_for(row)
        if self.opens_first(row, Need(missing)):
            opening, number = self.world.ask(number, Action.OPEN_SESSION, opener_of(row, self.situation[1]), row)
            if opening.outcome is Outcome.REPLAYED:
                # The policy gives a replay as its last reason; what it named instead is missing beside the session.
                unlock = Need.OPEN_SESSION | (
                    Need.AUTHORIZATION if self.situation[1] is Mode.NETWORK else Need.SECURE_COMMAND
                )
                assert reason == Reason.REPLAY or Need(missing) & ~unlock
                return
            if opening.outcome is Outcome.REFUSED:
                assert opening.reason == reason
                return
        answer, _ = self.world.ask(number, row.action, token, row)
        if answer.outcome is Outcome.REPLAYED and reason != Reason.REPLAY:
            assert "used" in {row.command_kind, row.authorization_kind}
            assert token in {row.command, row.authorization}
            return
        assert reason_of(answer) == reason


# --- The tests ---


def name_of(block):
    (device_class, mode, level), switches, on_menu = block
    extra = "off-menu" if not on_menu else "+".join(switches) if len(switches) < 2 else "all-options"
    return "-".join(filter(None, (device_class.name, mode.name, level.name, extra))).lower()


@pytest.mark.parametrize("block", BLOCKS, ids=name_of)
def test_the_device_does_what_the_route_predicts(block):
    situation, switches, on_menu = block
    options = PolicyOptions(**dict.fromkeys(switches, True))
    tool = Tool(situation, options, on_menu=on_menu)
    seen = set()
    for row, (decision, reason, missing) in zip(
        ROWS[on_menu], predictions(situation, options, on_menu=on_menu), strict=True
    ):
        seen.add(decision)
        try:
            tool.act(row, decision, reason, missing)
        except AssertionError as error:
            kinds = row[:6]
            raise AssertionError(f"{kinds}: {Decision(decision).name} {reason} {Need(missing)!r}: {error}") from error
    assert Decision.UNDETERMINED not in seen
    assert seen == ({Decision.REFUSED} if not on_menu else seen | {Decision.REFUSED, Decision.ALLOWED})


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_changes_the_table_only_where_it_is_tried(switch):
    """Whatever the other switches are."""
    others = [name for name in SWITCHES if name != switch]
    for chosen in itertools.product((False, True), repeat=len(others)):
        rest = dict(zip(others, chosen, strict=True))
        without, with_it = (policy_table(PolicyOptions(**rest, **{switch: value})) for value in (False, True))
        for one, other in zip(
            *(zip(*table.to_pydict().values(), strict=True) for table in (without, with_it)), strict=True
        ):
            known = "unknown" not in one[1:3]
            if one != other and known:
                device_class, mode, level = (
                    DeviceClass[one[0].upper()],
                    Mode[one[1].upper()],
                    SecurityLevel[one[2].upper()],
                )
                mode = mode if device_class is DeviceClass.MULTI_MODE else Mode.MOBILE
                level = level if device_class is not DeviceClass.BASIC else SecurityLevel.READY_TO_SECURE
                assert (device_class, mode, level) in SWITCHES[switch], one


def test_all_that_was_used_fits_one_log():
    assert len(USES) == len(Action) + 10
    assert WATERMARK == T
