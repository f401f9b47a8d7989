"""A journal: entries in the order in which they were written, whatever was written together."""

import os
from itertools import pairwise, product

import pytest

from itron_core import AuditError, LocalSigner, StoreError
from itron_core.audit import AuditLog, audit_entry
from itron_core.audit.journal import Journal, adopt_log_entries
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


def test_a_rolled_back_transaction_leaves_no_entry(store):
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
    monkeypatch.setattr("itron_core.audit.journal.ENTRIES_PER_STEP", step)
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


@pytest.fixture
def log_of(tmp_path):
    signer = LocalSigner.generate()
    return lambda: AuditLog(tmp_path / "log", signer, origin="utility.example/manager")


def add(journal, *entries):
    with journal.transaction() as t:
        journal.write(t, entries)


def set_back(store, length):
    """Make the journal as an older copy of the store has it."""
    with store.write() as t:
        t.run("DELETE FROM journal_block WHERE position >= ?", (length,))


def test_a_transaction_publishes_its_entries(store, log_of):
    journal = Journal(store, "one", log_of())
    add(journal, *ENTRIES[:2])
    add(journal)
    assert log_of().entries(0, 2) == ENTRIES[:2]


def test_an_outdated_store_is_detected_at_opening_and_before_each_entry(store, log_of):
    journal = Journal(store, "one", log_of())
    for entry in ENTRIES[:4]:
        add(journal, entry)
    set_back(store, 2)
    for entry in ENTRIES[4:]:  # once more entries would be there than in the log, nobody could tell by their number
        with pytest.raises(StoreError, match=r"has 4 entries, but its store 2.*itron-core restore"):
            add(journal, entry)
    with pytest.raises(StoreError, match="put back to an older state"):
        Journal(store, "one", log_of())
    assert log_of().size == 4


@pytest.mark.parametrize("more", [2, 3, 8])
def test_an_outdated_store_that_grew_without_its_log_is_detected(store, log_of, more):
    journal = Journal(store, "one", log_of())
    for entry in ENTRIES[:4]:
        add(journal, entry)
    set_back(store, 2)
    for entry in ENTRIES[4 : 4 + more]:
        add(Journal(store, "one"), entry)
    with pytest.raises(StoreError, match="differ from those of its store"):
        add(journal, ENTRIES[0])
    with pytest.raises(StoreError, match="differ from those of its store"):
        Journal(store, "one", log_of())
    assert log_of().size == 4


def test_a_restored_store_adopts_entries_that_only_its_log_has(store, log_of):
    journal = Journal(store, "one", log_of())
    for entry in ENTRIES[:6]:
        add(journal, entry)
    set_back(store, 2)
    with store.write() as t:
        assert adopt_log_entries(t, "one", log_of()) == ENTRIES[2:6]
    add(Journal(store, "one", log_of()), ENTRIES[6])
    assert log_of().entries(0, 7) == ENTRIES[:7]


def test_the_log_of_another_store_is_refused(store, log_of):
    journal = Journal(store, "one", log_of())
    for entry in ENTRIES[:4]:
        add(journal, entry)
    set_back(store, 0)
    add(Journal(store, "one"), ENTRIES[7])

    def take():
        with store.write() as t:
            adopt_log_entries(t, "one", log_of())

    with pytest.raises(StoreError, match="belongs to another store"):
        take()


def test_a_process_that_opens_a_log_with_an_outdated_checkpoint_signs_nothing(log_of, tmp_path):
    log_of().append(ENTRIES[:3])
    place = tmp_path / "log" / "checkpoint"
    old = place.read_bytes()
    log_of().append(ENTRIES[3:6])
    new = place.read_bytes()
    place.write_bytes(old)
    with pytest.raises(AuditError, match="3 entries is outdated: one of 6"):
        log_of().append(ENTRIES[6:7])
    assert place.read_bytes() == old
    place.write_bytes(new)
    log_of().append(ENTRIES[6:7])


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_log_is_readable_by_its_owner_alone_under_any_umask(log_of, tmp_path, umask):
    before = os.umask(umask)
    try:
        log_of().append([bytes([n % 256]) for n in range(300)])
    finally:
        os.umask(before)
    for path in [tmp_path / "log", *(tmp_path / "log").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
