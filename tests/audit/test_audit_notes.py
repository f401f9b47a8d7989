"""Signed notes and checkpoints: the examples of their specifications, and everything that is none."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from itron_core import AuditError, InputError, LocalSigner, verify_signatures
from itron_core.audit import (
    Checkpoint,
    audit_entries,
    audit_entry,
    read_checkpoint,
    read_verifier,
    verifier_of,
    write_checkpoint,
)
from itron_core.audit.checkpoint import _note_parts
from reference.merkle import open_note

ORIGIN = "utility.example/audit"
SIGNER = LocalSigner.generate()
KEY = SIGNER.public_key
NOTE = write_checkpoint(Checkpoint(ORIGIN, 5, bytes(32)), SIGNER)

# Verifier key and note: from the documentation of the first implementation, in Go; and from c2sp.org/signed-note.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
ENOCH_LINE = (
    "\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
C2SP = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n\n"
    "\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# c2sp.org/tlog-checkpoint: its form alone, since its key is not published.
CHECKPOINT_NOTE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)


@pytest.mark.parametrize(
    "vkey,note,line",
    [
        (PETER, f"{PETER_TEXT}\n{PETER_LINE}", 0),
        (PETER, f"{PETER_TEXT}\n{PETER_LINE}{ENOCH_LINE}", 0),
        (ENOCH, f"{PETER_TEXT}\n{PETER_LINE}{ENOCH_LINE}", 1),
        (C2SP, C2SP_NOTE, 0),
    ],
)
def test_the_examples_of_the_format(vkey, note, line):
    name, key = read_verifier(vkey)
    assert verifier_of(name, key) == vkey
    text, signatures = _note_parts(note.encode())
    signed_by, signature = signatures[line]
    assert (signed_by, signature[:4].hex()) == (name, vkey.split("+")[1])
    assert verify_signatures(key, [text], [signature[4:]])["code"].to_pylist() == [0]
    assert open_note(note.encode(), vkey) == text.decode()


def test_the_example_of_a_checkpoint_is_read_as_far_as_its_signature():
    with pytest.raises(AuditError, match="not signed by the log's key"):
        read_checkpoint(CHECKPOINT_NOTE.encode(), KEY, origin="example.com/behind-the-sofa")


def test_other_programs_read_the_written_files():
    assert open_note(NOTE, verifier_of(ORIGIN, KEY)) == f"{ORIGIN}\n5\n{base64.b64encode(bytes(32)).decode()}\n"
    assert read_checkpoint(NOTE, KEY, origin=ORIGIN) == (ORIGIN, 5, bytes(32))


@pytest.mark.slow
@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_checkpoints_come_back(size, root):
    checkpoint = Checkpoint(ORIGIN, size, root)
    assert read_checkpoint(write_checkpoint(checkpoint, SIGNER), KEY, origin=ORIGIN) == checkpoint


def line_of(name, key_hash, signature=bytes(64)):
    return f"\u2014 {name} {base64.b64encode(key_hash + signature).decode()}\n".encode()


def test_signatures_of_unknown_keys_are_passed_over():
    key_hash = bytes.fromhex(verifier_of(ORIGIN, KEY).split("+")[1])
    others = [
        line_of("witness.example", bytes(4), bytes(72)),  # a cosignature
        line_of("witness.example", key_hash),  # our key's hash under another name
        line_of(ORIGIN, bytes(4)),  # our name with another key
        line_of("pq.example", bytes(4), bytes(5_000)),
    ]
    text, line = NOTE[: NOTE.rindex(b"\n\n") + 2], NOTE[NOTE.rindex(b"\n\n") + 2 :]
    for lines in ([line, *others], [*others, line], [*others[3:] * 15, line]):
        assert read_checkpoint(text + b"".join(lines), KEY, origin=ORIGIN) == (ORIGIN, 5, bytes(32))
    with pytest.raises(AuditError, match="not signed by the log's key"):
        read_checkpoint(text + b"".join(others), KEY, origin=ORIGIN)


def test_a_signature_twice_is_one_and_a_wrong_one_of_the_key_spoils_the_note():
    line = NOTE[NOTE.rindex(b"\n\n") + 2 :]
    assert read_checkpoint(NOTE + line, KEY, origin=ORIGIN).size == 5
    wrong = line_of(ORIGIN, bytes.fromhex(verifier_of(ORIGIN, KEY).split("+")[1]))
    for note in (NOTE + wrong, NOTE.replace(line, wrong), NOTE.replace(line, wrong + line)):
        with pytest.raises(AuditError, match="has an invalid signature"):
            read_checkpoint(note, KEY, origin=ORIGIN)
    with pytest.raises(AuditError, match="more than 100"):
        read_checkpoint(NOTE + 100 * line, KEY, origin=ORIGIN)


def test_the_keys_that_a_log_has_had():
    newer = LocalSigner.generate()
    note = write_checkpoint(Checkpoint(ORIGIN, 6, bytes(32)), newer)
    keys = [KEY, newer.public_key]
    assert [read_checkpoint(one, keys, origin=ORIGIN).size for one in (NOTE, note)] == [5, 6]
    with pytest.raises(AuditError):
        read_checkpoint(note, [KEY], origin=ORIGIN)
    with pytest.raises(AuditError):
        read_checkpoint(note, [], origin=ORIGIN)


def signed(text):
    """Sign any text as the log would, so that only the text can be what is refused."""
    key_hash = bytes.fromhex(verifier_of(ORIGIN, KEY).split("+")[1])
    return text + b"\n" + line_of(ORIGIN, key_hash, SIGNER.sign(text))


ROOT = base64.b64encode(bytes(32))
START = ORIGIN.encode() + b"\n"


def test_lines_of_extension_are_read_over():
    note = signed(START + b"5\n" + ROOT + b"\nmore\nand more\n")
    assert read_checkpoint(note, KEY, origin=ORIGIN) == (ORIGIN, 5, bytes(32))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"\n\n\n",
        START,
        START + b"5\n",
        START + b"\n" + ROOT + b"\n",
        START + b"05\n" + ROOT + b"\n",
        START + b"+5\n" + ROOT + b"\n",
        START + b"-5\n" + ROOT + b"\n",
        START + b"5 \n" + ROOT + b"\n",
        START + b"0x5\n" + ROOT + b"\n",
        START + b"1e3\n" + ROOT + b"\n",
        START + b"\xd9\xa5\n" + ROOT + b"\n",  # a digit of another script
        START + b"9" * 5_000 + b"\n" + ROOT + b"\n",
        START + b"5\n" + ROOT[:-1] + b"\n",
        START + b"5\n" + ROOT + b"=\n",
        START + b"5\n" + ROOT[:-2] + b"B=\n",  # bits set behind the last byte
        START + b"5\n" + base64.b64encode(bytes(31)) + b"\n",
        START + b"5\n" + base64.b64encode(bytes(33)) + b"\n",
        START + b"5\n" + ROOT.replace(b"A", b"-") + b"\n",
        START + b"5\n" + ROOT + b"\n\nmore\n",  # an empty line of extension
        START + b"5\n" + ROOT + b"\n\n",
        b"other.example/log\n5\n" + ROOT + b"\n",
        b" " + START + b"5\n" + ROOT + b"\n",
        b"\n" + START + b"5\n" + ROOT + b"\n",
        START + b"5\n" + ROOT + b"\nmo\tre\n",
        START + b"5\n" + ROOT + b"\r\n",
        START + b"5\n" + ROOT + b"\n\xff\n",
        START + b"5\n" + ROOT + b"\n\xed\xa0\x80\n",  # half of a surrogate pair
    ],
)
def test_texts_that_are_no_checkpoint(text):
    with pytest.raises(AuditError):
        read_checkpoint(signed(text), KEY, origin=ORIGIN)


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note + b"\xff",
        lambda note: note + b"x",
        lambda note: note + b"x\n",
        lambda note: note + b"\n",
        lambda note: b"\n\n" + note.rpartition(b"\n\n")[2],
        lambda note: note[:-1],
        lambda note: note[:-1] + b"\r\n",
        lambda note: note.replace(b"\n\n", b"\n"),
        lambda note: note.rpartition(b"\n\n")[0],
        lambda note: note.rpartition(b"\n\n")[0] + b"\n\n",
        lambda note: note.replace(b"\n5\n", b"\n6\n"),
        lambda note: note.replace("\u2014".encode(), b"-"),
        lambda note: note.replace("\u2014 ".encode(), "\u2014".encode()),
        lambda note: note.replace("\u2014 ".encode(), "\u2014  ".encode()),
        lambda note: note.replace("\u2014 ".encode(), "\u2014 a+".encode()),
        lambda note: note.replace("\u2014 ".encode(), "\u2014 two ".encode()),
        lambda note: note.replace("\u2014 ".encode(), "\u2014 \u2003".encode()),
        lambda note: note + "\u2014 other AAAA\n".encode(),  # a key's hash and no signature
        lambda note: note + "\u2014 other \n".encode(),
        lambda note: note + "\u2014 other !!!!!!!!\n".encode(),
        lambda note: note + "\u2014 other AAAAAAA\n".encode(),
        lambda note: note + "\u2014 a\x01b AAAAAAAA\n".encode(),
        lambda note: b"x" * 300_000 + note,
    ],
)
def test_invalid_notes_are_refused(change):
    with pytest.raises(AuditError) as caught:
        read_checkpoint(change(NOTE), KEY, origin=ORIGIN)
    assert caught.value.path == "checkpoint"


@pytest.mark.slow
def test_every_flipped_bit_of_a_checkpoint_is_seen():
    for at in range(len(NOTE)):
        for bit in range(8):
            flipped = NOTE[:at] + bytes([NOTE[at] ^ 1 << bit]) + NOTE[at + 1 :]
            with pytest.raises(AuditError):
                read_checkpoint(flipped, KEY, origin=ORIGIN)


@pytest.mark.slow
@given(st.binary(max_size=300))
@example(b"\n\n\n")
def test_arbitrary_bytes_are_no_note(data):
    with pytest.raises(AuditError):
        read_checkpoint(data, KEY, origin=ORIGIN)


def test_verifier_keys_come_back():
    for name in [ORIGIN, "PeterNeumann", "zähler.example/log", "a"]:
        assert read_verifier(verifier_of(name, KEY)) == (name, KEY)
    seed = Ed25519PrivateKey.generate()
    raw = b"\x01" + seed.public_key().public_bytes_raw()
    key_hash = hashlib.sha256(ORIGIN.encode() + b"\n" + raw).hexdigest()[:8]
    by_hand = f"{ORIGIN}+{key_hash}+{base64.b64encode(raw).decode()}"
    assert verifier_of(ORIGIN, LocalSigner(seed).public_key) == by_hand


def test_a_plus_sign_in_the_base64_of_a_key_is_not_a_separator():
    # The key of Go's checksum database, as every copy of the go command has it.
    golang = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    name, key = read_verifier(golang)
    assert verifier_of(name, key) == golang


def test_every_part_and_every_mangling_of_a_verifier_key_is_refused():
    for start in range(len(PETER)):
        for end in range(start, len(PETER) + (start > 0)):
            with pytest.raises(InputError):
                read_verifier(PETER[start:end])
    for at in range(len(PETER)):
        with pytest.raises(InputError):
            read_verifier(PETER[:at] + chr(ord(PETER[at]) + 1) + PETER[at + 1 :])


@pytest.mark.parametrize(
    "vkey",
    [
        # A key too long, and another algorithm, each with the hash that fits it: from the tests of the first implementation
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "\x00",
        "+".join(["a"] * 9),
        "é" * 1_000,
        "\ud800+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_hostile_verifier_keys(vkey):
    with pytest.raises(InputError):
        read_verifier(vkey)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\nb", "a\x00b", "a\x1fb", "a\u2003b", "a\u0085b", "\ud800"])
def test_names_that_no_reader_takes_are_refused(name):
    with pytest.raises(InputError):
        verifier_of(name, KEY)
    with pytest.raises(InputError):
        write_checkpoint(Checkpoint(name, 0, bytes(32)), SIGNER)


def test_only_ed25519_signs_a_log():
    with pytest.raises(InputError, match="Ed25519"):
        verifier_of(ORIGIN, LocalSigner.generate("ESP256").public_key)


# --- Entries ---


def test_entries_are_deterministic_json():
    assert audit_entry("use", 5, tool="t-1", cti=b"\1\2", count=3) == (
        b'{"at":5,"count":3,"cti":"0102","kind":"use","tool":"t-1"}'
    )
    assert audit_entry("Zähler", 5, b=1, a="x\n") == audit_entry("Zähler", 5, a="x\n", b=1)
    assert audit_entry("Zähler", 5) == '{"at":5,"kind":"Zähler"}'.encode()


VALUES = st.one_of(st.text(), st.integers(), st.binary())
FACTS = st.dictionaries(st.text().filter(lambda name: name not in {"at", "kind", "now"}), VALUES, max_size=4)


@pytest.mark.slow
@given(FACTS, st.lists(st.tuples(VALUES, VALUES), max_size=5), st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_entries_of_columns_are_those_of_their_rows(facts, rows, names):
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    if columns.keys() & {"at", "kind", *facts}:
        with pytest.raises(InputError):
            audit_entries("issued", 5, columns, **facts)
        return
    try:
        expected = [audit_entry("issued", 5, **facts, **dict(zip(names, row, strict=True))) for row in rows]
    except InputError:  # a half of a surrogate pair
        with pytest.raises(InputError):
            audit_entries("issued", 5, columns, **facts)
        return
    except TypeError:  # the name of a parameter of its own
        return
    assert audit_entries("issued", 5, columns, **facts) == expected


@pytest.mark.parametrize(
    "columns", [{}, {"a": [1], "b": [1, 2]}, {"at": [1]}, {"kind": ["x"]}, {"c": [1]}, {"a": [True]}, {"a": [None]}]
)
def test_invalid_columns_of_entries_raise(columns):
    with pytest.raises(InputError):
        audit_entries("issued", 5, columns, c=1)


@pytest.mark.parametrize(
    "facts", [{"what": 1.5}, {"what": None}, {"what": True}, {"what": [1]}, {"what": "\ud800"}, {"at": 6}]
)
def test_other_facts_are_refused(facts):
    with pytest.raises(InputError):
        audit_entry("use", 5, **facts)
    with pytest.raises(InputError, match=r"now: got 5\.5"):
        audit_entry("use", 5.5)
