"""A full disk, a locked or a corrupted file under each party: a clear error, nothing lost, nothing allowed."""

import random
import shutil
import sqlite3

import pytest

from itron_core import Action, StoreError
from itron_core.device import Outcome
from itron_core.stores import sqlite as store
from parties_world import KINDS, USERS, Cut, World

D = "ert:1"
DISCONNECT = Action.DISCONNECT_SERVICE
PARTIES = ["manager", "server", *USERS]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    World(folder).close()
    return folder


@pytest.fixture
def world(installed, tmp_path):
    shutil.copytree(installed, tmp_path / "world")
    world = World(tmp_path / "world")
    yield world
    world.close()


def operate(world, party):
    """Let a party do what it is there for, once."""
    if party == "manager":
        world.give(list(KINDS), "secure_command", Action.OPEN_SESSION)
    elif party == "server":
        world.manager.deliver(Cut(world), now=world.now)
        world.sync("t1")
    else:
        world.work(party, D, DISCONNECT)
        world.sync(party)


def prepare(world, party):
    """Leave something for the party to do."""
    if party == "server":
        world.give([D], "secure_command", Action.OPEN_SESSION)
        world.work("t1", D, DISCONNECT)


def fill(world, party, spare):
    """Let the file of a party grow by so many pages and no further, as on a full disk."""
    connection = world.parts[party][1]._connection
    ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
    connection.execute(f"PRAGMA max_page_count = {pages + spare}")


@pytest.mark.slow
@pytest.mark.parametrize("spare", [0, 1, 2, 5])
@pytest.mark.parametrize("party", PARTIES)
def test_a_full_disk_loses_nothing_and_allows_nothing(world, party, spare):
    prepare(world, party)
    connection = world.parts[party][1]._connection
    # What is free inside the file counts as room: it is taken away first.
    connection.execute("VACUUM")
    fill(world, party, spare)
    failed = None
    for _ in range(300):
        try:
            operate(world, party)
        except StoreError as error:
            failed = error
            break
        if party in USERS:
            world.give([D], "secure_command", DISCONNECT)
            world.deliver()
    assert "full" in str(failed)
    connection.execute("PRAGMA max_page_count = 1000000")
    world.issue()
    world.heal()
    world.check_agreement()


@pytest.mark.slow
@pytest.mark.parametrize("party", PARTIES)
def test_a_locked_file_is_reported_and_the_call_works_later(world, party, monkeypatch):
    prepare(world, party)
    monkeypatch.setattr(store, "SECONDS_TO_WAIT_FOR_A_LOCK", 0.05)
    world.open(party)
    other = sqlite3.connect(world.folder / f"{party}.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    done = dict(world.done)
    with pytest.raises(StoreError, match="locked"):
        operate(world, party)
    assert world.done == done
    other.execute("ROLLBACK")
    other.close()
    operate(world, party)
    world.heal()
    world.check_agreement()


@pytest.mark.slow
@pytest.mark.parametrize("party", PARTIES)
def test_a_corrupted_file_is_reported_and_nothing_is_done(world, party):
    prepare(world, party)
    world.parts[party][1].close()
    path = world.folder / f"{party}.db"
    data = bytearray(path.read_bytes())
    noise = random.Random(party)
    for start in range(4_096, len(data), 4_096):  # all pages but the first
        data[start : start + 64] = noise.randbytes(64)
    path.write_bytes(data)
    done = dict(world.done)
    with pytest.raises(StoreError, match=r"malformed|corrupt|not a database"):
        reopened_and_operated(world, party)
    assert world.done == done


def reopened_and_operated(world, party):
    world.open(party)
    operate(world, party)


@pytest.mark.slow
def test_an_unrecorded_answer_is_reported_again(world):
    """The file is locked while the answer comes: what was done stays sent, and its repeat tells."""
    connection = world.parts["t1"][1]._connection

    def link(message):
        answer = world.meters[D].answer(message)
        other.execute("BEGIN IMMEDIATE")
        return answer

    other = sqlite3.connect(world.folder / "t1.db", isolation_level=None)
    connection.execute("PRAGMA busy_timeout = 50")
    with pytest.raises(StoreError, match="locked"):
        world.tool("t1").work(D, DISCONNECT, link, now=world.now)
    other.execute("ROLLBACK")
    other.close()
    again = world.tool("t1").work(D, DISCONNECT, world.meters[D].answer, now=world.now)
    assert [answer.outcome for answer in again.answers] == [Outcome.REPLAYED]
    assert world.meters[D].operations == 1
