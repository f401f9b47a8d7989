"""Restores of the manager and of the tools server at random moments: nothing is given twice, and what is issued arrives.

`ITRON_CORE_RESTORES` says how many restores there are.
"""

import os
import random
import tempfile
from pathlib import Path

from itron_core import Action, Keyring, KeyringEntry, LocalSigner, Permission
from itron_core.exchange.records import DeviceRecord
from itron_core.manager.security_manager import SecurityManager
from itron_core.stores import open_store
from itron_core.stores.incarnation import mark_restored
from itron_core.tools_server import ToolsServer

RESTORES = int(os.environ.get("ITRON_CORE_RESTORES", "40"))
NOW = 1_800_000_000
SIGNER = LocalSigner.generate()
MEMORY = Path("/dev/shm")


class Parties:
    """A manager and a tools server, each with its latest backup, and an account of all that was ever issued."""

    def __init__(self, folder):
        self.folder, self.now, self.stores, self.backups, self.issued = folder, NOW, {}, 0, {}
        self.open("manager")
        self.open("server")
        self.manager.set_role("officer", sum(Permission), officer=True, now=NOW)
        self.manager.set_user("olga", "officer", "gas", now=NOW)
        self.manager.set_devices([DeviceRecord(f"ert:{n}", "gas", security_level=1) for n in range(5)], now=NOW)
        self.latest = {}
        for party in ("manager", "server"):
            self.back_up(party)

    def open(self, party):
        store = self.stores[party] = open_store(self.folder / f"{party}.db")
        if party == "manager":
            self.manager = SecurityManager(store, SIGNER)
        else:
            self.server = ToolsServer(store, Keyring([KeyringEntry(SIGNER.public_key, issuer="ism")]))

    def back_up(self, party):
        self.backups += 1
        self.latest[party] = self.folder / f"{party}-{self.backups}.backup"
        self.stores[party].copy_to(str(self.latest[party]))

    def put_back(self, party):
        self.stores[party].close()
        for suffix in ("", "-wal", "-shm"):
            (self.folder / f"{party}.db{suffix}").unlink(missing_ok=True)
        (self.folder / f"{party}.db").write_bytes(self.latest[party].read_bytes())
        self.open(party)
        if party == "manager":
            self.manager.go_on_after_restore(now=self.now)
        else:
            with self.stores[party].write() as t:
                mark_restored(t)

    def issue(self, rng):
        ask = {"token_type": "secure_command", "actions": Action.PROGRAM_ENDPOINT, "now": self.now}
        self.manager.request("olga", [f"ert:{rng.randrange(5)}" for _ in range(1)], **ask)
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


def test_after_restores_at_random_moments_nothing_is_given_twice_or_lost():
    rng, restores = random.Random(7), 0
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        parties = Parties(Path(folder))
        while restores < RESTORES:
            parties.now += rng.choice([1, 60, 3_600])
            match rng.choice(["issue", "issue", "deliver", "back up", "restore"]):
                case "issue":
                    parties.issue(rng)
                case "deliver":
                    parties.deliver()
                case "back up":
                    parties.back_up(rng.choice(["manager", "server"]))
                case _:
                    parties.put_back(rng.choice(["manager", "server"]))
                    restores += 1
                    parties.check()
        parties.deliver()
        assert len(parties.issued) > RESTORES / 2
        for store in parties.stores.values():
            store.close()
