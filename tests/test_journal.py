"""A journal: entries in the order in which they were written, whatever was written together."""

from itertools import pairwise, product

import pytest

from itron_core import LocalSigner
from itron_core.audit import AuditLog, audit_entry
from itron_core.audit.journal import Journal
from itron_core.stores import open_store

ENTRIES = [audit_entry("use", 1_800_000_000, number=number) for number in range(12)]
WRITTEN = [0, 1, 1, 5, 6, 12]  # one, none, four, one, six


@pytest.fixture
def store(store_url):
    store = open_store(store_url)
    yield store
    store.close()


def write(store, journal):
    for start, end in pairwise(WRITTEN):
        with store.write() as t:
            journal.write(t, ENTRIES[start:end])


def test_entries_are_found_from_every_place(store):
    journal, other = Journal(store, "one"), Journal(store, "other")
    assert len(journal) == 0
    assert journal.entries(0, 10) == []
    write(store, journal)
    with store.write() as t:
        other.write(t, ENTRIES[:2])
    assert (len(journal), len(other)) == (12, 2)
    for start, end in product(range(14), range(14)):
        assert journal.entries(start, end) == ENTRIES[start:end]
    assert other.entries(0, 10) == ENTRIES[:2]


def test_what_is_undone_leaves_no_entry(store):
    journal = Journal(store, "one")

    def fail():
        with store.write() as t:
            journal.write(t, ENTRIES)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert len(journal) == 0


@pytest.mark.parametrize("step", [1, 5, 100])
def test_a_log_catches_up(store, tmp_path, monkeypatch, step):
    monkeypatch.setattr("itron_core.audit.journal.ENTRIES_A_STEP", step)
    write(store, Journal(store, "one"))
    log = AuditLog(tmp_path / "log", LocalSigner.generate(), origin="utility.example/manager")
    log.append(ENTRIES[:3])
    journal = Journal(store, "one", log)
    assert log.size == 12
    with store.write() as t:
        journal.write(t, ENTRIES)
    journal.publish()
    assert log.size == 24
    assert log.entries(0, 24) == ENTRIES * 2
