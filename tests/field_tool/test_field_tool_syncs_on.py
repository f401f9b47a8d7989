"""What may go wrong once and must not end a field tool: clocks, counts, users, snapshots, backups, meters."""

import shutil
from contextlib import suppress

import pytest

from itron_core import (
    Action,
    Code,
    Decision,
    DeviceClass,
    ExchangeError,
    InputError,
    KeyringEntry,
    LocalSigner,
    Permission,
    Reason,
    RequestRefused,
    issue_delegation,
)
from itron_core.device import Device, Message, Outcome, TrustUpdate
from itron_core.exchange.material import MaterialState, Page
from itron_core.exchange.records import DeviceRecord
from itron_core.stores import open_store
from itron_core.stores.incarnation import mark_restored
from itron_core.tools_server import ToolsServer
from test_field_tool import (
    ALL,
    COMMAND,
    DAY,
    DEVICES,
    DISCONNECT,
    HOUR,
    NOW,
    OPEN,
    PROGRAM,
    READ,
    ROOT,
    Liar,
    contents,
    copied,
    issued,
    keyring,
    lost,
    make_world,  # noqa: F401  # a fixture
    ready,
    revocations,
    states,
    told_of,
)

D = DEVICES[0]
YEAR = 365 * DAY
AHEAD = NOW + 10 * YEAR


class Clock:
    """A server with a clock of its own, whatever the tool's says."""

    def __init__(self, server, now):
        self.server, self.now = server, now

    def __getattr__(self, name):
        return lambda *arguments, now: getattr(self.server, name)(*arguments, now=self.now)


# --- A clock that was wrong once ---


def test_a_clock_ahead_once_is_healed_by_the_next_sync(make_world):  # noqa: F811
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    tool = ready(world, DISCONNECT)
    tool.add_devices([D], now=AHEAD)
    refused = tool.work(D, DISCONNECT, world.link(), now=NOW + 60)
    assert (refused.reason, refused.sent) == (Code.EXPIRED, ())
    assert "has seen a later time, 2037-01-12" in refused.explanation
    assert "has seen a later time" in tool.preflight([(D, DISCONNECT)], now=NOW + 60).explain(0)
    assert tool.status(now=NOW + 60).seen == AHEAD
    tool.sync(world.server, "ann", now=NOW + 120)
    assert tool.status(now=NOW + 120).seen is None
    assert tool.work(D, DISCONNECT, world.link(), now=NOW + 180).reason == 0
    assert [entry["seen"] for entry in told_of(tool, "clock_healed")] == [AHEAD]


def test_a_sync_with_a_clock_ahead_is_healed_by_the_next(make_world):  # noqa: F811
    world = make_world()
    issuing = LocalSigner.generate()
    entry = KeyringEntry(issuing.public_key, issuer="ism-2", token_types=["secure_command"])
    world.server.set_delegations([issue_delegation(entry, ROOT, now=NOW, expires_at=NOW + 90 * DAY)], now=NOW)
    world.grant(issued(DEVICES, DISCONNECT, signer=issuing))
    tool = ready(world, DISCONNECT)
    tool.sync(world.server, "ann", now=2_222_222_222)
    assert tool.work(D, DISCONNECT, world.link(), now=NOW).reason == Code.KEY_UNKNOWN
    tool.sync(world.server, "ann", now=NOW + 200)
    assert tool.preflight([(D, DISCONNECT)], now=NOW + 300)["decision"].to_pylist() == [Decision.ALLOWED]


def test_a_right_server_clock_overrides_the_tool_s_clock(make_world):  # noqa: F811
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    world.server.set_revocations(revocations(1), now=NOW)
    right = Clock(world.server, NOW + 30)
    tool = world.tool()
    tool.request_commands([D], token_type="secure_command", actions=[DISCONNECT], now=AHEAD)
    for wrong in [AHEAD, NOW - 30 * DAY]:
        tool.sync(right, "ann", now=wrong)
        assert tool.status(now=NOW + 60).seen is None
        assert states(tool, NOW + 60) == [MaterialState.HELD]
    # As late as the server said, however far behind its own clock is.
    assert tool.preflight([(D, DISCONNECT)], now=NOW - 30 * DAY)["decision"].to_pylist() == [Decision.ALLOWED]


@pytest.mark.parametrize("said", [0, NOW - DAY, NOW + 2 * HOUR])
def test_a_time_at_which_no_snapshot_is_in_force_heals_nothing(make_world, said):  # noqa: F811
    """A server that says another time proves it by a genuine snapshot that was issued before, and has not ended."""
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    world.server.set_revocations(revocations(1), now=NOW)
    tool = ready(world, DISCONNECT)
    tool.add_devices([D], now=AHEAD)
    tool.sync(Liar(world.server, "snapshot", lambda one: one._replace(answered_at=said)), "ann", now=NOW + 60)
    assert tool.status(now=NOW + 60).seen == AHEAD
    assert tool.work(D, DISCONNECT, world.link(), now=NOW + 60).sent == ()


@pytest.mark.parametrize("said", [1, -1, True, "now", 1_577_836_799, 4_102_444_801, 2**62])
def test_a_time_that_no_server_can_have_is_a_lie(make_world, said):  # noqa: F811
    world = make_world()
    tool = ready(world, DISCONNECT)
    with pytest.raises(ExchangeError):
        tool.sync(Liar(world.server, "snapshot", lambda one: one._replace(answered_at=said)), "ann", now=NOW)


# --- A server that lied once, or was restored ---


@pytest.mark.parametrize("counts", [{"reported": 2**62}, {"wanted": 2**62}, {"reported": 2**62, "wanted": 2**62}])
def test_a_lie_about_counts_is_healed_by_the_honest_server(make_world, counts):  # noqa: F811
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT), issued(DEVICES, OPEN, sequence=2))
    tool = ready(world, DISCONNECT)
    tool.work(D, DISCONNECT, world.link(), now=NOW)
    tool.request_commands([D], token_type="secure_command", actions=[OPEN], now=NOW)
    with suppress(ExchangeError, RequestRefused):
        tool.sync(Liar(world.server, "snapshot", lambda one: one._replace(**counts)), "ann", now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    tool.work(DEVICES[1], DISCONNECT, world.link(DEVICES[1]), now=NOW)
    assert tool.sync(world.server, "ann", now=NOW)[:3] == (1, 0, ())
    rows = world.server.outcomes(0, 10).rows
    assert [(one.number, one.device, one.state) for _, _, one, _ in rows] == [
        (1, D, MaterialState.USED),
        (2, DEVICES[1], MaterialState.USED),
    ]
    assert states(tool) == [MaterialState.USED, MaterialState.HELD]
    assert max(row[1] for row in contents(tool)["want"]) == len(DEVICES) + 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["restored", "put back by hand"])
def test_data_that_a_server_lost_is_sent_again(make_world, how):  # noqa: F811
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT), issued(DEVICES, OPEN, sequence=2))
    tool = ready(world, DISCONNECT)
    tool.work(D, DISCONNECT, world.link(), now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    backup = copied(world, "server")
    tool.request_commands(DEVICES[:2], token_type="secure_command", actions=[OPEN], now=NOW)
    tool.work(DEVICES[1], DISCONNECT, world.link(DEVICES[1]), now=NOW)
    tool.work(DEVICES[2], DISCONNECT, lost, now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    wanted = [one for _, _, one, _ in world.server.outcomes(0, 10).rows]
    store = open_store(backup)
    if how == "restored":
        with store.write() as t:
            mark_restored(t)
    server = ToolsServer(store, keyring())
    # What happened since is offered with what was lost, in its order.
    tool.work(DEVICES[2], DISCONNECT, world.link(DEVICES[2]), now=NOW)
    assert tool.sync(server, "ann", now=NOW) == (3, 0, (), 2, 0, len(DEVICES))
    found = [one for _, _, one, _ in server.outcomes(0, 10).rows]
    assert found[:3] == wanted
    assert [one.number for one in found] == [1, 2, 3, 4]
    assert len(told_of(tool, "server_restored")) == 1
    assert tool.sync(server, "ann", now=NOW)[:4] == (0, 0, (), 0)
    # And what the restored server grants behind cursors that it had given before is fetched.
    tool.request_commands([DEVICES[3]], token_type="secure_command", actions=[OPEN], now=NOW)
    assert tool.sync(server, "ann", now=NOW).material == 1
    store.close()


def test_using_a_grant_that_a_restored_server_lost_is_not_a_conflict(make_world):  # noqa: F811
    """The grant is lost with the backup; what the manager delivers again is enough to decide the use."""
    world = make_world()
    tool = world.tool()
    tool.sync(world.server, "ann", now=NOW)
    backup = copied(world, "server")
    rows = issued(DEVICES, DISCONNECT, expires_in=HOUR)
    world.grant(rows)
    tool.request_commands(DEVICES, token_type="secure_command", actions=[DISCONNECT], now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    tool.work(D, DISCONNECT, world.link(), now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    store = open_store(backup)
    with store.write() as t:
        mark_restored(t)
    server = ToolsServer(store, keyring())
    later = NOW + 2 * HOUR
    assert set(server.receive("ism", Page(list(enumerate(rows, 1)), len(rows), more=False), now=later)) == {
        Code.EXPIRED
    }
    assert tool.sync(server, "ann", now=later)[:3] == (1, 0, ())
    ((_, _, outcome, code),) = server.outcomes(0, 10).rows
    assert (outcome.kid, outcome.cti, code) == (rows[0].kid, rows[0].cti, Code.OK)
    store.close()


def test_a_server_that_never_met_the_tool_gets_everything(make_world):  # noqa: F811
    world = make_world()
    empty = copied(world, "server")
    world.grant(issued(DEVICES, DISCONNECT))
    tool = ready(world, DISCONNECT)
    tool.work(D, READ, world.link(), now=NOW)
    tool.work(DEVICES[1], READ, world.link(DEVICES[1]), now=NOW)
    tool.report(world.server, now=NOW)
    tool.work(DEVICES[2], READ, world.link(DEVICES[2]), now=NOW)
    store = open_store(empty)
    server = ToolsServer(store, keyring())
    report = tool.sync(server, "ann", now=NOW)
    assert (report.outcomes, report.requests) == (3, len(DEVICES))
    assert [one.device for _, _, one, _ in server.outcomes(0, 10).rows] == DEVICES[:3]
    assert states(tool) == [MaterialState.HELD]
    store.close()


def test_a_tool_restored_twice_can_still_sync(make_world):  # noqa: F811
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    tool = ready(world, DISCONNECT)
    for turn in range(3):
        old = copied(world)
        kept = world.folder / f"old-{turn}.db"
        shutil.copy(old, kept)
        tool.work(DEVICES[turn], DISCONNECT, world.link(DEVICES[turn]), now=NOW)
        tool.sync(world.server, "ann", now=NOW)
        tool = world.tool("t1", url=str(kept))
        tool.work(DEVICES[turn], DISCONNECT, world.link(DEVICES[turn]), now=NOW)
        assert tool.sync(world.server, "ann", now=NOW)[:3] == (1, 1, ())
    assert [one.number for _, _, one, _ in world.server.outcomes(0, 10).rows] == list(range(1, 7))


# --- Who is signed in ---


def test_the_next_user_sees_and_uses_nothing_of_the_one_before(make_world):  # noqa: F811
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT), issued(DEVICES, OPEN, sequence=2))
    tool = ready(world, DISCONNECT, OPEN)
    tool.work(D, PROGRAM, world.link(), now=NOW)
    tool.sync(world.server, "bob", now=NOW)
    assert tool.current_commands(now=NOW) == []
    assert tool.work(DEVICES[1], DISCONNECT, world.link(DEVICES[1]), now=NOW).reason == Reason.SECURE_COMMAND_MISSING
    # A session that another user opened may be closed, and no more.
    assert tool.work(D, PROGRAM, world.link(), now=NOW).reason == Reason.SESSION_REQUIRED
    found = tool.status(now=NOW)
    assert (found.user, found.withheld) == ("bob", 2 * len(DEVICES) - 1)
    assert "granted to another user" in found.explanation
    assert tool.work(D, Action.CLOSE_SESSION, world.link(), now=NOW).reason == 0
    # His own request is fulfilled by the same command, and only what he asked for.
    assert tool.request_commands([D], token_type="secure_command", actions=[DISCONNECT], now=NOW) == 1
    assert tool.sync(world.server, "bob", now=NOW).material == 1
    assert [(line.device, line.state) for line in tool.current_commands(now=NOW)] == [(D, MaterialState.HELD)]
    tool.sync(world.server, "ann", now=NOW)
    assert len(tool.current_commands(now=NOW)) == 2 * len(DEVICES)
    assert tool.status(now=NOW).withheld == 0


def test_unsent_requests_belong_to_the_next_user_who_signs_in(make_world):  # noqa: F811
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    tool = ready(world, OPEN)
    tool.request_commands([D], token_type="secure_command", actions=[DISCONNECT], now=NOW)
    assert tool.sync(world.server, "bob", now=NOW)[3:5] == (1, 1)
    assert states(tool) == [MaterialState.HELD]
    tool.sync(world.server, "ann", now=NOW)
    assert states(tool) == [MaterialState.REQUESTED]


def test_an_authorization_is_used_only_with_the_permissions_of_its_whole_scope(make_world):  # noqa: F811
    world = make_world(device_class=DeviceClass.MULTI_MODE, mode=1)
    world.grant(issued(DEVICES, READ, DISCONNECT, token_type="authorization"))
    tool = ready(world, READ, token_type="authorization")
    assert tool.preflight([(D, READ)], now=NOW)["decision"].to_pylist() == [Decision.ALLOWED_AFTER_OPEN]
    few = Permission.READ_ENDPOINTS | Permission.SIGNED_AUTHORIZATION
    world.server.set_users([("ann", "gas", few)], now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    assert tool.preflight([(D, READ)], now=NOW)["reason"].to_pylist() == [Reason.SESSION_REQUIRED]
    assert tool.work(D, READ, world.link(), now=NOW).sent == ()
    assert tool.status(now=NOW).withheld == len(DEVICES)
    assert MaterialState.HELD not in states(tool)


def test_pruned_material_does_not_return_when_everything_is_fetched_again(make_world):  # noqa: F811
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT, expires_in=HOUR), issued(DEVICES, DISCONNECT, sequence=2))
    tool = ready(world, DISCONNECT)
    later = NOW + 3 * HOUR
    assert tool.prune(before=later, now=later) == len(DEVICES)
    world.server.set_users([("ann", "gas", ALL & ~Permission.READ_ENDPOINTS), ("bob", "gas", ALL)], now=later)
    assert tool.sync(world.server, "ann", now=later).material == 0
    assert states(tool, later) == [MaterialState.HELD]
    # A clock that was ahead when it was pruned shuts nothing out.
    tool.prune(before=AHEAD, now=AHEAD)
    tool.sync(world.server, "ann", now=later)
    world.server.set_users([("ann", "gas", ALL)], now=later)
    assert tool.sync(world.server, "ann", now=later).material == len(DEVICES)


# --- While no snapshot is in force ---


def test_a_tool_signs_in_requests_and_reports_while_no_snapshot_is_in_force(make_world):  # noqa: F811
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT, expires_in=2 * DAY), issued(DEVICES, OPEN, sequence=2, expires_in=2 * DAY))
    world.server.set_revocations(revocations(1), now=NOW)
    tool = ready(world, DISCONNECT)
    tool.work(D, DISCONNECT, world.link(), now=NOW)
    tool.request_commands([D], token_type="secure_command", actions=[OPEN], now=NOW)
    later = NOW + 2 * HOUR
    assert tool.sync(world.server, "ann", now=later)[:5] == (1, 0, (), 1, 0)
    assert tool.work(DEVICES[1], DISCONNECT, world.link(), now=later).reason == Code.SNAPSHOT_STALE
    assert "revocation snapshot ended" in tool.status(now=later).explanation
    # The next snapshot hands the material out, and lets what is held be used again.
    world.server.set_revocations(revocations(2, expires_in=5 * HOUR), now=later)
    assert tool.sync(world.server, "ann", now=later).material == 1
    assert tool.work(DEVICES[1], DISCONNECT, world.link(DEVICES[1]), now=later).reason == 0


def test_a_newer_snapshot_that_has_ended_is_held_all_the_same(make_world):  # noqa: F811
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    tool = world.tool()
    tool.request_commands([D], token_type="secure_command", actions=[DISCONNECT], now=NOW)
    world.server.set_revocations(revocations(3, devices={D: (9, 0, 0)}), now=NOW)
    later = NOW + 2 * HOUR
    tool.sync(world.server, "ann", now=later)
    assert tool.status(now=later).revocations_until == NOW + HOUR
    tool.sync(Liar(world.server, "snapshot", lambda one: one._replace(revocations=None)), "ann", now=later)
    assert tool.status(now=later).revocations_until == NOW + HOUR


def test_an_excessive_version_loses_effect_when_its_key_is_no_longer_trusted(make_world):  # noqa: F811
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    thief = LocalSigner.generate()
    entry = KeyringEntry(thief.public_key, issuer="ism-2", token_types=["revocation"], valid_from=NOW)
    stolen = issue_delegation(entry, ROOT, now=NOW, expires_at=NOW + 90 * DAY)
    world.server.set_delegations([stolen], now=NOW)
    world.server.set_revocations(revocations(1), now=NOW)
    tool = ready(world, DISCONNECT)
    run_up = revocations(2**40, signer=thief)
    for offered, version in [
        (run_up, 2**40),
        (revocations(2), 2**40),
        (revocations(3, issuers=[thief.public_key.kid]), 3),
    ]:
        tool.sync(
            Liar(world.server, "snapshot", lambda one, offered=offered: one._replace(revocations=offered)),
            "ann",
            now=NOW,
        )
        assert contents(tool)["state"][0][9] == version
    # What the honest key revoked stays so: the old version does not come back.
    tool.sync(Liar(world.server, "snapshot", lambda one: one._replace(revocations=revocations(2))), "ann", now=NOW)
    assert contents(tool)["state"][0][9] == 3
    with pytest.raises(ExchangeError):
        tool.sync(
            Liar(world.server, "snapshot", lambda one: one._replace(revocations=revocations(2**41, signer=thief))),
            "ann",
            now=NOW,
        )


# --- The worker learns why no answer came ---


def test_the_worker_learns_why_no_answer_came(make_world):  # noqa: F811
    world = make_world()
    world.grant(issued(DEVICES, DISCONNECT))
    tool = ready(world, DISCONNECT)

    def out_of_reach(message):
        raise OSError("the radio is off")

    for link, failure in [
        (lost, "TimeoutError"),
        (out_of_reach, "OSError: the radio is off"),
        (lambda message: None, "TypeError: answer: got NoneType, expected an Answer"),
    ]:
        result = tool.work(D, DISCONNECT, link, now=NOW)
        assert (result.reason, result.answers, result.failure) == (0, (), failure)
        assert failure in result.explanation
        assert "safe to send again" in result.explanation
    assert tool.work(D, DISCONNECT, world.link(), now=NOW).failure == ""


# --- Devices learn ---


@pytest.fixture
def taught(make_world):  # noqa: F811
    """A world whose key is known to the server by delegation alone, and a tool that has synced."""
    world = make_world()
    world.issuing = LocalSigner.generate()
    entry = KeyringEntry(world.issuing.public_key, issuer="ism-2", token_types=["secure_command"])
    world.delegation = issue_delegation(entry, ROOT, now=NOW, expires_at=NOW + 90 * DAY)
    world.server.set_delegations([world.delegation], now=NOW)
    world.grant(
        issued(DEVICES, DISCONNECT, signer=world.issuing), issued(DEVICES, OPEN, sequence=2, signer=world.issuing)
    )
    world.messages = []
    return world, ready(world, DISCONNECT, OPEN)


def watched(world, device=D, now=None):
    def link(message):
        world.messages.append(message)
        return world.devices[device].answer(message, uptime=1, now=now)

    return link


@pytest.mark.parametrize("clock", [None, NOW])
def test_keys_that_were_rotated_reach_the_meter_before_work(taught, clock):
    world, tool = taught
    assert tool.work(D, DISCONNECT, watched(world, now=clock), now=NOW).reason == 0
    assert [type(message) for message in world.messages] == [TrustUpdate, Message]
    assert tool.work(D, PROGRAM, watched(world, now=clock), now=NOW).sent == (OPEN, PROGRAM)
    assert sum(isinstance(message, TrustUpdate) for message in world.messages) == 1
    # It remembers what it learned.
    world.devices[D] = Device.from_bytes(world.devices[D].to_bytes(), keyring=keyring())
    assert world.devices[D].answer(world.messages[1], uptime=1, now=clock).outcome is Outcome.REPLAYED
    # And news are brought again.
    world.server.set_revocations(revocations(1, tokens=[(world.issuing.public_key.kid, bytes(16))]), now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    tool.work(D, READ, watched(world, now=clock), now=NOW)
    assert isinstance(world.messages[-2], TrustUpdate)
    assert world.messages[-2].revocations is not None
    assert world.devices[D].state.snapshot == world.messages[-2].revocations.hex()


def test_a_meter_that_does_not_trust_the_key_says_which(taught):
    world, tool = taught

    def deaf(message):
        if isinstance(message, TrustUpdate):
            raise TimeoutError
        return world.link()(message)

    result = tool.work(D, DISCONNECT, deaf, now=NOW)
    kid = world.issuing.public_key.kid.hex()
    assert result.explanation == f"The meter refused the command: it does not trust key {kid} (key_unknown, 230)."
    assert result.reason == Code.KEY_UNKNOWN


def test_revocations_reach_the_meter(taught):
    world, tool = taught
    held = issued(DEVICES, DISCONNECT, sequence=7, signer=world.issuing)[0]
    world.server.set_revocations(revocations(1, tokens=[(held.kid, held.cti)]), now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    assert tool.update_trust(D, watched(world), now=NOW).data == {"delegations": 1, "revocations_version": 1}
    stolen = world.devices[D].answer(Message(DISCONNECT, held.token), uptime=1)
    assert (stolen.outcome, stolen.reason) == (Outcome.REFUSED, Code.TOKEN_REVOKED)


@pytest.mark.parametrize("clock", [None, NOW + 60])
def test_older_or_invalid_trust_is_refused_and_changes_nothing(taught, clock):
    world, _ = taught
    device = world.devices[D]
    newer = issue_delegation(
        KeyringEntry(LocalSigner.generate().public_key, issuer="ism-3", token_types=["secure_command"]),
        ROOT,
        now=NOW + 10,
        expires_at=NOW + DAY,
    )
    good = TrustUpdate((newer,), revocations(5))
    assert device.answer(good, uptime=1, now=clock).outcome is Outcome.DONE
    before = device.state
    stranger = LocalSigner.generate()
    entry = KeyringEntry(stranger.public_key, issuer="ism-4", token_types=["secure_command"])
    foreign = issue_delegation(entry, stranger, now=NOW, expires_at=NOW + DAY)
    for update, reason in [
        (TrustUpdate((), revocations(4)), Code.SEQUENCE_OLD),
        (TrustUpdate((world.delegation,), revocations(5)), Code.SEQUENCE_OLD),
        (TrustUpdate((), revocations(5, issuers=[bytes(8)])), Code.REPLAY_CONFLICT),
        (TrustUpdate((), revocations(9, signer=stranger)), Code.KEY_UNKNOWN),
        (TrustUpdate((foreign,), None), Code.KEY_UNKNOWN),
        (TrustUpdate((newer[:-1] + bytes([newer[-1] ^ 1]),), None), Code.SIGNATURE_INVALID),
        (TrustUpdate((), b"x"), Code.TOO_SMALL),
        (TrustUpdate((newer,) * 65 + tuple(bytes([n]) for n in range(65)), None), Code.TOO_LARGE),
    ]:
        answer = device.answer(update, uptime=1, now=clock)
        assert (answer.outcome, answer.data) == (Outcome.REFUSED, {})
        assert answer.reason == reason or reason in {Code.SIGNATURE_INVALID, Code.TOO_SMALL}, Code(answer.reason)
        assert device.state == before
    assert device.answer(good, uptime=1, now=clock).outcome is Outcome.DONE
    for wrong in [TrustUpdate([b""], None), TrustUpdate((1,), None), TrustUpdate((), "x")]:
        with pytest.raises(InputError):
            device.answer(wrong, uptime=1)


def test_another_meter_in_the_same_place_is_learned(make_world):  # noqa: F811
    world = make_world()
    record = DeviceRecord(D, "gas", DeviceClass.ENHANCED, 0, COMMAND, level_verified=True, epoch=5)
    world.server.set_devices([record], now=NOW)
    world.grant(issued(DEVICES, DISCONNECT, epoch=0))
    tool = ready(world, DISCONNECT)
    assert states(tool) == [MaterialState.SUPERSEDED]
    world.server.set_devices([record._replace(epoch=0)], now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    assert states(tool) == [MaterialState.SUPERSEDED], "an older epoch of the same meter is old news"
    world.server.set_devices([record._replace(epoch=0, installation=1)], now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    assert states(tool) == [MaterialState.HELD]
    assert tool.work(D, DISCONNECT, world.link(), now=NOW).reason == 0
    # What is told of the meter that was taken away is no news any more.
    world.server.set_devices([record], now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    assert tool.preflight([(D, Action.CONNECT_SERVICE)], now=NOW)["reason"].to_pylist() == [
        Reason.SECURE_COMMAND_MISSING
    ]
