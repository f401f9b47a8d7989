"""The sixteen scenarios of the policy, by their numbers, with real tokens and through the public calls.

"Now" is T, 2027-06-01 12:00:00 UTC, unless a scenario says otherwise.
"""

import copy
import itertools
import logging
import pickle

import pytest

from helpers import (
    DAY,
    EVERY_PERMISSION,
    ISSUER,
    KEYRING,
    SECOND_ISSUER,
    STRANGER,
    T,
    code_of,
    decide,
    rows_of,
    token,
)
from itron_core import (
    Action,
    Decision,
    Keyring,
    LocalSigner,
    MasterKey,
    Need,
    Permission,
    Reason,
    check_sessions,
    derive_key,
    derive_keys,
    issue_tokens,
    process_route,
    verify_tokens,
)
from itron_core.testing import make_route

pytestmark = pytest.mark.kernels

ERT = "ert:100000001"
OTHER = "ert:100000002"


def outcome(**row):
    decided = decide(**{"device": ERT, "device_class": "enhanced", "security_level": "command"} | row)
    return Decision(decided["decision"]), name_of(decided["reason"]), Need(decided["missing"])


def name_of(reason):
    return Reason(reason).name.lower() if reason >= 1000 or reason == 0 else reason


def fresh(token_type, **wanted):
    """Return a genuine token that is in force at T."""
    return token(token_type, **{"device": ERT, "issued_at": T - 600} | wanted)


def command(action, **wanted):
    return fresh("secure_command", actions=(action,), **wanted)


ALLOWED, AFTER_OPEN, REFUSED = Decision.ALLOWED, Decision.ALLOWED_AFTER_OPEN, Decision.REFUSED
NOTHING = Need(0)


def test_scenario_01_a_basic_gas_ert_is_read_with_the_permission():
    row = {"device_class": "basic", "security_level": "unknown", "action": "read_endpoint"}
    assert outcome(**row, permissions=Permission.READ_ENDPOINTS) == (ALLOWED, "ok", NOTHING)
    assert outcome(**row, permissions=0) == (REFUSED, "permission_denied", Need.PERMISSION)
    others = EVERY_PERMISSION & ~Permission.READ_ENDPOINTS
    assert outcome(**row, permissions=others) == (REFUSED, "permission_denied", Need.PERMISSION)


def test_scenario_02_a_water_ert_ready_to_secure_is_programmed_at_once():
    row = {"security_level": "ready_to_secure", "action": "program_endpoint"}
    assert outcome(**row) == (ALLOWED, "ok", NOTHING)


def test_scenario_03_no_disconnect_at_ready_to_secure_even_with_a_genuine_command():
    row = {"security_level": "ready_to_secure", "action": "disconnect_service"}
    held = {"secure_command": command(Action.DISCONNECT_SERVICE)}
    assert outcome(**row, **held) == (REFUSED, "service_unavailable_unsecured", Need.NEVER)
    # The command is genuine and stays unused: at command security it still allows.
    assert decide(device=ERT, device_class="enhanced", **row, **held)["secure_command_code"] == 0
    assert outcome(action="disconnect_service", **held) == (ALLOWED, "ok", NOTHING)


def test_scenario_04_a_disconnect_needs_its_command_and_once():
    row = {"action": "disconnect_service"}
    held = {"secure_command": command(Action.DISCONNECT_SERVICE)}
    assert outcome(**row) == (REFUSED, "secure_command_missing", Need.SECURE_COMMAND)
    assert outcome(**row, **held) == (ALLOWED, "ok", NOTHING)
    assert outcome(**row, **held, secure_command_used=True) == (REFUSED, "replay", Need.SECURE_COMMAND)


def test_scenario_05_a_connect_command_disconnects_nothing():
    held = {"secure_command": command(Action.CONNECT_SERVICE)}
    assert outcome(action="disconnect_service", **held) == (REFUSED, 701, Need.SECURE_COMMAND)
    # It stays unused: it still connects.
    assert outcome(action="connect_service", **held) == (ALLOWED, "ok", NOTHING)


def test_scenario_06_a_held_command_opens_the_session_first():
    row = {"action": "program_endpoint"}
    assert outcome(**row, secure_command=command(Action.OPEN_SESSION)) == (AFTER_OPEN, "ok", NOTHING)
    assert outcome(**row) == (REFUSED, "session_required", Need.OPEN_SESSION | Need.SECURE_COMMAND)


def test_scenario_07_a_full_security_ert_is_read_with_its_own_reading_key():
    row = {"security_level": "full", "action": "read_endpoint"}
    assert outcome(**row) == (REFUSED, "reading_key_missing", Need.READING_KEY)
    assert outcome(**row, reading_key=fresh("reading_key", device=OTHER)) == (REFUSED, 700, Need.READING_KEY)
    assert outcome(**row, reading_key=fresh("reading_key")) == (ALLOWED, "ok", NOTHING)


def test_scenario_08_the_level_does_not_weaken_network_mode():
    row = {"device_class": "multi_mode", "mode": "network", "action": "read_endpoint"}
    for level in ("ready_to_secure", "command", "full", "unknown"):
        assert outcome(**row, security_level=level) == (
            REFUSED,
            "session_required",
            Need.OPEN_SESSION | Need.AUTHORIZATION,
        )


@pytest.mark.parametrize("algorithm", [ISSUER, SECOND_ISSUER], ids=["Ed25519", "ESP256"])
def test_scenario_09_a_session_is_half_open(algorithm):
    row = {"action": "program_endpoint", "session_opened_at": T, "session_seconds": 3_600}
    assert outcome(**row, now=T + 3_599) == (ALLOWED, "ok", NOTHING)
    missing = Need.OPEN_SESSION | Need.SECURE_COMMAND
    assert outcome(**row, now=T + 3_600) == (REFUSED, "session_expired", missing)
    assert outcome(**row, now=T - 1) == (REFUSED, "session_not_started", missing)
    states = [check_sessions([T], [3_600], now=now)["state"].to_pylist()[0] for now in (T - 1, T, T + 3_599, T + 3_600)]
    assert states == [1, 0, 0, 2]
    held = command(Action.OPEN_SESSION, signer=algorithm)
    assert outcome(**row, now=T + 3_600, secure_command=held) == (AFTER_OPEN, "ok", NOTHING)


@pytest.mark.parametrize("signer", [ISSUER, SECOND_ISSUER], ids=["Ed25519", "ESP256"])
def test_scenario_10_one_bit_flipped_anywhere_and_nothing_is_trusted(signer):
    """The token is expired and for another device, and still no flip gives a code that rests on its claims."""
    one = fresh("authorization", signer=signer, device=OTHER, issued_at=T - 3 * DAY)
    assert code_of(one, now=T, audience=ERT) == 502
    whole = int.from_bytes(one, "big")
    flipped = [(whole ^ 1 << bit).to_bytes(len(one), "big") for bit in range(len(one) * 8)]
    codes = verify_tokens(flipped, KEYRING, now=T, audience=ERT)["code"].to_pylist()
    assert len(codes) == len(one) * 8
    assert {code // 100 for code in codes} <= {1, 2, 3}
    route = {
        "device": [ERT] * len(flipped),
        "device_class": ["multi_mode"] * len(flipped),
        "mode": ["network"] * len(flipped),
        "security_level": ["full"] * len(flipped),
        "action": ["read_endpoint"] * len(flipped),
        "authorization": flipped,
    }
    results = process_route(route, KEYRING, now=T, permissions=EVERY_PERMISSION).to_pydict()
    assert results["reason"] == results["authorization_code"] == codes


def test_scenario_11_expired_comes_before_another_device():
    one = fresh("authorization", device=OTHER, issued_at=T - 3 * DAY)
    assert code_of(one, now=T, audience=ERT) == 502
    assert code_of(fresh("authorization", device=OTHER), now=T, audience=ERT) == 700
    row = {"device_class": "multi_mode", "mode": "network", "action": "read_endpoint"}
    assert outcome(**row, authorization=one)[:2] == (REFUSED, 502)


@pytest.fixture(scope="module")
def ten_thousand():
    """A route of 10,000 in Network Mode, each with its authorization; three of them forged."""
    signer = LocalSigner.generate()
    devices = [f"ert:{100_000_001 + row}" for row in range(10_000)]
    request = {
        "device": devices,
        "actions": [1] * 10_000,
        "sequence": list(range(10_000)),
        "epoch": [1] * 10_000,
    }
    tokens = issue_tokens(request, signer, now=T - 60).to_pylist()
    for row in (17, 4_096, 9_999):
        tokens[row] = tokens[row][:-1] + bytes([tokens[row][-1] ^ 1])
    route = {
        "device": devices,
        "device_class": ["multi_mode"] * 10_000,
        "mode": ["network"] * 10_000,
        "security_level": ["full"] * 10_000,
        "action": ["read_endpoint"] * 10_000,
        "authorization": tokens,
    }
    return route, Keyring([signer.public_key])


@pytest.mark.slow
def test_scenario_12_of_10_000_exactly_the_three_forged_are_refused(ten_thousand):
    route, keyring = ten_thousand
    ask = {"now": T, "permissions": EVERY_PERMISSION}
    whole = rows_of(process_route(route, keyring, **ask))
    refused = [row for row, answer in enumerate(whole) if answer[0] == REFUSED]
    assert refused == [17, 4_096, 9_999]
    assert {whole[row][1] for row in refused} <= {301, 302}
    assert {answer[0] for row, answer in enumerate(whole) if row not in refused} == {AFTER_OPEN}
    for threads in (1, 2, 3, 5, 16):
        assert rows_of(process_route(route, keyring, **ask, threads=threads)) == whole
    singles = [
        rows_of(process_route({name: column[row : row + 1] for name, column in route.items()}, keyring, **ask))[0]
        for row in range(10_000)
    ]
    assert singles == whole


def test_scenario_13_one_master_many_keys():
    master = MasterKey.from_bytes(bytes(range(32)))
    asked = {"device_id": ERT, "utility": "UTIL0001", "label": "read-enc", "key_version": 1}
    ways = [{}, {"device_id": OTHER}, {"utility": "UTIL0002"}, {"label": "read-auth"}, {"key_version": 2}]
    keys = [derive_key(master, **asked | way) for way in ways]
    assert keys == [derive_key(MasterKey.from_bytes(bytes(range(32))), **asked | way) for way in ways]
    assert len(set(keys)) == len(ways)


def test_scenario_14_objects_with_secrets_show_no_byte(caplog):
    secret = bytes(range(0x41, 0x61))
    master = MasterKey.from_bytes(secret)
    keys = derive_keys(master, [ERT, OTHER], utility="UTIL0001")
    derived = [keys.key(row) for row in range(2)]
    signer = LocalSigner.generate()
    shown = []
    for held in (master, keys, signer):
        shown += [repr(held), str(held), f"{held}", f"{held!r:>80}"]
        with caplog.at_level(logging.DEBUG):
            logging.getLogger("scenario").warning("held: %s %r", held, held)
        for leak in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError) as refused:
                leak(held)
            shown.append(str(refused.value))
    shown.append(caplog.text)
    text = "\n".join(shown)
    assert "MasterKey" in caplog.text
    for one in (secret, *derived):
        for form in (one.hex(), repr(one)[2:-1], one.decode("latin-1"), str(list(one))[1:-1]):
            assert form not in text
            assert form[:16] not in text


def test_scenario_15_empty_malformed_and_twice():
    columns = ("device", "device_class", "security_level", "action")
    ask = {"now": T, "permissions": EVERY_PERMISSION}
    assert len(process_route({name: [] for name in columns}, KEYRING, **ask)) == 0
    route = {
        "device": [ERT, "no device", OTHER, ERT, None],
        "device_class": ["basic"] * 5,
        "security_level": ["unknown"] * 5,
        "action": ["read_endpoint", "read_endpoint", "reed", "read_endpoint", "read_endpoint"],
    }
    results = process_route(route, KEYRING, **ask).to_pydict()
    assert results["reason"] == [0, 1005, 1005, 0, 1005]
    assert results["decision"] == [0, 2, 2, 0, 2]


def test_scenario_16_requested_data_in_bulk_need_a_session():
    heard, asked = {"action": "read_endpoint"}, {"action": "read_interval_data"}
    session = {"session_opened_at": T - 1, "session_seconds": 60}
    opener = Need.OPEN_SESSION | Need.SECURE_COMMAND
    assert outcome(**heard) == (ALLOWED, "ok", NOTHING)
    assert outcome(**asked) == (REFUSED, "session_required", opener)
    assert outcome(**asked, **session) == (ALLOWED, "ok", NOTHING)
    full = {"security_level": "full"}
    key = {"reading_key": fresh("reading_key", actions=(0, 2))}
    assert outcome(**full, **heard) == (REFUSED, "reading_key_missing", Need.READING_KEY)
    assert outcome(**full, **heard, **key) == (ALLOWED, "ok", NOTHING)
    assert outcome(**full, **asked) == (REFUSED, "session_required", Need.READING_KEY | opener)
    assert outcome(**full, **asked, **session) == (REFUSED, "reading_key_missing", Need.READING_KEY)
    assert outcome(**full, **asked, **key) == (REFUSED, "session_required", opener)
    assert outcome(**full, **asked, **session, **key) == (ALLOWED, "ok", NOTHING)


# Beside the scenarios: what the pages say of a whole row.


def test_a_foreign_signer_s_material_opens_nothing():
    held = {"secure_command": command(Action.OPEN_SESSION, signer=STRANGER)}
    missing = Need.OPEN_SESSION | Need.SECURE_COMMAND
    assert outcome(action="program_endpoint", **held) == (REFUSED, 230, missing)


def test_material_that_is_not_needed_is_verified_all_the_same():
    """For the row's device and for no action; it changes no decision."""
    for held, code in ((fresh("reading_key"), 0), (fresh("reading_key", device=OTHER), 700), (b"\x00" * 100, 110)):
        decided = decide(
            device=ERT, device_class="basic", security_level="unknown", action="read_endpoint", reading_key=held
        )
        assert (decided["decision"], decided["reason"], decided["reading_key_code"]) == (0, 0, code)


def test_an_opener_of_one_mode_opens_nothing_in_the_other():
    opens = {"secure_command": command(Action.OPEN_SESSION)}
    authorization = {"authorization": fresh("authorization", actions=(8,))}
    network = {"device_class": "multi_mode", "mode": "network", "action": "program_endpoint"}
    mobile = network | {"mode": "mobile"}
    assert outcome(**network, **authorization)[0] == AFTER_OPEN
    assert outcome(**mobile, **opens)[0] == AFTER_OPEN
    assert outcome(**network, **opens)[:2] == (REFUSED, "session_required")
    assert outcome(**mobile, **authorization)[:2] == (REFUSED, "session_required")


def test_every_row_is_one_of_four_decisions_and_says_why():
    """A seeded route over everything: reason 0 exactly where allowed, missing 0 there, and a sentence for each row."""
    route = make_route(800, now=T, seed=9)
    results = process_route(route.table, route.keyring, now=T, permissions=route.permissions)
    columns = results.to_pydict()
    for row, (decision, reason, missing) in enumerate(
        zip(columns["decision"], columns["reason"], columns["missing"], strict=True)
    ):
        assert (reason == 0) == (decision in {ALLOWED, AFTER_OPEN})
        if reason == 0:
            assert missing == 0
        said = results.explain(row)
        assert Decision(decision).name in said
        assert route.route["device"][row] in said
    summary = results.summary()
    assert summary["rows"] == 800
    for counts in ("decision", "reason", "security_level"):
        assert sum(summary[counts].values()) == 800
    assert set(summary["decision"]) <= {"allowed", "allowed_after_open", "refused", "undetermined"}


def test_process_route_uses_nothing_up():
    row = {"device": ERT, "device_class": "enhanced", "security_level": "command", "action": "disconnect_service"}
    held = {"secure_command": command(Action.DISCONNECT_SERVICE)}
    answers = [decide(**row, **held) for _ in range(3)]
    assert all(first == second for first, second in itertools.pairwise(answers))
