"""Single-use decisions a second on SQLite, every batch on the disk before it is answered.

The peer is the plain way: one transaction a decision, a look-up and an insert, on the same settings.
"""

from __future__ import annotations

import itertools
import sqlite3

import pytest

from conftest import Work
from itron_core.ledger import Ledger, Use
from itron_core.store import open_store

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
