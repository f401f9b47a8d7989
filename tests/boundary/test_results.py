"""Results: names near ours, what is ignored and unreadable, names, counts, sentences, and what to request."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from helpers import EVERY_PERMISSION, KEYRING, NOW, STRANGER, T, delegation, public, token
from helpers import ISSUER as SIGNER
from itron_core import (
    Code,
    Decision,
    InputError,
    Need,
    PolicyOptions,
    Reason,
    check_sessions,
    policy_table,
    process_route,
    verify_signatures,
    verify_token,
    verify_tokens,
)
from itron_core._rust import device_id, token_content
from itron_core.enums import PHRASES, Action, DeviceClass, Mode, SecurityLevel, named
from reference.build import sign

ROW = {"device": "ert:1", "device_class": "enhanced", "security_level": "command", "action": "connect_service"}
OPTIONAL = (
    *("mode", "authorization", "secure_command", "reading_key", "session_opened_at", "session_seconds"),
    *("commands_used", "authorizations_used", "secure_command_used", "authorization_used", "on_menu"),
    *("level_verified", "key_exchange", "permissions", "epoch"),
)


def decided(permissions=EVERY_PERMISSION, options=None, **row):
    route = {name: [value] for name, value in (ROW | row).items()}
    return process_route(route, KEYRING, now=T, permissions=permissions, options=options or PolicyOptions())


# Names near ours.


@pytest.mark.parametrize("name", [*ROW, *OPTIONAL])
def test_a_column_that_is_nearly_a_route_s_raises(name):
    """Case, separators, a letter left out, put in or exchanged: a misspelt optional column would grant in silence."""
    near = {
        name.upper(),
        name.title(),
        name[:-1],
        name + "s",
        name[1] + name[0] + name[2:],
        name.replace("_", "-") + " ",
    }
    for other in near - {*ROW, *OPTIONAL}:
        with pytest.raises(InputError, match=f"{other}.*nearly"):
            decided(**{other: None})


def test_clearly_foreign_columns_are_ignored_and_named():
    results = decided(route_id=7, address="1 Main St", expected="allowed", modality="x")
    assert results.ignored_columns == ["route_id", "address", "expected", "modality"]
    assert decided().ignored_columns == []
    table = pa.table({name: [value] for name, value in (ROW | {"route_id": 7}).items()})
    assert process_route(table, KEYRING, now=T, permissions=31).ignored_columns == ["route_id"]


# Unreadable rows.


@pytest.mark.parametrize(
    "row,unreadable",
    [
        ({"device": "100000001"}, 'device: "100000001"'),
        ({"device": None}, "device: null"),
        ({"device": "ert:01", "action": "fly"}, 'device: "ert:01"'),
        ({"device_class": "solid"}, 'device_class: "solid"'),
        ({"device_class": 7}, "device_class: 7"),
        ({"security_level": None}, "security_level: null"),
        ({"security_level": "Full Secure"}, 'security_level: "Full Secure"'),
        ({"action": 5}, "action: 5"),
        ({"mode": "plane"}, 'mode: "plane"'),
        ({"commands_used": -1}, "commands_used: -1"),
        ({"authorizations_used": -2}, "authorizations_used: -2"),
        ({"epoch": -3}, "epoch: -3"),
        ({"action": "x" * 500}, 'action: "' + "x" * 80 + '"...'),
    ],
    ids=str,
)
def test_an_unreadable_row_names_its_column_and_value(row, unreadable):
    results = decided(**row)
    answer = {name: values[0] for name, values in results.to_pydict().items()}
    assert (answer["decision"], answer["reason"], answer["missing"]) == (Decision.REFUSED, Reason.ROW_UNREADABLE, 0)
    assert answer["unreadable"] == unreadable
    assert not answer["unverified"]
    assert results.summary()["security_level"] == {"unknown": 1}
    column = unreadable.partition(":")[0]
    assert f"column {column}: " in results.explain(0)
    assert results.requests().to_pydict()["row"] == []


def test_only_unreadable_rows_have_a_text():
    route = {name: [value] * 40 for name, value in ROW.items()}
    route["device"] = ["ert:1" if row % 13 else f"no {row}" for row in range(40)]
    results = process_route(route, KEYRING, now=T, permissions=31)
    wanted = [None if row % 13 else f'device: "no {row}"' for row in range(40)]
    assert results["unreadable"].to_pylist() == wanted
    assert pa.record_batch(results)["unreadable"].to_pylist() == wanted
    readable = process_route({name: [value] * 9 for name, value in ROW.items()}, KEYRING, now=T, permissions=31)
    assert pa.record_batch(readable)["unreadable"].null_count == 9


# Names as people write them.


@pytest.mark.parametrize(
    "column,written,name",
    [
        ("device_class", "Enhanced Security-Capable", "enhanced"),
        ("device_class", "BASIC SECURITY", "basic"),
        ("device_class", "multi mode capable", "multi_mode"),
        ("device_class", "Multi-Mode", "multi_mode"),
        ("mode", "Mobile Mode", "mobile"),
        ("mode", "network-mode", "network"),
        ("security_level", "Ready to Secure", "ready_to_secure"),
        ("security_level", "Command Security", "command"),
        ("security_level", "full security", "full"),
        ("action", "Connect", "connect_service"),
        ("action", "disconnect", "disconnect_service"),
        ("action", "RESTRICT", "restrict_service"),
        ("action", "read interval-data", "read_interval_data"),
    ],
)
def test_the_manual_s_phrases_are_names(column, written, name):
    assert decided(**{column: written}).to_pydict() == decided(**{column: name}).to_pydict()
    assert decided(**{column: written})["reason"][0] != Reason.ROW_UNREADABLE
    enumeration = {"device_class": DeviceClass, "mode": Mode, "security_level": SecurityLevel, "action": Action}[column]
    assert named(enumeration, written) is enumeration[name.upper()]


def test_every_phrase_of_python_is_one_of_rust():
    columns = {DeviceClass: "device_class", Mode: "mode", SecurityLevel: "security_level", Action: "action"}
    for enumeration, phrases in PHRASES.items():
        for phrase, member in phrases.items():
            column = columns[enumeration]
            assert decided(**{column: phrase}).to_pydict() == decided(**{column: int(member)}).to_pydict(), phrase
    assert named(Mode, "plane") is None


# Identity.


def test_a_device_id_is_eight_bytes():
    assert device_id("ert:100000001") == (100_000_001).to_bytes(8)
    assert device_id("eui64:0001000000000000") == (2**48).to_bytes(8)
    for wrong in ("", "ert:01", "ert:281474976710656", "eui64:0000ffffffffffff", "ERT:1", "7", 7, None):
        with pytest.raises(InputError, match="device"):
            device_id(wrong)
    with pytest.raises(InputError, match='"7" is not a device id; write ert: before it'):
        device_id("7")


def test_the_content_of_a_token_ends_before_its_signature():
    """A second signature over the same content is the same content; whatever its length, it is left out."""
    one = token()
    assert token_content(one) == one[:-64]
    assert token_content(bytearray(one)) == one[:-64]
    longer = one[:-66] + b"\x59\x09\x74" + bytes(2_420)
    assert token_content(longer) == longer[:-2_420]
    for garbage in (b"", b"x", one[:-1], one + b"x"):
        assert token_content(garbage) == garbage


# The claims of tokens.


def test_the_device_of_a_token_is_a_column():
    """Of a delegation it is the prefix; null as every claim where the signature did not verify."""
    tokens = [token(), token(device="eui64:0001000000000000"), None, token()[:-1] + b"x"] * 500
    assert (
        verify_tokens(tokens, KEYRING, now=NOW, threads=2)["device"].to_pylist()
        == [*("ert:100000001", "eui64:0001000000000000", None, None)] * 500
    )
    expired = verify_tokens([token(issued_at=NOW - 99 * 86_400)], KEYRING, now=NOW)
    assert (expired["code"][0], expired["device"][0]) == (Code.EXPIRED, "ert:100000001")
    for prefix in ("ert:1", None):
        one = sign(SIGNER, "delegation", delegation(STRANGER, aud=prefix))
        assert verify_tokens([one], KEYRING, now=NOW, token_type="delegation")["device"].to_pylist() == [prefix]


def test_all_claims_are_columns_on_request():
    command = token("secure_command", sub="ann")
    reading_key = token("reading_key")
    usual = verify_tokens([command], KEYRING, now=NOW, token_type="secure_command")
    results = verify_tokens([command, None], KEYRING, now=NOW, token_type="secure_command", claims="all")
    more = ["cti", "subject", "command", "kdf", "key_version", "check_value"]
    assert results.column_names == usual.column_names + more
    one = verify_token(command, KEYRING, now=NOW, token_type="secure_command")
    wanted = {
        "cti": one.cti,
        "subject": "ann",
        "command": one.command,
        "kdf": None,
        "key_version": None,
        "check_value": None,
    }
    assert {name: results[name][0] for name in more} == wanted
    assert {results[name][1] for name in more} == {None}
    results = verify_tokens([reading_key], KEYRING, now=NOW, token_type="reading_key", claims="all")
    assert [results[name][0] for name in more[3:]] == [1, 4, b"kcv."]
    assert pa.record_batch(results).schema.field("key_version").type == pa.int64()
    for wrong in ("some", True, 1, ["all"]):
        with pytest.raises(InputError, match="claims: got"):
            verify_tokens([], KEYRING, now=NOW, claims=wrong)


# Requests.


@pytest.mark.parametrize(
    "row,wanted",
    [
        ({}, [("secure_command", "connect_service")]),
        ({"action": "geomode"}, [("secure_command", "open_session")]),
        ({"action": "geomode", "session_opened_at": T, "session_seconds": 60}, []),
        (
            {"action": "read_on_demand", "security_level": "full"},
            [("secure_command", "open_session"), ("reading_key", "read_on_demand")],
        ),
        ({"action": "close_session"}, []),
        ({"action": "geomode", "device_class": "multi_mode", "mode": "network"}, [("authorization", "geomode")]),
        (
            {"action": "geomode", "device_class": "multi_mode"},
            [("authorization", "geomode"), ("secure_command", "open_session")],
        ),
        (
            {"device_class": "multi_mode"},
            [("authorization", "connect_service"), ("secure_command", "connect_service")],
        ),
        (
            {"action": "switch_to_mobile_mode", "device_class": "multi_mode"},
            [("authorization", "switch_to_mobile_mode")],
        ),
        ({"permissions": 0}, []),
        ({"on_menu": False}, []),
        ({"security_level": "ready_to_secure"}, []),
        ({"device_class": "basic"}, []),
        ({"secure_command": b"x" * 100}, [("secure_command", "connect_service")]),
        ({"action": "program_endpoint", "device_class": "basic"}, []),
    ],
    ids=str,
)
def test_missing_material_is_requested(row, wanted):
    requests = decided(**row).requests()
    assert [*zip(requests["token_type"], requests["action"], strict=True)] == wanted
    assert requests["device"].to_pylist() == ["ert:1"] * len(wanted)
    assert pa.record_batch(requests).schema.field("row").type == pa.int64()


def test_the_requested_material_then_allows_the_row():
    """Issued as asked, the material opens or allows the row."""
    for action in ("connect_service", "geomode"):
        missing = decided(action=action)
        (request,) = zip(*missing.requests().to_pydict().values(), strict=True)
        number = Action[request[3].upper()]
        held = token("secure_command", device=request[1], actions=(number,), issued_at=T)
        assert decided(action=action, secure_command=held)["decision"][0] in {
            Decision.ALLOWED,
            Decision.ALLOWED_AFTER_OPEN,
        }


# Names, counts and sentences of all results.


def every_result():
    tokens = [token(), None, b"x"]
    yield verify_tokens(tokens, KEYRING, now=NOW)
    yield verify_signatures(public(SIGNER), [b"a", None], [bytes(64), b""])
    yield check_sessions([T - 1, None], [60, 60], now=T)
    yield decided()
    yield policy_table()
    yield decided().requests()
    yield decided().names()


def test_all_results_have_names_counts_and_sentences():
    for results in every_result():
        names = results.names()
        assert names.column_names == results.column_names
        assert len(names) == len(results)
        assert results.summary()["rows"] == len(results)
        for row in range(min(len(results), 5)):
            assert results.explain(row) == results.explain(row - len(results))
        for row in (len(results), -len(results) - 1):
            with pytest.raises(IndexError):
                results.explain(row)
        assert "<table>" in results._repr_html_()


def test_numbers_are_named_as_the_enumerations_are():
    table = policy_table()
    named_table = table.names().to_pydict()
    for column in ("needs", "opener", "counted"):
        wanted = ["|".join(need.name.lower() for need in Need if need & bits) for bits in table[column]]
        assert named_table[column] == wanted
    assert named_table["reason"] == [Reason(number).name.lower() for number in table["reason"]]
    states = check_sessions([T, T + 9, 0, 0, None], [60] * 5, now=T, closed_at=[None, None, None, 1, None])
    assert states.names()["state"].to_pylist() == ["open", "not_started", "expired", "closed", "none"]
    decisions = decided().names().to_pydict()
    assert (decisions["decision"], decisions["reason"]) == (["refused"], ["secure_command_missing"])
    assert decisions["missing"] == ["secure_command"]
    assert decisions["secure_command_code"] == [None]


def test_the_names_of_rust_are_those_of_python():
    """Its lists are read as text: most reasons come from no row of a table."""
    source = (Path(__file__).parents[2] / "rust" / "py" / "src" / "arguments" / "enums.rs").read_text()

    def listed(constant):
        body = re.search(rf"const {constant}: Enumeration =\s*(.*?);\n", source, re.DOTALL)[1]
        return {(int(number), name) for number, name in re.findall(r'\((\d+), "(\w+)"\)', body)}

    assert listed("DECISION") == {(int(one), one.name.lower()) for one in Decision}
    assert listed("NEED") == {(one.bit_length() - 1, one.name.lower()) for one in Need}
    assert listed("POLICY_REASON") == {(one - 1000, one.name.lower()) for one in Reason if one}


def test_codes_are_counted_and_actions_named():
    tokens = verify_tokens([token(), b"x"], KEYRING, now=NOW)
    assert tokens.summary() == {"rows": 2, "code": {"ok": 1, "too_small": 1}}
    assert tokens.names().to_pydict()["actions"] == ["read_endpoint", None]


def test_results_are_indexed_by_column():
    for results in every_result():
        for key in (0, -1, None, b"code"):
            with pytest.raises(InputError, match="indexed by column"):
                results[key]
        with pytest.raises(KeyError):
            results["nothing"]


@pytest.mark.parametrize(
    "row,says",
    [
        ({"action": "geomode"}, 'Request a secure command "open_session" for this device.'),
        ({}, 'Request a secure command "connect_service" for this device.'),
        ({"commands_used": 2}, "Both allowed uses since the last sync are spent; sync first."),
        (
            {"commands_used": 5, "options": PolicyOptions(command_limit=5)},
            "All 5 allowed uses since the last sync are spent",
        ),
        (
            {"commands_used": 1, "options": PolicyOptions(command_limit=1)},
            "The one allowed use since the last sync is spent",
        ),
        ({"security_level": "ready_to_secure"}, "Not possible on this device at this level, whatever you hold."),
        ({"permissions": 0}, 'Your role needs the permission "remote_connect"'),
        ({"security_level": "Full Secure"}, "use ready_to_secure, command, full or unknown."),
        ({"device": "100000001"}, "write ert:100000001."),
        (
            {"action": "geomode", "device_class": "multi_mode", "mode": "network"},
            'Request a signed authorization "geomode" for this device.',
        ),
        (
            {"action": "read_endpoint", "security_level": "full"},
            'Request a reading key "read_endpoint" for this device.',
        ),
        ({"action": "close_session"}, "None is opened for this action."),
    ],
    ids=str,
)
def test_a_sentence_names_the_remedy(row, says):
    assert says in decided(**row).explain(0)


def test_a_moment_outside_the_format_s_times_is_refused():
    """Milliseconds are the usual mistake, and said to be one."""
    for now in (1_577_836_800, 4_102_444_800):
        assert check_sessions([0], [1], now=now)["state"].to_pylist() == [2]
    for now in (1_577_836_799, 4_102_444_801, 0, -1, 2**62):
        with pytest.raises(InputError, match="from 2020 to 2100"):
            check_sessions([0], [1], now=now)
    for scale, unit in ((10**3, "milliseconds"), (10**6, "microseconds"), (10**9, "nanoseconds")):
        with pytest.raises(InputError, match=f"look like {unit}"):
            verify_tokens([], KEYRING, now=NOW * scale)
