"""What is on the disk before it is answered: single-use decisions, and entries of the audit log, a second.

The peer of a decision is the plain way: one transaction each, a look-up and an insert, on the same settings. The peer of an
entry is a line at the end of a file and a sync, for the same batch: what a log costs that shows nothing.
"""

from __future__ import annotations

import itertools
import os
import sqlite3

import pytest

from conftest import NOW, Work
from itron_core import LocalSigner
from itron_core.audit import AuditLog, audit_entry, verify
from itron_core.stores import open_store
from itron_core.tools_server.ledger import Ledger, Use

PEER_DECISIONS = 50
ITEMS = {1: 50, 100: 5_000, 1_000: 20_000}


@pytest.mark.full
@pytest.mark.parametrize("batch", ITEMS)
def test_decide(beside, tmp_path, batch):
    store = open_store(tmp_path / "ours.db")
    ledger = Ledger(store)
    numbers = itertools.count()
    plain = sqlite3.connect(tmp_path / "plain.db", isolation_level=None)
    for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"):
        plain.execute(statement)
    plain.execute("CREATE TABLE used (kid BLOB, cti BLOB, content BLOB, PRIMARY KEY (kid, cti)) WITHOUT ROWID")

    def ours():
        for _ in range(ITEMS[batch] // batch):
            uses = [Use(b"k" * 8, next(numbers).to_bytes(16), b"c" * 32, b"", 1) for _ in range(batch)]
            assert {verdict.code for verdict in ledger.decide(uses)} == {0}

    def one_by_one():
        for _ in range(PEER_DECISIONS):
            identity = (b"k" * 8, next(numbers).to_bytes(16))
            plain.execute("BEGIN IMMEDIATE")
            assert plain.execute("SELECT content FROM used WHERE kid = ? AND cti = ?", identity).fetchone() is None
            plain.execute("INSERT INTO used VALUES (?, ?, ?)", (*identity, b"c" * 32))
            plain.execute("COMMIT")

    beside(
        f"ledger, SQLite, batches of {batch:,}",
        "decisions",
        Work(ours, ITEMS[batch]),
        one_transaction_each=Work(one_by_one, PEER_DECISIONS),
    )
    store.close()
    plain.close()


@pytest.mark.full
@pytest.mark.parametrize("batch", ITEMS)
def test_append(beside, tmp_path, batch):
    signer = LocalSigner.generate()
    log = AuditLog(tmp_path / "log", signer, origin="bench.example/audit")
    plain = os.open(tmp_path / "plain.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def entries():
        return [audit_entry("used", NOW, device=f"ert:{number}", number=number) for number in range(batch)]

    def ours():
        for _ in range(ITEMS[batch] // batch):
            log.append(entries())

    def lines():
        for _ in range(ITEMS[batch] // batch):
            os.write(plain, b"".join(entry + b"\n" for entry in entries()))
            os.fsync(plain)

    beside(
        f"audit log, batches of {batch:,}",
        "entries",
        Work(ours, ITEMS[batch]),
        lines_of_a_file=Work(lines, ITEMS[batch]),
    )
    os.close(plain)
    found = verify(tmp_path / "log", signer.public_key, origin="bench.example/audit")
    assert found.size == log.size > 0
