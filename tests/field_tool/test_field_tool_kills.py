"""The field tool killed at any moment and between any two steps, with devices and a server that outlive it."""

import json
import pickle
import random

import pytest

from itron_core.device import Device
from itron_core.exchange.material import MaterialState
from kills import KILLS, Warm
from test_field_tool import CONNECT, DAY, DEVICES, DISCONNECT, HOUR, NOW, OPEN, World, issued, keyring

pytestmark = pytest.mark.slow

# After so many, everything that is held has been used.
KILLS_A_WORLD = 20
# Up to this sequence number, material ends before the second half of a world's kills, and is pruned.
SHORT, LATER = 9, NOW + 3 * HOUR


@pytest.fixture(params=["sqlite", "postgres"])
def new_url(request):
    """Give the URLs of as many empty stores as are asked for."""
    if request.param == "sqlite":
        return lambda folder: str(folder / "t1.db")
    server, connection = request.getfixturevalue("postgres_server")

    def new(folder):
        connection.execute(f'CREATE DATABASE "kills_{folder.name}"')
        return server.get_uri(database=f"kills_{folder.name}")

    return new


def agreed(folder, tool):
    """Check that devices and tool agree; returns device and sequence of what the tool says is used, and of what it forgot."""
    devices = [Device.from_bytes(path.read_bytes(), keyring=keyring()).state for path in folder.glob("*.device")]
    uses = [(state.device, use.sequence) for state in devices for use in state.uses]
    assert len(set(uses)) == len(uses)
    # Each service command that the device remembers was done once.
    for state in devices:
        assert state.operations == sum(use.action in {CONNECT, DISCONNECT} for use in state.uses)
    lines = [line for line in tool.current_commands(now=NOW) if line.sequence]
    spent = {
        (line.device, line.sequence) for line in lines if line.state in {MaterialState.USED, MaterialState.REPLAYED}
    }
    # What ended without an answer is said to have ended.
    without_answer = {MaterialState.SENT, MaterialState.EXPIRED}
    sent = {(line.device, line.sequence) for line in lines if line.state in without_answer}
    # What the tool says is used, the device did; what the device did, the tool says is used, or sent, or it is pruned.
    held = {(line.device, line.sequence) for line in lines}
    gone = {use for use in uses if use not in held}
    assert all(sequence <= SHORT for _, sequence in gone)
    assert spent <= set(uses) <= spent | sent | gone
    return spent, gone


def furnished(folder, url):
    """Return a world whose devices are files, and its tool, with wishes for all that there is."""
    folder.mkdir()
    world = World(folder)
    kinds = [CONNECT, DISCONNECT, OPEN]
    world.grant(
        *(
            issued(DEVICES, kind, sequence=sequence, expires_in=HOUR if sequence <= SHORT else DAY)
            for sequence, kind in enumerate(kinds * 8, 1)
        )
    )
    (folder / "keyring").write_bytes(pickle.dumps(keyring()))
    for name, device in world.devices.items():
        (folder / f"{name.replace(':', '-')}.device").write_bytes(device.to_bytes())
    tool = world.tool(url=url)
    tool.request_commands(DEVICES, token_type="secure_command", actions=kinds, now=NOW)
    tool._store.close()
    return world, tool


def check_reported(world, spent, gone, answered):
    """Every answer that was acknowledged to the caller has reached the server, whose ledger agrees with the devices."""
    outcomes = [one for _, _, one, _ in world.server.outcomes(0, 100_000).rows]
    told = [one for one in outcomes if one.kid and one.state in {MaterialState.USED, MaterialState.REPLAYED}]
    said = [(one.device, int.from_bytes(one.cti[8:])) for one in told]
    assert len(set(said)) == len(said)
    assert spent <= set(said) <= spent | gone
    # Of what was forgotten the server knows at least that it was sent.
    assert gone <= {(one.device, int.from_bytes(one.cti[8:])) for one in outcomes if one.kid}
    states = {MaterialState.USED, MaterialState.REPLAYED, MaterialState.REFUSED}
    assert answered <= sum(one.state in states for one in outcomes)
    entries = [json.loads(entry) for entry in world.server._journal.entries(0, 1_000_000)]
    assert sum(entry["kind"] == "outcome" for entry in entries) == len(outcomes)


def test_killed_anywhere_nothing_is_used_twice_and_nothing_acknowledged_is_lost(tmp_path, new_url):
    rng, killed = random.Random(5), 0
    with Warm("field_tool_working") as warm:
        for start in range(0, KILLS, KILLS_A_WORLD):
            folder = tmp_path / str(start)
            url, answered = new_url(folder), 0
            world, tool = furnished(folder, url)
            for seed in range(start, min(start + KILLS_A_WORLD, KILLS)):
                # The odd ones kill themselves, at a point between two steps.
                place, delay = [("", rng.random() * 0.1), ("store", None), ("", rng.random() * 0.1), ("link", None)][
                    seed % 4
                ]
                now = NOW if seed - start < KILLS_A_WORLD // 2 else LATER
                death = warm.run(str(folder), url, now, seed, place, delay=delay)
                assert death.was_killed or death.status == 0
                killed += death.was_killed
                answered += sum(int(line) for line in death.lines if line != "ready\n")
                agreed(folder, tool)
                tool._store.close()
            tool.sync(world.server, "ann", now=LATER)
            tool.prune(before=LATER, now=LATER)
            spent, gone = agreed(folder, tool)
            assert spent
            assert gone
            check_reported(world, spent, gone, answered)
            world.close()
    assert killed > KILLS * 3 // 4
