"""Protected readings, opened in bulk: the second reading of the page agrees, row for row, and every check stands in its order."""

import json
import os
import random
from pathlib import Path

import cryptography_vectors
import numpy as np
import pyarrow as pa
import pytest

from itron_core import (
    InputError,
    KeySource,
    MasterKey,
    Protection,
    ReadingCode,
    ReadingKeys,
    derive_key,
    derive_keys,
    last_counters,
    open_reading_stream,
    open_readings,
    protect_readings,
    rising_counters,
)
from itron_core._rust import reading_names
from reference.build_readings import Wmbus, cbc_encrypt, cose, dlms, frame, with_checksums
from reference.readings import Answer, Keys, open_reading

ROOT = Path(__file__).parents[1]
# Public telegrams of others, which are no part of the project.
PUBLIC = Path(os.environ.get("ITRON_CORE_PUBLIC_READINGS", ROOT.parent / "shared" / "data" / "readings"))
GOLDEN = json.loads((ROOT / "tests" / "golden" / "readings.json").read_text())

KEY = bytes(range(16))
LONG_KEY = bytes(range(32))
AUTHENTICATION_KEY = bytes(range(0xD0, 0xE0))
LONG_AUTHENTICATION_KEY = bytes(range(0xC0, 0xE0))
TITLE = b"MMM\0\0\xbc\x61\x4e"
KID = b"\x6f\xac\x3d\xd0"
CHECKED = b"\x2f\x2f" + bytes(range(30))
LONG_HEADER = bytes.fromhex("68509999887766554433")[:8]


def answers(telegrams, keys, *, profile, floors=None, **options):
    """Return the rows that `open_readings` answers, as the second reading writes them."""
    given = {"counter_floors": floors} if floors is not None else {}
    if profile == "dlms":
        given["authentication_keys"] = [held.authentication_key for held in keys]
        given["system_titles"] = [held.system_title for held in keys]
    results = open_readings(telegrams, [held.key for held in keys], profile=profile, **given, **options)
    columns = results.to_pydict()
    names = ("code", "assurance", "protection", "device", "counter", "payload")
    return [Answer(*row) for row in zip(*(columns[name] for name in names), strict=True)]


def answer(telegram, keys, *, floor=None, **options):
    """Return the one row's answer."""
    return answers([telegram], [keys], floors=[floor], **options)[0]


def agreed(telegram, keys, *, floor=None, **options):
    """Return the answer that both readings give; how far a malformed telegram is read is not compared."""
    ours = answer(telegram, keys, floor=floor, **options)
    theirs = open_reading(telegram, keys, floor=floor, **options)
    if ours.code == 1101:
        ours, theirs = ours.code, theirs.code
    assert ours == theirs, (None if telegram is None else telegram.hex(), options)
    return answer(telegram, keys, floor=floor, **options)


def protected():
    """Return a telegram of each protection: its name, its profile, its bytes, its keys and its payload."""
    held = Keys(KEY)
    yield "mode 5", "wmbus", Wmbus().mode_5(KEY, CHECKED), held, CHECKED
    yield (
        "mode 5, long header, tail",
        "wmbus",
        Wmbus(own=LONG_HEADER, tail=b"tail").mode_5(KEY, CHECKED),
        held,
        CHECKED + b"tail",
    )
    yield "mode 5, checksums", "wmbus", with_checksums(Wmbus().mode_5(KEY, CHECKED)), held, CHECKED
    yield "mode 5, short link layer", "wmbus", Wmbus(before=bytes([0x8C, 0x20, 5])).mode_5(KEY, CHECKED), held, CHECKED
    yield "mode 7", "wmbus", Wmbus().mode_7(KEY, CHECKED), held, CHECKED
    for kind in (3, 4, 6, 7):
        yield (
            f"mode 7, MAC {kind}",
            "wmbus",
            Wmbus(tail=b"clear").mode_7(KEY, CHECKED, kind=kind),
            held,
            CHECKED + b"clear",
        )
    yield "mode 7, long, length", "wmbus", Wmbus(own=LONG_HEADER).mode_7(KEY, CHECKED, with_length=True), held, CHECKED
    yield "mode 10", "wmbus", Wmbus().mode_10(KEY, b"payload of 10"), held, b"payload of 10"
    yield "mode 10, long", "wmbus", Wmbus(own=LONG_HEADER).mode_10(KEY, b""), held, b""
    yield "ELL", "wmbus", Wmbus().ell(KEY, b"\x78payload"), held, b"\x78payload"
    yield "ELL, long", "wmbus", Wmbus().ell(KEY, b"\x78" * 70, ci=0x8F, communication=0x32), held, b"\x78" * 70
    message = b"\x0f\0\0\0\1 a message"
    both = Keys(KEY, AUTHENTICATION_KEY)
    yield "dlms", "dlms", dlms(KEY, AUTHENTICATION_KEY, message, title=TITLE), both, message
    yield (
        "dlms, ded, empty title",
        "dlms",
        dlms(KEY, AUTHENTICATION_KEY, message, title=TITLE, tag=220, own=False),
        both._replace(system_title=TITLE),
        message,
    )
    yield (
        "dlms, authenticated",
        "dlms",
        dlms(KEY, AUTHENTICATION_KEY, message, title=TITLE, control=0x11),
        both,
        message,
    )
    yield "dlms, encrypted", "dlms", dlms(KEY, None, message * 20, title=TITLE, control=0x20), held, message * 20
    long = Keys(LONG_KEY, LONG_AUTHENTICATION_KEY, system_title=TITLE)
    yield (
        "dlms, suite 2",
        "dlms",
        dlms(LONG_KEY, LONG_AUTHENTICATION_KEY, message, title=TITLE, tag=200, control=0x32),
        long,
        message,
    )
    yield (
        "dlms, initiate",
        "dlms",
        dlms(KEY, AUTHENTICATION_KEY, message, title=TITLE, tag=33),
        both._replace(system_title=TITLE),
        message,
    )
    for key in (KEY, LONG_KEY):
        reading = cose(key, b"reading", device=100_000_001, counter=9, kid=KID)
        yield f"cose, {len(key)}", "cose", reading, Keys(key), b"reading"
    yield "cose, empty", "cose", cose(KEY, b"", device=1 << 63, counter=0, kid=KID), held, b""
    yield "cose, full", "cose", cose(KEY, bytes(1024), device=0, counter=2**32 - 1, kid=KID), held, bytes(1024)


PROTECTED = list(protected())
each_protected = pytest.mark.parametrize(
    "name, profile, telegram, keys, payload", PROTECTED, ids=[row[0] for row in PROTECTED]
)


@each_protected
def test_a_telegram_of_each_protection_opens(name, profile, telegram, keys, payload):
    opened = agreed(telegram, keys, profile=profile, minimum_assurance=0)
    assert (opened.code, opened.payload) == (0, payload)


@pytest.mark.slow
@each_protected
def test_every_flipped_bit_is_answered_by_both_readings_alike(name, profile, telegram, keys, payload):
    """Where a MAC or tag covers the bit, the row is refused; nothing is ever opened to another payload that is called genuine."""
    flipped = []
    for bit in range(8 * min(len(telegram), 160)):
        changed = bytearray(telegram)
        changed[bit // 8] ^= 1 << bit % 8
        flipped.append(bytes(changed))
    ours = answers(flipped, [keys] * len(flipped), profile=profile, minimum_assurance=0)
    for telegram_, row in zip(flipped, ours, strict=True):
        theirs = open_reading(telegram_, keys, profile=profile, minimum_assurance=0)
        assert row == theirs or row.code == theirs.code == 1101, telegram_.hex()
        assert row.code == 0 or row.payload is None
        if row.assurance >= 64:
            # What no MAC covers may change: a frame's control byte, an access number, never a byte of the payload.
            assert row.payload == payload
    assert any(row.code for row in ours)


@each_protected
def test_every_cut_is_malformed_or_refused(name, profile, telegram, keys, payload):
    cuts = [telegram[:end] for end in range(len(telegram))][-200:]
    for cut, row in zip(cuts, answers(cuts, [keys] * len(cuts), profile=profile), strict=True):
        assert row.code == open_reading(cut, keys, profile=profile).code
        assert row.code != 0


@each_protected
def test_a_wrong_key_opens_nothing(name, profile, telegram, keys, payload):
    wrong = keys._replace(key=bytes(len(keys.key)))
    row = agreed(telegram, wrong, profile=profile)
    assert row.payload is None
    assert row.code in {1109, 1110, 1112}


def test_random_telegrams_are_answered_by_both_readings_alike():
    """Mutated, cut, joined and random bytes under all options; `ITRON_CORE_CASES` says how many."""
    chance = random.Random(15)
    count = int(os.environ.get("ITRON_CORE_CASES", "6000")) // 4
    for _ in range(count // 100):
        profile = chance.choice(["cose", "wmbus", "dlms"])
        of_profile = [row for row in PROTECTED if row[1] == profile]
        options = {
            "profile": profile,
            "allow_plain": chance.random() < 0.5,
            "minimum_assurance": chance.choice([None, 0, 16, 17, 64, 96, 97, 128]),
        }
        rows = [mutated(chance, of_profile) for _ in range(100)]
        telegrams, keys, floors = zip(*rows, strict=True)
        ours = answers(list(telegrams), keys, floors=list(floors), **options)
        for telegram, held, floor, row in zip(telegrams, keys, floors, ours, strict=True):
            theirs = open_reading(telegram, held, floor=floor, **options)
            assert row == theirs or row.code == theirs.code == 1101, (telegram, held, floor, options)


def mutated(chance, of_profile):
    _, _, telegram, keys, _ = chance.choice(of_profile)
    change = chance.randrange(7)
    data = bytearray(telegram)
    if change in {1, 2}:
        for _ in range(change):
            data[chance.randrange(min(len(data), 48))] = chance.choice(
                [0, 1, 8, 0x16, 0x2F, 0x78, 0xFF, chance.randrange(256)]
            )
    elif change == 3:
        del data[chance.randrange(len(data)) :]
    elif change == 4:
        data += chance.randbytes(chance.randrange(5))
    elif change == 5:
        data = bytearray(chance.randbytes(chance.randrange(60)))
        if data and chance.random() < 0.8:
            data[0] = len(data) - 1
    if chance.random() < 0.2:
        keys = keys._replace(key=chance.choice([None, b"", KEY, LONG_KEY, bytes(15)]))
    if chance.random() < 0.2:
        keys = keys._replace(authentication_key=chance.choice([None, AUTHENTICATION_KEY, LONG_AUTHENTICATION_KEY]))
    if chance.random() < 0.2:
        keys = keys._replace(system_title=chance.choice([None, TITLE, TITLE[:7]]))
    floor = chance.choice([None, None, 0, 2738, 2739, 8, 2**40])
    return (None if change == 6 else bytes(data)), keys, floor


@pytest.mark.slow
@pytest.mark.parametrize("row", GOLDEN, ids=[row["name"] for row in GOLDEN])
def test_the_vectors_of_the_project_are_answered_as_written(row):
    def raw(name):
        return None if row.get(name) is None else bytes.fromhex(row[name])

    keys = Keys(raw("key"), raw("authentication_key"), system_title=raw("system_title"))
    wanted = Answer(*(row[name] for name in Answer._fields[:-1]), raw("payload"))
    assert agreed(raw("telegram"), keys, profile=row["profile"], **row.get("options", {})) == wanted


# The public telegrams


def public(name):
    path = PUBLIC / f"{name}.json"
    if not path.exists():
        pytest.skip(f"the public telegrams are not there: {PUBLIC}")
    return json.loads(path.read_text())


def raw(value):
    return None if value is None else bytes.fromhex(value)


def test_the_public_wmbus_telegrams_open_to_their_payloads():
    rows = public("wmbus")["opens"]
    keys = [Keys(raw(row["key"])) for row in rows]
    for row, held, opened in zip(
        rows, keys, answers([raw(row["telegram"]) for row in rows], keys, profile="wmbus"), strict=True
    ):
        assert opened == open_reading(raw(row["telegram"]), held, profile="wmbus")
        assert (opened.code, opened.payload) == (0, raw(row["payload"])), row["name"]
        assert opened.device.split("-")[1] == row["meter_id"]
        assert opened.protection == {"mode5": 5, "mode7": 7, "ell_ctr": 32}[row["protection"]]
        counter = row.get("counter") if "ell_sn" not in row else row["ell_sn"] & (1 << 29) - 1
        assert opened.counter == counter
        assert opened.assurance == 8 * row.get("mac_len", 2)


def test_the_public_wmbus_telegrams_that_do_not_open_are_refused():
    codes = {"no_key": {1105}, "wrong_key_or_corrupt": {1110}, "mac_invalid": {1112}, "unsupported_mode": {1103}}
    # The header decides: telegrams that somebody decrypted still claim mode 5, and fail its check.
    codes["not_encrypted"] = {1104, 1110}
    rows = public("wmbus")["refused"]
    keys = [Keys(raw(row["key"])) for row in rows]
    for row, held, opened in zip(
        rows, keys, answers([raw(row["telegram"]) for row in rows], keys, profile="wmbus"), strict=True
    ):
        assert opened == open_reading(raw(row["telegram"]), held, profile="wmbus")
        assert opened.code in codes[row["expect"]], row["why"]
        assert opened.payload is None


def dlms_keys(row):
    return Keys(
        raw(row["key"]),
        raw(row["authentication_key"]),
        system_title=raw(row["system_title"]) if row.get("title_is_given", True) else None,
    )


def test_the_public_dlms_messages_open_to_their_plaintexts():
    rows = public("dlms")["opens"]
    for row in rows:
        opened = agreed(raw(row["apdu"]), dlms_keys(row), profile="dlms", minimum_assurance=0)
        assert (opened.code, opened.payload) == (0, raw(row["plaintext"])), row["name"]
        assert opened.assurance == (96 if row["tag_checked"] else 0)
        assert (opened.device, opened.counter) == (f"dlms:{row['system_title']}", row["invocation_counter"])
        # At the default, what carries no tag is not opened.
        assert agreed(raw(row["apdu"]), dlms_keys(row), profile="dlms").code == (0 if row["tag_checked"] else 1109)


def test_the_public_dlms_messages_that_do_not_open_are_refused():
    codes = {"tag_invalid": 1112, "title_missing": 1107, "no_key": 1105, "length": 1101}
    for row in public("dlms")["refused"]:
        opened = agreed(raw(row["apdu"]), dlms_keys(row), profile="dlms")
        wanted = 1108 if row["expect"].startswith("authentication_key_missing") else codes[row["expect"]]
        # A message of general ciphering is not supported, whole or cut.
        assert opened.code == (1103 if row["apdu"].startswith("dd") else wanted), row["name"]
        if wanted == 1108:
            unchecked = agreed(raw(row["apdu"]), dlms_keys(row), profile="dlms", minimum_assurance=0)
            assert (unchecked.code, unchecked.assurance) == (0, 0)


def test_public_ert_messages_are_no_protected_readings():
    messages = [raw(message["bytes"]) for message in public("ert")["messages"]]
    for profile in ("cose", "wmbus", "dlms"):
        assert all(opened.code for opened in answers(messages, [Keys(KEY)] * len(messages), profile=profile))


# The order of the checks


MODE_5 = Wmbus().mode_5(KEY, CHECKED)
MODE_7 = Wmbus().mode_7(KEY, CHECKED)
SHORT_MAC = Wmbus().mode_7(KEY, CHECKED, kind=3)
BOTH = dlms(KEY, AUTHENTICATION_KEY, b"message", title=TITLE)
GLO = dlms(KEY, AUTHENTICATION_KEY, b"message", title=TITLE, tag=200)
READING = cose(KEY, b"reading", device=100_000_001, counter=9, kid=KID)
HELD = Keys(KEY, AUTHENTICATION_KEY)

CODES = [
    (1100, "wmbus", None, Keys(), {}),
    (1100, "cose", None, HELD, {}),
    (1101, "wmbus", b"", HELD, {}),
    (1101, "wmbus", MODE_5[:-1], Keys(), {}),
    (1101, "wmbus", MODE_5 + bytes(4), HELD, {}),
    (1101, "wmbus", Wmbus(blocks=0).mode_5(KEY, CHECKED), HELD, {}),
    (1101, "wmbus", Wmbus(blocks=3).mode_5(KEY, CHECKED), HELD, {}),
    (1101, "wmbus", Wmbus(blocks=0).mode_7(KEY, CHECKED), HELD, {}),
    (1101, "wmbus", Wmbus().whole(Wmbus().header(7, 0x20) + b"\x10" + bytes(32)), HELD, {}),
    (1101, "wmbus", Wmbus().whole(Wmbus().header(10, 0) + bytes(20)), HELD, {}),
    (1101, "wmbus", Wmbus().whole(Wmbus().header(10, 0xFF) + b"\x10\x01" + bytes(11)), HELD, {}),
    (1101, "wmbus", frame(b""), HELD, {}),
    (1101, "dlms", b"", HELD, {}),
    (1101, "dlms", BOTH + b"\0", HELD, {}),
    (1101, "dlms", b"\xdb\x07" + BOTH[2:], HELD, {}),
    (1101, "dlms", b"\xc8\x80", HELD._replace(system_title=TITLE), {}),
    (1101, "dlms", b"\xc8\x04\x30\0\0\0", HELD._replace(system_title=TITLE), {}),
    (1101, "dlms", b"\xc8\x10\x30\0\0\0\0" + bytes(11), HELD._replace(system_title=TITLE), {}),
    (1101, "cose", b"", HELD, {}),
    (1101, "cose", READING + b"\0", HELD, {}),
    (1101, "cose", READING[1:], HELD, {}),
    (1101, "cose", b"\xd8\x10" + READING[1:], HELD, {}),
    (1101, "cose", cose(KEY, bytes(1025), device=0, counter=0, kid=KID), HELD, {}),
    (1101, "cose", READING.replace(b"mtr-read", b"mtr-rear"), HELD, {}),
    (1101, "cose", READING.replace(b"\x58\x2f", b"\x59\0\x2f"), HELD, {}),
    (1102, "wmbus", with_checksums(MODE_5)[:-1] + b"\0", Keys(), {}),
    (1102, "wmbus", Wmbus().ell(KEY, b"\x7a\0\0\0\0", session=5)[:-1] + b"\1", Keys(), {}),
    (1103, "wmbus", Wmbus().whole(Wmbus().header(2, 0x10) + bytes(16)), Keys(), {}),
    (1103, "wmbus", Wmbus().whole(Wmbus().header(13, 0) + bytes(16)), HELD, {}),
    (1103, "wmbus", Wmbus().mode_7(KEY, CHECKED, kind=8), HELD, {}),
    (1103, "wmbus", Wmbus().mode_7(KEY, CHECKED, extension=0x20), HELD, {}),
    (1103, "wmbus", Wmbus().mode_7(KEY, CHECKED, flags=0x4000), HELD, {}),
    (1103, "wmbus", Wmbus().mode_10(KEY, CHECKED, extension=b"\x00\x01"), HELD, {}),
    (1103, "wmbus", frame(b"\x78\x2f\x2f"), Keys(), {"allow_plain": True}),
    (1103, "wmbus", frame(b"\xa0\x11"), HELD, {}),
    (1103, "wmbus", Wmbus().ell(KEY, b"\x78", session=2 << 29), HELD, {}),
    (1103, "dlms", dlms(KEY, AUTHENTICATION_KEY, b"", title=TITLE, control=0xB0), HELD, {}),
    (1103, "dlms", dlms(KEY, AUTHENTICATION_KEY, b"", title=TITLE, control=0x70), HELD, {}),
    (1103, "dlms", dlms(KEY, AUTHENTICATION_KEY, b"", title=TITLE, control=0x33), HELD, {}),
    (1103, "dlms", dlms(KEY, AUTHENTICATION_KEY, b"", title=TITLE, control=0x00), HELD, {}),
    (1103, "dlms", b"\xdd" + BOTH[1:], HELD, {}),
    (1103, "dlms", b"\x7e\xa0\x10", HELD, {}),
    (1103, "cose", cose(KEY, b"", device=0, counter=0, kid=KID, algorithm=2), HELD, {}),
    (1103, "cose", cose(KEY, b"", device=0, counter=0, kid=KID, algorithm=-65537), HELD, {}),
    (1103, "cose", cose(KEY, b"", device=0, counter=0, kid=KID, algorithm="mine"), HELD, {}),
    (1104, "wmbus", Wmbus().plain(CHECKED), HELD, {"allow_plain": True}),
    (1104, "wmbus", Wmbus().plain(CHECKED), Keys(), {}),
    (1104, "dlms", b"\xc4\1\0", HELD, {"allow_plain": True}),
    (1104, "dlms", b"\x0f\1\0", Keys(), {}),
    (1107, "dlms", GLO, Keys(), {}),
    (1107, "dlms", GLO, HELD, {}),
    (1107, "dlms", GLO, HELD._replace(system_title=TITLE[:7]), {}),
    (1105, "wmbus", MODE_5, Keys(), {"minimum_assurance": 128}),
    (1105, "dlms", BOTH, Keys(), {}),
    (1105, "cose", READING, Keys(), {}),
    (1106, "wmbus", MODE_5, Keys(LONG_KEY), {"minimum_assurance": 128}),
    (1106, "wmbus", MODE_7, Keys(b""), {}),
    (1106, "dlms", BOTH, Keys(LONG_KEY, LONG_AUTHENTICATION_KEY), {}),
    (1106, "dlms", BOTH, Keys(KEY, LONG_AUTHENTICATION_KEY), {"minimum_assurance": 128}),
    (1106, "dlms", dlms(LONG_KEY, KEY, b"", title=TITLE, control=0x32), Keys(LONG_KEY, KEY), {}),
    (1106, "cose", READING, Keys(LONG_KEY), {}),
    (1108, "dlms", BOTH, Keys(KEY), {"minimum_assurance": 1}),
    (1109, "wmbus", MODE_5, Keys(bytes(16)), {"minimum_assurance": 17}),
    (1109, "wmbus", SHORT_MAC, HELD, {"minimum_assurance": 17}),
    (1109, "wmbus", MODE_7, Keys(bytes(16)), {"minimum_assurance": 65}),
    (1109, "dlms", BOTH, HELD, {"minimum_assurance": 97}),
    (1109, "dlms", dlms(KEY, None, b"", title=TITLE, control=0x20), HELD, {"minimum_assurance": 1}),
    (1110, "wmbus", MODE_5, Keys(bytes(16)), {}),
    (1110, "wmbus", Wmbus().ell(KEY, b"\x78"), Keys(bytes(16)), {}),
    (1112, "wmbus", MODE_7, Keys(bytes(16)), {"floor": 5000}),
    (1112, "wmbus", SHORT_MAC, Keys(bytes(16)), {}),
    (1112, "dlms", BOTH, Keys(KEY, KEY), {"floor": 5000}),
    (1112, "cose", READING, Keys(bytes(16)), {}),
    (1113, "wmbus", MODE_7, HELD, {"floor": 0xAB3}),
    (1113, "wmbus", Wmbus().mode_10(KEY, b""), HELD, {"floor": 0xAB3}),
    (1113, "wmbus", Wmbus().ell(KEY, b"\x78"), HELD, {"floor": 0xAB3}),
    (1113, "dlms", BOTH, HELD, {"floor": 7}),
    (1113, "cose", READING, HELD, {"floor": 9}),
    (0, "cose", READING, HELD, {"floor": 8}),
    (0, "cose", READING, HELD, {"floor": -1}),
    (0, "wmbus", MODE_7, HELD, {"floor": 0xAB2}),
    (0, "wmbus", MODE_5, HELD, {"floor": 2**60}),
    (0, "wmbus", MODE_5 + bytes(3), HELD, {}),
    (0, "wmbus", Wmbus().plain(CHECKED), Keys(), {"allow_plain": True, "minimum_assurance": 128}),
    (0, "wmbus", Wmbus().ell(KEY, Wmbus().header(0, 0), session=5), Keys(), {"allow_plain": True}),
    (0, "dlms", b"\x0f\1\0", Keys(), {"allow_plain": True}),
    (0, "dlms", BOTH, Keys(KEY), {"minimum_assurance": 0}),
    (
        0,
        "dlms",
        dlms(KEY, AUTHENTICATION_KEY, b"clear", title=TITLE, control=0x10),
        Keys(KEY),
        {"minimum_assurance": 0},
    ),
]


@pytest.mark.parametrize("code, profile, telegram, keys, options", CODES)
def test_each_code_stands_in_its_place_in_the_order(code, profile, telegram, keys, options):
    assert agreed(telegram, keys, profile=profile, **options).code == code


def test_every_code_but_the_internal_one_is_met():
    assert {row[0] for row in CODES} | {1111, 900} == {int(code) for code in ReadingCode}


def test_the_numbers_of_rust_are_those_of_python():
    codes, protections = reading_names()
    assert codes == [(int(code), code.name.lower()) for code in ReadingCode]
    assert protections == [(int(protection), protection.name.lower()) for protection in Protection]
    assert all(code.explain() for code in ReadingCode)


def test_the_check_value_distinguishes_a_wrong_key_from_a_corrupt_reading():
    master = MasterKey.from_bytes(bytes(range(32)))
    devices = ["ert:100000001", "eui64:00078100aabbccdd"]
    keys, other = (derive_keys(master, devices, utility="UTIL0001", key_version=version) for version in (1, 2))
    readings = protect_readings([b"one", b"two"], keys, devices=devices, counters=[1, 2])
    for wrong in (other, ReadingKeys(devices, other), KeySource(master, utility="UTIL0001", key_version=2)):
        assert list(open_readings(readings, wrong, profile="cose")["code"]) == [1111, 1111]
    damaged = [bytes(reading[:-1]) + bytes([reading[-1] ^ 1]) for reading in readings]
    for right in (keys, ReadingKeys(devices, keys), KeySource(master, utility="UTIL0001")):
        assert list(open_readings(readings, right, profile="cose")["code"]) == [0, 0]
        assert list(open_readings(damaged, right, profile="cose")["code"]) == [1112, 1112]
    # The check value belongs to the key, not to its label or length.
    long = derive_keys(master, devices, utility="UTIL0001", length=32)
    readings = protect_readings([b"one", b"two"], long, devices=devices, counters=[1, 2], algorithm="A256GCM")
    assert list(open_readings(readings, KeySource(master, utility="UTIL0001"), profile="cose")["payload"]) == [
        b"one",
        b"two",
    ]


# Keys by device


def test_keys_are_joined_by_the_device_that_the_telegram_names():
    telegrams = [
        Wmbus().mode_5(KEY, CHECKED),
        Wmbus(own=LONG_HEADER).mode_5(LONG_KEY[16:], CHECKED),
        Wmbus(address=b"\x2d\x2cother\x01").mode_5(KEY, CHECKED),
    ]
    rows = open_readings(telegrams, [None] * 3, profile="wmbus")
    devices = list(rows["device"])
    assert devices[0] == "wmbus:KAM-76348799-1b-16"
    keys = ReadingKeys(devices[:2], [KEY, LONG_KEY[16:]])
    results = open_readings(telegrams, keys, profile="wmbus")
    assert list(results["code"]) == [0, 0, 1105]
    assert results.missing_keys().to_pydict() == {"device": [devices[2]], "rows": [1]}
    as_bytes = ReadingKeys([Wmbus().address, LONG_HEADER, b"\0" * 8], [KEY, LONG_KEY[16:], None])
    assert list(open_readings(telegrams, as_bytes, profile="wmbus")["code"]) == [0, 0, 1105]
    # A name of another profile is another device, though its bytes may be the same.
    cose_name = f"eui64:{Wmbus().address.hex()}"
    assert list(open_readings(telegrams, ReadingKeys([cose_name], [KEY]), profile="wmbus")["code"]) == [1105] * 3


def test_keys_by_device_carry_authentication_keys():
    keys = ReadingKeys([f"dlms:{TITLE.hex()}"], [KEY], [AUTHENTICATION_KEY])
    results = open_readings([BOTH, GLO], keys, profile="dlms", system_titles=[None, TITLE])
    assert list(results["payload"]) == [b"message"] * 2
    assert list(open_readings([BOTH], ReadingKeys([TITLE], [KEY]), profile="dlms")["code"]) == [1108]


def test_a_plain_telegram_is_refused_where_its_device_has_a_key():
    plain = Wmbus().plain(CHECKED)
    for keys, code in ((ReadingKeys([Wmbus().address], [KEY]), 1104), (ReadingKeys([bytes(8)], [KEY]), 0), (None, 0)):
        assert list(open_readings([plain], keys, profile="wmbus", allow_plain=True)["code"]) == [code]
    source = KeySource(MasterKey.generate(), utility="U")
    assert list(open_readings([plain], source, profile="wmbus", allow_plain=True)["code"]) == [1104]


@pytest.mark.parametrize(
    "kdf, length",
    [("kbkdf-hmac-sha256", 32), ("kbkdf-cmac-aes256", 32), ("hkdf-sha256", 32), ("kbkdf-cmac-aes128", 16)],
)
def test_derived_keys_are_those_of_derive_key(kdf, length):
    master = MasterKey.from_bytes(bytes(range(length)))
    ask = {"utility": "UTIL0001", "key_version": 3, "kdf": kdf}
    source = KeySource(master, **ask)
    of = lambda device, label, length=16: derive_key(master, device, label=label, length=length, **ask)  # noqa: E731
    telegrams = [Wmbus(own=own).mode_5(of(own or Wmbus().address, "read-enc"), CHECKED) for own in (None, LONG_HEADER)]
    assert list(open_readings(telegrams, source, profile="wmbus")["payload"]) == [CHECKED] * 2
    messages = [
        dlms(of(TITLE, "read-enc", size), of(TITLE, "read-auth", size), b"message", title=TITLE, control=control)
        for size, control in ((16, 0x30), (32, 0x32), (16, 0x11))
    ]
    assert list(open_readings(messages, source, profile="dlms")["payload"]) == [b"message"] * 3
    kid = derive_key(master, "ert:7", label="kcv", **ask)[:4]
    reading = cose(of("ert:7", "read-enc"), b"payload", device=7, counter=1, kid=kid)
    assert list(open_readings([reading], source, profile="cose")["payload"]) == [b"payload"]


def test_derived_keys_are_a_column_of_keys():
    master = MasterKey.generate()
    addresses = [Wmbus().address, LONG_HEADER]
    keys = derive_keys(master, addresses, utility="U")
    telegrams = [Wmbus(address=address).mode_7(keys.key(at), CHECKED) for at, address in enumerate(addresses)]
    assert list(open_readings(telegrams, keys, profile="wmbus")["code"]) == [0, 0]


# Counters


def test_the_floors_of_the_next_call_are_the_last_counters():
    keys = [KEY] * 5
    readings = [
        cose(KEY, b"", device=device, counter=counter, kid=KID) for device, counter in ((1, 5), (1, 4), (2, 0), (1, 9))
    ]
    damaged = readings[3][:-1] + bytes([readings[3][-1] ^ 1])
    results = open_readings([*readings[:3], damaged, None], keys, profile="cose")
    assert last_counters(results) == {"ert:1": 5, "ert:2": 0}
    assert list(rising_counters(results)) == [True, False, True, None, None]
    again = open_readings(readings, keys[:4], profile="cose", counter_floors=last_counters(results))
    assert list(again["code"]) == [1113, 1113, 1113, 0]
    assert list(again["payload"]) == [None, None, None, b""]
    assert last_counters(open_readings([MODE_5], [KEY], profile="wmbus")) == {}


# What goes in, and what comes out


def test_columns_come_in_every_form():
    telegrams, keys = [MODE_5, None, MODE_7], [KEY, KEY, KEY]
    wanted = open_readings(telegrams, keys, profile="wmbus").to_pydict()
    text = [None if telegram is None else telegram.hex() for telegram in telegrams]
    shouted = [None if telegram is None else f" 0x{telegram.hex(' ').upper()}\n" for telegram in telegrams]
    forms = [
        pa.array(telegrams, pa.binary()),
        pa.array(telegrams, pa.large_binary()),
        pa.array(telegrams, pa.binary_view()),
        pa.chunked_array([telegrams[:1], [], telegrams[1:]], pa.binary()),
        pa.array([b"x", *telegrams, b"x"], pa.binary())[1:4],
        text,
        pa.array(text),
        pa.array(shouted, pa.large_string()),
        pa.array(text).dictionary_encode(),
    ]
    fixed = np.frombuffer(KEY * 3, np.uint8).reshape(3, 16)
    for given in (
        keys,
        pa.array(keys, pa.binary(16)),
        fixed,
        [key.hex() for key in keys],
        pa.array([key.hex() for key in keys]),
    ):
        for form in forms:
            assert open_readings(form, given, profile="wmbus").to_pydict() == wanted


def test_text_that_is_not_hexadecimal_is_a_malformed_row():
    results = open_readings(["", "0", "zz", MODE_5.hex() + "g", MODE_5.hex()], [KEY] * 5, profile="wmbus")
    assert list(results["code"]) == [1101, 1101, 1101, 1101, 0]
    assert list(open_readings([MODE_5] * 2, [KEY.hex(), "no key"], profile="wmbus")["code"]) == [0, 1106]


def test_results_are_arrow_of_the_types_of_the_page():
    table = pa.table(open_readings([MODE_5, None], [KEY, KEY], profile="wmbus"))
    assert table.schema == pa.schema(
        {
            "code": pa.int16(),
            "assurance": pa.int16(),
            "protection": pa.int16(),
            "device": pa.string(),
            "counter": pa.int64(),
            "payload": pa.binary(),
        }
    )
    table.validate(full=True)
    assert table["payload"].to_pylist() == [CHECKED, None]


def test_rows_do_not_depend_on_their_neighbours_or_the_threads():
    chance = random.Random(7)
    rows = [chance.choice([row for row in PROTECTED if row[1] == "wmbus"]) for _ in range(3_000)]
    telegrams = [row[2] if chance.random() < 0.9 else chance.randbytes(chance.randrange(99)) for row in rows]
    keys = [chance.choice([KEY, KEY, bytes(16), None]) for _ in rows]
    whole = open_readings(telegrams, keys, profile="wmbus", threads=1).to_pydict()
    for threads in (2, 3, None):
        assert open_readings(telegrams, keys, profile="wmbus", threads=threads).to_pydict() == whole
    for start in (0, 1, 700, 2_999):
        piece = open_readings(telegrams[start : start + 70], keys[start : start + 70], profile="wmbus").to_pydict()
        assert piece == {name: column[start : start + 70] for name, column in whole.items()}


def test_no_rows_are_no_rows():
    for profile in ("cose", "wmbus", "dlms"):
        results = open_readings([], [], profile=profile)
        assert len(results) == 0
        assert results.summary()["rows"] == 0


def test_a_refused_row_leaves_no_byte_in_the_payloads():
    """The payload column's buffer holds the payloads of opened rows, and nothing else."""
    telegrams = [MODE_5, Wmbus().mode_5(bytes(16), b"\x2f\x2f" + b"S" * 30), MODE_7]
    column = pa.array(open_readings(telegrams, [KEY, KEY, KEY], profile="wmbus")["payload"])
    assert column.buffers()[2].to_pybytes() == CHECKED * 2


WRONG_CALLS = [
    ({"profile": "mbus"}, 'profile: got "mbus", expected one of cose, wmbus, dlms'),
    ({"profile": 5}, "profile: got int"),
    ({"keys": [KEY]}, "keys: got 1 rows, expected 2, as many as telegrams has"),
    ({"keys": 7}, "keys"),
    ({"authentication_keys": [KEY, KEY]}, "authentication_keys: got a column, expected None for profile"),
    ({"system_titles": [TITLE, TITLE]}, "system_titles: got a column, expected None for profile"),
    ({"profile": "dlms", "authentication_keys": [KEY]}, "authentication_keys: got 1 rows, expected 2"),
    ({"profile": "dlms", "system_titles": [KEY]}, "system_titles: got 1 rows, expected 2"),
    ({"profile": "dlms", "keys": ReadingKeys([], []), "authentication_keys": [KEY, KEY]}, "expected None where keys"),
    ({"counter_floors": [1]}, "counter_floors: got 1 rows, expected 2"),
    ({"counter_floors": ["x", "y"]}, "counter_floors"),
    ({"counter_floors": {"nobody": 1}}, 'counter_floors: got "nobody"'),
    ({"counter_floors": {"ert:1": 2**63}}, "counter_floors"),
    ({"minimum_assurance": 129}, "minimum_assurance: got 129, expected None or 0..128 bits"),
    ({"minimum_assurance": -1}, "minimum_assurance"),
    ({"minimum_assurance": True}, "minimum_assurance"),
    ({"allow_plain": 1}, "allow_plain"),
    ({"threads": 0}, "threads"),
    ({"telegrams": 5}, "telegrams"),
]


@pytest.mark.parametrize("given, message", WRONG_CALLS)
def test_a_call_that_cannot_be_made_raises_and_names_the_argument(given, message):
    call = {"telegrams": [MODE_5, MODE_7], "keys": [KEY, KEY], "profile": "wmbus"} | given
    with pytest.raises(InputError) as raised:
        open_readings(call.pop("telegrams"), call.pop("keys"), **call)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "devices, keys, message",
    [
        (["ert:1", "ert:1"], [KEY, KEY], 'devices: got "ert:1" a second time in row 1'),
        ([bytes(8), bytes(8)], [KEY, KEY], "a second time in row 1"),
        (["ert:01"], [KEY], 'devices: got "ert:01" in row 0'),
        ([b"1234567"], [KEY], "in row 0"),
        ([None], [KEY], "devices: got null in row 0"),
        (["ert:1"], [KEY, KEY], "keys: got 2 rows, expected 1"),
    ],
)
def test_a_table_of_keys_names_each_device_once(devices, keys, message):
    with pytest.raises(InputError) as raised:
        ReadingKeys(devices, keys)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "ask",
    [
        {"utility": ""},
        {"utility": "U" * 17},
        {"utility": 5},
        {"utility": "U", "kdf": "x"},
        {"utility": "U", "key_version": -1},
        {"utility": "U", "kdf": "kbkdf-cmac-aes128"},
    ],
)
def test_a_source_that_cannot_derive_raises(ask):
    with pytest.raises(InputError):
        KeySource(MasterKey.generate(), **ask)


# Streams


def test_a_stream_maps_batches_to_results_one_at_a_time():
    seen = []

    def batches():
        for at in range(4):
            seen.append(at)
            yield [MODE_5] * at

    stream = open_reading_stream(batches(), ReadingKeys([Wmbus().address], [KEY]), profile="wmbus")
    assert seen == []
    assert len(next(stream)) == 0
    assert seen == [0]
    assert [list(results["code"]) for results in stream] == [[0], [0, 0], [0, 0, 0]]


def test_a_batch_may_be_a_mapping_of_columns():
    batch = {
        "telegrams": [BOTH, BOTH],
        "keys": [KEY, KEY],
        "authentication_keys": [AUTHENTICATION_KEY] * 2,
        "counter_floors": [6, 7],
    }
    (results,) = open_reading_stream([batch], None, profile="dlms")
    assert list(results["code"]) == [0, 1113]
    for wrong in ({"keys": [KEY]}, {"telegrams": [BOTH], "key": [KEY]}):
        with pytest.raises(InputError, match="batch: got the columns"):
            next(open_reading_stream([wrong], None, profile="dlms"))


def test_a_stream_checks_its_arguments_at_the_call():
    for given in ({"profile": "x"}, {"profile": "wmbus", "minimum_assurance": 500}):
        with pytest.raises(InputError):
            open_reading_stream(iter([]), None, **given)
    with pytest.raises(InputError, match="batches"):
        open_reading_stream(5, None, profile="wmbus")


# What results say of themselves


def test_the_summary_tells_a_wrong_key_from_damage_and_from_plain():
    other, third = Wmbus(address=bytes(range(8))), Wmbus(address=bytes(range(1, 9)))
    telegrams = [
        Wmbus().mode_5(bytes(16), CHECKED),
        Wmbus(access=3).mode_5(bytes(16), CHECKED),
        other.mode_5(KEY, CHECKED),
        other.mode_5(bytes(16), CHECKED),
        third.plain(CHECKED),
        None,
    ]
    results = open_readings(telegrams, [KEY] * 6, profile="wmbus")
    assert results.summary() == {
        "rows": 6,
        "code": {"ok": 1, "null_telegram": 1, "not_protected": 1, "check_failed": 3},
        "protection": {"unknown": 1, "none": 1, "mode_5": 4},
        "assurance": {"0": 5, "16": 1},
        "device": {"corrupt": 1, "plain": 1, "wrong_key": 1},
    }
    assert results.devices().to_pydict()["verdict"] == ["wrong_key", "corrupt", "plain"]
    assert list(results.names()["code"]) == [
        "check_failed",
        "check_failed",
        "ok",
        "check_failed",
        "not_protected",
        "null_telegram",
    ]
    assert results.names().column_names == results.column_names
    assert "1104" in results.explain(4)
    assert "all telegrams of the device fail" in results.explain(0)
    assert "not proven genuine" in results.explain(2)
    assert "unknown device" in results.explain(-1)
    with pytest.raises(IndexError):
        results.explain(6)


def test_each_row_is_explained_in_sentences():
    for code, profile, telegram, keys, options in CODES:
        given = (
            {"authentication_keys": [keys.authentication_key], "system_titles": [keys.system_title]}
            if profile == "dlms"
            else {}
        )
        given |= {"counter_floors": [options.get("floor")]} | {
            name: value for name, value in options.items() if name != "floor"
        }
        results = open_readings([telegram], [keys.key], profile=profile, **given)
        assert f"({code})" in results.explain(0)
        assert ReadingCode(code).explain() in results.explain(0)


# Making readings


def test_readings_are_made_as_the_page_writes_them():
    rows = [
        (KEY, b"", 0, 0),
        (KEY, b"payload", 100_000_001, 5),
        (KEY, bytes(1024), (1 << 64) - 1, 2**32 - 1),
        (KEY, bytes(8), 7, 1),
    ]
    keys, payloads, devices, counters = zip(*rows, strict=True)
    names = [f"ert:{device}" if device < 1 << 48 else f"eui64:{device:016x}" for device in devices]
    made = protect_readings(payloads, keys, devices=names, counters=counters, check_values=[KID] * 4)
    assert list(made) == [
        cose(key, payload, device=device, counter=counter, kid=KID) for key, payload, device, counter in rows
    ]
    by_bytes = [device.to_bytes(8, "big") for device in devices]
    assert list(protect_readings(payloads, keys, devices=by_bytes, counters=counters, check_values=[KID] * 4)) == list(
        made
    )
    longer = protect_readings(
        [b"x"], [LONG_KEY], devices=["ert:1"], counters=[1], check_values=[KID], algorithm="A256GCM"
    )
    assert longer[0] == cose(LONG_KEY, b"x", device=1, counter=1, kid=KID)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"payloads": [None]}, "payloads: got null or more than 1024 bytes in row 0"),
        ({"payloads": [bytes(1025)]}, "payloads"),
        ({"keys": [None]}, "keys: got null or a key of another length in row 0"),
        ({"keys": [LONG_KEY]}, "keys"),
        ({"algorithm": "A256GCM"}, "expected 32 bytes for A256GCM"),
        ({"algorithm": "A192GCM"}, "algorithm"),
        ({"devices": ["dlms:4b464d1010000023"]}, "devices"),
        ({"devices": [None]}, "devices"),
        ({"counters": [2**32]}, "counters"),
        ({"counters": [-1]}, "counters"),
        ({"counters": [None]}, "counters"),
        ({"check_values": None}, "check_values: got None"),
        ({"check_values": [b"123"]}, "check_values"),
        ({"counters": [1, 2]}, "counters: got 2 rows, expected 1"),
    ],
)
def test_a_reading_that_cannot_be_made_raises_and_names_the_row(given, message):
    call = {"payloads": [b"x"], "keys": [KEY], "devices": ["ert:1"], "counters": [1], "check_values": [KID]} | given
    with pytest.raises(InputError) as raised:
        protect_readings(call.pop("payloads"), call.pop("keys"), **call)
    assert message in str(raised.value)


def test_a_counter_is_never_used_twice_under_one_key():
    with pytest.raises(InputError, match="counters: got 1 a second time"):
        protect_readings([b"x", b"y"], [KEY] * 2, devices=["ert:1"] * 2, counters=[1, 1], check_values=[KID] * 2)


# Others' vectors: NIST's of AES in the two modes in which a telegram leaves the first block, or the nonce, open


VECTORS = Path(cryptography_vectors.__file__).parent / "ciphers" / "AES"


def nist(file):
    """Yield the vectors of a file as dicts of bytes, by the names that the file gives them."""
    for text in (VECTORS / file).read_text().replace("\r", "").split("\n\n"):
        pairs = (line.partition("=")[::2] for line in text.splitlines() if "=" in line and line[0] not in "#[")
        fields = {name.strip().upper(): value.strip() for name, value in pairs}
        if "KEY" in fields:
            yield {name: bytes.fromhex(value) for name, value in fields.items() if name != "COUNT"}


@pytest.mark.parametrize("name", ["GFSbox", "KeySbox", "MMT", "VarKey", "VarTxt"])
def test_nist_s_vectors_of_cbc_open_as_mode_5(name):
    """The maker's bytes are the first of the IV: chosen so that the plaintext begins with the check bytes."""
    telegrams, keys, payloads = [], [], []
    for vector in nist(f"CBC/CBC{name}128.rsp"):
        data, plain = vector["CIPHERTEXT"], vector["PLAINTEXT"]
        deciphered = bytes(a ^ b for a, b in zip(plain[:16], vector["IV"], strict=True))
        maker = bytes(a ^ 0x2F for a in deciphered[:2])
        meter = Wmbus(address=maker + bytes(6), access=0)
        telegrams.append(meter.whole(meter.header(5, len(data) // 16 << 4) + data))
        keys.append(vector["KEY"])
        payloads.append(b"\x2f\x2f" + deciphered[2:] + plain[16:])
    assert len(telegrams) > 5
    results = open_readings(telegrams, keys, profile="wmbus")
    assert set(results["code"]) == {0}
    assert list(results["payload"]) == payloads


@pytest.mark.parametrize("bits, control", [(128, 0x20), (256, 0x22)])
def test_nist_s_vectors_of_gcm_open_as_encrypted_apdus(bits, control):
    """An APDU that is only encrypted takes the title and counter as nonce, and has no tag to check."""
    vectors = [one for one in nist(f"GCM/gcmEncryptExtIV{bits}.rsp") if len(one["IV"]) == 12]
    assert len(vectors) > 100
    apdus = []
    for vector in vectors:
        body = bytes([control]) + vector["IV"][8:] + vector["CT"]
        apdus.append(bytes([219, 8]) + vector["IV"][:8] + bytes([len(body)]) + body)
    keys = [vector["KEY"] for vector in vectors]
    results = open_readings(apdus, keys, profile="dlms", minimum_assurance=0)
    assert set(results["code"]) == {0}
    assert list(results["payload"]) == [vector["PT"] for vector in vectors]


# Others' libraries


@pytest.mark.slow
def test_pycose_opens_our_readings():
    messages = pytest.importorskip("pycose.messages", reason="pycose is not installed")
    keys_of = pytest.importorskip("pycose.keys")
    for key, algorithm in ((KEY, "A128GCM"), (LONG_KEY, "A256GCM")):
        (reading,) = protect_readings(
            [b"payload"], [key], devices=["ert:7"], counters=[3], check_values=[KID], algorithm=algorithm
        )
        message = messages.CoseMessage.decode(reading)
        assert isinstance(message, messages.Enc0Message)
        message.key = keys_of.SymmetricKey(k=key)
        assert message.decrypt() == b"payload"


def test_readings_by_pycose_open_here():
    messages = pytest.importorskip("pycose.messages", reason="pycose is not installed")
    headers, algorithms, keys_of = (pytest.importorskip(f"pycose.{name}") for name in ("headers", "algorithms", "keys"))
    for key, algorithm in ((KEY, algorithms.A128GCM), (LONG_KEY, algorithms.A256GCM)):
        nonce = (100_000_001).to_bytes(8, "big") + (6).to_bytes(4, "big")
        protected = {headers.Algorithm: algorithm, headers.KID: KID, headers.IV: nonce, 16: "application/x.mtr-read"}
        message = messages.Enc0Message(phdr=protected, payload=b"from pycose", key=keys_of.SymmetricKey(k=key))
        opened = agreed(message.encode(), Keys(key), profile="cose")
        assert opened == Answer(0, 128, 96, "ert:100000001", 6, b"from pycose")


@pytest.mark.slow
def test_a_chance_match_of_the_16_bit_check_opens_a_block():
    """One wrong key in 65,536 passes: the figure of the page, counted over keys that are all wrong."""
    telegram = Wmbus().whole(Wmbus().header(5, 0x10) + cbc_encrypt(KEY, bytes(16), bytes(16)))
    chance = random.Random(1)
    rows = 2_000_000
    keys = np.frombuffer(chance.randbytes(16 * rows), np.uint8).reshape(rows, 16)
    telegrams = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), pa.array([telegram]))
    opened = open_readings(telegrams, keys, profile="wmbus").summary()["code"]["ok"]
    # 30.5 are expected, and five deviations are 28.
    assert 2 <= opened <= 59
