"""Keys in an HSM: a real SoftHSM 2, whose tokens lie in a temporary folder; skipped where the library is not installed."""

import copy
import ctypes
import hashlib
import itertools
import os
import pickle
import shutil
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itron_core import (
    InputError,
    ItronCoreError,
    KeyRefused,
    Keyring,
    KeyringEntry,
    MasterKey,
    PinRefused,
    Signer,
    SignerError,
    derive_keys,
    issue_tokens,
    protect_readings,
    verify_signatures,
    verify_tokens,
)
from itron_core.hsm import Pkcs11MasterKey, Pkcs11Signer, login, master_key
from itron_core.hsm import signer as signer_module
from itron_core.hsm.master_key import LABELS, fixed_input
from itron_core.hsm.signer import point_of
from reference.build_readings import Wmbus, dlms

pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")

PLACES = (
    *("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm.so", "/usr/lib64/libsofthsm2.so"),
    *("/usr/local/lib/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so"),
)
TOKEN = "test token"
PIN = "K7-pin-Zq"
WRONG_PIN = "wR0ng-Pin-xY"
SO_PIN = "so-87654321"
NOW = 1_795_000_000
ALGORITHMS = ("Ed25519", "ESP256")
UTILITY = "UTIL0001"
DEVICES = ["ert:100000001", "ert:0", "eui64:00078100aabbccdd"]
MASTER = bytes(range(32))
KDFS = {"kbkdf-hmac-sha256": MASTER, "kbkdf-cmac-aes256": MASTER, "kbkdf-cmac-aes128": MASTER[:16]}


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """Return the path of the module; its tokens are in a new folder, for this process and those that it starts."""
    named = os.environ.get("ITRON_CORE_PKCS11_MODULE")
    found = named or next((place for place in PLACES if Path(place).exists()), None)
    if found is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM 2 is not installed (Debian's softhsm2), nor named by ITRON_CORE_PKCS11_MODULE")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    return str(Path(found).resolve())


@pytest.fixture(scope="session")
def new_token(library):
    """Return a folder with a new token in it, to be copied: making one takes SoftHSM a while."""
    make_token(library)
    return tokens_folder().rename(tokens_folder().with_name("new"))


@pytest.fixture
def token(library, new_token):
    """Return the label of a new token, the only one."""
    shutil.rmtree(tokens_folder(), ignore_errors=True)
    shutil.copytree(new_token, tokens_folder())
    restart(library)
    return TOKEN


@pytest.fixture
def at(library, token):
    """Return the arguments that say where a key is."""
    return {"library": library, "token": token, "pin": PIN}


@pytest.fixture(params=ALGORITHMS)
def signer(request, at):
    with Pkcs11Signer.generate(**at, label="issuing", algorithm=request.param) as signer:
        yield signer


@pytest.fixture
def master(at):
    with Pkcs11MasterKey.import_bytes(MASTER, **at, label="master") as master:
        yield master


def make_token(library):
    new = ["softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", SO_PIN]
    subprocess.run([*new, "--module", library], check=True, capture_output=True)


def tokens_folder():
    return Path(os.environ["SOFTHSM2_CONF"]).parent / "tokens"


def restart(library):
    """End every session of this process, as an HSM that was switched off does."""
    pkcs11.lib(library).reinitialize()


def session_of(at, *, pin=PIN):
    """Return a session beside the signer's, as another program in this process would open it."""
    module = pkcs11.lib(at["library"])
    token = module.get_token(token_label=at["token"])
    try:
        return token.open(rw=True, user_pin=pin)
    except pkcs11.UserAlreadyLoggedIn:
        return token.open(rw=True)


def another_process(script, at, **more):
    """Run `script` with `at` in a process of its own and return what it printed; it must end well."""
    head = f"at = {at!r}\nimport os, sys\nfrom itron_core.hsm import *\nfrom itron_core import *\n"
    done = subprocess.run(
        [sys.executable, "-c", head + script], capture_output=True, text=True, check=False, env=os.environ | more
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.split()


# Signing


def test_a_signature_verifies(signer):
    message = b"what is signed"
    signature = signer.sign(message)
    assert verify_signatures(signer.public_key, [message], [signature])["code"].to_pylist() == [0]
    assert verify_signatures(signer.public_key, [message + b"!"], [signature])["code"].to_pylist() != [0]


def test_many_come_in_order_as_rows(signer):
    messages = [f"message {n}".encode() * n for n in range(1, 300)]
    signatures = signer.sign_many(messages)
    assert signatures.shape == (299, 64)
    rows = [bytes(signatures.cast("B")[at : at + 64]) for at in range(0, 299 * 64, 64)]
    assert verify_signatures(signer.public_key, messages, rows)["code"].to_pylist() == [0] * 299


@pytest.mark.parametrize("message", [b"", bytes(1), bytes(100_000)], ids=len)
def test_messages_of_any_length(signer, message):
    assert verify_signatures(signer.public_key, [message], [signer.sign(message)])["code"].to_pylist() == [0]


def test_no_messages_are_no_signatures(signer):
    assert bytes(signer.sign_many([])) == b""


def test_ed25519_is_that_of_rfc_8032(at):
    """The same key in `cryptography` signs the same bytes: Ed25519 leaves no choice."""
    from cryptography.hazmat.primitives.asymmetric import ed25519

    outside = ed25519.Ed25519PrivateKey.from_private_bytes(MASTER)
    import_pair(at, "known", outside)
    with Pkcs11Signer(**at, label="known") as signer:
        assert signer.public_key.raw == outside.public_key().public_bytes_raw()
        assert signer.sign(b"abc") == outside.sign(b"abc")


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("length", [32, 65])
def test_a_point_is_an_octet_string_or_raw(length, raw):
    point = bytes([4]) * length
    assert point_of(point if raw else bytes([4, length]) + point, length) == point


@pytest.mark.parametrize("data", [b"", b"\4\x20", bytes(31), bytes(33), b"\4\x20" + bytes(31), b"\3\x20" + bytes(32)])
def test_another_point_is_refused(data):
    with pytest.raises(SignerError, match="a public point of"):
        point_of(data, 32)


def test_tokens_are_issued_and_verify(signer):
    assert isinstance(signer, Signer)
    count = 50
    request = {"device": [f"ert:{n}" for n in range(count)], "actions": [["read_endpoint"]] * count}
    request |= {"sequence": [7] * count, "epoch": [0] * count}
    tokens = issue_tokens(request, signer, now=NOW)
    keyring = Keyring([KeyringEntry(signer.public_key, issuer="HSM")])
    assert verify_tokens(tokens, keyring, now=NOW, audience=request["device"])["code"].to_pylist() == [0] * count


def test_a_key_is_found_by_label_by_id_or_by_both(at):
    key_id = b"\1\2\3"
    made = Pkcs11Signer.generate(**at, label="by name", key_id=key_id)
    for name in ({"label": "by name"}, {"key_id": key_id}, {"label": "by name", "key_id": key_id}):
        assert Pkcs11Signer(**at, **name).public_key == made.public_key
    with pytest.raises(SignerError, match="no private keys of that name"):
        Pkcs11Signer(**at, label="by name", key_id=b"\1\2\4")


def test_a_pin_is_text_or_bytes_or_comes_from_a_callable(at):
    made = Pkcs11Signer.generate(**at, label="issuing")
    made.close()
    for pin in (PIN, PIN.encode(), lambda: PIN, PIN.encode):
        with Pkcs11Signer(**at | {"pin": pin}, label="issuing") as signer:
            assert signer.public_key == made.public_key


def test_threads_share_a_signer_and_a_token(at):
    """Two signers and a master key of one token, used by six threads at once."""
    signers = [Pkcs11Signer.generate(**at, label=name, algorithm=name) for name in ALGORITHMS]
    master = Pkcs11MasterKey.import_bytes(MASTER, **at, label="master")
    wanted = derive_keys(MasterKey.from_bytes(MASTER), DEVICES, utility=UTILITY)
    failures = []

    def work(number):
        try:
            signer = signers[number % 2]
            for turn in range(20):
                messages = [f"{number} {turn} {n}".encode() for n in range(10)]
                flat = signer.sign_many(messages).cast("B")
                rows = [bytes(flat[at : at + 64]) for at in range(0, 640, 64)]
                assert verify_signatures(signer.public_key, messages, rows)["code"].to_pylist() == [0] * 10
                assert master.derive_keys(DEVICES, utility=UTILITY).key(1) == wanted.key(1)
        except BaseException as error:  # noqa: BLE001  # a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# Keys stay


def test_a_generated_key_cannot_be_read_out(signer, at):
    session = session_of(at)
    private = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label="issuing")
    assert private[pkcs11.Attribute.NEVER_EXTRACTABLE]
    assert private[pkcs11.Attribute.ALWAYS_SENSITIVE]
    with pytest.raises(pkcs11.AttributeSensitive):
        private[pkcs11.Attribute.VALUE]
    with pytest.raises(pkcs11.PKCS11Error):
        private[pkcs11.Attribute.EXTRACTABLE] = True


@pytest.mark.parametrize("kdf", KDFS)
def test_a_master_key_cannot_be_read_out(at, kdf):
    made = Pkcs11MasterKey.generate(**at, label="made", kdf=kdf, length=len(KDFS[kdf]))
    moved = Pkcs11MasterKey.import_bytes(KDFS[kdf], **at, label="moved", kdf=kdf)
    assert made.kdf == moved.kdf == kdf
    for label in ("made", "moved"):
        key = session_of(at).get_key(object_class=pkcs11.ObjectClass.SECRET_KEY, label=label)
        with pytest.raises(pkcs11.AttributeSensitive):
            key[pkcs11.Attribute.VALUE]
        with pytest.raises(pkcs11.PKCS11Error):
            key[pkcs11.Attribute.SENSITIVE] = False


@pytest.mark.parametrize("leaves", [{"EXTRACTABLE": True}, {"SENSITIVE": False}])
def test_a_key_that_may_leave_is_refused(at, leaves):
    template = {pkcs11.Attribute[name]: value for name, value in leaves.items()}
    session = session_of(at)
    session.generate_key(pkcs11.KeyType.GENERIC_SECRET, 256, label="m", store=True, template=template)
    generate_pair(session, "s", bytes.fromhex("06032b6570"), **template_names(template))
    with pytest.raises(SignerError, match="is extractable"):
        Pkcs11MasterKey(**at, label="m")
    with pytest.raises(SignerError, match="is extractable"):
        Pkcs11Signer(**at, label="s")


def template_names(template):
    return {attribute.name: value for attribute, value in template.items()}


def generate_pair(session, label, curve, *, key_type=pkcs11.KeyType.EC_EDWARDS, key_id=b"", **private):
    form = {"EXTRACTABLE": False, "SENSITIVE": True} | private
    parameters = session.create_domain_parameters(key_type, {pkcs11.Attribute.EC_PARAMS: curve}, local=True)
    template = {pkcs11.Attribute[name]: value for name, value in form.items()}
    return parameters.generate_keypair(label=label, id=key_id, store=True, private_template=template)


def import_pair(at, label, key):
    """Put an Ed25519 key of `cryptography` into the token."""
    name = pkcs11.Attribute
    curve = bytes.fromhex("06032b6570")
    common = {name.KEY_TYPE: pkcs11.KeyType.EC_EDWARDS, name.TOKEN: True, name.LABEL: label, name.EC_PARAMS: curve}
    secret = {name.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, name.VALUE: key.private_bytes_raw(), name.SIGN: True}
    stays = {name.PRIVATE: True, name.SENSITIVE: True, name.EXTRACTABLE: False}
    point = b"\4\x20" + key.public_key().public_bytes_raw()
    session = session_of(at)
    session.create_object(common | secret | stays)
    session.create_object(common | {name.CLASS: pkcs11.ObjectClass.PUBLIC_KEY, name.EC_POINT: point})


def test_nothing_that_holds_a_session_is_pickled_copied_or_shows_the_pin(signer, master):
    keys = master.derive_keys(DEVICES, utility=UTILITY)
    for held in (signer, master, keys):
        for way in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot be pickled or copied"):
                way(held)
        assert not hasattr(held, "__dict__")
        for text in (repr(held), str(held), f"{held}"):
            assert PIN not in text
            assert all(keys.key(n).hex() not in text and repr(keys.key(n))[2:-1] not in text for n in range(3))


# Derivation


def context_free(kdf, ids, **ask):
    return derive_keys(MasterKey.from_bytes(KDFS[kdf]), ids, kdf=kdf, **ask)


@pytest.mark.parametrize("kdf", KDFS)
@pytest.mark.parametrize("length", [16, 32])
def test_the_hsm_derives_the_same_keys_as_derive_keys(at, kdf, length):
    with Pkcs11MasterKey.import_bytes(KDFS[kdf], **at, label="master", kdf=kdf) as master:
        for label in LABELS:
            for extra in (None, b"", bytes(32)):
                ask = {"utility": UTILITY, "label": label, "key_version": 4, "length": length, "extra": extra}
                wanted, keys = context_free(kdf, DEVICES, **ask), master.derive_keys(DEVICES, **ask)
                assert len(keys) == 3
                assert [keys.key(n) for n in range(-3, 3)] == [wanted.key(n) for n in range(-3, 3)]
                assert keys.to_buffer().tolist() == wanted.to_buffer().tolist()
                assert keys.check_values().tolist() == wanted.check_values().tolist()
                del ask["label"], ask["length"]
                assert master.check_values(DEVICES, **ask).tolist() == wanted.check_values().tolist()


def test_the_worked_example_of_the_format(master):
    ask = {"utility": UTILITY, "label": "read-enc", "key_version": 4}
    assert master.derive_keys(DEVICES[:1], **ask).key(0).hex() == "3542c8265c8ee1d264deb965e9a1b33c"
    long = "e9889755415327923b40faac36ebed058330232e2358274169a1ac9b13d807dc"
    assert master.derive_keys(DEVICES[:1], length=32, **ask).key(0).hex() == long


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.binary(min_size=16, max_size=64),
    st.integers(0, 2**64 - 1),
    st.fixed_dictionaries(
        {
            "label": st.sampled_from(LABELS),
            "utility": st.binary(min_size=1, max_size=16)
            | st.text(st.characters(codec="ascii"), min_size=1, max_size=16),
            "key_version": st.integers(0, 2**64 - 1) | st.integers(0, 300),
            "length": st.sampled_from([16, 32]),
            "extra": st.none() | st.binary(max_size=32),
        }
    ),
)
def test_the_fixed_input_is_that_of_rust(secret, device, ask):
    """One HMAC over it, outside any token, is what Rust derives."""
    import hmac

    ident = device.to_bytes(8)
    wanted = derive_keys(MasterKey.from_bytes(secret), [ident], **ask).key(0)
    assert hmac.digest(secret, b"\0\0\0\1" + fixed_input(ident, **ask), hashlib.sha256)[: ask["length"]] == wanted


def test_device_ids_come_in_any_column(master):
    wanted = derive_keys(MasterKey.from_bytes(MASTER), DEVICES, utility=UTILITY).to_buffer().tolist()
    raw = [(100_000_001).to_bytes(8), bytes(8), bytes.fromhex("00078100aabbccdd")]
    for column in (DEVICES, tuple(DEVICES), iter(DEVICES), raw, pa.array(DEVICES), pa.array(raw, pa.binary(8))):
        assert master.derive_keys(column, utility=UTILITY).to_buffer().tolist() == wanted
    assert len(master.derive_keys([], utility=UTILITY)) == 0
    assert bytes(master.check_values([], utility=UTILITY)) == b""


WRONG = [
    {"utility": ""},
    {"utility": b"x" * 17},
    {"utility": "Ü"},
    {"utility": 5},
    {"label": "read"},
    {"key_version": -1},
    {"key_version": 1 << 64},
    {"key_version": 1.0},
    {"length": 24},
    {"length": 0},
    {"extra": bytes(33)},
    {"extra": "text"},
    {"device_ids": "ert:1"},
    {"device_ids": [None]},
    {"device_ids": ["ert:01"]},
    {"device_ids": [bytes(7)]},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_the_hsm_refuses_the_same_arguments_as_derive_keys(master, wrong):
    ask = {"device_ids": DEVICES, "utility": UTILITY} | wrong
    with pytest.raises(InputError):
        master.derive_keys(**ask)


def test_keys_by_a_wrong_index_raise(master):
    keys = master.derive_keys(DEVICES, utility=UTILITY)
    for index in (3, -4):
        with pytest.raises(IndexError):
            keys.key(index)


@pytest.mark.parametrize(
    "kdf,length", [("kbkdf-hmac-sha256", 15), ("kbkdf-cmac-aes256", 16), ("kbkdf-cmac-aes128", 32)]
)
def test_a_master_key_of_a_wrong_length_is_refused(at, kdf, length):
    with pytest.raises(KeyRefused):
        Pkcs11MasterKey.import_bytes(bytes(length), **at, label="short", kdf=kdf)
    with pytest.raises(InputError, match="kdf: got 'hkdf-sha256'"):
        Pkcs11MasterKey.generate(**at, label="hkdf", kdf="hkdf-sha256")


# What is not there, or not as it should be


def test_a_missing_or_invalid_library_raises(at, tmp_path):
    (tmp_path / "text.so").write_text("no library")
    for library in ("/nowhere/lib.so", str(tmp_path / "text.so"), "no-such-library.so", "", "a\0b.so", "/"):
        with pytest.raises(SignerError, match="cannot be loaded"):
            Pkcs11Signer(**at | {"library": library}, label="issuing")


def test_a_token_that_is_missing(at):
    with pytest.raises(SignerError, match='no token "none"'):
        Pkcs11Signer(**at | {"token": "none"}, label="issuing")


def test_two_tokens_of_one_label(at):
    make_token(at["library"])
    restart(at["library"])
    with pytest.raises(SignerError, match="two tokens"):
        Pkcs11Signer(**at, label="issuing")


def test_a_key_that_is_missing_or_has_no_name(at):
    for kind, word in ((Pkcs11Signer, "private"), (Pkcs11MasterKey, "secret")):
        with pytest.raises(SignerError, match=f'"none" of token .*: found no {word} keys of that name'):
            kind(**at, label="none")
        with pytest.raises(InputError, match="label, key_id: got neither"):
            kind(**at)
        with pytest.raises(InputError, match="label, key_id: got neither"):
            kind.generate(**at, label="")


@pytest.mark.parametrize(
    "wrong",
    [
        {"library": 5},
        {"library": b"x.so"},
        {"token": 5},
        {"token": None},
        {"label": b"x"},
        {"label": "\ud800"},
        {"key_id": "ab"},
    ],
    ids=str,
)
def test_names_of_wrong_types(at, wrong):
    with pytest.raises(InputError):
        Pkcs11Signer(**at | {"label": "issuing"} | wrong)


def test_a_library_by_another_name_is_the_same(at, tmp_path):
    """As a path, and by a link: a library that is started twice in a process would refuse."""
    link = tmp_path / "hsm.so"
    link.symlink_to(at["library"])
    made = Pkcs11Signer.generate(**at, label="issuing")
    for library in (Path(at["library"]), link, str(link)):
        with Pkcs11Signer(**at | {"library": library}, label="issuing") as signer:
            assert signer.public_key == made.public_key


def test_two_keys_of_one_label(at):
    session = session_of(at)
    for key_id in (b"1", b"2"):
        generate_pair(session, "twice", bytes.fromhex("06032b6570"), key_id=key_id)
    with pytest.raises(SignerError, match="2 private keys of that name"):
        Pkcs11Signer(**at, label="twice")
    Pkcs11Signer(**at, label="twice", key_id=b"2")


def test_a_label_is_given_once(signer, master, at):
    for make in (Pkcs11Signer.generate, Pkcs11MasterKey.generate):
        for label in ("issuing", "master"):
            with pytest.raises(SignerError, match="an object of that label exists"):
                make(**at, label=label)


def test_keys_of_other_kinds(at):
    session = session_of(at)
    generate_pair(session, "P-384", bytes.fromhex("06052b81040022"), key_type=pkcs11.KeyType.EC)
    stays = {pkcs11.Attribute.EXTRACTABLE: False, pkcs11.Attribute.SENSITIVE: True}
    session.generate_keypair(pkcs11.KeyType.RSA, 2048, label="RSA", store=True, private_template=stays)
    session.generate_key(pkcs11.KeyType.AES, 192, label="AES", store=True, template=stays)
    with pytest.raises(SignerError, match="an unsupported curve"):
        Pkcs11Signer(**at, label="P-384")
    with pytest.raises(SignerError, match="a key for RSA"):
        Pkcs11Signer(**at, label="RSA")
    with pytest.raises(SignerError, match="a key of 24 bytes for AES"):
        Pkcs11MasterKey(**at, label="AES")
    with pytest.raises(InputError, match="algorithm: got 'RSA'"):
        Pkcs11Signer.generate(**at, label="new", algorithm="RSA")


def test_a_pair_without_its_public_key(at):
    public, _ = generate_pair(session_of(at), "half", bytes.fromhex("06032b6570"))
    public.destroy()
    with pytest.raises(SignerError, match="no public keys"):
        Pkcs11Signer(**at, label="half")


def test_a_public_key_of_small_order(at):
    """The point of the neutral element: each token may hold it, no verifier may take it."""
    name, neutral = pkcs11.Attribute, b"\4\x20\1" + bytes(31)
    session = session_of(at)
    public, _ = generate_pair(session, "weak", bytes.fromhex("06032b6570"))
    public.destroy()
    form = {name.CLASS: pkcs11.ObjectClass.PUBLIC_KEY, name.KEY_TYPE: pkcs11.KeyType.EC_EDWARDS, name.LABEL: "weak"}
    form |= {name.TOKEN: True, name.EC_PARAMS: bytes.fromhex("06032b6570"), name.EC_POINT: neutral}
    session.create_object(form)
    with pytest.raises(KeyRefused):
        Pkcs11Signer(**at, label="weak")


def test_messages_are_bytes(signer):
    for wrong in (["text"], [None], [bytearray(b"x")], [b"good", 5]):
        with pytest.raises(InputError, match="message: got"):
            signer.sign_many(wrong)
    with pytest.raises(InputError, match="message: got str"):
        signer.sign("text")


# The PIN


def tries(at):
    """Return whether the token says that few tries are left: set by a wrong PIN, cleared by a right one."""
    module = pkcs11.lib(at["library"])
    return bool(module.get_token(token_label=at["token"]).flags & pkcs11.TokenFlag.USER_PIN_COUNT_LOW)


def shown(error):
    """Return all that a logger would write of an error, of its causes and of what it was raised from."""
    texts = [*traceback.format_exception(error)]
    while error is not None:
        texts += [repr(error), str(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return "".join(texts)


def test_a_wrong_pin_is_refused_and_not_shown(at):
    Pkcs11Signer.generate(**at, label="issuing").close()
    with pytest.raises(PinRefused, match="was refused") as caught:
        Pkcs11Signer(**at | {"pin": WRONG_PIN}, label="issuing")
    assert isinstance(caught.value, SignerError)
    assert tries(at)
    for secret in (PIN, WRONG_PIN):
        assert secret not in shown(caught.value)
    for wrong in ("", "x" * 300):
        with pytest.raises(PinRefused):
            Pkcs11Signer(**at | {"pin": wrong}, label="issuing")


@pytest.mark.parametrize(
    "pin", [b"\xff" + WRONG_PIN.encode(), "\ud800" + WRONG_PIN, 12_345_678, None, lambda: 87_654_321]
)
def test_a_pin_that_is_none_reaches_no_token(at, pin):
    with pytest.raises(InputError, match="pin: ") as caught:
        Pkcs11Signer(**at | {"pin": pin}, label="issuing")
    assert not tries(at)
    assert not any(secret in shown(caught.value) for secret in (WRONG_PIN, "12345678", "12_345_678", "87654321"))


def test_a_pin_that_was_refused_is_never_tried_again(at, library):
    """The PIN was changed behind the signer's back: one try, whatever is called after that."""
    asked = []
    signer = Pkcs11Signer.generate(**at | {"pin": lambda: asked.append(1) or PIN}, label="issuing")
    session_of(at).set_pin(PIN, "another PIN")
    restart(library)
    asked.clear()
    for _ in range(5):
        with pytest.raises(PinRefused):
            signer.sign(b"message")
    assert asked == [1]
    assert tries(at)
    with Pkcs11Signer(**at | {"pin": "another PIN"}, label="issuing") as fresh:
        assert fresh.public_key == signer.public_key
    assert not tries(at)


@pytest.mark.parametrize(
    "number,raised,words",
    [
        (0xA4, PinRefused, "is locked; its security officer"),
        (0xA3, PinRefused, "has expired"),
        (0xA1, PinRefused, "was refused"),
        (0x102, SignerError, "cannot log in .*error 0x102"),
        (0x30, SignerError, "cannot log in .*error 0x30"),
    ],
)
def test_pin_errors_of_other_tokens_are_recognised(at, monkeypatch, number, raised, words):
    """SoftHSM locks no PIN and lets none expire: these are the numbers of PKCS#11 that others return."""
    real = login._function

    def answering(listed, which, *arguments):
        return (lambda *_: number) if which == login.LOGIN else real(listed, which, *arguments)

    monkeypatch.setattr(login, "_function", answering)
    with pytest.raises(raised, match=words):
        Pkcs11Signer(**at, label="issuing")
    assert not sessions_of(at)


def sessions_of(at):
    """Return the handles of the sessions that are open in this process, as the library itself counts them."""
    listed = ctypes.POINTER(login._FunctionList)()
    ctypes.CDLL(at["library"]).C_GetFunctionList(ctypes.byref(listed))
    info = login._function(listed.contents, 15, ctypes.c_ulong, ctypes.c_char_p)
    return [handle for handle in range(1, 3_000) if info(handle, ctypes.create_string_buffer(64)) == 0]


def test_no_session_is_left_by_keys_that_are_closed_or_a_pin_that_is_refused(at, signer, master):
    open_before = sessions_of(at)
    assert len(open_before) == 2
    for _ in range(3):
        with Pkcs11Signer(**at, label="issuing") as beside, Pkcs11MasterKey(**at, label="master"):
            beside.sign(b"m")
    assert sessions_of(at) == open_before
    signer.close()
    master.close()
    assert not sessions_of(at)
    for _ in range(3):
        with pytest.raises(PinRefused):
            Pkcs11Signer(**at | {"pin": WRONG_PIN}, label="issuing")
    assert not sessions_of(at)


def test_a_key_stays_logged_in_when_another_is_closed(at, signer, master):
    signer.close()
    assert len(master.derive_keys(DEVICES, utility=UTILITY)) == len(DEVICES)


# Faults


def test_a_session_that_was_lost_is_opened_again(signer, master, library):
    wanted = bytes(master.check_values(DEVICES, utility=UTILITY))
    restart(library)
    assert verify_signatures(signer.public_key, [b"m"], [signer.sign(b"m")])["code"].to_pylist() == [0]
    assert bytes(master.check_values(DEVICES, utility=UTILITY)) == wanted


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_handles_of_before_are_never_another_key_s(at, library, algorithm):
    """After a restart the numbers of sessions and keys start again: a neighbour's may be those that were ours."""
    names = [f"key {n}" for n in range(4)]
    signers = [Pkcs11Signer.generate(**at, label=name, algorithm=algorithm) for name in names]
    masters = [Pkcs11MasterKey.generate(**at, label=f"master {name}") for name in names]
    wanted = [bytes(master.check_values(DEVICES, utility=UTILITY)) for master in masters]
    for step in (1, -1):
        restart(library)
        for signer in signers[::step]:
            assert verify_signatures(signer.public_key, [b"m"], [signer.sign(b"m")])["code"].to_pylist() == [0]
        restart(library)
        assert [bytes(one.check_values(DEVICES, utility=UTILITY)) for one in masters[::step]] == wanted[::step]


def test_a_session_closed_by_others_is_reopened(signer):
    signer._key._session.close()
    assert signer.sign_many([b"a", b"b"]).shape == (2, 64)


def test_a_logout_of_another_signer_is_harmless(signer, at):
    """Closing one key logs the process out of the token; another logs in again."""
    with Pkcs11MasterKey.generate(**at, label="neighbour"):
        pass
    session = session_of(at)
    session.close()
    assert len(signer.sign(b"m")) == 64


def test_a_session_lost_in_the_middle_of_a_batch(signer, library):
    """The batch is signed again from its start: none is missing, none is out of place."""

    class Breaking(list):
        def __iter__(self):
            for number, message in enumerate(super().__iter__()):
                if number == 50 and not broken and signer._key._session is not None and checked:
                    broken.append(1)
                    restart(library)
                yield message
            checked.append(1)

    broken, checked = [], []
    messages = Breaking(f"{n}".encode() for n in range(100))
    flat = signer.sign_many(messages).cast("B")
    assert broken
    rows = [bytes(flat[at : at + 64]) for at in range(0, 6400, 64)]
    assert verify_signatures(signer.public_key, list(messages), rows)["code"].to_pylist() == [0] * 100


def test_a_token_that_was_taken_away(signer, library):
    """Refused while it is away, and good again when it is back."""
    tokens = tokens_folder()
    tokens.rename(tokens.with_name("away"))
    tokens.mkdir()
    try:
        restart(library)
        for _ in range(2):
            with pytest.raises(SignerError, match="no token") as caught:
                signer.sign(b"message")
            assert PIN not in shown(caught.value)
    finally:
        shutil.rmtree(tokens)
        tokens.with_name("away").rename(tokens)
        restart(library)
    assert len(signer.sign(b"message")) == 64


def test_a_key_that_was_deleted(signer, at):
    session_of(at).get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label="issuing").destroy()
    with pytest.raises(SignerError, match="no private keys of that name"):
        signer.sign(b"message")


def test_a_key_that_was_replaced_is_not_used(signer, master, at):
    """What was announced as this signer's public key would not verify; what was derived before would differ."""
    session = session_of(at)
    for found in [
        *session.get_objects({pkcs11.Attribute.LABEL: "issuing"}),
        *session.get_objects({pkcs11.Attribute.LABEL: "master"}),
    ]:
        found.destroy()
    session.close()
    Pkcs11Signer.generate(**at, label="issuing", key_id=signer._key.place.key_id)
    Pkcs11MasterKey.generate(**at, label="master")
    with pytest.raises(SignerError, match="was replaced by another key"):
        signer.sign(b"message")
    with pytest.raises(SignerError, match="was replaced by another key"):
        master.check_values(DEVICES, utility=UTILITY)


def test_a_closed_signer_says_so(signer):
    signer.close()
    signer.close()
    with pytest.raises(SignerError, match="was closed"):
        signer.sign(b"message")


def test_a_fork_does_not_take_the_session_along(signer, at):
    script = """
signer = Pkcs11Signer(**at, label="issuing")
sys.stdout.flush()
if not os.fork():
    try:
        signer.sign(b"message")
    except SignerError as error:
        print("child", "another process" in str(error), flush=True)
    os._exit(0)
os.wait()
print("parent", len(signer.sign(b"message")))
"""
    assert another_process(script, at) == ["child", "True", "parent", "64"]


def test_a_child_forked_while_a_thread_signs_does_not_hang(signer, at):
    script = """
import threading
signer = Pkcs11Signer(**at, label="issuing")
end = threading.Event()
def sign():
    while not end.is_set():
        signer.sign_many([b"message"] * 50)
thread = threading.Thread(target=sign)
thread.start()
for number in range(8):
    child = os.fork()
    if not child:
        try:
            signer.sign(b"message")
        except SignerError as error:
            with Pkcs11Signer(**at, label="issuing") as own:
                os._exit(0 if "another process" in str(error) and len(own.sign(b"message")) == 64 else 1)
        os._exit(2)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
end.set()
thread.join()
"""
    assert another_process(script, at) == ["0"] * 8


def test_a_child_with_its_parent_s_process_number_is_another_process(signer, at):
    """As in a container of its own, where numbers begin again."""
    script = """
signer = Pkcs11Signer(**at, label="issuing")
number = os.getpid()
if not os.fork():
    os.getpid = lambda: number
    try:
        signer.sign(b"message")
    except SignerError as error:
        print("child", "another process" in str(error), flush=True)
    os._exit(0)
os.wait()
print("parent", len(signer.sign(b"message")))
"""
    assert another_process(script, at) == ["child", "True", "parent", "64"]


def test_a_key_that_changes_within_a_batch_gives_nothing(at, master, monkeypatch):
    """The handle means another key from the third device on, as after a restart of the token."""
    with Pkcs11MasterKey.generate(**at, label="other") as other:
        real, count = master_key._mac, itertools.count()

        def changing(held, data):
            return real(other._key.held if next(count) > 2 else held, data)

        monkeypatch.setattr(master_key, "_mac", changing)
        with pytest.raises(SignerError):
            master.check_values(DEVICES, utility=UTILITY)


def test_a_signature_of_another_key_within_a_batch_never_leaves(at, signer, monkeypatch):
    with Pkcs11Signer.generate(**at, label="other", algorithm=signer.public_key.algorithm) as other:
        real = signer_module._signature

        def changing(held, message):
            return real(other._key.held if message == b"second" else held, message)

        monkeypatch.setattr(signer_module, "_signature", changing)
        with pytest.raises(SignerError):
            signer.sign_many([b"first", b"second", b"third"])


def test_a_process_ends_well_with_keys_open(signer, master, at):
    script = """
signer, master = Pkcs11Signer(**at, label="issuing"), Pkcs11MasterKey(**at, label="master")
print(len(signer.sign_many([b"a", b"b"])), len(master.derive_keys(["ert:1"], utility="U")))
"""
    assert another_process(script, at) == ["2", "1"]


def test_a_library_without_its_configuration(at):
    """SoftHSM gives no token, or an error: a sentence in either case."""
    script = """
try:
    Pkcs11Signer(**at, label="issuing")
except SignerError as error:
    print(len(str(error)) > 20)
"""
    assert another_process(script, at, SOFTHSM2_CONF="/nowhere/softhsm2.conf") == ["True"]


def test_without_python_pkcs11_the_extra_is_named(at):
    script = """
sys.modules["pkcs11"] = None
try:
    Pkcs11Signer(**at, label="issuing")
except ItronCoreError as error:
    print("itron-core[hsm]" in str(error))
"""
    assert another_process(script, at) == ["True"]


def test_every_error_is_the_package_s():
    assert issubclass(PinRefused, SignerError)
    assert issubclass(SignerError, ItronCoreError)


# --- The command line ---


def test_the_command_line_signs_and_derives_with_keys_in_the_hsm(at, tmp_path, monkeypatch):
    """Keys are named by PKCS#11 URIs, the PIN comes from a file, and none of them is in the party's folder."""
    for label in ("root", "issuing", "next"):
        Pkcs11Signer.generate(**at, label=label).close()
    Pkcs11MasterKey.generate(**at, label="master").close()
    (tmp_path / "pin").write_text(f"{PIN}\n")
    (tmp_path / "request.csv").write_text("device,actions,sequence,epoch\nert:1,read_endpoint,7,4\n")
    monkeypatch.setenv("ITRON_CORE_PKCS11_MODULE", str(at["library"]))

    def run(*arguments):
        command = [sys.executable, "-m", "itron_core", *arguments, "--now", "1795000000"]
        if arguments[0] == "derive":
            command = command[:-2]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    def uri(label):
        return f"pkcs11:token={at['token']};object={label}?pin-source=file:pin"

    issued = run("issue", "request.csv", "--key", uri("issuing"), "-o", "tokens.jsonl")
    assert issued.returncode == 0, issued.stderr
    derived = run("derive", "request.csv", "--master", uri("master"), "--utility", "UTIL0001")
    assert derived.stdout.startswith('"device","check_value"\n"ert:1","'), derived.stderr
    made = run(
        *("manager", "init", "ism", "--utility", "UTIL0001", "--root-key", uri("root")),
        *("--issuing-key", uri("issuing"), "--master-key", uri("master")),
    )
    assert made.returncode == 0, made.stderr
    assert {path.name for path in (tmp_path / "ism").iterdir()} & {"root.pem", "issuer.pem", "master.key"} == set()
    assert run("manager", "rotate", "ism", "--issuing-key", uri("next")).returncode == 0
    assert PIN not in (tmp_path / "ism" / "settings.json").read_text()
    refused = run("issue", "request.csv", "--key", f"pkcs11:token=x;object=y?pin-value={PIN}", "-o", "-")
    assert (refused.returncode, PIN in refused.stderr) == (2, False)


@pytest.mark.slow
def test_a_key_in_the_hsm_is_found_from_any_folder(at, tmp_path, monkeypatch):
    """The PIN's file was named from where `init` ran; a next root must be another key than the root."""
    for label in ("root", "next"):
        Pkcs11Signer.generate(**at, label=label).close()
    (tmp_path / "pin").write_text(f"{PIN}\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("ITRON_CORE_PKCS11_MODULE", str(at["library"]))

    def run(*arguments, cwd=tmp_path):
        command = [sys.executable, "-m", "itron_core", "manager", *arguments]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)

    def uri(label):
        return f"pkcs11:token={at['token']};object={label}?pin-source=file:pin"

    made = run("init", "ism", "--utility", UTILITY, "--root-key", uri("root"))
    assert made.returncode == 0, made.stderr
    same = run("new-root", "ism", "--root-key", uri("root"))
    assert (same.returncode, "this key is the root already" in same.stderr) == (2, True)
    assert run("new-root", "ism", "--root-key", uri("next")).returncode == 0
    used = run("use-root", "../ism", cwd=tmp_path / "elsewhere")
    assert used.returncode == 0, used.stderr
    with Pkcs11Signer(**at, label="next") as root:
        kids = [entry.key.kid for entry in Keyring.from_jwks((tmp_path / "ism" / "root.jwks").read_text()).entries]
        assert kids == [root.public_key.kid]


@pytest.mark.parametrize("profile", ["cose", "wmbus", "dlms"])
def test_readings_are_opened_with_a_master_key_in_the_hsm(at, tmp_path, monkeypatch, profile):
    """The keys are derived in the token for the devices that the telegrams name; both lengths of keys are met."""
    Pkcs11MasterKey.import_bytes(MASTER, **at, label="master").close()
    (tmp_path / "pin").write_text(f"{PIN}\n")
    monkeypatch.setenv("ITRON_CORE_PKCS11_MODULE", str(at["library"]))
    payload, ids = b"\x2f\x2f" + bytes(14), [b"\x2d\x2c\x99\x87\x34\x76\x1b\x16", b"KFM\x10\0\0\0\7"]
    if profile == "cose":
        ids = ["ert:100000001", "eui64:00078100aabbccdd"]

    def derived(place, label, length):
        keys = derive_keys(
            MasterKey.from_bytes(MASTER), ids, utility=UTILITY, label=label, key_version=3, length=length
        )
        return keys.key(place), bytes(keys.check_values())[4 * place :][:4]

    telegrams = []
    for place, length in [(0, 16), (1, 16 if profile == "wmbus" else 32)]:
        (key, check), (second, _) = derived(place, "read-enc", length), derived(place, "read-auth", length)
        if profile == "wmbus":
            telegrams.append(Wmbus(address=ids[place]).mode_5(key, payload))
        elif profile == "dlms":
            telegrams.append(dlms(key, second, payload, title=ids[place], control=0x32 if length > 16 else 0x30))
        else:
            options = {"devices": [ids[place]], "counters": [1], "check_values": [check]}
            made = protect_readings([payload], [key], algorithm=f"A{8 * length}GCM", **options)
            telegrams += made.to_pylist()
    (tmp_path / "telegrams.hex").write_text("".join(f"{one.hex()}\n" for one in telegrams))
    uri = f"pkcs11:token={at['token']};object=master"
    call = ["readings", "open", "telegrams.hex", "--profile", profile, "--utility", UTILITY, "--key-version"]

    def run(version, *master):
        command = [sys.executable, "-m", "itron_core", *call, version, "--master", *master, "-o", "opened.csv"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run("3", uri, "--pin-file", "pin")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "opened.csv").read_text().count(payload.hex()) == 2
    assert run("4", f"{uri}?pin-source=file:pin").returncode == 1
