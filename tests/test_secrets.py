"""Nothing that is printed, formatted, pickled, copied, compared, listed, logged or raised has a byte of a secret in it."""

import base64
import copy
import gc
import io
import logging
import pickle
import pprint
import traceback

import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from helpers import token
from itron_core import (
    InputError,
    ItronCoreError,
    KeySource,
    LocalSigner,
    MasterKey,
    PublicKey,
    ReadingKeys,
    derive_key,
    derive_keys,
    open_readings,
    protect_readings,
    verify_tokens,
)
from itron_core import Keyring as Ring

pytestmark = pytest.mark.kernels

DEVICES = ["ert:1", "ert:2", "eui64:00078100aabbccdd"]
# Printable and unlike anything else, so that it would be found in any text.
SECRET = b"~Zq7#Vx!kP0)wJ4@bN9&mT2^hL5*cR8_"
ASK = {"utility": "UTIL0001"}


def keys_and_secrets():
    """Return each object that holds secrets, by name, and the bytes that must not be seen."""
    master = MasterKey.from_bytes(SECRET)
    generated = MasterKey.generate()
    short, long = derive_keys(master, DEVICES, **ASK), derive_keys(master, DEVICES, length=32, **ASK)
    seed = ed25519.Ed25519PrivateKey.from_private_bytes(SECRET)
    scalar = ec.derive_private_key(int.from_bytes(SECRET, "big") >> 1, ec.SECP256R1())
    holders = {
        "master": master,
        "generated": generated,
        "16 bytes": short,
        "32 bytes": long,
        "none": derive_keys(master, [], **ASK),
        "keys by device": ReadingKeys(DEVICES, [SECRET, SECRET[:16], None], [SECRET] * 3),
        "source": KeySource(master, **ASK),
        "Ed25519": LocalSigner(seed),
        "ESP256": LocalSigner(scalar),
    }
    secrets = [SECRET, (int.from_bytes(SECRET, "big") >> 1).to_bytes(32, "big")]
    secrets += [keys.key(row) for keys in (short, long) for row in range(3)]
    return holders, secrets


HOLDERS, SECRETS = keys_and_secrets()


def forms(secret):
    """Return the ways in which bytes are written, whole and by pieces of 8."""
    for at in range(0, len(secret) - 7, 4):
        piece = secret[at : at + 8]
        yield from (piece.hex(), piece.hex().upper(), piece.hex(" "), piece.hex(":"))
        yield from (repr(piece)[2:-1], piece.decode("latin-1"), str(list(piece))[1:-1])
        yield from (str(int.from_bytes(piece, "big")), str(int.from_bytes(piece, "little")))


def assert_shows_nothing(text):
    text = text if isinstance(text, str) else text.decode("latin-1")
    for secret in SECRETS:
        for form in forms(secret):
            assert form not in text


@pytest.mark.parametrize("argument", ["keys", "authentication_keys"])
def test_what_a_producer_says_of_a_key_is_not_repeated(argument):
    """Arrow's export of a pandas column of several types names a value."""
    column = pd.Series([1, SECRET[:16]], dtype=object)
    keys = {"keys": column} if argument == "keys" else {"keys": [SECRET[:16]] * 2, argument: column}
    with pytest.raises(InputError, match="its Arrow export raised Arrow") as caught:
        open_readings([b"", b""], profile="dlms", **keys)
    shown = "".join(traceback.format_exception(caught.value))
    assert not [form for form in forms(SECRET[:16]) if form in shown]


def test_the_search_finds_secrets_that_are_there():
    """Otherwise nothing below would fail."""
    for shown in (SECRET.hex(), repr(SECRET), str(list(SECRET)), SECRETS[-1].hex(), repr(SECRETS[2])):
        with pytest.raises(AssertionError):
            assert_shows_nothing("before " + shown + " behind")


@pytest.mark.parametrize("name", HOLDERS)
def test_no_way_of_printing_shows_a_byte(name):
    held = HOLDERS[name]
    shown = [
        repr(held),
        str(held),
        f"{held}",
        f"{held!s}",
        f"{held!r}",
        f"{held!a}",
        format(held),
        "%s %r".__mod__((held, held)),
    ]
    shown += [pprint.pformat([held, {"key": held}]), ascii(held), repr([held]), repr({"a": (held,)})]
    for text in shown:
        assert_shows_nothing(text)


@pytest.mark.parametrize("name", HOLDERS)
def test_no_attribute_shows_a_byte(name):
    """dir, vars, every attribute that is no method, and what hash says."""
    held = HOLDERS[name]
    shown = [str(dir(held))]
    if hasattr(held, "__dict__"):
        shown.append(repr(vars(held)))
    else:
        with pytest.raises(TypeError):
            vars(held)
    for attribute in dir(held):
        value = getattr(held, attribute, None)
        shown.append(repr(value))
        if isinstance(value, (bytes, str)):
            shown.append(str(value))
    for text in shown:
        assert_shows_nothing(text)


@pytest.mark.parametrize("name", HOLDERS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickle_is_made(name, protocol):
    with pytest.raises(TypeError) as refused:
        pickle.dumps(HOLDERS[name], protocol)
    assert_shows_nothing(str(refused.value))
    buffer = io.BytesIO()
    with pytest.raises(TypeError):
        pickle.Pickler(buffer, protocol).dump([HOLDERS[name]])
    assert_shows_nothing(buffer.getvalue())


@pytest.mark.parametrize("name", HOLDERS)
@pytest.mark.parametrize(
    "leak", [copy.copy, copy.deepcopy, lambda held: held.__reduce__(), lambda held: held.__reduce_ex__(4)]
)
def test_no_copy_is_made(name, leak):
    with pytest.raises(TypeError) as refused:
        leak(HOLDERS[name])
    assert_shows_nothing("".join(traceback.format_exception(refused.value)))


@pytest.mark.parametrize("name", HOLDERS)
def test_nothing_is_a_buffer_a_sequence_or_a_state(name):
    """memoryview, bytes, iteration, indexing: what the keys are is asked for by name alone."""
    held = HOLDERS[name]
    for take in (
        memoryview,
        bytes,
        bytearray,
        list,
        tuple,
        iter,
        dict,
        lambda held: held[0],
        lambda held: held + b"",
        lambda held: b"%b" % held,
    ):
        with pytest.raises(TypeError) as refused:
            take(held)
        assert_shows_nothing(str(refused.value))
    assert not hasattr(held, "__arrow_c_array__")
    assert not hasattr(held, "__getnewargs__")


def test_equality_gives_nothing_away():
    """Two objects of the same secret are not equal, and an object is equal to itself alone."""
    first, second = MasterKey.from_bytes(SECRET), MasterKey.from_bytes(SECRET)
    assert first != second
    assert first == first  # noqa: PLR0124  # what is asked
    assert first not in (SECRET, SECRET.hex(), bytearray(SECRET))
    assert hash(first) != hash(second)
    keys, same = derive_keys(first, DEVICES, **ASK), derive_keys(second, DEVICES, **ASK)
    assert keys.key(0) == same.key(0)
    assert keys != same
    assert keys not in (keys.key(0), keys.to_buffer())
    with pytest.raises(TypeError):
        first < second  # noqa: B015  # asked for its refusal


def test_the_subclass_that_would_look_inside_is_not_made():
    for kind in (MasterKey, type(HOLDERS["16 bytes"])):
        with pytest.raises(TypeError):
            type("Leaky", (kind,), {})
        with pytest.raises(TypeError):
            kind()
        with pytest.raises(AttributeError):
            HOLDERS["master"].note = SECRET


@pytest.mark.parametrize(
    "call",
    [
        lambda: derive_key(HOLDERS["master"], "no device", **ASK),
        lambda: derive_key(HOLDERS["master"], "ert:1", utility="much too long a utility"),
        lambda: derive_key(HOLDERS["master"], "ert:1", kdf="kbkdf-cmac-aes128", **ASK),
        lambda: derive_keys(HOLDERS["master"], ["ert:1", None], **ASK),
        lambda: derive_keys(HOLDERS["master"], 7, **ASK),
        lambda: derive_keys(HOLDERS["master"], DEVICES, length=17, **ASK),
        lambda: HOLDERS["16 bytes"].key(3),
        lambda: HOLDERS["32 bytes"].key("first"),
        lambda: ReadingKeys(["ert:1", "ert:1"], [SECRET] * 2),
        lambda: ReadingKeys([SECRET], [SECRET[:16]], [SECRET.hex()] * 2),
        lambda: KeySource(HOLDERS["master"], utility="much too long a utility"),
        lambda: open_readings([b""], [SECRET] * 2, profile="wmbus"),
        lambda: protect_readings([b"x"], [SECRET], devices=["ert:1"], counters=[1], check_values=[b"kcv4"]),
        lambda: MasterKey.from_bytes(SECRET[:15]),
        lambda: MasterKey.from_bytes(SECRET.decode()),
        lambda: MasterKey.from_bytes([*SECRET]),
        lambda: LocalSigner(SECRET),
        lambda: LocalSigner.from_pem(SECRET),
        lambda: LocalSigner.from_pem(pem(), b"wrong"),
        lambda: LocalSigner.from_pem(pem()[:100]),
    ],
)
def test_no_exception_shows_a_byte(call, caplog):
    """Neither its message, nor its arguments, nor what logging makes of it."""
    with pytest.raises((ItronCoreError, TypeError, IndexError)) as raised:
        call()
    error = raised.value
    shown = [str(error), repr(error), repr(error.args), "".join(traceback.format_exception_only(error))]
    try:
        raise error
    except type(error):
        logging.getLogger("secrets").exception("refused: %s %r", error, error)
    chained = [error.__cause__, error.__context__]
    shown += [repr(one) for one in chained] + [record.getMessage() for record in caplog.records]
    # The source lines of this file that a traceback quotes hold no value of a secret.
    shown.append(caplog.text.replace("SECRET", ""))
    for text in shown:
        assert_shows_nothing(text)


def pem():
    return LOCAL_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


LOCAL_KEY = ed25519.Ed25519PrivateKey.from_private_bytes(SECRET)


def test_a_broken_pem_of_a_private_key_is_not_quoted():
    for text in (pem(), pem().decode(), pem()[:-40]):
        with pytest.raises(ItronCoreError) as refused:
            Ring.from_jwks(text)
        assert base64.b64encode(SECRET)[:16].decode() not in str(refused.value)
        with pytest.raises(ItronCoreError) as refused:
            PublicKey.from_pem(text)
        assert base64.b64encode(SECRET)[:16].decode() not in str(refused.value)


@pytest.mark.slow
def test_keys_exported_by_name_belong_to_the_caller():
    """A buffer of the keys is read-only, stays when the object goes, and is another one each time."""
    keys = derive_keys(HOLDERS["master"], DEVICES, **ASK)
    first, second = keys.to_buffer(), keys.to_buffer()
    wanted = first.tobytes()
    assert first.readonly
    with pytest.raises(TypeError):
        first[0, 0] = 0
    del keys, second
    gc.collect()
    assert first.tobytes() == wanted


def test_results_of_tokens_hold_public_data_alone():
    """A refused token's claims are not told anywhere in what people see of the results."""
    made = token(sub="worker who must not be named")
    forged = made[:-1] + bytes([made[-1] ^ 1])
    results = verify_tokens([forged], Ring([]), now=1_795_000_000)
    for text in (repr(results), str(results), results._repr_html_()):
        assert "worker" not in text


def test_results_of_readings_hold_no_key():
    """Neither opened nor refused rows, nor any sentence or table that is made of them, have a byte of a key."""
    keys = HOLDERS["16 bytes"]
    readings = protect_readings([b"payload"] * 3, keys, devices=DEVICES, counters=[1, 2, 3])
    damaged = [bytes(reading)[:-1] for reading in readings]
    for held in (keys, HOLDERS["source"], HOLDERS["keys by device"], [SECRET[:16]] * 3, [SECRET.hex()] * 3):
        for telegrams in (readings, damaged, [SECRET] * 3):
            results = open_readings(telegrams, held, profile="cose")
            shown = [repr(results), results._repr_html_(), str(results.summary()), str(results.to_pydict()["device"])]
            shown += [results.explain(row) for row in range(3)]
            shown += [str(table.to_pydict()) for table in (results.devices(), results.missing_keys())]
            for text in shown:
                assert_shows_nothing(text)


def test_gc_finds_no_bytes_in_a_holder():
    """What Python's own collector can reach from an object is no buffer."""
    for held in HOLDERS.values():
        for referent in gc.get_referents(held):
            assert not isinstance(referent, (bytes, bytearray, memoryview))
