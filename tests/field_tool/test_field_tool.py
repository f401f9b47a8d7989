"""The field tool against a real tools server and simulated devices: sync, cuts, kills, lies, work offline."""

import json
import random
import sqlite3

import pytest

from itron_core import (
    Action,
    Code,
    Decision,
    DeviceClass,
    ExchangeError,
    InputError,
    Keyring,
    KeyringEntry,
    LocalSigner,
    Mode,
    Need,
    Permission,
    PolicyOptions,
    Reason,
    RequestRefused,
    Revocations,
    SecurityLevel,
    StoreError,
    issue_delegation,
    issue_revocations,
    issue_tokens,
)
from itron_core.device import Answer, Device, Outcome
from itron_core.enums import TOKEN_TYPES
from itron_core.exchange.material import Material, MaterialState, Page
from itron_core.exchange.records import DeviceRecord
from itron_core.field_tool import FieldTool
from itron_core.stores import open_store
from itron_core.tools_server import ToolsServer
from watched_store import WatchedStore, failing_at

NOW = 1_800_000_000
HOUR = 3_600
DAY = 86_400
ROOT, ISSUER = LocalSigner.generate(), LocalSigner.generate("ESP256")
DEVICES = [f"ert:{number}" for number in range(100, 106)]
D = DEVICES[0]
ALL = sum(Permission)
COMMAND = SecurityLevel.COMMAND
DISCONNECT, CONNECT, OPEN = Action.DISCONNECT_SERVICE, Action.CONNECT_SERVICE, Action.OPEN_SESSION
PROGRAM, READ = Action.PROGRAM_ENDPOINT, Action.READ_ENDPOINT


def keyring():
    return Keyring(
        [
            KeyringEntry(ROOT.public_key, issuer="root", token_types=TOKEN_TYPES),
            KeyringEntry(ISSUER.public_key, issuer="ism"),
        ]
    )


def issued(
    devices,
    *actions,
    token_type="secure_command",
    sequence=1,
    epoch=0,
    signer=ISSUER,
    expires_in=DAY,
    not_before=None,
    now=NOW,
    command=None,
):
    """Return genuine material, one piece a device; the sequence numbers rise from `sequence` with the devices."""
    bits, count = sum(1 << action for action in actions), len(devices)
    columns = {
        "device": list(devices),
        "actions": [bits] * count,
        "sequence": [sequence] * count,
        "epoch": [epoch] * count,
        "expires_at": [now + expires_in] * count,
    }
    if not_before is not None:
        columns["not_before"] = [not_before] * count
    session = HOUR if token_type == "authorization" or (token_type == "secure_command" and OPEN in actions) else None
    if token_type == "secure_command":
        columns["command"] = [command or actions[0].name.lower().encode()] * count
    if token_type == "reading_key":
        columns |= {"kdf": [1] * count, "key_version": [1] * count, "check_value": [b"kcv."] * count}
    tokens = issue_tokens(columns, signer, now=now, token_type=token_type).to_pylist()
    kid = signer.public_key.kid
    return [
        Material(
            "gas", device, token_type, bits, kid, sequence, epoch, now, not_before, now + expires_in, session, token
        )
        for device, token in zip(devices, tokens, strict=True)
    ]


class World:
    """A tools server with a user, and devices whose records it has."""

    def __init__(self, folder, *, device_class=DeviceClass.ENHANCED, mode=Mode.MOBILE, level=COMMAND):
        self.folder = folder
        self.store = open_store(str(folder / "server.db"))
        self.server = ToolsServer(self.store, keyring())
        self.server.set_users([("ann", "gas", ALL), ("bob", "gas", ALL)], now=NOW)
        self.server.set_devices(
            [DeviceRecord(name, "gas", device_class, mode, level, level_verified=True) for name in DEVICES], now=NOW
        )
        self.devices = {name: Device(name, device_class, keyring=keyring(), mode=mode, level=level) for name in DEVICES}
        self.cursor = 0
        self.tools = []

    def grant(self, *pages):
        for rows in pages:
            numbered = list(enumerate(rows, self.cursor + 1))
            assert set(self.server.receive("ism", Page(numbered, self.cursor + len(rows), more=False), now=NOW)) <= {
                0,
                501,
            }
            self.cursor += len(rows)

    def tool(self, name="t1", url=None, **options):
        tool = FieldTool(open_store(url or str(self.folder / f"{name}.db")), keyring(), name, **options)
        self.tools.append(tool)
        return tool

    def link(self, device=D, uptime=1):
        return lambda message: self.devices[device].answer(message, uptime=uptime)

    def close(self):
        for store in [self.store, *(tool._store for tool in self.tools)]:
            store.close()


@pytest.fixture
def make_world(tmp_path):
    made = []

    def make(**facts):
        made.append(World(tmp_path, **facts))
        return made[-1]

    yield make
    for world in made:
        world.close()


def ready(world, *actions, token_type="secure_command", devices=DEVICES, **facts):
    """Return a tool that asked for these actions and synced."""
    tool = world.tool(**facts)
    tool.request_commands(devices, token_type=token_type, actions=actions, now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    return tool


def states(tool, now=NOW, device=D):
    return [line.state for line in tool.current_commands(now=now, devices=[device])]


def lost(message):
    raise TimeoutError


def contents(tool):
    """Return all that a tool keeps, but for its audit entries."""
    tables = ["state", "delegation", "want", "device", "material", "outcome"]
    with tool._store.read() as t:
        return {table: sorted(t.rows(f"SELECT * FROM tool_{table}"), key=repr) for table in tables}


# --- Sync, Request Commands, Current Commands ---


def test_requested_material_arrives_and_is_listed(make_world, store_url):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT), issued(DEVICES, OPEN, sequence=2, expires_in=HOUR))
    tool = world.tool(url=store_url)
    assert tool.request_commands(DEVICES[:2], token_type="secure_command", actions=[DISCONNECT, OPEN], now=NOW) == 4
    assert tool.request_commands([D], token_type="reading_key", actions=[READ], now=NOW) == 1
    assert [line.state for line in tool.current_commands(now=NOW)] == [MaterialState.REQUESTED] * 5
    report = tool.sync(world.server, "ann", now=NOW, page=3)
    assert report == (0, 0, (), 5, 4, 2)
    lines = tool.current_commands(now=NOW)
    assert [(line.device, line.token_type, line.actions, line.state.name, line.uses_left) for line in lines] == [
        (D, "reading_key", 1 << READ, "REQUESTED", None),
        (D, "secure_command", 1 << DISCONNECT, "HELD", 2),
        (D, "secure_command", 1 << OPEN, "HELD", None),
        (DEVICES[1], "secure_command", 1 << DISCONNECT, "HELD", 2),
        (DEVICES[1], "secure_command", 1 << OPEN, "HELD", None),
    ]
    soon = tool.current_commands(now=NOW, expiring_before=NOW + 2 * HOUR)
    assert {line.actions for line in soon} == {1 << OPEN}
    assert tool.sync(world.server, "ann", now=NOW) == (0, 0, (), 0, 0, 2)


def test_an_identical_open_request_is_not_queued_twice(make_world):
    world = make_world()
    tool = ready(world, DISCONNECT)
    assert tool.request_commands(DEVICES, token_type="secure_command", actions=[DISCONNECT], now=NOW) == 0
    assert tool.request_commands([D, D], token_type="secure_command", actions=[CONNECT, CONNECT], now=NOW) == 1
    assert tool.request_commands([D], token_type="authorization", actions=[CONNECT], now=NOW) == 1


def test_a_request_without_permission_is_reported_and_can_be_repeated(make_world):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    world.server.set_users([("ann", "gas", Permission.READ_ENDPOINTS)], now=NOW)
    tool = ready(world, DISCONNECT)
    assert states(tool) == [MaterialState.REFUSED]
    world.server.set_users([("ann", "gas", ALL)], now=NOW)
    assert tool.request_commands([D], token_type="secure_command", actions=[DISCONNECT], now=NOW) == 1
    tool.sync(world.server, "ann", now=NOW)
    assert states(tool) == [MaterialState.HELD]


def test_missing_material_of_a_preflight_becomes_requests(make_world):
    world = make_world(level=SecurityLevel.FULL)
    tool = world.tool()
    plan = [(D, DISCONNECT), (D, PROGRAM), (D, READ), (D, Action.READ_INTERVAL_DATA)]
    before = tool.preflight(plan, now=NOW)
    assert before["reason"].to_pylist() == [Reason.ROW_UNREADABLE] * 4
    assert tool.request_missing(plan, before, now=NOW) == 0
    assert tool.sync(world.server, "ann", now=NOW).devices == 1
    found = tool.preflight(plan, now=NOW)
    assert tool.request_missing(plan, found, now=NOW) == 4
    assert tool.request_missing(plan, found, now=NOW) == 0
    assert {(line.token_type, line.actions) for line in tool.current_commands(now=NOW)} == {
        ("secure_command", 1 << DISCONNECT),
        ("secure_command", 1 << OPEN),
        ("reading_key", 1 << READ),
        ("reading_key", 1 << Action.READ_INTERVAL_DATA),
    }
    world.grant(
        issued(DEVICES, DISCONNECT),
        issued(DEVICES, OPEN, sequence=2),
        issued(DEVICES, *list(Action)[:5], token_type="reading_key", sequence=3),
    )
    tool.sync(world.server, "ann", now=NOW)
    decisions = tool.preflight(plan, now=NOW)["decision"].to_pylist()
    assert decisions == [Decision.ALLOWED, Decision.ALLOWED_AFTER_OPEN, Decision.ALLOWED, Decision.ALLOWED_AFTER_OPEN]
    with pytest.raises(InputError):
        tool.request_missing(plan[:1], found, now=NOW)


def test_nothing_is_allowed_before_the_first_sync(make_world):
    world = make_world()
    tool = world.tool()
    tool.add_devices([D], now=NOW)
    assert tool.preflight([(D, READ)], now=NOW)["reason"].to_pylist() == [Reason.ROW_UNREADABLE]
    result = tool.work(D, READ, world.link(), now=NOW)
    assert (result.decision, result.reason, result.answers, result.sent) == (2, Reason.ROW_UNREADABLE, (), ())


def test_wrong_calls_are_refused(make_world):
    tool = make_world().tool()
    for call in [
        lambda: tool.request_commands([D], token_type="delegation", actions=[READ], now=NOW),
        lambda: tool.request_commands(["ert:x"], token_type="reading_key", actions=[READ], now=NOW),
        lambda: tool.request_commands([D], token_type="reading_key", actions=[7], now=NOW),
        lambda: tool.add_devices([D], now=-1),
        lambda: tool.add_devices([D], now=1.5),
        lambda: tool.add_devices([D], now=NOW * 1000),
        lambda: tool.sync(None, "ann", now=1_577_836_799),
        lambda: tool.current_commands(now=4_102_444_801),
        lambda: tool.preflight([(D, READ)], now=0),
        lambda: tool.prune(before=0, now=NOW),
        lambda: tool.work(D, READ, lost, now=0),
        lambda: tool.sync(None, "ann", now=NOW, page=0),
        lambda: tool.work("ert:x", READ, lost, now=NOW),
    ]:
        with pytest.raises(ValueError):
            call()


# --- Work ---


def test_a_command_is_used_once_and_reported(make_world, store_url):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    tool = world.tool(url=store_url)
    tool.request_commands(DEVICES, token_type="secure_command", actions=[DISCONNECT], now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    result = tool.work(D, DISCONNECT, world.link(), now=NOW)
    assert (result.decision, result.reason, result.sent) == (Decision.ALLOWED, 0, (DISCONNECT,))
    assert world.devices[D].state.service == "disconnected"
    assert states(tool) == [MaterialState.USED]
    again = tool.work(D, DISCONNECT, world.link(), now=NOW)
    assert (again.decision, again.reason, again.sent) == (Decision.REFUSED, Reason.REPLAY, ())
    assert tool.report(world.server, now=NOW) == {1: Code.OK}
    assert tool.report(world.server, now=NOW) == {}
    ((_, who, outcome, _),) = world.server.outcomes(0, 10).rows
    assert (who, outcome.state, outcome.action) == ("t1", MaterialState.USED, DISCONNECT)
    assert json.loads(outcome.answer)["service"] == "disconnected"
    assert tool.sync(world.server, "ann", now=NOW).outcomes == 0


def test_a_session_is_opened_once_and_ends_by_its_time(make_world):
    world = make_world()
    world.grant(issued(DEVICES, OPEN))
    tool = ready(world, OPEN)
    result = tool.work(D, PROGRAM, world.link(), now=NOW, settings={"interval": 15})
    assert (result.decision, result.reason, result.sent) == (Decision.ALLOWED_AFTER_OPEN, 0, (OPEN, PROGRAM))
    assert dict(world.devices[D].state.settings)["interval"] == 15
    assert tool.work(D, PROGRAM, world.link(), now=NOW + HOUR - 1).sent == (PROGRAM,)
    late = tool.work(D, PROGRAM, world.link(), now=NOW + HOUR)
    assert (late.decision, late.reason) == (Decision.REFUSED, Reason.REPLAY)
    # A clock set back opens nothing again.
    assert tool.work(D, PROGRAM, world.link(), now=NOW).sent == ()


def test_closing_ends_the_session(make_world):
    world = make_world()
    world.grant(issued(DEVICES, OPEN))
    tool = ready(world, OPEN)
    tool.work(D, PROGRAM, world.link(), now=NOW)
    assert tool.work(D, Action.CLOSE_SESSION, world.link(), now=NOW).sent == (Action.CLOSE_SESSION,)
    assert tool.work(D, Action.CLOSE_SESSION, world.link(), now=NOW).reason == Reason.SESSION_REQUIRED


def test_a_device_that_lost_its_session_is_tried_only_once_more(make_world):
    world = make_world()
    world.grant(issued(DEVICES, OPEN), issued(DEVICES, OPEN, sequence=2))
    tool = ready(world, OPEN)
    tool.work(D, PROGRAM, world.link(), now=NOW)
    world.devices[D].restart()
    refused = tool.work(D, PROGRAM, world.link(), now=NOW)
    assert (refused.sent, refused.reason) == ((PROGRAM,), Reason.SESSION_REQUIRED)
    assert tool.work(D, PROGRAM, world.link(), now=NOW).sent == (OPEN, PROGRAM)


def test_no_answer_is_neither_used_nor_unused_and_counted_once(make_world):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT), issued(DEVICES, CONNECT, sequence=2))
    tool = ready(world, DISCONNECT, CONNECT)

    def answer_lost(message):
        world.link()(message)
        raise TimeoutError

    for link in [lost, answer_lost, answer_lost]:
        result = tool.work(D, DISCONNECT, link, now=NOW)
        assert (result.decision, result.reason, result.answers, result.sent) == (0, 0, (), (DISCONNECT,))
        assert states(tool) == [MaterialState.HELD, MaterialState.SENT]
        assert {line.uses_left for line in tool.current_commands(now=NOW, devices=[D])} == {1}
    done = tool.work(D, DISCONNECT, world.link(), now=NOW)
    assert done.reason == Code.REPLAY_IDENTICAL
    assert world.devices[D].state.operations == 1
    assert states(tool) == [MaterialState.HELD, MaterialState.REPLAYED]
    assert tool.work(D, CONNECT, world.link(), now=NOW).reason == 0
    assert {line.uses_left for line in tool.current_commands(now=NOW, devices=[D])} == {0}
    report = tool.sync(world.server, "ann", now=NOW)
    assert (report.outcomes, report.replays, report.conflicts) == (5, 0, ())


@pytest.mark.parametrize("answer", [None, 7, ("DONE", 0, {}), b"", {"outcome": 0}])
def test_an_invalid_answer_counts_as_no_answer(make_world, answer):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    tool = ready(world, DISCONNECT)
    assert tool.work(D, DISCONNECT, lambda message: answer, now=NOW).answers == ()
    assert states(tool) == [MaterialState.SENT]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"epoch": True, "level": "full", "mode": "mobile"},
        {"epoch": -1, "level": "full", "mode": "mobile"},
        {"epoch": 2**70, "level": "full", "mode": "mobile"},
        {"epoch": "9", "level": "full", "mode": "mobile"},
        {"epoch": 9, "level": "highest", "mode": "mobile"},
        {"epoch": 9, "level": 2, "mode": "mobile"},
        {"epoch": 9, "level": "full", "mode": None},
    ],
)
def test_nonsense_of_a_device_about_itself_is_not_learned(make_world, data):
    world = make_world()
    world.grant(issued(DEVICES, Action.EXCHANGE_KEYS))
    tool = ready(world, Action.EXCHANGE_KEYS)
    before = contents(tool)["device"]
    assert tool.work(D, Action.EXCHANGE_KEYS, lambda message: Answer(Outcome.DONE, 0, data), now=NOW).reason == 0
    assert contents(tool)["device"] == before


@pytest.mark.parametrize("seconds", [None, True, -5, 0, "3600", 10**9, 2 * HOUR])
def test_a_session_is_never_longer_than_its_token_allows(make_world, seconds):
    world = make_world()
    world.grant(issued(DEVICES, OPEN))
    tool = ready(world, OPEN)
    tool.work(D, OPEN, lambda message: Answer(Outcome.DONE, 0, {"session_seconds": seconds}), now=NOW)
    plan = [(D, PROGRAM)]
    assert tool.preflight(plan, now=NOW + HOUR - 1)["decision"].to_pylist() == [Decision.ALLOWED]
    assert tool.preflight(plan, now=NOW + HOUR)["decision"].to_pylist() == [Decision.REFUSED]


def test_material_refused_unused_is_held_again(make_world):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    tool = ready(world, DISCONNECT)
    world.devices[D] = Device(D, DeviceClass.ENHANCED, keyring=keyring())  # ready to secure: not what the tool knows
    for _ in range(3):
        result = tool.work(D, DISCONNECT, world.link(), now=NOW)
        assert (result.decision, result.reason) == (Decision.ALLOWED, Reason.SERVICE_UNAVAILABLE_UNSECURED)
        assert states(tool) == [MaterialState.HELD]
        assert tool.current_commands(now=NOW, devices=[D])[0].uses_left == 2


def test_material_refused_for_ever_is_replaced_by_the_next_piece(make_world):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT), issued(DEVICES, DISCONNECT, sequence=2, epoch=1))
    tool = ready(world, DISCONNECT)
    world.devices[D] = Device(D, DeviceClass.ENHANCED, keyring=keyring(), level=COMMAND, epoch=1)
    assert tool.work(D, DISCONNECT, world.link(), now=NOW).reason == Code.EPOCH_STALE
    assert states(tool) == [MaterialState.REFUSED, MaterialState.HELD]
    assert tool.work(D, DISCONNECT, world.link(), now=NOW).reason == 0
    assert states(tool) == [MaterialState.REFUSED, MaterialState.USED]


def test_uses_are_counted_until_a_whole_sync(make_world):
    world = make_world()
    world.grant(*(issued(DEVICES, DISCONNECT, sequence=number) for number in range(1, 5)))
    tool = ready(world, DISCONNECT)
    for left in [2, 1]:
        assert {line.uses_left for line in tool.current_commands(now=NOW, devices=[D])} == {left}
        assert tool.work(D, DISCONNECT, world.link(), now=NOW).reason == 0
    assert tool.work(D, DISCONNECT, world.link(), now=NOW).reason == Reason.RESYNC_REQUIRED
    assert tool.work(DEVICES[1], DISCONNECT, world.link(DEVICES[1]), now=NOW).reason == 0
    with pytest.raises(ConnectionError):
        tool.sync(Cut(world.server, 5, before=True), "ann", now=NOW)
    assert tool.work(D, DISCONNECT, world.link(), now=NOW).reason == Reason.RESYNC_REQUIRED
    tool.sync(world.server, "ann", now=NOW)
    assert tool.work(D, DISCONNECT, world.link(), now=NOW).reason == 0


def test_a_use_without_answer_may_be_sent_again_when_all_uses_are_spent(make_world):
    world = make_world()
    world.grant(*(issued(DEVICES, DISCONNECT, sequence=number) for number in range(1, 5)))
    tool = ready(world, DISCONNECT, options=PolicyOptions(command_limit=1))
    assert tool.work(D, DISCONNECT, lost, now=NOW).decision == Decision.ALLOWED
    assert tool.work(D, DISCONNECT, world.link(), now=NOW).reason == 0
    assert tool.work(D, DISCONNECT, world.link(), now=NOW).reason == Reason.RESYNC_REQUIRED


def test_keys_and_level_are_learned_from_the_device(make_world):
    world = make_world()
    world.grant(
        issued(DEVICES, Action.EXCHANGE_KEYS),
        issued(DEVICES, DISCONNECT, sequence=2),
        issued(DEVICES, Action.SET_SECURITY_LEVEL, sequence=3, epoch=1, command=b"set_security_level:full"),
    )
    tool = ready(world, Action.EXCHANGE_KEYS, DISCONNECT, Action.SET_SECURITY_LEVEL)
    assert tool.work(D, Action.EXCHANGE_KEYS, world.link(), now=NOW).reason == 0
    assert states(tool) == [MaterialState.SUPERSEDED, MaterialState.USED, MaterialState.HELD]
    assert tool.work(D, DISCONNECT, world.link(), now=NOW).reason == Code.EPOCH_STALE
    assert tool.work(D, Action.SET_SECURITY_LEVEL, world.link(), now=NOW).reason == 0
    assert tool.preflight([(D, READ)], now=NOW)["reason"].to_pylist() == [Reason.READING_KEY_MISSING]
    # The server has not heard of it: what the device said stands.
    tool.sync(world.server, "ann", now=NOW)
    assert tool.preflight([(D, READ)], now=NOW)["reason"].to_pylist() == [Reason.READING_KEY_MISSING]
    # News of the server are taken, but for an older epoch.
    world.server.set_devices([DeviceRecord(D, "gas", 1, 0, 1, level_verified=True, epoch=0)], now=NOW)
    world.server.set_devices([DeviceRecord(D, "gas", 1, 0, 0, level_verified=True, epoch=0)], now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    assert tool.preflight([(D, READ)], now=NOW)["reason"].to_pylist() == [Reason.READING_KEY_MISSING]
    world.server.set_devices([DeviceRecord(D, "gas", 1, 0, 1, level_verified=True, epoch=1)], now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    assert tool.preflight([(D, READ)], now=NOW)["reason"].to_pylist() == [0]


def test_network_mode_opens_by_authorization_and_its_scope_bounds_the_session(make_world):
    world = make_world(device_class=DeviceClass.MULTI_MODE, mode=Mode.NETWORK, level=SecurityLevel.READY_TO_SECURE)
    world.grant(
        issued(DEVICES, READ, OPEN, token_type="authorization"),
        issued(DEVICES, PROGRAM, OPEN, token_type="authorization", sequence=2),
        issued(DEVICES, Action.SWITCH_TO_MOBILE_MODE, token_type="authorization", sequence=3),
    )
    tool = ready(world, READ, PROGRAM, Action.SWITCH_TO_MOBILE_MODE, token_type="authorization")
    assert tool.work(D, READ, world.link(), now=NOW).sent == (OPEN, READ)
    assert tool.work(D, READ, world.link(), now=NOW).sent == (READ,)
    result = tool.work(D, PROGRAM, world.link(), now=NOW)
    assert (result.sent, result.reason) == ((OPEN, PROGRAM), 0)
    switch = Action.SWITCH_TO_MOBILE_MODE
    assert tool.work(D, switch, world.link(), now=NOW).reason == Reason.KEY_EXCHANGE_MISSING
    assert tool.work(D, switch, world.link(), now=NOW, key_exchange=True).reason == Reason.RESYNC_REQUIRED
    tool.sync(world.server, "ann", now=NOW)
    assert tool.work(D, switch, world.link(), now=NOW, key_exchange=True).reason == 0
    # Ready to secure in Mobile Mode: nothing is needed any more, and the old session is gone.
    assert tool.work(D, READ, world.link(), now=NOW).decision == Decision.ALLOWED
    assert world.devices[D].state.mode is Mode.MOBILE


def test_two_tools_hold_one_command_and_the_device_decides(make_world):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    first, second = world.tool("t1"), world.tool("t2")
    for tool, user in [(first, "ann"), (second, "bob")]:
        tool.request_commands([D], token_type="secure_command", actions=[DISCONNECT], now=NOW)
        tool.sync(world.server, user, now=NOW)
    assert first.work(D, DISCONNECT, world.link(), now=NOW).reason == 0
    assert second.work(D, DISCONNECT, world.link(), now=NOW).reason == Code.REPLAY_IDENTICAL
    assert (states(first), states(second)) == ([MaterialState.USED], [MaterialState.REPLAYED])
    assert world.devices[D].state.operations == 1
    assert second.sync(world.server, "bob", now=NOW).replays == 0
    assert first.sync(world.server, "ann", now=NOW).replays == 1


def test_a_session_opened_by_another_tool_is_not_assumed_for_long(make_world):
    world = make_world()
    world.grant(issued(DEVICES, OPEN))
    first, second = world.tool("t1"), world.tool("t2")
    for tool, user in [(first, "ann"), (second, "bob")]:
        tool.request_commands([D], token_type="secure_command", actions=[OPEN], now=NOW)
        tool.sync(world.server, user, now=NOW)
    first.work(D, PROGRAM, world.link(), now=NOW)
    both = second.work(D, PROGRAM, world.link(), now=NOW)
    assert [answer.reason for answer in both.answers] == [Code.REPLAY_IDENTICAL, 0]
    assert second.work(D, PROGRAM, world.link(), now=NOW).reason == Reason.REPLAY


# --- Clock, revocation, delegation ---


def test_a_clock_set_back_revives_nothing(make_world):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT, expires_in=HOUR))
    tool = ready(world, DISCONNECT)
    tool.add_devices([D], now=NOW + 2 * HOUR)
    for now in [NOW, NOW + 2 * HOUR, NOW - 30 * DAY]:
        assert states(tool, now) == [MaterialState.EXPIRED]
        assert tool.work(D, DISCONNECT, world.link(), now=now).reason == Code.EXPIRED


def test_reading_with_a_clock_ahead_writes_no_moment_down(make_world):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT, expires_in=HOUR))
    tool = ready(world, DISCONNECT)
    assert states(tool, NOW + DAY) == [MaterialState.EXPIRED]
    assert tool.preflight([(D, DISCONNECT)], now=NOW + DAY)["reason"].to_pylist() == [Code.EXPIRED]
    assert states(tool) == [MaterialState.HELD]


def revocations(version, expires_in=HOUR, signer=ROOT, **what):
    made = Revocations(version=version, expires_at=NOW + expires_in, **what)
    return issue_revocations(made, signer, issuer="root", now=NOW)


def test_revoked_material_is_listed_and_not_used(make_world):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT), issued(DEVICES, DISCONNECT, sequence=2))
    tool = ready(world, DISCONNECT)
    world.server.set_revocations(revocations(1, devices={D: (2, 0, 0)}), now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    assert states(tool) == [MaterialState.REVOKED, MaterialState.HELD]
    assert tool.preflight([(D, DISCONNECT)], now=NOW)["reason"].to_pylist() == [0]
    world.server.set_revocations(revocations(2, devices={D: (9, 0, 0)}), now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    assert states(tool) == [MaterialState.REVOKED] * 2
    assert tool.work(D, DISCONNECT, world.link(), now=NOW).reason == Code.DEVICE_REVOKED


def test_revocations_that_have_ended_make_everything_stale(make_world):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    world.server.set_revocations(revocations(1), now=NOW)
    tool = ready(world, DISCONNECT)
    assert tool.preflight([(D, DISCONNECT)], now=NOW)["reason"].to_pylist() == [0]
    later = NOW + 2 * HOUR
    assert tool.preflight([(D, DISCONNECT)], now=later)["reason"].to_pylist() == [Code.SNAPSHOT_STALE]
    tool.sync(world.server, "ann", now=later)
    assert tool.preflight([(D, DISCONNECT)], now=later)["reason"].to_pylist() == [Code.SNAPSHOT_STALE]


def test_keys_come_by_delegation_and_go_with_it(make_world):
    world = make_world()
    issuing = LocalSigner.generate()
    entry = KeyringEntry(issuing.public_key, issuer="ism-2", token_types=["secure_command"])
    world.server.set_delegations([issue_delegation(entry, ROOT, now=NOW, expires_at=NOW + HOUR)], now=NOW)
    world.grant(issued(DEVICES, DISCONNECT, signer=issuing))
    tool = ready(world, DISCONNECT)
    assert tool.preflight([(D, DISCONNECT)], now=NOW)["reason"].to_pylist() == [0]
    later = NOW + 2 * HOUR
    assert tool.preflight([(D, DISCONNECT)], now=later)["reason"].to_pylist() == [Code.KEY_UNKNOWN]
    tool.sync(world.server, "ann", now=later)


def test_a_delegation_renewed_early_does_not_end_with_the_first(make_world):
    world = make_world()
    issuing = LocalSigner.generate()
    entry = KeyringEntry(issuing.public_key, issuer="ism-2", token_types=["secure_command"], valid_from=NOW)
    first = issue_delegation(entry, ROOT, now=NOW, expires_at=NOW + HOUR)
    renewed = issue_delegation(entry, ROOT, now=NOW, expires_at=NOW + 9 * HOUR)
    world.server.set_delegations([first, renewed], now=NOW)
    world.grant(issued(DEVICES, DISCONNECT, signer=issuing))
    tool = ready(world, DISCONNECT)
    for later in [NOW, NOW + HOUR, NOW + 2 * HOUR]:
        assert tool.preflight([(D, DISCONNECT)], now=later)["reason"].to_pylist() == [0]
    assert tool.preflight([(D, DISCONNECT)], now=NOW + 10 * HOUR)["reason"].to_pylist() == [Code.KEY_UNKNOWN]


def test_a_user_who_may_no_longer_sign_in_may_do_nothing(make_world):
    world = make_world()
    tool = ready(world, DISCONNECT)
    world.server.set_users([("bob", "gas", ALL)], now=NOW)
    with pytest.raises(RequestRefused):
        tool.sync(world.server, "ann", now=NOW)
    assert tool.work(D, READ, world.link(), now=NOW).reason == Reason.PERMISSION_DENIED
    tool.sync(world.server, "bob", now=NOW)
    assert tool.work(D, READ, world.link(), now=NOW).reason == 0


# --- Cuts and kills ---


class Cut:
    """An exchange that is cut at its n-th message: before the server has it, or before its answer is back."""

    def __init__(self, server, at, *, before):
        self.server, self.left, self.before = server, at, before
        self.calls = 0

    def __getattr__(self, name):
        def call(*arguments, **options):
            self.left -= 1
            self.calls += 1
            if self.left == 0 and self.before:
                raise ConnectionError
            answer = getattr(self.server, name)(*arguments, **options)
            if self.left == 0:
                raise ConnectionError
            return answer

        return call


def worked(folder):
    """Return a world and a tool with every kind of thing to sync."""
    folder.mkdir()
    world = World(folder)
    world.grant(issued(DEVICES, DISCONNECT))
    tool = ready(world, DISCONNECT)
    for name in DEVICES[:3]:
        tool.work(name, DISCONNECT, world.link(name), now=NOW)
    tool.work(DEVICES[3], DISCONNECT, lost, now=NOW)
    world.server.set_revocations(revocations(1), now=NOW)
    world.grant(issued(DEVICES, OPEN, sequence=2), issued(DEVICES, DISCONNECT, sequence=3))
    tool.request_commands(DEVICES, token_type="secure_command", actions=[OPEN], now=NOW)
    return world, tool


def comparable(world, tool):
    """Return what must not depend on cuts; tokens and signatures differ from run to run, as keys of nonces do."""
    found = contents(tool)
    found["material"] = [(row[2:5], row[5], row[13:]) for row in found["material"]]
    found["outcome"] = [(row[0:4], row[7:]) for row in found["outcome"]]
    found["state"] = [row[:2] + row[3:8] + row[9:] for row in found["state"]]
    outcomes = [(serial, who, one[:3], one[6:], code) for serial, who, one, code in world.server.outcomes(0, 100).rows]
    return {name: sorted(map(repr, rows)) for name, rows in found.items()} | {"server": repr(outcomes)}


@pytest.mark.slow
def test_a_sync_cut_at_any_message_ends_in_the_same_state(tmp_path):
    world, tool = worked(tmp_path / "whole")
    counter = Cut(world.server, 0, before=True)
    tool.sync(counter, "ann", now=NOW, page=2)
    wanted = comparable(world, tool)
    world.close()
    assert counter.calls >= 14
    for at in range(1, counter.calls + 1):
        for before in [True, False]:
            world, tool = worked(tmp_path / f"{at}-{before}")
            with pytest.raises(ConnectionError):
                tool.sync(Cut(world.server, at, before=before), "ann", now=NOW, page=2)
            tool.sync(world.server, "ann", now=NOW, page=2)
            assert comparable(world, tool) == wanted, (at, before)
            world.close()


def test_an_answer_after_its_report_has_a_number_of_its_own(make_world):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    tool = ready(world, DISCONNECT)

    def answered_during_a_sync(message):
        with pytest.raises(ConnectionError):
            tool.sync(Cut(world.server, 1, before=False), "ann", now=NOW)
        return world.link()(message)

    tool.work(D, DISCONNECT, answered_during_a_sync, now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    assert [one.state for _, _, one, _ in world.server.outcomes(0, 10).rows] == [MaterialState.SENT, MaterialState.USED]


# --- Hostile servers ---


class Liar:
    """A server whose answer to one call is changed."""

    def __init__(self, server, name, lie):
        self.server, self.name, self.lie = server, name, lie

    def __getattr__(self, name):
        real = getattr(self.server, name)
        return (lambda *a, **k: self.lie(real(*a, **k))) if name == self.name else real


def changed_row(change):
    return lambda page: page._replace(rows=[(serial, change(row)) for serial, row in page.rows])


def flipped(row):
    return row._replace(token=row.token[:-1] + bytes([row.token[-1] ^ 1]))


FOREIGN = issued(DEVICES, DISCONNECT, signer=LocalSigner.generate())
EARLY = issued(DEVICES, DISCONNECT, sequence=5, not_before=NOW + HOUR)
LATE = issued(DEVICES, DISCONNECT, sequence=6, now=NOW - DAY, expires_in=HOUR)
LIES = {
    "a flipped bit": ("material", changed_row(flipped)),
    "another device": ("material", changed_row(lambda row: row._replace(device=DEVICES[5]))),
    "a stranger's key": ("material", lambda page: page._replace(rows=list(enumerate(FOREIGN, 1)))),
    "early, for another device": (
        "material",
        lambda page: page._replace(rows=[(1, EARLY[0]._replace(device=DEVICES[5]))]),
    ),
    "late, for another device": (
        "material",
        lambda page: page._replace(rows=[(1, LATE[0]._replace(device=DEVICES[5]))]),
    ),
    "another sequence": ("material", changed_row(lambda row: row._replace(sequence=row.sequence + 1))),
    "more actions": ("material", changed_row(lambda row: row._replace(actions=row.actions | 1))),
    "another epoch": ("material", changed_row(lambda row: row._replace(epoch=9))),
    "another kid": ("material", changed_row(lambda row: row._replace(kid=bytes(8)))),
    "a later end": ("material", changed_row(lambda row: row._replace(expires_at=row.expires_at + 1))),
    "a longer session": ("material", changed_row(lambda row: row._replace(session_seconds=9 * HOUR))),
    "another type": ("material", changed_row(lambda row: row._replace(token_type="reading_key"))),
    "an unknown type": ("material", changed_row(lambda row: row._replace(token_type="delegation"))),
    "another unit": ("material", changed_row(lambda row: row._replace(unit="water"))),
    "no device": ("material", changed_row(lambda row: row._replace(device=None))),
    "a text as a number": ("material", changed_row(lambda row: row._replace(sequence="1"))),
    "a number too large": ("material", changed_row(lambda row: row._replace(sequence=2**63))),
    "a bool as a number": ("material", changed_row(lambda row: row._replace(epoch=False))),
    "no token": ("material", changed_row(lambda row: row._replace(token=None))),
    "a huge token": ("material", changed_row(lambda row: row._replace(token=bytes(10**6)))),
    "a row that is none": ("material", changed_row(tuple)),
    "serials that fall": ("material", lambda page: page._replace(rows=page.rows[::-1])),
    "serials twice": ("material", lambda page: page._replace(rows=[(1, row) for _, row in page.rows])),
    "serials behind the cursor": ("material", lambda page: page._replace(rows=[(0, page.rows[0][1])])),
    "a cursor that falls": ("material", lambda page: page._replace(next=page.next - 1)),
    "a negative cursor": ("material", lambda page: Page([], -1, more=False)),
    "a page too large": ("material", lambda page: page._replace(rows=page.rows * 3)),
    "no page": ("material", lambda page: None),
    "a page of nonsense": ("material", lambda page: page._replace(rows=7)),
    "an empty page with more": ("material", lambda page: Page([], page.next, more=True)),
    "a user of another name": ("snapshot", lambda one: one._replace(user="eve")),
    "no unit": ("snapshot", lambda one: one._replace(unit="")),
    "unknown permissions": ("snapshot", lambda one: one._replace(permissions=1 << 40)),
    "negative permissions": ("snapshot", lambda one: one._replace(permissions=-1)),
    "permissions as text": ("snapshot", lambda one: one._replace(permissions="31")),
    "a negative limit": ("snapshot", lambda one: one._replace(command_limit=-1)),
    "no snapshot": ("snapshot", lambda one: None),
    "a bad delegation": ("snapshot", lambda one: one._replace(delegations=(b"x" * 100,))),
    "a delegation as text": ("snapshot", lambda one: one._replace(delegations=("x",))),
    "a number of outcomes that is none": ("snapshot", lambda one: one._replace(reported=-1)),
    "the last number of wishes": ("snapshot", lambda one: one._replace(wanted=2**63 - 1)),
    "a thousand delegations": ("snapshot", lambda one: one._replace(delegations=(b"x",) * 1_000)),
    "bad revocations": ("snapshot", lambda one: one._replace(revocations=one.revocations[:-1] + b"x")),
    "a stranger's revocations": (
        "snapshot",
        lambda one: one._replace(revocations=revocations(9, signer=LocalSigner.generate())),
    ),
    "wishes that were never sent": ("request", lambda taken: taken + 1),
    "fewer wishes": ("request", lambda taken: taken - 1),
    "wishes as text": ("request", str),
    "devices not asked for": ("devices", lambda found: [one._replace(device="ert:7") for one in found[:1]]),
    "a device twice": ("devices", lambda found: found[:1] * 2),
    "a device of another unit": ("devices", lambda found: [one._replace(unit="water") for one in found]),
    "a class that is none": ("devices", lambda found: [one._replace(device_class=7) for one in found]),
    "a level as text": ("devices", lambda found: [one._replace(security_level="full") for one in found]),
    "a negative epoch": ("devices", lambda found: [one._replace(epoch=-1) for one in found]),
    "verified by a word": ("devices", lambda found: [one._replace(level_verified="yes") for one in found]),
    "no devices": ("devices", lambda found: None),
}


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_no_lie_of_a_server_is_kept(make_world, lie):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    world.server.set_revocations(revocations(1), now=NOW)
    tool = world.tool()
    tool.request_commands(DEVICES, token_type="secure_command", actions=[DISCONNECT], now=NOW)
    with pytest.raises(ExchangeError):
        tool.sync(Liar(world.server, *lie), "ann", now=NOW)
    kept = contents(tool)
    if lie[0] == "material":
        assert kept["material"] == []
        assert kept["state"][0][12] == 0, "the cursor moved"
    assert all(row[1] is None for row in kept["device"])
    assert tool.preflight([(D, DISCONNECT)], now=NOW)["decision"].to_pylist() == [Decision.REFUSED]
    # And the true answers are taken afterwards.
    tool.sync(world.server, "ann", now=NOW)
    assert tool.preflight([(D, DISCONNECT)], now=NOW)["decision"].to_pylist() == [Decision.ALLOWED]


@pytest.mark.slow
@pytest.mark.parametrize("codes", [[], [0, 0], [1], [None], ["0"], [True], None, 0])
def test_no_lie_about_a_report_is_kept(make_world, codes):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    tool = ready(world, DISCONNECT)
    tool.work(D, DISCONNECT, world.link(), now=NOW)
    with pytest.raises(ExchangeError):
        tool.sync(Liar(world.server, "report", lambda _: codes), "ann", now=NOW)
    assert tool.current_commands(now=NOW, devices=[D])[0].uses_left == 1
    assert tool.sync(world.server, "ann", now=NOW).outcomes == 1


def test_a_key_that_the_snapshot_in_force_revokes_signs_no_later_one(make_world):
    """A server that was put back to a backup believes the key still; the tool does not, and keeps what it has."""
    world = make_world()
    world.server.set_revocations(revocations(1, issuers=[ROOT.public_key.kid]), now=NOW)
    tool = ready(world, DISCONNECT)
    for token in (revocations(2), revocations(1)):
        cleared = Liar(world.server, "snapshot", lambda one, token=token: one._replace(revocations=token))
        with pytest.raises(ExchangeError, match="invalid revocations"):
            tool.sync(cleared, "ann", now=NOW)
    tool.sync(world.server, "ann", now=NOW)


def test_revocations_never_go_back(make_world):
    world = make_world()
    world.server.set_revocations(revocations(5), now=NOW)
    tool = ready(world, DISCONNECT)
    for old in [revocations(4), None]:
        tool.sync(Liar(world.server, "snapshot", lambda one, old=old: one._replace(revocations=old)), "ann", now=NOW)
        assert contents(tool)["state"][0][9] == 5
    with pytest.raises(ExchangeError, match="invalid revocations"):
        tool.sync(
            Liar(
                world.server,
                "snapshot",
                lambda one: one._replace(revocations=revocations(5, tokens=[(bytes(8), bytes(16))])),
            ),
            "ann",
            now=NOW,
        )
    tool.sync(world.server, "ann", now=NOW)


def test_a_conflict_is_reported_as_one(make_world):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    tool = ready(world, DISCONNECT)
    tool.work(D, DISCONNECT, world.link(), now=NOW)
    report = tool.sync(Liar(world.server, "report", lambda codes: [801] * len(codes)), "ann", now=NOW)
    assert report.conflicts == (1,)
    assert any(json.loads(entry)["kind"] == "alarm" for entry in tool._journal.entries(0, 1000))


# --- What is forgotten ---


def test_expired_material_is_deleted_when_nothing_needs_it(make_world, store_url):
    world = make_world()
    world.grant(
        issued(DEVICES, DISCONNECT, expires_in=HOUR), issued(DEVICES, DISCONNECT, sequence=9, expires_in=9 * HOUR)
    )
    tool = ready(world, DISCONNECT, url=store_url)
    for name in DEVICES[:2]:
        tool.work(name, DISCONNECT, world.link(name), now=NOW)
    later = NOW + 3 * HOUR
    assert tool.prune(before=NOW + HOUR + 600, now=later) == 0
    # Not what is unreported, whose uses count.
    assert tool.prune(before=NOW + HOUR + 601, now=later) == len(DEVICES) - 2
    assert len(contents(tool)["outcome"]) == 2
    tool.report(world.server, now=later)
    # Reported, they still count until a whole sync.
    assert tool.prune(before=later, now=later) == 0
    assert contents(tool)["outcome"] == []
    tool.sync(world.server, "ann", now=later)
    assert tool.prune(before=NOW, now=later) == 0
    assert tool.prune(before=later, now=later) == 2
    lines = tool.current_commands(now=later)
    assert [line.device for line in lines] == DEVICES
    assert {line.sequence for line in lines} == {9}
    # Numbers go on after what was forgotten.
    tool.work(DEVICES[3], DISCONNECT, world.link(DEVICES[3]), now=later)
    assert tool.report(world.server, now=later) == {3: 0}
    tool.sync(world.server, "ann", now=later)
    assert not told_of(tool, "store_behind")
    # What happened since that moment stays.
    assert tool.prune(before=later, now=later) == 0
    assert len(contents(tool)["outcome"]) == 1


def test_unreported_outcomes_are_never_deleted(make_world):
    world = make_world()
    world.grant(issued(DEVICES, OPEN, expires_in=HOUR))
    tool = ready(world, OPEN)
    # It counts as no use; one with an answer, and one without.
    tool.work(D, OPEN, world.link(), now=NOW)
    tool.work(DEVICES[1], OPEN, lost, now=NOW)
    later = NOW + 3 * HOUR
    assert tool.prune(before=later, now=later) == len(DEVICES) - 2
    assert states(tool, later) == [MaterialState.USED]
    assert len(contents(tool)["outcome"]) == 2
    tool.report(world.server, now=later)
    assert tool.prune(before=later, now=later) == 2
    assert contents(tool)["outcome"] == []


def test_an_answer_that_comes_after_all_was_forgotten_is_reported(make_world):
    """The device takes hours; meanwhile another process of the tool syncs and prunes, and so does the server."""
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT, expires_in=HOUR))
    tool, other = ready(world, DISCONNECT), world.tool()
    later = NOW + 3 * HOUR

    def slow(message):
        other.sync(world.server, "ann", now=later)
        assert other.prune(before=later, now=later) == len(DEVICES)
        assert world.server.prune(before=later, now=later) == len(DEVICES)
        return world.link()(message)

    assert tool.work(D, DISCONNECT, slow, now=NOW).answers[0].outcome is Outcome.DONE
    assert tool.sync(world.server, "ann", now=later)[:3] == (1, 0, ())
    assert [one.state for _, _, one, _ in world.server.outcomes(0, 10).rows] == [MaterialState.SENT, MaterialState.USED]


def test_a_tool_with_a_slow_clock_reports_pruned_material(make_world):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT, expires_in=HOUR))
    tool = ready(world, DISCONNECT)
    later = NOW + DAY
    assert world.server.prune(before=later, now=later) == len(DEVICES)
    tool.work(D, DISCONNECT, world.link(), now=NOW + 60)
    assert tool.sync(world.server, "ann", now=NOW + 60)[:3] == (1, 0, ())


def test_used_unexpired_material_is_never_deleted(make_world):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT, expires_in=9 * HOUR))
    tool = ready(world, DISCONNECT)
    tool.work(D, DISCONNECT, world.link(), now=NOW)
    later = NOW + 8 * HOUR
    tool.sync(world.server, "ann", now=later)
    assert tool.prune(before=later, now=later) == 0
    assert tool.work(D, DISCONNECT, world.link(), now=later).reason == Reason.REPLAY
    with pytest.raises(InputError):
        tool.prune(before=later + 1, now=later)


def test_a_request_whose_material_was_deleted_is_open_again(make_world):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT, expires_in=HOUR))
    tool = ready(world, DISCONNECT)
    later = NOW + 3 * HOUR
    assert tool.prune(before=NOW, now=later) == 0
    # Its moment was written down: a clock set back revives nothing.
    assert states(tool, NOW) == [MaterialState.EXPIRED]
    assert tool.prune(before=later, now=NOW) == len(DEVICES)
    assert tool.sync(world.server, "ann", now=NOW).material == 0
    assert states(tool) == [MaterialState.REQUESTED]
    assert tool.request_commands([D], token_type="secure_command", actions=[DISCONNECT], now=NOW) == 0
    world.grant(issued(DEVICES, DISCONNECT, sequence=2, expires_in=9 * HOUR))
    assert tool.sync(world.server, "ann", now=later).material == len(DEVICES)
    assert states(tool) == [MaterialState.HELD]
    assert tool.prune(before=later, now=NOW) == 0


def test_an_old_copy_is_found_out_when_its_outcomes_were_forgotten(make_world):
    world = make_world()
    world.grant(*(issued(DEVICES, DISCONNECT, sequence=turn, expires_in=turn * 2 * HOUR) for turn in [1, 2, 3]))
    tool = ready(world, DISCONNECT)
    tool.work(D, DISCONNECT, world.link(), now=NOW)
    old = world.folder / "t1-old.db"
    with sqlite3.connect(world.folder / "t1.db") as source, sqlite3.connect(old) as target:
        source.backup(target)
    tool.work(DEVICES[1], DISCONNECT, world.link(DEVICES[1]), now=NOW)
    later = NOW + 3 * HOUR
    tool.sync(world.server, "ann", now=later)
    assert tool.prune(before=later, now=later) == len(DEVICES)
    restored = world.tool(url=str(old))
    restored.work(DEVICES[2], DISCONNECT, world.link(DEVICES[2]), now=NOW)
    world.server.prune(before=later, now=later)
    restored.prune(before=later, now=later)
    # Both of its outcomes get new numbers, the first is one that the server has.
    assert restored.sync(world.server, "ann", now=later)[:3] == (2, 1, ())
    assert len(told_of(restored, "store_behind")) == 1
    assert [one.number for _, _, one, _ in world.server.outcomes(0, 10).rows] == [1, 2, 3, 4]


# --- Stores that are not what they were ---


def test_the_store_of_another_tool_is_refused(make_world):
    world = make_world()
    tool = ready(world, DISCONNECT)
    with pytest.raises(StoreError, match="t1"):
        FieldTool(tool._store, keyring(), "t2")


def copied(world, name="t1"):
    """Copy a tool's store as a backup does, and return where it is."""
    old = world.folder / "old.db"
    with sqlite3.connect(world.folder / f"{name}.db") as source, sqlite3.connect(old) as copy:
        source.backup(copy)
    source.close()
    copy.close()
    return str(old)


def told_of(tool, kind):
    entries = map(json.loads, tool._journal.entries(0, 10_000))
    return [entry for entry in entries if entry["kind"] == kind]


@pytest.mark.slow
@pytest.mark.parametrize("between", ["nothing", "a report", "a cut sync"])
def test_an_old_copy_of_a_store_gives_no_number_twice(make_world, between):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    tool = ready(world, DISCONNECT)
    url = copied(world)
    for name in DEVICES[:2]:
        tool.work(name, DISCONNECT, world.link(name), now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    assert not told_of(tool, "store_behind")
    before = world.server.outcomes(0, 100).rows
    old = world.tool("t1", url=url)
    # It does not know what it did: the first device answers with a replay.
    for name in [DEVICES[0], DEVICES[2], DEVICES[3]]:
        assert old.work(name, DISCONNECT, world.link(name), now=NOW).reason in {0, Code.REPLAY_IDENTICAL}
    if between == "a report":
        with pytest.raises(RequestRefused, match="number_reused"):
            old.report(world.server, now=NOW)
    if between == "a cut sync":
        with pytest.raises(ConnectionError):
            old.sync(Cut(world.server, 2, before=False), "ann", now=NOW)
    report = old.sync(world.server, "ann", now=NOW)
    assert (report.outcomes, report.replays, report.conflicts) == (3, 1, ())
    rows = world.server.outcomes(0, 100).rows
    assert rows[:2] == before
    assert [(one.number, one.device, code) for _, _, one, code in rows[2:]] == [
        (3, DEVICES[0], Code.REPLAY_IDENTICAL),
        (4, DEVICES[2], Code.OK),
        (5, DEVICES[3], Code.OK),
    ]
    (entry,) = told_of(old, "store_behind")
    assert (entry["reported"], entry["tool"]) == (2, "t1")
    assert old.sync(world.server, "ann", now=NOW).outcomes == 0


def outdated_copy(world):
    """Return a tool on a copy of its store from before its one outcome, which the server has."""
    world.grant(issued(DEVICES, DISCONNECT))
    tool = ready(world, DISCONNECT)
    url = copied(world)
    tool.work(D, DISCONNECT, world.link(), now=NOW)
    tool.report(world.server, now=NOW)
    return world.tool("t1", url=url)


def test_an_outdated_copy_without_work_continues_after_the_server_s_numbers(make_world):
    world = make_world()
    old = outdated_copy(world)
    old.sync(world.server, "ann", now=NOW)
    name = DEVICES[1]
    old.work(name, DISCONNECT, world.link(name), now=NOW)
    assert old.report(world.server, now=NOW) == {2: 0}


def test_an_answer_after_its_number_changed_is_reported_separately(make_world):
    world = make_world()
    old = outdated_copy(world)

    def answered_after_a_sync(message):
        for name in DEVICES[2:4]:
            old.work(name, DISCONNECT, world.link(name), now=NOW)
        old.sync(world.server, "ann", now=NOW)
        return world.link(DEVICES[1])(message)

    old.work(DEVICES[1], DISCONNECT, answered_after_a_sync, now=NOW)
    old.sync(world.server, "ann", now=NOW)
    rows = [(one.number, one.device, one.state) for _, _, one, _ in world.server.outcomes(0, 100).rows]
    used, sent = MaterialState.USED, MaterialState.SENT
    names = [D, DEVICES[1], DEVICES[2], DEVICES[3], DEVICES[1]]
    assert rows == list(zip(range(1, 6), names, [used, sent, used, used, used], strict=True))


@pytest.mark.parametrize("wished", [1, 4])
def test_requests_of_an_outdated_copy_are_not_confused_with_others(make_world, wished):
    world = make_world()
    world.grant(issued(DEVICES, CONNECT), issued(DEVICES, OPEN, sequence=2))
    tool = ready(world, DISCONNECT)
    url = copied(world)
    tool.request_commands(DEVICES[:4], token_type="secure_command", actions=[CONNECT], now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    old = world.tool("t1", url=url)
    assert old.request_commands(DEVICES[:wished], token_type="secure_command", actions=[OPEN], now=NOW) == wished
    old.sync(world.server, "ann", now=NOW, page=2)
    found = {(line.device, line.actions) for line in old.current_commands(now=NOW) if line.state is MaterialState.HELD}
    assert found >= {(name, 1 << OPEN) for name in DEVICES[:wished]}
    assert old.sync(world.server, "ann", now=NOW).requests == 0


def test_a_corrupted_store_allows_nothing(make_world):
    world = make_world()
    tool = ready(world, DISCONNECT)
    tool._store.close()
    path = world.folder / "t1.db"
    data = bytearray(path.read_bytes())
    data[:4096] = random.Random(1).randbytes(4096)
    path.write_bytes(data)
    with pytest.raises(StoreError):
        world.tool()
    with pytest.raises(StoreError):
        tool.preflight([(D, READ)], now=NOW)


def full_at(store, at):
    """Return the store; its n-th commit finds the disk full."""
    return WatchedStore(store, failing_at(at, StoreError("full")))


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_an_unrecorded_message_is_not_sent_and_no_answer_is_lost(make_world, at):
    world = make_world()
    world.grant(issued(DEVICES, OPEN))
    tool = ready(world, OPEN)
    sent = []

    def link(message):
        sent.append(message.action)
        return world.link()(message)

    tool._store, real = full_at(tool._store, at), tool._store
    with pytest.raises(StoreError):
        tool.work(D, PROGRAM, link, now=NOW)
    assert sent == [OPEN, PROGRAM][: at // 2]
    tool._store = real
    assert (
        states(tool) == [[], [MaterialState.HELD], [MaterialState.SENT], [MaterialState.USED], [MaterialState.USED]][at]
    )
    again = tool.work(D, PROGRAM, world.link(), now=NOW)
    assert again.reason == 0
    assert [answer.reason for answer in again.answers] == [[], [0, 0], [800, 0], [0], [0]][at]
    assert len(world.devices[D].state.uses) == 1


@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, 9))
def test_a_full_disk_during_a_sync_loses_nothing(make_world, at):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    tool = ready(world, DISCONNECT)
    tool.work(D, DISCONNECT, world.link(), now=NOW)
    world.grant(issued(DEVICES, DISCONNECT, sequence=2))
    tool._store, real = full_at(tool._store, at), tool._store
    with pytest.raises(StoreError):
        tool.sync(world.server, "ann", now=NOW)
    tool._store = real
    tool.sync(world.server, "ann", now=NOW)
    assert states(tool) == [MaterialState.USED, MaterialState.HELD]
    assert [one.state for _, _, one, _ in world.server.outcomes(0, 10).rows] == [MaterialState.USED]
    assert tool.current_commands(now=NOW, devices=[D])[0].uses_left == 2


def test_a_manipulated_store_is_refused(make_world):
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    world.server.set_revocations(revocations(1), now=NOW)
    tool = ready(world, DISCONNECT)
    with tool._store.write() as t:
        t.run("UPDATE tool_state SET revocations = ?", (revocations(9, signer=LocalSigner.generate()),))
    with pytest.raises(StoreError):
        tool.work(D, DISCONNECT, lost, now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    with tool._store.write() as t:
        t.run("UPDATE tool_material SET device = ?", (DEVICES[1],))
    assert tool.work(DEVICES[1], DISCONNECT, lost, now=NOW).sent != ()
    assert tool.work(D, DISCONNECT, lost, now=NOW).sent == ()


# --- The journal, and size ---


def test_uses_and_critical_refusals_are_in_the_journal_and_no_token(make_world):
    world = make_world()
    rows = issued(DEVICES, DISCONNECT)
    world.grant(rows)
    tool = ready(world, DISCONNECT)
    tool.work(D, DISCONNECT, world.link(), now=NOW)
    tool.work(D, CONNECT, world.link(), now=NOW)
    entries = [json.loads(entry) for entry in tool._journal.entries(0, 100)]
    assert [entry["kind"] for entry in entries] == ["request", "sync", "sent", "used", "critical_refused"]
    assert entries[3]["cti"] == rows[0].cti.hex()
    text = b"".join(tool._journal.entries(0, 100))
    assert not any(row.token.hex().encode() in text for row in rows)


@pytest.mark.slow
def test_a_long_route_is_a_few_queries(make_world):
    world = make_world()
    names = [f"ert:{number}" for number in range(5_000)]
    world.server.set_devices([DeviceRecord(name, "gas", 1, 0, 1, level_verified=True) for name in names], now=NOW)
    world.grant(issued(names, DISCONNECT))
    tool = ready(world, DISCONNECT, devices=names)
    queries = []
    with tool._store.read() as t:
        t._connection.set_trace_callback(queries.append)
    found = tool.preflight([(name, DISCONNECT) for name in names], now=NOW)
    assert set(found["decision"].to_pylist()) == {Decision.ALLOWED}
    assert len(queries) < 50
    assert Need(found["missing"][0]) == Need(0)
