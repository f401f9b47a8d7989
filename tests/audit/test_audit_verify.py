"""A log verified from its files: every byte matters, and the first entry that is wrong is named."""

import base64
import os
import random
import shutil
from itertools import pairwise

import pytest

from itron_core import AuditError, LocalSigner
from itron_core.audit import AuditLog, Checkpoint, verify, write_checkpoint
from itron_core.audit.tiles import bundle_of

ORIGIN = "utility.example/audit"
SIGNER = LocalSigner.generate()
KEY = SIGNER.public_key


def leaves_of(count):
    return [b"entry %d" % number for number in range(count)]


ENTRIES = leaves_of(12)


def log_of(folder, entries, signer=SIGNER, origin=ORIGIN):
    AuditLog(folder, signer, origin=origin).append(entries)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return log_of(tmp_path_factory.mktemp("small"), leaves_of(7))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Two full tiles and 18 entries more; a tile of the second level."""
    return log_of(tmp_path_factory.mktemp("large"), leaves_of(530))


@pytest.fixture
def copy(large, tmp_path):
    return shutil.copytree(large, tmp_path / "copy")


def refused(folder, **trusted):
    with pytest.raises(AuditError) as caught:
        verify(folder, KEY, origin=ORIGIN, **trusted)
    return caught.value


def changes_of(data):
    """Yield each change of a file: where it begins, and what the file is then; None for a file that is gone."""
    yield 0, None
    yield len(data), data + b"\0"
    for at in range(len(data)):
        yield at, data[:at]
        for bit in (1, 0x10, 0x80):
            yield at, data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def changed(folder, name):
    """Yield where each change of the file begins and what `verify` says of it."""
    path = folder / name
    data = path.read_bytes()
    for at, change in changes_of(data):
        if change is None:
            path.unlink()
        else:
            path.write_bytes(change)
        yield at, change, refused(folder)
    path.write_bytes(data)
    assert verify(folder, KEY, origin=ORIGIN).size == 7


def test_the_files_of_a_small_log(small):
    names = sorted(str(path.relative_to(small)) for path in small.rglob("*") if path.is_file())
    assert names == ["checkpoint", "lock", "tile/0/000.p/7", "tile/entries/000.p/7", "verifier"]


@pytest.mark.slow
def test_every_change_of_the_checkpoint_is_found(small):
    for _, _, error in changed(small, "checkpoint"):
        assert (error.path, error.index) == ("checkpoint", None)


@pytest.mark.slow
def test_every_change_of_the_hashes_is_found_and_no_entry_blamed(small):
    for at, change, error in changed(small, "tile/0/000.p/7"):
        assert (error.path, error.index) == ("tile/0/000.p/7", None)
        if change is not None and len(change) == 7 * 32:
            assert f"hash {at // 32} of tile 0 at level 0" in str(error)


@pytest.mark.slow
def test_every_change_of_the_entries_names_the_first_that_is_wrong(small):
    ends = [len(bundle_of(leaves_of(count))) for count in range(1, 8)]
    for at, _, error in changed(small, "tile/entries/000.p/7"):
        assert error.path == "tile/entries/000.p/7"
        # A byte too much is no wrong entry: behind the last one.
        assert error.index == (None if at == ends[-1] else next(index for index, end in enumerate(ends) if at < end))


@pytest.mark.slow
def test_every_file_of_a_larger_log_matters(large, copy):
    names = sorted(
        path.relative_to(large) for path in large.rglob("*") if path.is_file() and path.name not in {"lock", "verifier"}
    )
    assert len(names) == 8
    rng = random.Random(1)
    for name in names:
        original = (large / name).read_bytes()
        changes = [None, original[:-1], original + b"x", b""]
        changes += [
            original[:at] + bytes([original[at] ^ 1 << rng.randrange(8)]) + original[at + 1 :]
            for at in rng.sample(range(len(original)), min(40, len(original)))
        ]
        for change in changes:
            (copy / name).unlink()
            if change is not None:
                (copy / name).write_bytes(change)
            error = refused(copy)
            assert error.path == str(name)
            assert (error.index is not None) == ("entries" in str(name) and change != original + b"x")
            (copy / name).write_bytes(original)
    assert verify(copy, KEY, origin=ORIGIN).size == 530


def replace_entry(folder, index, entry=b"FORGED"):
    """Replace an entry in its bundle."""
    width = 256 if index < 512 else 18
    path = folder / f"tile/entries/{index // 256:03d}{'' if width == 256 else '.p/18'}"
    start = index // 256 * 256
    entries = leaves_of(start + width)[start:]
    entries[index - start] = entry
    path.write_bytes(bundle_of(entries))


@pytest.mark.parametrize("bad", [0, 1, 255, 256, 257, 511, 512, 513, 529])
def test_the_first_bad_entry_is_named(copy, bad):
    replace_entry(copy, bad)
    error = refused(copy)
    assert error.index == bad
    assert str(error) == f"entry {bad} was changed"
    for later in {bad + 1, 528} & set(range(bad + 1, 530)):
        replace_entry(copy, later)
        assert later // 256 == bad // 256 or refused(copy).index == bad


@pytest.mark.parametrize("missing", ["tile/entries/001", "tile/entries/002.p/18"])
def test_a_bad_entry_is_reported_before_a_later_missing_file(copy, missing):
    (copy / missing).unlink()
    error = refused(copy)
    assert (error.index, error.path) == (256 * int(missing[13:16]), missing)
    assert "is missing" in str(error)
    replace_entry(copy, 100)
    assert refused(copy).index == 100


def forged_tiles(folder, change, names):
    """Put files of a forger's log, with one entry changed, in the place of the genuine ones."""
    forged = folder.with_name("forged")
    entries = leaves_of(530)
    entries[change] = b"FORGED"
    log_of(forged, entries)
    for name in names:
        shutil.copy(forged / name, folder / name)
    shutil.rmtree(forged)


def test_an_entry_replaced_with_its_hash_is_found_by_the_hashes_above(copy):
    forged_tiles(copy, 300, ["tile/entries/001", "tile/0/001"])
    error = refused(copy)
    assert (error.index, error.path) == (256, "tile/0/001")
    assert "entries between 256 and 511" in str(error)


def test_an_entry_replaced_is_named_though_another_tile_is_wrong_as_well(copy):
    forged_tiles(copy, 300, ["tile/entries/001"])
    forged_tiles(copy, 5, ["tile/0/000"])
    assert refused(copy).index == 300
    (copy / "tile/1/000.p/2").write_bytes(
        bytes(64)
    )  # now nothing fits the checkpoint, and the first contradiction counts
    assert refused(copy).index == 5


@pytest.mark.parametrize("change", [3, 300, 520])
def test_entries_and_all_tiles_replaced_do_not_fit_the_checkpoint(copy, large, change):
    names = [path.relative_to(large) for path in (large / "tile").rglob("*") if path.is_file()]
    forged_tiles(copy, change, names)
    error = refused(copy)
    assert "replaced together" in str(error)
    assert (error.index, error.path) == (None, "checkpoint")


def test_a_wrong_tile_of_the_second_level_is_named(copy):
    path = copy / "tile/1/000.p/2"
    path.write_bytes(path.read_bytes()[:32] + bytes(32))
    error = refused(copy)
    assert (error.index, error.path) == (None, "tile/1/000.p/2")
    assert "hash 1 of tile 0 at level 1" in str(error)


@pytest.mark.slow
def test_a_bad_entry_is_found_below_three_levels(tmp_path):
    folder = log_of(tmp_path / "log", leaves_of(65_536 + 300))
    entries = leaves_of(65_536)[150 * 256 : 151 * 256]
    entries[7] = b"FORGED"
    genuine = (folder / "tile/entries/150").read_bytes()
    (folder / "tile/entries/150").write_bytes(bundle_of(entries))
    assert refused(folder).index == 150 * 256 + 7
    (folder / "tile/1/000").write_bytes(bytes(8_192))
    error = refused(folder)
    assert (error.index, error.path) == (0, "tile/1/000")
    (folder / "tile/entries/150").write_bytes(genuine)
    error = refused(folder)
    assert (error.index, error.path) == (None, "tile/1/000")


# --- What was trusted before ---


def test_a_log_that_grew_is_right(large, tmp_path):
    trusted = (large / "checkpoint").read_bytes()
    for size in (530, 531, 600, 1_000):
        found = verify(log_of(tmp_path / str(size), leaves_of(size)), KEY, origin=ORIGIN, trusted=trusted)
        assert (found.origin, found.size) == (ORIGIN, size)
    empty = (log_of(tmp_path / "empty", []) / "checkpoint").read_bytes()
    assert verify(large, KEY, origin=ORIGIN, trusted=empty).size == 530


@pytest.mark.parametrize("size", [0, 1, 500, 529])
def test_a_log_that_was_rolled_back_is_found(large, tmp_path, size):
    log_of(tmp_path / "log", leaves_of(size))
    error = refused(tmp_path / "log", trusted=(large / "checkpoint").read_bytes())
    assert "rolled back" in str(error)
    assert error.index == size


@pytest.mark.parametrize("size", [530, 531, 600])
@pytest.mark.parametrize("change", [0, 255, 256, 529])
def test_a_fork_is_found(large, tmp_path, size, change):
    entries = leaves_of(size)
    entries[change] = b"FORGED"
    log_of(tmp_path / "log", entries)
    assert verify(tmp_path / "log", KEY, origin=ORIGIN).size == size  # alone, it is a log like any other
    assert "rewritten" in str(refused(tmp_path / "log", trusted=(large / "checkpoint").read_bytes()))


def test_a_trusted_checkpoint_must_be_the_log_s(large, tmp_path):
    other = log_of(tmp_path / "log", leaves_of(5), LocalSigner.generate())
    assert "not signed by the log's key" in str(refused(large, trusted=(other / "checkpoint").read_bytes()))
    assert "not a signed note" in str(refused(large, trusted=b""))


def test_another_key_or_name_is_refused(large):
    with pytest.raises(AuditError, match="not signed by the log's key"):
        verify(large, LocalSigner.generate().public_key, origin=ORIGIN)
    with pytest.raises(AuditError, match=r"expected 'other\.example/log'"):
        verify(large, KEY, origin="other.example/log")


def test_a_key_that_was_changed(large, copy):
    newer = LocalSigner.generate()
    found = verify(large, KEY, origin=ORIGIN)
    (copy / "checkpoint").write_bytes(write_checkpoint(Checkpoint(ORIGIN, found.size, found.root), newer))
    trusted = (large / "checkpoint").read_bytes()
    assert verify(copy, [KEY, newer.public_key], origin=ORIGIN, trusted=trusted) == found


# --- What was never a log ---


def test_folders_that_are_no_log(tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        error = refused(folder)
        assert "checkpoint is missing" in str(error)
        assert error.path == "checkpoint"
    (tmp_path / "checkpoint").mkdir()
    assert "not a regular file" in str(refused(tmp_path))


def test_a_size_beyond_all_bounds_ends_at_the_first_file_that_is_missing(small, tmp_path):
    folder = shutil.copytree(small, tmp_path / "copy")
    (folder / "checkpoint").write_bytes(write_checkpoint(Checkpoint(ORIGIN, 2**63 - 1, bytes(32)), SIGNER))
    error = refused(folder)
    assert (error.index, error.path) == (0, "tile/entries/000")


def test_an_enormous_file_is_not_read_whole(small, tmp_path):
    folder = shutil.copytree(small, tmp_path / "copy")
    os.truncate(folder / "tile/entries/000.p/7", 1 << 40)
    error = refused(folder)
    assert (error.index, error.path) == (0, "tile/entries/000.p/7")


def test_leftovers_beyond_the_checkpoint_are_harmless(copy):
    for name in ["tile/0/002.p/19", "tile/0/003", "tile/entries/002.p/19", "tile/entries/002.p/200.new", "note"]:
        (copy / name).write_bytes(base64.b64decode("AAAA"))
    assert verify(copy, KEY, origin=ORIGIN).size == 530
    log = AuditLog(copy, SIGNER, origin=ORIGIN)
    log.append([b"entry %d" % number for number in range(530, 1_100)])
    assert log.entries(0, 1_100) == leaves_of(1_100)
    assert verify(copy, KEY, origin=ORIGIN).size == 1_100


@pytest.mark.slow
def test_every_byte_of_every_file_counts_also_of_sizes_that_have_passed(tmp_path):
    log = AuditLog(tmp_path / "log", SIGNER, origin=ORIGIN)
    for start, end in pairwise([0, 1, 3, 7, 8]):
        log.append(ENTRIES[start:end])
    files = [path for path in (tmp_path / "log").rglob("*") if path.is_file() and path.name not in {"lock", "verifier"}]
    assert len(files) == 1 + 2 * 4
    for path in files:
        data = path.read_bytes()
        for at in range(len(data)):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
            with pytest.raises(AuditError) as refused:
                verify(tmp_path / "log", KEY, origin=ORIGIN)
            assert refused.value.path is not None
        for other in (data[:-1], data + b"x"):
            path.write_bytes(other)
            with pytest.raises(AuditError):
                verify(tmp_path / "log", KEY, origin=ORIGIN)
        path.write_bytes(data)
    assert verify(tmp_path / "log", KEY, origin=ORIGIN).size == 8


def test_files_left_by_a_crash_are_harmless_and_removed(tmp_path):
    log = AuditLog(tmp_path / "log", SIGNER, origin=ORIGIN)
    log.append(ENTRIES[:5])
    for level in ("entries", "0"):
        (tmp_path / f"log/tile/{level}/000.p/7").write_bytes(b"never published")
    assert verify(tmp_path / "log", KEY, origin=ORIGIN).size == 5
    log.append(ENTRIES[5:9])
    assert verify(tmp_path / "log", KEY, origin=ORIGIN).size == 9
    assert not (tmp_path / "log/tile/entries/000.p/7").exists()
