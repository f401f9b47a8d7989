"""Restores of each party at random moments, on both databases: nothing is given twice, and what is known arrives.

`ITRON_CORE_RESTORES` is the number of restores on each database: 40 on SQLite and 10 on PostgreSQL by default.
"""

import os
import random
import tempfile
from pathlib import Path

import pytest

from itron_core import (
    Action,
    DeviceClass,
    FieldTool,
    Keyring,
    KeyringEntry,
    LocalSigner,
    Mode,
    Permission,
    SecurityLevel,
)
from itron_core.device import Device, Outcome
from itron_core.exchange.material import MaterialState
from itron_core.exchange.records import DeviceRecord
from itron_core.manager.security_manager import SecurityManager
from itron_core.stores import open_store
from itron_core.stores.incarnation import mark_restored
from itron_core.tools_server import ToolsServer

DEFAULT = {"sqlite": 40, "postgres": 10}
PARTIES = ("manager", "server", "tool")
METERS = [f"ert:{number}" for number in range(5)]
NOW = 1_800_000_000
SIGNER = LocalSigner.generate()
MEMORY = Path("/dev/shm")


class Files:
    """The stores of the parties as files, and copies of them."""

    def __init__(self, folder):
        self.folder = folder

    def url(self, party):
        return self.folder / f"{party}.db"

    def copy(self, party, store):
        store.copy_to(str(self.folder / f"{party}.backup.new"))
        (self.folder / f"{party}.backup.new").replace(self.folder / f"{party}.backup")
        return store

    def put_back(self, party):
        for suffix in ("", "-wal", "-shm"):
            (self.folder / f"{party}.db{suffix}").unlink(missing_ok=True)
        self.url(party).write_bytes((self.folder / f"{party}.backup").read_bytes())


class Databases:
    """The same in databases of a PostgreSQL server; nobody is connected while one is copied."""

    def __init__(self, server, connection):
        self.server, self.connection = server, connection
        for party in PARTIES:
            self.make(party, "template1")

    def make(self, name, template):
        self.connection.execute(f'DROP DATABASE IF EXISTS "restores_{name}" WITH (FORCE)')
        template = template if template == "template1" else f"restores_{template}"
        self.connection.execute(f'CREATE DATABASE "restores_{name}" TEMPLATE "{template}"')

    def url(self, party):
        return self.server.get_uri(database=f"restores_{party}")

    def copy(self, party, store):
        store.close()
        self.make(f"{party}_backup", party)
        return open_store(self.url(party))

    def put_back(self, party):
        self.make(party, f"{party}_backup")


class Parties:
    """A manager, a tools server and a field tool, each with its latest backup, and an account of all that was issued."""

    def __init__(self, places):
        self.places, self.now, self.stores, self.issued, self.done = places, NOW, {}, {}, []
        self.ring = Keyring([KeyringEntry(SIGNER.public_key, issuer="ism")])
        for party in PARTIES:
            self.open(party, open_store(places.url(party)))
        self.manager.set_role("officer", sum(Permission), officer=True, now=NOW)
        self.manager.set_user("olga", "officer", "gas", now=NOW)
        records = [
            DeviceRecord(name, "gas", DeviceClass.ENHANCED, Mode.MOBILE, SecurityLevel.COMMAND) for name in METERS
        ]
        self.manager.set_devices(records, now=NOW)
        self.meters = {
            name: Device(name, DeviceClass.ENHANCED, keyring=self.ring, level=SecurityLevel.COMMAND) for name in METERS
        }
        for party in PARTIES:
            self.back_up(party)

    def open(self, party, store):
        self.stores[party] = store
        if party == "manager":
            self.manager = SecurityManager(store, SIGNER)
        elif party == "server":
            self.server = ToolsServer(store, self.ring)
        else:
            self.tool = FieldTool(store, self.ring, "t1")

    def back_up(self, party):
        self.open(party, self.places.copy(party, self.stores[party]))

    def put_back(self, party):
        self.stores[party].close()
        self.places.put_back(party)
        self.open(party, open_store(self.places.url(party)))
        if party == "manager":
            self.manager.go_on_after_restore(now=self.now)
            return
        with self.stores[party].write() as t:  # as `itron-core restore` does
            mark_restored(t)

    def sync(self):
        """Deliver first, as docs/restore.md says; then the tool syncs whatever was put back."""
        self.deliver()
        self.tool.sync(self.server, "olga", now=self.now)
        reported = set()
        for _, _, outcome, _ in self.server.outcomes(0, 1_000_000).rows:
            reported.add((outcome.device, int.from_bytes(outcome.cti[8:])))
        for line in self.tool.current_commands(now=self.now):
            if line.state in {MaterialState.USED, MaterialState.REPLAYED}:
                assert (line.device, line.sequence) in reported, "the server lost a use that its tool knows"

    def work(self, rng):
        name = rng.choice(METERS)
        self.tool.request_commands([name], token_type="secure_command", actions=[Action.OPEN_SESSION], now=self.now)
        meter = self.meters[name]

        def link(message):
            answer = meter.answer(message, uptime=self.now - NOW)
            if answer.outcome is Outcome.DONE and getattr(message, "token", None):
                self.done.append(message.token)
            return answer

        self.tool.work(name, Action.OPEN_SESSION, link, now=self.now)
        assert len(set(self.done)) == len(self.done), "a command was done twice"

    def issue(self, rng):
        ask = {"token_type": "secure_command", "actions": Action.OPEN_SESSION, "now": self.now}
        self.manager.request("olga", [rng.choice(METERS)], **ask)
        if rng.random() < 0.8:
            assert self.manager.issue(now=self.now).issued >= 1
        self.check()

    def deliver(self):
        self.manager.deliver(self.server, now=self.now)
        self.manager.collect(self.server, now=self.now)
        with self.stores["server"].read() as t:
            held = {(bytes(kid), bytes(cti)): bytes(token) for kid, cti, token in self.held(t)}
        for row in self.rows():
            assert held[row.kid, row.cti] == row.token, "a token was lost on its way, or another one stands for it"

    def held(self, t):
        return t.rows("SELECT kid, cti, token FROM server_material")

    def rows(self):
        return [row for _, row in self.manager.materials(0, 1_000_000).rows]

    def check(self):
        for row in self.rows():
            assert self.issued.setdefault((row.kid, row.cti), row.token) == row.token, "one number, two tokens"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def places(request):
    if request.param == "postgres":
        yield Databases(*request.getfixturevalue("postgres_server"))
    else:
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            yield Files(Path(folder))


@pytest.mark.slow
def test_after_restores_at_random_moments_nothing_is_given_twice_or_lost(places, request):
    rng, restores = random.Random(7), dict.fromkeys(PARTIES, 0)
    wanted = int(os.environ.get("ITRON_CORE_RESTORES", DEFAULT[request.node.callspec.params["places"]]))
    parties = Parties(places)
    while sum(restores.values()) < wanted:
        parties.now += rng.choice([1, 60, 3_600])
        match rng.choice(["issue", "issue", "deliver", "sync", "work", "work", "back up", "restore"]):
            case "issue":
                parties.issue(rng)
            case "deliver":
                parties.deliver()
            case "sync":
                parties.sync()
            case "work":
                parties.work(rng)
            case "back up":
                parties.back_up(rng.choice(PARTIES))
            case _:
                party = rng.choice(PARTIES)
                parties.put_back(party)
                restores[party] += 1
                parties.check()
    parties.sync()
    parties.sync()
    assert len(parties.issued) > wanted / 2
    assert parties.done
    assert all(restores.values())
    for store in parties.stores.values():
        store.close()
