"""The audit log for who writes it: the files, entries taken up again, other writers, what is refused."""

import fcntl
import os
import resource
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itron_core import AuditError, InputError, LocalSigner
from itron_core.audit import AuditLog, verifier_of, verify
from itron_core.audit.tiles import tile_path
from reference.merkle import Leaves, audit, tile_name

ORIGIN = "utility.example/audit"
SIGNER = LocalSigner.generate()
KEY = SIGNER.public_key
VKEY = verifier_of(ORIGIN, KEY)


def leaves_of(count):
    return [b"entry %d" % number for number in range(count)]


BOOK = Leaves(leaves_of(70_000))


@pytest.fixture
def log(tmp_path):
    return AuditLog(tmp_path / "log", SIGNER, origin=ORIGIN)


@pytest.mark.slow
def test_logs_of_any_size_match_an_independent_auditor(tmp_path):
    log = AuditLog(tmp_path, SIGNER, origin=ORIGIN)
    leaves = leaves_of(70_000)
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 600, 65_537, 70_000]:
        log.append(leaves[log.size : size])
        assert audit(tmp_path, VKEY) == (ORIGIN, leaves[:size])
        found = verify(tmp_path, KEY, origin=ORIGIN)
        assert (found.size, found.root) == (log.size, log.root) == (size, BOOK.mth(0, size))
    # The example of c2sp.org/tlog-tiles: "273 full level 0 tiles, one partial level 0 tile of width 112, ..."
    assert len(list((tmp_path / "tile/0").glob("???"))) == 273
    for name in ["tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1", "tile/entries/273.p/112"]:
        assert (tmp_path / name).is_file()


def test_where_tiles_lie():
    assert tile_path(0, 1_234_067) == "tile/0/x001/x234/067"  # the example of the page
    assert tile_path("entries", 273, 112) == "tile/entries/273.p/112"
    for index in [0, 1, 999, 1_000, 1_001, 999_999, 1_000_000, 10**9]:
        assert tile_path(3, index) == tile_name(3, index, 256)


@pytest.mark.slow
def test_proofs_of_every_size_from_the_present_files(tmp_path):
    log = AuditLog(tmp_path, SIGNER, origin=ORIGIN)
    log.append(BOOK.entries[:300])
    log.append(BOOK.entries[300:600])
    for size in [*range(1, 601, 13), 255, 256, 257, 299, 300, 301, 511, 512, 513, 600]:
        for index in {0, 255, size // 3, size - 1} & set(range(size)):
            assert log.inclusion_proof(index, size) == BOOK.path(index, 0, size)
            assert log.consistency_proof(index, size) == (BOOK.proof(index, size) if index else [])
    assert log.inclusion_proof(5) == BOOK.path(5, 0, 600)
    assert log.consistency_proof(600) == []
    for call in (
        lambda: log.inclusion_proof(600),
        lambda: log.inclusion_proof(0, 601),
        lambda: log.inclusion_proof(-1),
        lambda: log.consistency_proof(601),
        lambda: log.consistency_proof(5, 4),
        lambda: log.consistency_proof(5, -1),
        lambda: log.entry(600),
        lambda: log.entry(-1),
        lambda: log.entries(5, 4),
    ):
        with pytest.raises(InputError):
            call()
    assert log.entry(599) == b"entry 599"


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(st.lists(st.binary(max_size=40), max_size=300), max_size=5))
def test_any_split_of_the_same_entries_is_the_same_log(tmp_path_factory, batches):
    folder = tmp_path_factory.mktemp("log")
    log = AuditLog(folder, SIGNER, origin=ORIGIN)
    for batch in batches:
        log.append(batch)
    entries = [entry for batch in batches for entry in batch]
    assert log.root == Leaves(entries).mth(0, len(entries))
    assert audit(folder, VKEY) == (ORIGIN, entries)
    assert log.entries(0, log.size) == entries
    assert verify(folder, KEY, origin=ORIGIN).size == len(entries)


# --- Appending again, elsewhere, after a crash ---


def test_append_at_accepts_equal_entries_and_refuses_different_ones(log):
    leaves = leaves_of(700)
    assert log.append(leaves[:400], at=0) == range(400)
    assert log.append(leaves[300:700], at=300) == range(300, 700)
    assert log.append(leaves, at=0) == range(700)
    assert log.size == 700
    with pytest.raises(AuditError, match="different entry 5") as caught:
        log.append([b"another"], at=5)
    assert caught.value.index == 5
    with pytest.raises(AuditError, match="missing"):
        log.append([b"late"], at=701)
    with pytest.raises(InputError):
        log.append([b"early"], at=-1)


def test_another_writer_is_seen(tmp_path):
    first, second = (AuditLog(tmp_path, SIGNER, origin=ORIGIN) for _ in range(2))
    first.append([b"a"])
    second.append([b"b"])
    first.append([b"c"])
    assert second.entries(0, 3) == [b"a", b"b", b"c"]
    assert verify(tmp_path, KEY, origin=ORIGIN).size == 3


# --- Other writers ---


def held(folder):
    lock = os.open(folder / "lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


@pytest.mark.slow
def test_one_writes_at_a_time(log, tmp_path):
    hasty = AuditLog(tmp_path / "log", SIGNER, origin=ORIGIN, patience=0.05)
    lock = held(tmp_path / "log")
    with pytest.raises(AuditError, match="locked by another process") as caught:
        hasty.append([b"a"])
    assert caught.value.path == "lock"
    with pytest.raises(AuditError, match="locked by another process"):
        AuditLog(tmp_path / "log", SIGNER, origin=ORIGIN, patience=0)
    assert hasty.size == 0  # reading needs no lock
    threading.Timer(0.2, os.close, [lock]).start()
    log.append([b"b"])  # waits
    hasty.append([b"c"])
    assert log.entries(0, 2) == [b"b", b"c"]


@pytest.mark.slow
def test_threads_with_one_log_lose_nothing(log, tmp_path):
    def work(name):
        for number in range(8):
            log.append([b"%s %d" % (name, number), b"and one more"])

    threads = [threading.Thread(target=work, args=[name]) for name in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _, entries = audit(tmp_path / "log", VKEY)
    assert len(entries) == 48
    for name in (b"a", b"b", b"c"):
        assert [entry for entry in entries if entry.startswith(name + b" ")] == [b"%s %d" % (name, n) for n in range(8)]


class Meddler:
    """A signer that does something else before it signs."""

    def __init__(self, act):
        self.act, self.public_key = act, SIGNER.public_key

    def sign(self, message):
        return self.act() or SIGNER.sign(message)

    def sign_many(self, messages):
        return b"".join(map(self.sign, messages))


def test_nothing_is_published_once_the_lock_is_gone(tmp_path):
    AuditLog(tmp_path, SIGNER, origin=ORIGIN).append([b"a"])
    log = AuditLog(tmp_path, Meddler((tmp_path / "lock").unlink), origin=ORIGIN)
    with pytest.raises(AuditError, match="lock file was removed"):
        log.append([b"b"])
    assert log.size == 1
    assert AuditLog(tmp_path, SIGNER, origin=ORIGIN).append([b"c"]) == range(1, 2)


def test_a_signer_that_fails_leaves_the_log_as_it_was(tmp_path):
    AuditLog(tmp_path, SIGNER, origin=ORIGIN).append([b"a"])
    answers = [lambda: bytes(64), lambda: 1 / 0, lambda: None]

    def fail():
        return answers.pop(0)()

    log = AuditLog(tmp_path, Meddler(fail), origin=ORIGIN)
    with pytest.raises(AuditError, match="has an invalid signature"):
        log.append([b"b"])
    with pytest.raises(ZeroDivisionError):
        log.append([b"c"])
    log.append([b"d"])
    assert audit(tmp_path, VKEY) == (ORIGIN, [b"a", b"d"])


# --- What is there contradicts itself ---


def test_a_log_without_its_checkpoint_is_never_begun_anew(log, tmp_path):
    log.append([b"a"])
    (tmp_path / "log" / "checkpoint").unlink()
    for call in (
        lambda: log.append([b"b"]),
        lambda: log.size,
        log.checkpoint,
        lambda: AuditLog(tmp_path / "log", SIGNER, origin=ORIGIN),
    ):
        with pytest.raises(AuditError, match="checkpoint is missing") as caught:
            call()
        assert caught.value.path == "checkpoint"


@pytest.mark.parametrize("before,after", [(0, 1), (1, 2), (3, 4), (255, 256), (256, 300), (300, 600)])
def test_a_checkpoint_set_back_is_not_continued(log, tmp_path, before, after):
    log.append(leaves_of(before))
    old = log.checkpoint()
    log.append(leaves_of(after)[before:])
    (tmp_path / "log" / "checkpoint").write_bytes(old)
    with pytest.raises(AuditError, match=r"does not continue|is outdated"):
        log.append([b"another"])
    assert log.checkpoint() == old


def test_a_checkpoint_of_another_past_is_not_continued(log, tmp_path):
    log.append([b"a"])
    other = AuditLog(tmp_path / "other", SIGNER, origin=ORIGIN)
    other.append([b"b", b"c"])
    for path in (tmp_path / "log").rglob("*"):
        if path.is_file():
            path.unlink()
    (tmp_path / "log").rename(tmp_path / "gone")
    (tmp_path / "other").rename(tmp_path / "log")
    with pytest.raises(AuditError, match="does not continue"):
        log.append([b"d"])


def test_another_key_or_name_is_refused(log, tmp_path):
    log.append([b"a"])
    with pytest.raises(AuditError, match="not signed by the log's key"):
        AuditLog(tmp_path / "log", LocalSigner.generate(), origin=ORIGIN)
    with pytest.raises(AuditError, match=r"expected 'other\.example/log'"):
        AuditLog(tmp_path / "log", SIGNER, origin="other.example/log")
    with pytest.raises(InputError, match="Ed25519"):
        AuditLog(tmp_path / "new", LocalSigner.generate("ESP256"), origin=ORIGIN)
    with pytest.raises(InputError, match="two words"):
        AuditLog(tmp_path / "new", SIGNER, origin="two words")
    assert not (tmp_path / "new").exists()


def test_files_that_were_changed_stop_the_writer(tmp_path):
    for name in ["tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"]:
        folder = tmp_path / name.replace("/", "_")
        log = AuditLog(folder, SIGNER, origin=ORIGIN)
        log.append(leaves_of(300))
        data = bytearray((folder / name).read_bytes())
        data[-1] ^= 1
        (folder / name).write_bytes(data)
        with pytest.raises(AuditError, match="verify the log") as caught:
            AuditLog(folder, SIGNER, origin=ORIGIN)
        assert caught.value.index == (299 if "entries" in name else None)
        (folder / name).unlink()
        with pytest.raises(AuditError, match=f"{name} is missing"):
            AuditLog(folder, SIGNER, origin=ORIGIN)


# --- The disk ---


@pytest.mark.slow
def test_partial_files_go_when_the_full_one_is_there(log, tmp_path):
    folder = tmp_path / "log"
    for size in range(1, 256, 6):
        log.append(leaves_of(size)[log.size :])
    log.append(leaves_of(255)[log.size :])
    # Every size that had a checkpoint can be read as it was, as the page on tiles asks.
    assert {int(path.name) for path in (folder / "tile/0/000.p").iterdir()} == {*range(1, 256, 6), 255}
    log.append([b"entry 255"])
    assert not list(folder.rglob("000.p/[2-9]*"))
    assert audit(folder, VKEY) == (ORIGIN, leaves_of(256))


def test_a_file_that_cannot_be_written_loses_nothing(log, tmp_path):
    log.append(leaves_of(100))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(AuditError, match="cannot be written: File too large") as caught:
            log.append([bytes(5_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.path.startswith("tile/")
    assert log.size == 100
    log.append([b"entry 100"])
    assert audit(tmp_path / "log", VKEY) == (ORIGIN, leaves_of(101))


@pytest.mark.parametrize("name", ["tile/entries/000.p/101", "tile/0/000.p/101", "checkpoint"])
def test_a_full_disk_loses_nothing(log, tmp_path, name):
    log.append(leaves_of(100))
    (tmp_path / "log" / f"{name}.new").symlink_to("/dev/full")
    with pytest.raises(AuditError, match=f"{name} cannot be written: No space left") as caught:
        log.append([b"entry 100"])
    assert caught.value.path == name
    assert not list((tmp_path / "log").rglob("*.new"))
    assert log.size == 100
    log.append([b"entry 100"])
    assert audit(tmp_path / "log", VKEY) == (ORIGIN, leaves_of(101))


def test_a_folder_that_cannot_be_used_says_so(log, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditError, match="cannot be used"):
        AuditLog(tmp_path / "file" / "log", SIGNER, origin=ORIGIN)
    log.append([b"a"])
    (tmp_path / "log").rename(tmp_path / "elsewhere")
    with pytest.raises(AuditError, match="lock is missing"):
        log.append([b"b"])
    (tmp_path / "elsewhere").rename(tmp_path / "log")
    log.append([b"b"])
    assert log.entries(0, 2) == [b"a", b"b"]


@pytest.mark.parametrize("put", [os.mkdir, os.mkfifo, lambda path: path.symlink_to(path.name)])
def test_a_path_that_is_not_a_file_is_named_without_waiting(log, tmp_path, put):
    log.append([b"a"])
    path = tmp_path / "log" / "tile/entries/000.p/1"
    path.unlink()
    put(path)
    for call in (
        lambda: log.entry(0),
        lambda: AuditLog(tmp_path / "log", SIGNER, origin=ORIGIN),
        lambda: verify(tmp_path / "log", KEY, origin=ORIGIN),
    ):
        with pytest.raises(AuditError, match=r"is not a regular file|cannot be read") as caught:
            call()
        assert caught.value.path == "tile/entries/000.p/1"


def test_entries_that_are_none_are_refused_before_anything_is_written(log, tmp_path):
    before = sorted((tmp_path / "log").rglob("*"))
    for entries, said in [([b"a", bytes(65_536)], "65,536"), (["text"], "str"), (b"abc", "int"), ([None], "NoneType")]:
        with pytest.raises(InputError, match=said):
            log.append(entries)
    assert sorted((tmp_path / "log").rglob("*")) == before
    log.append([bytes(65_535), b""])
    assert audit(tmp_path / "log", VKEY) == (ORIGIN, [bytes(65_535), b""])


def test_nothing_appended_publishes_nothing(log):
    note = log.checkpoint()
    assert log.append([]) == range(0)
    assert log.checkpoint() == note


@pytest.mark.slow
def test_readers_see_a_whole_log_while_it_grows(log, tmp_path):
    done = threading.Event()
    faults = []

    def read():
        while not done.is_set():
            try:
                size = verify(tmp_path / "log", KEY, origin=ORIGIN).size
                assert log.entries(max(0, size - 3), size) == BOOK.entries[max(0, size - 3) : size]
            except Exception as error:  # noqa: BLE001
                faults.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    end = time.monotonic() + 1
    while time.monotonic() < end and log.size < 2_000:
        log.append(BOOK.entries[log.size : log.size + 37])
    done.set()
    reader.join()
    assert not faults
