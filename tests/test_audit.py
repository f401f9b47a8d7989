"""The audit log: the tree against RFC 9162's own recursion, the files against every kind of tampering."""

import base64
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itron_core import AuditError, InputError, LocalSigner
from itron_core.audit import AuditLog, audit_entry, read_verifier, tree, verifier_of, verify
from itron_core.audit.notes import Checkpoint, read_checkpoint, write_checkpoint

ORIGIN = "utility.example/audit"
SIGNER = LocalSigner.generate()
KEY = SIGNER.public_key
KILLS = int(os.environ.get("ITRON_CORE_KILLS", "10"))

# The leaves and roots that certificate-transparency implementations test with (RFC 6962's tree, the same as RFC 9162's).
LEAVES = [
    bytes.fromhex(text)
    for text in ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


# --- The tree, by the book: RFC 9162 sections 2.1.1, 2.1.3.1 and 2.1.4.1 ---


def mth(leaves):
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\1" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def split(n):
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def path(m, leaves):
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def proof(m, leaves):
    return subproof(m, leaves, True)


def subproof(m, leaves, whole):
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def leaves_of(count):
    return [b"entry %d" % number for number in range(count)]


@pytest.fixture
def log(tmp_path):
    return AuditLog(tmp_path / "log", SIGNER, origin=ORIGIN)


def test_known_roots(log):
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        log.append([leaf])
        assert log.root.hex() == root


def test_roots_by_the_book_at_every_size():
    edge = tree.RightEdge()
    leaves = leaves_of(600)
    for size in range(601):
        if size < 70 or size % 37 == 0 or size in {255, 256, 257, 511, 512, 513}:
            assert edge.root == mth(leaves[:size])
        if size < 600:
            edge.add(tree.leaf_hash(leaves[size]))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 255, 256, 257, 513, 600])
def test_proofs_by_the_book(tmp_path, size):
    log = AuditLog(tmp_path, SIGNER, origin=ORIGIN)
    leaves = leaves_of(size)
    log.append(leaves)
    root = mth(leaves)
    assert log.root == root
    for index in {0, 1, size // 2, size - 1} & set(range(size)):
        found = log.inclusion_proof(index)
        assert found == path(index, leaves)
        assert tree.verify_inclusion(leaves[index], index, size, root, found)
        assert not tree.verify_inclusion(b"another", index, size, root, found)
        assert not tree.verify_inclusion(leaves[index], index, size, root, [*found, root])
        assert not found or not tree.verify_inclusion(leaves[index], index, size, root, found[:-1])
        assert not tree.verify_inclusion(leaves[index], index + 1, size, root, found)
    for old in {0, 1, size // 2, size - 1, size} & set(range(size + 1)):
        found = log.consistency_proof(old)
        assert found == (proof(old, leaves) if old else [])
        assert tree.verify_consistency(old, mth(leaves[:old]), size, root, found)
        assert not tree.verify_consistency(old, bytes(32), size, root, found)
        if 0 < old < size:
            assert not tree.verify_consistency(old, mth(leaves[:old]), size, bytes(32), found)
            assert not tree.verify_consistency(old, mth(leaves[:old]), size, root, [*found, root])


def test_tiles_of_the_third_level(tmp_path):
    log = AuditLog(tmp_path, SIGNER, origin=ORIGIN)
    leaves = leaves_of(65_537)
    log.append(leaves[:65_535])
    for size in (65_535, 65_536, 65_537):
        log.append(leaves[log.size : size])
        assert log.root == mth(leaves[:size])
        assert verify(tmp_path, KEY, origin=ORIGIN).root == log.root
    assert (tmp_path / "tile" / "2" / "000.p" / "1").exists()
    assert log.entries(65_530, 65_537) == leaves[65_530:]
    assert log.inclusion_proof(300) == path(300, leaves)


@given(st.lists(st.lists(st.binary(max_size=40), max_size=300), max_size=5))
def test_any_split_of_the_same_entries_is_the_same_log(tmp_path_factory, batches):
    folder = tmp_path_factory.mktemp("log")
    log = AuditLog(folder, SIGNER, origin=ORIGIN)
    for batch in batches:
        log.append(batch)
    entries = [entry for batch in batches for entry in batch]
    assert log.root == mth(entries)
    assert log.entries(0, log.size) == entries
    assert verify(folder, KEY, origin=ORIGIN).size == len(entries)


# --- Appending again, elsewhere, after a crash ---


def test_what_is_there_is_taken_as_said(log):
    leaves = leaves_of(700)
    assert log.append(leaves[:400], at=0) == range(400)
    assert log.append(leaves[300:700], at=300) == range(300, 700)
    assert log.append(leaves, at=0) == range(700)
    assert log.size == 700
    with pytest.raises(AuditError, match="entry 5 ") as caught:
        log.append([b"another"], at=5)
    assert caught.value.index == 5
    with pytest.raises(AuditError, match="missing"):
        log.append([b"late"], at=701)


def test_another_writer_is_seen(tmp_path):
    first, second = (AuditLog(tmp_path, SIGNER, origin=ORIGIN) for _ in range(2))
    first.append([b"a"])
    second.append([b"b"])
    first.append([b"c"])
    assert second.entries(0, 3) == [b"a", b"b", b"c"]
    assert verify(tmp_path, KEY, origin=ORIGIN).size == 3


APPENDER = """
import sys
from itron_core import LocalSigner
from itron_core.audit import AuditLog
log = AuditLog(sys.argv[1], LocalSigner.from_pem(open(sys.argv[2]).read()), origin=sys.argv[3])
while True:
    start = log.size
    log.append([b"entry %d" % n for n in range(start, start + 97)], at=start)
    print(log.size, flush=True)
"""


def test_a_kill_loses_nothing_that_was_published(tmp_path):
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    pem = tmp_path / "key.pem"
    pem.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
    signer, rng = LocalSigner(key), random.Random(5)
    for _ in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, "-c", APPENDER, tmp_path / "log", pem, ORIGIN], stdout=subprocess.PIPE, text=True
        )
        said = [child.stdout.readline()]
        time.sleep(rng.random() * 0.05)
        child.send_signal(signal.SIGKILL)
        said += child.communicate()[0].splitlines()
        sizes = [int(line) for line in said if line.strip() and line.strip().isdecimal()]
        found = verify(tmp_path / "log", signer.public_key, origin=ORIGIN)
        assert found.size >= sizes[-2] if len(sizes) > 1 else sizes
        log = AuditLog(tmp_path / "log", signer, origin=ORIGIN)
        assert log.entries(0, log.size) == leaves_of(log.size)


# --- Tampering ---


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    AuditLog(folder, SIGNER, origin=ORIGIN).append(leaves_of(530))
    return folder


def files_of(folder):
    return sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file() and p.name != "lock")


def test_every_file_matters(whole, tmp_path):
    for name in files_of(whole):
        original = (whole / name).read_bytes()
        changes = [None, original[:-1], original + b"x", b""]
        changes += [
            original[:at] + bytes([original[at] ^ 1]) + original[at + 1 :]
            for at in random.Random(1).sample(range(len(original)), min(60, len(original)))
        ]
        for change in changes:
            folder = tmp_path / "copy"
            shutil.copytree(whole, folder)
            if change is None:
                (folder / name).unlink()
            else:
                (folder / name).write_bytes(change)
            with pytest.raises(AuditError) as caught:
                verify(folder, KEY, origin=ORIGIN)
            assert caught.value.path is not None
            shutil.rmtree(folder)


@pytest.mark.parametrize("bad", [0, 1, 255, 256, 511, 512, 529])
def test_the_first_bad_entry_is_named(whole, tmp_path, bad):
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    width = 256 if bad < 512 else 18
    name = folder / f"tile/entries/{bad // 256:03d}{'' if width == 256 else '.p/18'}"
    data = name.read_bytes()
    name.write_bytes(data.replace(b"entry %d" % bad, b"Entry %d" % bad, 1))
    with pytest.raises(AuditError, match=f"entry {bad} ") as caught:
        verify(folder, KEY, origin=ORIGIN)
    assert caught.value.index == bad


def forged(folder, count, *, change=None):
    """Write a log of its own accord, with genuine hashes; only the checkpoint's key is not known to the forger."""
    leaves = leaves_of(count)
    if change is not None:
        leaves[change] = b"forged"
    AuditLog(folder, SIGNER, origin=ORIGIN).append(leaves)


def test_entries_and_tiles_replaced_together_do_not_fit_the_checkpoint(whole, tmp_path):
    forged(tmp_path / "log", 530, change=3)
    shutil.copy(whole / "checkpoint", tmp_path / "log" / "checkpoint")
    with pytest.raises(AuditError, match="replaced together"):
        verify(tmp_path / "log", KEY, origin=ORIGIN)


def test_a_trusted_checkpoint_finds_a_rollback_and_a_rewritten_past(whole, tmp_path):
    trusted = (whole / "checkpoint").read_bytes()
    forged(tmp_path / "short", 500)
    with pytest.raises(AuditError, match="rolled back") as caught:
        verify(tmp_path / "short", KEY, origin=ORIGIN, trusted=trusted)
    assert caught.value.index == 500
    forged(tmp_path / "fork", 600, change=3)
    with pytest.raises(AuditError, match="rewritten"):
        verify(tmp_path / "fork", KEY, origin=ORIGIN, trusted=trusted)
    forged(tmp_path / "grown", 600)
    assert verify(tmp_path / "grown", KEY, origin=ORIGIN, trusted=trusted).size == 600


def test_another_key_or_name_is_refused(whole):
    with pytest.raises(AuditError, match="0 signatures of the log's key"):
        verify(whole, LocalSigner.generate().public_key, origin=ORIGIN)
    with pytest.raises(AuditError, match=r"wanted 'other\.example/log'"):
        verify(whole, KEY, origin="other.example/log")
    with pytest.raises(AuditError):
        AuditLog(whole, LocalSigner.generate(), origin=ORIGIN)


def test_tiles_that_were_changed_stop_the_writer(tmp_path):
    AuditLog(tmp_path, SIGNER, origin=ORIGIN).append(leaves_of(300))
    tile = tmp_path / "tile" / "0" / "001.p" / "44"
    tile.write_bytes(bytes(len(tile.read_bytes())))
    with pytest.raises(AuditError, match="root"):
        AuditLog(tmp_path, SIGNER, origin=ORIGIN)


def test_a_folder_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditError):
        AuditLog(tmp_path / "file" / "log", SIGNER, origin=ORIGIN)


def test_a_full_disk_loses_nothing(log, monkeypatch, tmp_path):
    log.append(leaves_of(100))
    genuine = os.fsync

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AuditError, match="No space left"):
        log.append([b"more"])
    monkeypatch.setattr(os, "fsync", genuine)
    assert log.size == 100
    log.append([b"entry 100"])
    assert verify(tmp_path / "log", KEY, origin=ORIGIN).size == 101


# --- Notes ---

# The example of the signed-note format, from the documentation of its first implementation in Go.
GO_VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_the_format_s_own_example():
    from itron_core import verify_signatures
    from itron_core.audit.notes import _taken_apart

    name, key = read_verifier(GO_VERIFIER)
    assert (name, verifier_of(name, key)) == ("PeterNeumann", GO_VERIFIER)
    text, ((signed_by, signature),) = _taken_apart(GO_NOTE.encode())
    assert signed_by == name
    assert signature[:4].hex() == "c74f20a3"
    assert verify_signatures(key, [text], [signature[4:]])["code"].to_pylist() == [0]


def test_other_signatures_are_passed_over():
    note = write_checkpoint(Checkpoint(ORIGIN, 5, bytes(32)), SIGNER)
    witness = "\u2014 witness.example " + base64.b64encode(bytes(76)).decode() + "\n"
    assert read_checkpoint(note + witness.encode(), KEY, origin=ORIGIN) == (ORIGIN, 5, bytes(32))


@pytest.mark.parametrize(
    "change",
    [
        lambda note: b"",
        lambda note: note + b"\xff",
        lambda note: note + b"x",
        lambda note: note[:-1],
        lambda note: note.replace(b"\n\n", b"\n"),
        lambda note: note.replace(b"\n5\n", b"\n05\n"),
        lambda note: note.replace(b"\n5\n", b"\n-5\n"),
        lambda note: note.replace(b"\n5\n", b"\n6\n"),
        lambda note: note.replace(b"\n5\n", b"\n\xd9\xa5\n"),
        lambda note: note.replace(b"AAA=", b"AAB="),
        lambda note: note.replace(b"AAAA", b"AAA\t", 1),
        lambda note: note + note.splitlines(keepends=True)[-1],
        lambda note: b"x" * 100_000 + note,
    ],
)
def test_notes_that_are_none(change):
    note = write_checkpoint(Checkpoint(ORIGIN, 5, bytes(32)), SIGNER)
    with pytest.raises(AuditError):
        read_checkpoint(change(note), KEY, origin=ORIGIN)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_note(data):
    with pytest.raises(AuditError):
        read_checkpoint(data, KEY, origin=ORIGIN)


def test_verifier_keys():
    assert read_verifier(verifier_of(ORIGIN, KEY)) == (ORIGIN, KEY)
    for text in ["", "a+b", verifier_of(ORIGIN, KEY)[:-4], verifier_of(ORIGIN, KEY).replace("audit", "other")]:
        with pytest.raises(InputError):
            read_verifier(text)
    with pytest.raises(InputError, match="Ed25519"):
        verifier_of(ORIGIN, LocalSigner.generate("ESP256").public_key)
    with pytest.raises(InputError):
        verifier_of("two words", KEY)


def test_entries_are_deterministic_json():
    assert audit_entry("use", 5, tool="t-1", cti=b"\1\2", count=3) == (
        b'{"at":5,"count":3,"cti":"0102","kind":"use","tool":"t-1"}'
    )
    with pytest.raises(InputError, match="'what'"):
        audit_entry("use", 5, what=1.5)
    with pytest.raises(InputError):
        AuditLog("unused", SIGNER, origin="two words")


def test_an_entry_that_is_too_long_is_refused(log):
    with pytest.raises(InputError, match="65,536"):
        log.append([b"a", bytes(65_536)])
    assert log.size == 0
    log.append([bytes(65_535)])
