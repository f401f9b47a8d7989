"""Every argument of every public call, given what it is not: the call works, or raises what this package raises."""

import inspect
import json
import pickle
from decimal import Decimal
from functools import partial

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import itron_core as ic
from helpers import DAY, DEVICE, ISSUER, KEYRING, NOW, SECOND_ISSUER, codes_of, public, token
from itron_core import InputError, ItronCoreError
from itron_core.enums import TOKEN_TYPES

SIGNER = ic.LocalSigner(ISSUER.private)
KEY = public(ISSUER)
ROUTE = {"device": [DEVICE], "device_class": ["basic"], "security_level": ["unknown"], "action": ["read_endpoint"]}
REQUEST = {"device": [DEVICE], "actions": [1], "sequence": [1], "epoch": [0]}
ENTRY = ic.KeyringEntry(public(SECOND_ISSUER), issuer="i")
SNAPSHOT = ic.Revocations(version=1, expires_at=NOW + 60)
MASTER = ic.MasterKey.from_bytes(bytes(32))
RESULTS = ic.process_route(ROUTE, KEYRING, now=NOW, permissions=31)
COLUMN = RESULTS["decision"]
KEYS = ic.derive_keys(MASTER, [DEVICE], utility="u")
READINGS = ic.protect_readings([b"x"], KEYS, devices=[DEVICE], counters=[1])
SOURCE = ic.KeySource(MASTER, utility="u")
OPENED = ic.open_readings(READINGS, SOURCE, profile="cose")
OF_READINGS = {"profile": "dlms", "minimum_assurance": 0, "allow_plain": True, "threads": 1}
JWK = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
LONE = "\ud800"
PEM = ISSUER.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PRIVATE_PEM = ISSUER.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

OF_ONE_TOKEN = {
    "now": NOW,
    "token_type": "authorization",
    "audience": DEVICE,
    "action": ic.Action.READ_ENDPOINT,
    "epoch": 4,
    "revocations": SNAPSHOT,
    "skew": 120,
    "max_lifetime": None,
    "legacy_algorithms": False,
}
OF_TOKENS = OF_ONE_TOKEN | {
    "audience": [DEVICE],
    "epoch": [4],
    "claims": "all",
    "columns": ["code"],
    "progress": None,
    "threads": None,
}
OF_A_ROUTE = {"now": NOW, "permissions": 31, "options": ic.PolicyOptions(), "revocations": SNAPSHOT, "threads": None}
OF_A_ROUTE |= {"columns": ["decision"], "progress": None}
OF_KEYS = {
    "utility": "u",
    "label": "read-enc",
    "key_version": 1,
    "length": 16,
    "kdf": "kbkdf-hmac-sha256",
    "extra": b"x",
}

# A good call each: what is called, its positional arguments, its keyword arguments.
CALLS = {
    "verify_tokens": (ic.verify_tokens, ([token()], KEYRING), OF_TOKENS),
    "verify_token": (ic.verify_token, (token(), KEYRING), OF_ONE_TOKEN),
    "verify_stream": (ic.verify_stream, ([[token()]], KEYRING), OF_TOKENS),
    "verify_signatures": (ic.verify_signatures, ([KEY], [b""], [b""]), {"key_index": [0], "threads": 1}),
    "check_sessions": (ic.check_sessions, ([NOW], [60]), {"now": NOW, "closed_at": [NOW]}),
    "check_windows": (ic.check_windows, ([NOW], [NOW]), {"now": NOW, "skew": 0}),
    "derive_keys": (ic.derive_keys, (MASTER, [DEVICE]), OF_KEYS | {"threads": None}),
    "derive_key": (ic.derive_key, (MASTER, DEVICE), OF_KEYS),
    "process_route": (ic.process_route, (ROUTE, KEYRING), OF_A_ROUTE),
    "process_batches": (
        ic.process_batches,
        ([ROUTE], KEYRING),
        OF_A_ROUTE | {"keep": False, "names": False, "prefix": ""},
    ),
    "needs": (ic.needs, (0, 0, 0, 0, ic.PolicyOptions()), {}),
    "policy_table": (ic.policy_table, (ic.PolicyOptions(),), {}),
    "cpu_features": (ic.cpu_features, (), {}),
    "issue_tokens": (
        ic.issue_tokens,
        (REQUEST, SIGNER),
        {"now": NOW, "token_type": "authorization", "max_lifetime": 60},
    ),
    "issue_delegation": (ic.issue_delegation, (ENTRY, SIGNER), {"now": NOW, "expires_at": NOW + DAY}),
    "issue_revocations": (ic.issue_revocations, (SNAPSHOT, SIGNER), {"issuer": "i", "now": NOW}),
    "Keyring": (ic.Keyring, ([KEY],), {}),
    "Keyring.from_jwks": (ic.Keyring.from_jwks, (json.dumps({"keys": [JWK]}),), {}),
    "Keyring.from_pem_files": (ic.Keyring.from_pem_files, ([],), {}),
    "Keyring.with_delegations": (KEYRING.with_delegations, ([],), {"now": NOW}),
    "KeyringEntry": (
        ic.KeyringEntry,
        (KEY,),
        {
            "issuer": "i",
            "token_types": ["delegation"],
            "actions": 1,
            "audience_prefix": "ert:",
            "valid_from": NOW,
            "valid_until": NOW,
        },
    ),
    "MasterKey.generate": (ic.MasterKey.generate, (32,), {}),
    "MasterKey.from_bytes": (ic.MasterKey.from_bytes, (bytes(32),), {}),
    "PublicKey.from_raw": (ic.PublicKey.from_raw, (KEY.algorithm, KEY.raw), {}),
    "PublicKey.from_pem": (ic.PublicKey.from_pem, (PEM,), {}),
    "PublicKey.from_jwk": (ic.PublicKey.from_jwk, (JWK,), {}),
    "Revocations": (
        ic.Revocations,
        (),
        {"issuers": [], "devices": {}, "tokens": [], "version": 1, "expires_at": NOW},
    ),
    "Revocations.from_token": (
        ic.Revocations.from_token,
        (ic.issue_revocations(SNAPSHOT, SIGNER, issuer="i", now=NOW), KEYRING),
        {"now": NOW, "newer_than": 1, "revocations": None, "max_lifetime": 86_400},
    ),
    "PolicyOptions": (
        ic.PolicyOptions,
        (),
        dict.fromkeys(ic.PolicyOptions.__slots__, False) | {"command_limit": 2, "authorization_limit": 2},
    ),
    "RouteResults": (ic.RouteResults, (RESULTS, ic.PolicyOptions()), {}),
    "RouteResults.explain": (RESULTS.explain, (0,), {}),
    "RouteResults.summary": (RESULTS.summary, (), {}),
    "TokenResults.column": (ic.verify_tokens([token()], KEYRING, now=NOW).column, ("code",), {}),
    "TokenResults[]": (ic.verify_tokens([token()], KEYRING, now=NOW).__getitem__, ("code",), {}),
    "Column[]": (COLUMN.__getitem__, (0,), {}),
    "DerivedKeys.key": (KEYS.key, (0,), {}),
    "open_readings": (
        ic.open_readings,
        ([b"\x0f"], [bytes(16)]),
        OF_READINGS
        | {
            "columns": ["code"],
            "progress": None,
            "authentication_keys": [b""],
            "system_titles": [bytes(8)],
            "counter_floors": [0],
        },
    ),
    "open_reading_stream": (ic.open_reading_stream, ([[b"\x0f"]], SOURCE), OF_READINGS | {"progress": None}),
    "protect_readings": (
        ic.protect_readings,
        ([b"x"], [bytes(16)]),
        {"devices": [DEVICE], "counters": [1], "check_values": [bytes(4)], "algorithm": "A128GCM"},
    ),
    "ReadingKeys": (ic.ReadingKeys, ([DEVICE], [bytes(16)], [bytes(16)]), {}),
    "KeySource": (ic.KeySource, (MASTER,), {"utility": "u", "key_version": 1, "kdf": "kbkdf-hmac-sha256"}),
    "ReadingResults": (ic.ReadingResults, (OPENED,), {}),
    "ReadingResults.explain": (OPENED.explain, (0,), {}),
    "last_counters": (ic.last_counters, (OPENED,), {}),
    "rising_counters": (ic.rising_counters, (OPENED,), {}),
    "LocalSigner": (ic.LocalSigner, (ISSUER.private,), {}),
    "LocalSigner.from_pem": (ic.LocalSigner.from_pem, (PRIVATE_PEM,), {"password": None}),
    "LocalSigner.generate": (ic.LocalSigner.generate, ("Ed25519",), {}),
}

WRONG = [
    None,
    5,
    -1,
    2**70,
    1.5,
    True,
    Decimal(1),
    "x",
    LONE,
    b"x",
    [],
    [None],
    [LONE],
    [2**70],
    {"a": 1},
    {1: 2},
    object(),
    slice("a", None),
    len,
    pa.array([1.5]),
    KEY,
    KEYRING,
]
# What holds no argument of its own here: enumerations and named tuples are Python's, exceptions are not called, results
# are made by the calls above, and the parties of the exchange have a test of theirs.
NOT_CALLED = {
    "Column",
    "DerivedKeys",
    "Token",
    "ReadingKey",
    "Signer",
    "Code",
    "Decision",
    "Need",
    "Permission",
    "Reason",
}
NOT_CALLED |= {"SessionResults", "SignatureResults", "TokenResults", "MasterKey", "PublicKey"}
NOT_CALLED |= {"Action", "ActionGroup", "DeviceClass", "Mode", "SecurityLevel", "Protection", "ReadingCode"}
PARTIES = {"Answer", "Device", "DeviceState", "FieldTool", "Message", "Outcome", "Pkcs11MasterKey", "Pkcs11Signer"}
PARTIES |= {"SecurityManager", "ToolsServer"}


def done(call, arguments, options):
    """Make the call, and take all that it yields."""
    result = call(*arguments, **options)
    return list(result) if hasattr(result, "__next__") else result


def places():
    """Every argument of every call."""
    return [(name, place) for name, call in CALLS.items() for place in [*range(len(call[1])), *call[2]]]


@pytest.mark.parametrize("name", CALLS)
def test_the_reference_calls_succeed(name):
    done(*CALLS[name])


@pytest.mark.parametrize("name,place", places(), ids=str)
def test_an_argument_of_a_wrong_type_raises_only_this_packages_errors(name, place):
    call, arguments, options = CALLS[name]
    # What a callable of the caller's raises passes.
    for wrong in (one for one in WRONG if place != "progress" or not callable(one)):
        given, asked = list(arguments), dict(options)
        (asked if isinstance(place, str) else given)[place] = wrong
        try:
            done(call, given, asked)
        except ItronCoreError:
            pass
        except IndexError:  # an int that is no place in this sequence, as Python has it
            assert name in {"Column[]", "DerivedKeys.key", "RouteResults.explain", "ReadingResults.explain"}
            assert isinstance(wrong, int)
        except KeyError:  # a name that no column has
            assert name in {"TokenResults.column", "TokenResults[]"}
            assert isinstance(wrong, str)
        else:  # some of WRONG are right for some arguments; an object of no class and a builtin never are
            assert type(wrong) is not object
            assert wrong is not len


def test_every_public_call_is_walked_with_every_argument():
    exceptions = {
        name for name in ic.__all__ if isinstance(getattr(ic, name), type) and issubclass(getattr(ic, name), Exception)
    }
    assert set(ic.__all__) - NOT_CALLED - PARTIES - exceptions <= CALLS.keys()
    for name, (call, arguments, options) in CALLS.items():
        parameters = inspect.signature(call).parameters.values()
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            assert len(arguments) + len(options) == len([one for one in parameters if one.name != "_rest"]), name
    for kind in (ic.Keyring, ic.PublicKey, ic.MasterKey, ic.Revocations, ic.LocalSigner):
        made = {
            name for name, one in vars(kind).items() if isinstance(one, (staticmethod, classmethod)) and name[0] != "_"
        }
        assert {f"{kind.__name__}.{name}" for name in made} <= CALLS.keys()


@pytest.mark.parametrize(
    "name,place,wrong,says",
    [
        ("verify_tokens", 1, None, "keyring: got NoneType, expected Keyring"),
        ("verify_token", "token_type", None, "token_type: got NoneType, expected str"),
        ("verify_token", "legacy_algorithms", 1, "legacy_algorithms: got int, expected True or False"),
        ("verify_token", "audience", LONE, "audience: got a str with a lone surrogate"),
        ("verify_tokens", "audience", LONE, "audience: got a str with a lone surrogate"),
        ("Keyring", 0, None, "entries: got NoneType, expected a collection of PublicKey and KeyringEntry"),
        ("Keyring.from_pem_files", 0, [5], "paths: got int, expected paths"),
        ("KeyringEntry", 0, None, "key: got NoneType, expected PublicKey"),
        ("KeyringEntry", "issuer", 5, "issuer: got int, expected str"),
        ("KeyringEntry", "token_types", 5, "token_types: got int, expected a collection of names"),
        ("derive_key", 0, b"", "master: got bytes, expected MasterKey"),
        ("derive_key", 1, LONE, "device_id: got .*, expected an aud"),
        ("derive_keys", "label", None, "label: got NoneType, expected str"),
        ("derive_keys", "kdf", b"x", "kdf: got bytes, expected str"),
        ("Revocations", "issuers", 5, "issuers: got int, expected a collection"),
        ("Revocations.from_token", 1, [], "keyring: got list, expected Keyring"),
        ("Revocations.from_token", 0, 1.5, "token: got .*float.*, expected bytes"),
        ("issue_delegation", 0, KEY, "entry: got .*PublicKey, expected KeyringEntry"),
        ("RouteResults", 0, None, "columns: got NoneType, expected RouteColumns"),
        ("RouteResults", 1, None, "options: got NoneType, expected PolicyOptions"),
        ("DerivedKeys.key", 0, "0", "index: got str, expected an int"),
        ("TokenResults[]", 0, 0, "name: got int, expected str"),
        ("process_batches", 0, None, "batches: got NoneType, expected an iterable"),
    ],
)
def test_the_message_names_the_argument_and_its_value(name, place, wrong, says):
    call, arguments, options = CALLS[name]
    given, asked = list(arguments), dict(options)
    (asked if isinstance(place, str) else given)[place] = wrong
    with pytest.raises(InputError, match=says):
        call(*given, **asked)


# A row's own refusal.


@pytest.mark.parametrize("column", ["device", "device_class", "security_level", "action", "mode"])
def test_a_lone_surrogate_in_a_list_is_that_row_s(column):
    """As the same bytes in an Arrow column, which nobody has checked to be UTF-8, are."""
    route = {name: values * 2 for name, values in ROUTE.items()} | {"mode": ["mobile"] * 2}
    for wrong in (LONE, "ert:1" + LONE, LONE * 300):
        texts = [route[column][0], wrong]
        raw = pa.array([text.encode("utf-8", "surrogatepass") for text in texts])
        arrow = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
        for given in (texts, arrow):
            reasons = ic.process_route(route | {column: given}, KEYRING, now=NOW, permissions=31)["reason"]
            assert reasons.to_pylist() == [0, 1005]


def test_a_lone_surrogate_among_audiences_is_its_row_s_mismatch():
    assert codes_of([token()] * 3, audience=[DEVICE, LONE, DEVICE]) == [0, 700, 0]
    assert codes_of([token()] * 3, audience=[LONE + str(row) for row in range(3)]) == [700] * 3


def test_a_lone_surrogate_in_a_request_names_the_row():
    two = {name: values * 2 for name, values in REQUEST.items()}
    for column, values in (
        ("device", [DEVICE, LONE]),
        ("actions", [["read_endpoint"], [LONE]]),
        ("subject", ["s", LONE]),
    ):
        with pytest.raises(InputError, match="row 1"):
            ic.issue_tokens(two | {column: values}, SIGNER, now=NOW)
    with pytest.raises(InputError, match="row 1"):
        ic.derive_keys(MASTER, [DEVICE, LONE], utility="u")


@pytest.mark.parametrize(
    "column", ["device_class", "security_level", "action", "mode", "epoch", "commands_used", "authorizations_used"]
)
@pytest.mark.parametrize("number", [2**63, 2**64 - 1])
def test_a_number_beyond_63_bits_is_one_unreadable_row(column, number):
    route = {"device": [DEVICE] * 2, "device_class": [0, 0], "security_level": [3, 3], "action": [0, 0], "mode": [0, 0]}
    numbers = [0, number]
    for given in (
        numbers,
        pa.array(numbers, pa.uint64()),
        pa.array([9, *numbers], pa.uint64())[1:],
        [0, 2**200],
        [0, -(2**64)],
    ):
        reasons = ic.process_route(route | {column: given}, KEYRING, now=NOW, permissions=31)["reason"]
        assert reasons.to_pylist() == [0, 1005]


def test_permissions_and_a_session_beyond_63_bits_grant_nothing():
    route = {name: values * 2 for name, values in ROUTE.items()}
    for given in ([1, 2**64 - 1], pa.array([1, 2**64 - 1], pa.uint64())):
        reasons = ic.process_route(route | {"permissions": given}, KEYRING, now=NOW, permissions=31)["reason"]
        assert reasons.to_pylist() == [0, ic.Reason.PERMISSION_DENIED]
    route |= {"device_class": ["enhanced"] * 2, "security_level": ["command"] * 2, "action": ["close_session"] * 2}
    route |= {"session_opened_at": [NOW] * 2, "session_seconds": [60, 2**64]}
    reasons = ic.process_route(route, KEYRING, now=NOW, permissions=31)["reason"].to_pylist()
    assert reasons == [0, ic.Reason.SESSION_EXPIRED]


def test_numbers_that_are_to_be_used_still_raise_beyond_63_bits():
    for given in ([2**63], pa.array([2**63], pa.uint64())):
        with pytest.raises(InputError, match="sequence"):
            ic.issue_tokens(REQUEST | {"sequence": given}, SIGNER, now=NOW)


# Collections, pickles, streams.


def test_delegations_may_be_an_arrow_column():
    entry = ic.KeyringEntry(public(SECOND_ISSUER), issuer="child", token_types=["authorization"])
    root = ic.Keyring([ic.KeyringEntry(KEY, issuer="root", token_types=TOKEN_TYPES)])
    signed = ic.issue_delegation(entry, SIGNER, now=NOW, expires_at=NOW + DAY)
    wanted = root.with_delegations([signed], now=NOW)
    assert len(wanted) == 2
    for given in (
        pa.array([signed]),
        pa.chunked_array([[signed]]),
        pa.array([signed], pa.large_binary()),
        iter([signed]),
    ):
        assert root.with_delegations(given, now=NOW) == wanted
    for given in (pa.array([signed, None]), [signed, None]):
        with pytest.raises(InputError, match="tokens: got"):
            root.with_delegations(given, now=NOW)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_unpicklable_objects_refuse_every_protocol(protocol):
    for one in (ic.verify_token(token(), KEYRING, now=NOW), MASTER, KEYS):
        with pytest.raises(TypeError, match=type(one).__name__):
            pickle.dumps(one, protocol)
    for one in (KEYRING, KEY, ENTRY, SNAPSHOT, ic.PolicyOptions()):
        assert pickle.loads(pickle.dumps(one, protocol)) == one
    with pytest.raises(TypeError, match="Column of keys"):
        pickle.dumps(KEYS.to_arrow(), protocol)


@pytest.mark.parametrize(
    "wrong",
    [{"now": None}, {"threads": 0}, {"revocations": 5}, {"skew": -1}, {"token_type": "x"}, {"epoch": "4"}],
    ids=str,
)
def test_a_stream_is_checked_at_the_call(wrong):
    with pytest.raises(InputError):
        ic.verify_stream([], KEYRING, **{"now": NOW} | wrong)


@pytest.mark.parametrize(
    "wrong", [{"now": None}, {"threads": 0}, {"revocations": 5}, {"permissions": -1}, {"options": None}], ids=str
)
def test_batches_are_checked_at_the_call(wrong):
    with pytest.raises(InputError):
        ic.process_batches([], KEYRING, **{"now": NOW, "permissions": 31} | wrong)


def test_a_stream_is_read_on_demand():
    """No batch is read before its result is wanted; a wrong batch is refused when its turn comes."""
    read = []
    batches = (read.append(at) or batch for at, batch in enumerate([[token()], 5, [token()]]))
    results = ic.verify_stream(batches, KEYRING, now=NOW, audience=[DEVICE])
    assert read == []
    assert next(results)["code"].to_pylist() == [0]
    with pytest.raises(InputError, match="tokens"):
        next(results)
    assert next(results)["code"].to_pylist() == [0]
    for call in (ic.verify_stream, partial(ic.process_batches, permissions=31)):
        with pytest.raises(InputError, match="batches: got int"):
            call(5, KEYRING, now=NOW)
