"""Calls that cannot be made say what came and what was expected; one bad row stays one bad row."""

import datetime as dt
import decimal
import fractions
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from helpers import DAY, DEVICE, ISSUER, KEYRING, NOW, SECOND_ISSUER, claims, code_of, codes_of, entry, public, token
from itron_core import (
    Action,
    InputError,
    ItronCoreError,
    Keyring,
    KeyringEntry,
    LocalSigner,
    Need,
    PolicyOptions,
    PublicKey,
    Reason,
    Revocations,
    TokenRefused,
    check_sessions,
    check_windows,
    issue_delegation,
    issue_revocations,
    issue_tokens,
    needs,
    policy_table,
    process_batches,
    process_route,
    verify_signatures,
    verify_stream,
    verify_token,
    verify_tokens,
)
from reference.build import sign
from reference.cbor import write

ROUTE = {
    "device": [DEVICE, "ert:2"],
    "device_class": ["basic", "basic"],
    "security_level": ["unknown", "unknown"],
    "action": ["read_endpoint", "read_endpoint"],
}
REQUEST = {"device": [DEVICE, "ert:2"], "actions": [1, 1], "sequence": [1, 2], "epoch": [0, 0]}
SIGNER = LocalSigner(ISSUER.private)
ENTRY = KeyringEntry(public(SECOND_ISSUER), issuer="i")
SNAPSHOT = Revocations(version=1, expires_at=NOW + 60)

# Every call that takes a moment, as a function of it.
CALLS_WITH_NOW = {
    "verify_tokens": lambda now: verify_tokens([token()], KEYRING, now=now),
    "verify_token": lambda now: verify_token(token(), KEYRING, now=now),
    "verify_stream": lambda now: list(verify_stream([[token()]], KEYRING, now=now)),
    "check_sessions": lambda now: check_sessions([NOW], [60], now=now),
    "check_windows": lambda now: check_windows([NOW], [NOW], now=now),
    "process_route": lambda now: process_route(ROUTE, KEYRING, now=now, permissions=31),
    "process_batches": lambda now: list(process_batches([ROUTE], KEYRING, now=now, permissions=31)),
    "issue_tokens": lambda now: issue_tokens(REQUEST, SIGNER, now=now),
    "issue_delegation": lambda now: issue_delegation(ENTRY, SIGNER, now=now, expires_at=NOW + DAY),
    "issue_revocations": lambda now: issue_revocations(SNAPSHOT, SIGNER, issuer="i", now=now),
    "with_delegations": lambda now: KEYRING.with_delegations([], now=now),
    "from_token": lambda now: Revocations.from_token(b"", KEYRING, now=now),
}
NAIVE = dt.datetime.fromtimestamp(NOW, dt.UTC).replace(tzinfo=None)


class BrokenZone(dt.tzinfo):
    """A time zone of the caller's own, which fails."""

    def utcoffset(self, _when):
        raise RuntimeError("no offset")


NO_MOMENTS = {
    "NaT": pd.NaT,
    "a datetime of a broken zone": dt.datetime(2026, 11, 18, tzinfo=BrokenZone()),
    "a float": float(NOW),
    "a bool": True,
    "a naive datetime": NAIVE,
    "a date": NAIVE.date(),
    "a text": "2026-11-18T11:06:40Z",
    "bytes": b"now",
    "before 1970": -1,
    "a datetime before 1970": dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=dt.UTC),
    "beyond 64 bits": 2**63,
    "far beyond 64 bits": 2**200,
    "None": None,
    "a Decimal": decimal.Decimal(NOW),
    "a Fraction": fractions.Fraction(NOW),
    "a timedelta": dt.timedelta(seconds=NOW),
    "datetime64": np.datetime64(NOW, "s"),
    "a NumPy float": np.float64(NOW),
    "a list": [NOW],
}


@pytest.mark.parametrize("call", CALLS_WITH_NOW)
@pytest.mark.parametrize("wrong", NO_MOMENTS)
def test_now_is_an_int_or_an_aware_datetime(call, wrong):
    with pytest.raises(InputError, match=r"now: got .*expected"):
        CALLS_WITH_NOW[call](NO_MOMENTS[wrong])


@pytest.mark.parametrize("call", sorted(set(CALLS_WITH_NOW) - {"from_token"}))
def test_now_may_be_any_int_and_any_zone(call):
    """A NumPy integer and a datetime of another zone are the moment that they say."""
    for now in (NOW, np.int64(NOW), dt.datetime.fromtimestamp(NOW, dt.timezone(dt.timedelta(hours=-7)))):
        CALLS_WITH_NOW[call](now)


def test_now_is_a_required_keyword():
    for call in (
        lambda: verify_tokens([token()], KEYRING),
        lambda: verify_tokens([token()], KEYRING, NOW),
        lambda: verify_token(token(), KEYRING),
        lambda: process_route(ROUTE, KEYRING, permissions=31),
        lambda: process_route(ROUTE, KEYRING, NOW, 31),
        lambda: issue_tokens(REQUEST, SIGNER),
        lambda: KEYRING.with_delegations([]),
        lambda: Revocations.from_token(b"", KEYRING),
        lambda: list(verify_stream([[token()]], KEYRING)),
    ):
        with pytest.raises(TypeError, match=r"now|positional"):
            call()


# Options.


def bulk(**options):
    verify_tokens([token()], KEYRING, **{"now": NOW} | options)


def single(**options):
    verify_token(token(), KEYRING, **{"now": NOW} | options)


@pytest.mark.parametrize("call", [bulk, single], ids=["bulk", "single"])
@pytest.mark.parametrize(
    "wrong,says",
    [
        ({"skew": -1}, r"skew: got -1, expected 0\.\.600"),
        ({"skew": 601}, r"skew: got 601, expected 0\.\.600"),
        ({"skew": 2**64}, "skew: got 18446744073709551616, expected an int"),
        ({"skew": True}, "skew: got True, expected an int"),
        ({"skew": None}, "skew: got None, expected an int"),
        ({"max_lifetime": 2**64}, "max_lifetime: got 18446744073709551616, expected an int"),
        ({"max_lifetime": True}, "max_lifetime: got True, expected an int"),
        ({"max_lifetime": 0}, r"max_lifetime: got 0, expected 1\.\.2678400"),
        ({"max_lifetime": -5}, r"max_lifetime: got -5, expected 1\.\."),
        ({"max_lifetime": 31 * DAY + 1}, r"max_lifetime: got 2678401, expected 1\.\.2678400"),
        ({"max_lifetime": 400 * DAY + 1, "token_type": "delegation"}, r"expected 1\.\.34560000"),
        ({"token_type": "authorisation"}, r'"authorisation", expected one of authorization'),
        ({"token_type": ""}, "expected one of authorization"),
        ({"token_type": "revocation"}, "from_token"),
        ({"token_type": "AUTHORIZATION"}, "expected one of authorization"),
        ({"action": 5}, "action: got 5, expected an Action"),
        ({"action": -1}, "action: got -1, expected an Action"),
        ({"action": 64}, "action: got 64, expected an Action"),
        ({"action": "read_endpoint"}, "action: got read_endpoint, expected an Action"),
        ({"action": True}, "action: got True, expected an Action"),
        ({"revocations": []}, "revocations: got .*list.*, expected Revocations"),
    ],
    ids=str,
)
def test_options_outside_their_bounds_say_them(call, wrong, says):
    with pytest.raises(InputError, match=says):
        call(**wrong)


@pytest.mark.parametrize("call", [bulk, single], ids=["bulk", "single"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"skew": "120"},
        {"skew": 1.5},
        {"skew": None},
        {"max_lifetime": "7 days"},
        {"max_lifetime": 1.0},
        {"token_type": 1},
        {"token_type": None},
        {"token_type": b"authorization"},
        {"legacy_algorithms": "yes"},
        {"legacy_algorithms": 1},
        {"audience": 7},
        {"epoch": "4"},
        {"epoch": 4.0},
        {"unknown": 1},
        {"max_life_time": 5},
    ],
    ids=str,
)
def test_options_of_a_wrong_type_raise(call, wrong):
    with pytest.raises((ItronCoreError, TypeError)) as raised:
        call(**wrong)
    (name,) = wrong
    assert name in str(raised.value) or name in "".join(getattr(raised.value, "__notes__", []))


@pytest.mark.parametrize("threads", [0, -1, 1.0, "2", True, 2**70, [2]])
def test_threads_are_none_or_at_least_1(threads):
    keys = [public(ISSUER)]
    for call in (
        lambda: verify_tokens([token()], KEYRING, now=NOW, threads=threads),
        lambda: verify_signatures(keys, [b""], [b""], key_index=[0], threads=threads),
        lambda: process_route(ROUTE, KEYRING, now=NOW, permissions=31, threads=threads),
    ):
        with pytest.raises(InputError, match=r"threads: got .*, expected None or 1"):
            call()


def test_a_keyring_is_a_keyring():
    for wrong in (None, [], [public(ISSUER)], public(ISSUER), "keyring", entry(ISSUER)):
        for call in (
            lambda wrong=wrong: verify_tokens([token()], wrong, now=NOW),
            lambda wrong=wrong: verify_token(token(), wrong, now=NOW),
            lambda wrong=wrong: process_route(ROUTE, wrong, now=NOW, permissions=31),
            lambda wrong=wrong: Revocations.from_token(b"", wrong, now=NOW),
        ):
            with pytest.raises(TypeError, match=r"keyring|Keyring"):
                call()


@pytest.mark.parametrize("wrong", [5, None, "key", b"x", [public(ISSUER), "x"], {"kty": "OKP"}, [None]], ids=str)
def test_keyrings_are_made_of_keys_and_entries(wrong):
    given = wrong if isinstance(wrong, list) else [wrong]
    with pytest.raises(InputError, match=r"expected PublicKey or KeyringEntry"):
        Keyring(given)


@pytest.mark.parametrize("wrong", [5, None, object()])
def test_a_keyring_is_made_of_a_collection(wrong):
    with pytest.raises(TypeError):
        Keyring(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"token_types": ["authorisation"]},
        {"token_types": "authorization"},
        {"token_types": [1]},
        {"token_types": 5},
        {"actions": -1},
        {"actions": 2**64},
        {"actions": [64]},
        {"actions": ["read_endpoint"]},
        {"actions": 1.5},
        {"valid_from": -1},
        {"valid_from": 1.5},
        {"valid_from": NAIVE},
        {"valid_until": "2027"},
        {"valid_until": dt.datetime.fromtimestamp(NOW, dt.UTC) + dt.timedelta(microseconds=1)},
        {"valid_until": True},
        {"issuer": 5},
        {"audience_prefix": None},
        {"audience_prefix": b"ert:"},
        {"unknown": 1},
    ],
    ids=str,
)
def test_entries_have_ceilings_of_their_kind(wrong):
    with pytest.raises((ItronCoreError, TypeError)):
        KeyringEntry(public(ISSUER), **wrong)


# Columns.


def test_columns_of_different_lengths_raise_and_say_both():
    two = [token(), token()]
    for call, says in (
        (lambda: verify_tokens(two, KEYRING, now=NOW, audience=[DEVICE]), "audience.*1.*2|2.*1"),
        (lambda: verify_tokens(two, KEYRING, now=NOW, epoch=[1, 2, 3]), "epoch.*3|2.*3"),
        (lambda: verify_signatures(public(ISSUER), [b""], []), "signatures"),
        (lambda: verify_signatures([public(ISSUER)], [b""], [b""], key_index=[0, 0]), "key_index"),
        (lambda: process_route(ROUTE | {"mode": ["mobile"]}, KEYRING, now=NOW, permissions=31), "mode"),
        (lambda: issue_tokens(REQUEST | {"epoch": [1]}, SIGNER, now=NOW), "epoch"),
    ):
        with pytest.raises(InputError, match=says):
            call()


@pytest.mark.parametrize("index", [[1], [-1], [None], [2**40], [0.0], ["0"], None])
def test_a_key_index_is_one_of_the_keys(index):
    with pytest.raises(InputError, match="key_index"):
        verify_signatures([public(ISSUER)], [b""], [b""], key_index=index)


@pytest.mark.parametrize("wrong", [5, None, "key", [5], ["key"], b"x" * 32], ids=str)
def test_a_public_key_is_one(wrong):
    with pytest.raises(InputError, match="public_key: got"):
        verify_signatures(wrong, [b""], [b""], key_index=[0])


@pytest.mark.parametrize(
    "wrong",
    ["text", [5], [token(), 5], ["text", 5], 5, {"a": 1}, object(), pa.array([1.5])],
    ids=lambda w: type(w).__name__,
)
def test_tokens_are_a_column_of_bytes(wrong):
    with pytest.raises(InputError, match="tokens"):
        verify_tokens(wrong, KEYRING, now=NOW)


@pytest.mark.parametrize("wrong", [5, [1, 2], object(), 1.5])
def test_one_token_is_bytes(wrong):
    with pytest.raises(InputError, match=r"token: got .*, expected bytes"):
        verify_token(wrong, KEYRING, now=NOW)


@pytest.mark.parametrize("column", ["device", "device_class", "security_level", "action"])
def test_a_route_s_required_columns_are_named_when_absent(column):
    route = {name: values for name, values in ROUTE.items() if name != column}
    with pytest.raises(InputError, match=column):
        process_route(route, KEYRING, now=NOW, permissions=31)


@pytest.mark.parametrize(
    "column,values",
    [
        ("device", [1, 2]),
        ("device_class", [1.5, 2.5]),
        ("security_level", [True, False]),
        ("action", [b"a", b"b"]),
        ("mode", [0.5, 1.5]),
        ("authorization", [1.5, 2.5]),
        ("secure_command", [1, 2]),
        ("reading_key", [1.0, 2.0]),
        ("session_opened_at", ["now", "now"]),
        ("session_seconds", [1.5, 2.5]),
        ("commands_used", ["1", "2"]),
        ("authorizations_used", [1.5, 2.5]),
        ("secure_command_used", [1, 0]),
        ("authorization_used", ["yes", "no"]),
        ("on_menu", [1, 1]),
        ("level_verified", ["true", "true"]),
        ("key_exchange", [0, 0]),
        ("permissions", ["read", "read"]),
        ("epoch", [1.5, 2.5]),
    ],
)
def test_a_route_s_column_of_a_wrong_type_is_named(column, values):
    """A column of a wrong type raises; it is no refusal of rows."""
    for given in (values, pa.array(values)):
        with pytest.raises(InputError, match=column):
            process_route(ROUTE | {column: given}, KEYRING, now=NOW, permissions=31)


@pytest.mark.parametrize("permissions", ["read", None, 1.0, True, [1], 2**70, -1, ~4])
def test_permissions_are_a_bit_set(permissions):
    with pytest.raises((InputError, TypeError), match="permissions"):
        process_route(ROUTE, KEYRING, now=NOW, permissions=permissions)


def test_a_row_s_permissions_below_zero_grant_nothing():
    """-1 has every bit; said of a user of whom nothing is known, it must not allow."""
    rows = process_route(ROUTE | {"permissions": [-1, -(2**63)]}, KEYRING, now=NOW, permissions=31).to_pydict()
    assert rows["reason"] == [Reason.PERMISSION_DENIED] * 2
    assert rows["missing"] == [Need.PERMISSION] * 2


@pytest.mark.parametrize("options", [None, {}, 5, "default"])
def test_options_are_policy_options(options):
    for call in (
        lambda: process_route(ROUTE, KEYRING, now=NOW, permissions=31, options=options),
        lambda: policy_table(options),
        lambda: needs(0, 0, 0, 0, options),
    ):
        with pytest.raises(InputError, match=r"options: got .*, expected PolicyOptions"):
            call()


@pytest.mark.parametrize("route", [None, 5, "route", [1, 2], [{}], object()])
def test_a_route_is_a_table(route):
    with pytest.raises(InputError, match="route"):
        process_route(route, KEYRING, now=NOW, permissions=31)


def test_a_column_twice_raises():
    names = [*ROUTE, "device"]
    arrays = [pa.array(values) for values in [*ROUTE.values(), ROUTE["device"]]]
    with pytest.raises(InputError, match="device"):
        process_route(pa.Table.from_arrays(arrays, names), KEYRING, now=NOW, permissions=31)


def test_explain_needs_an_existing_row():
    results = process_route(ROUTE, KEYRING, now=NOW, permissions=31)
    assert results.explain(-1) == results.explain(1)
    for row in (2, -3, 10**6):
        with pytest.raises(IndexError):
            results.explain(row)
    with pytest.raises(TypeError):
        results.explain("first")


def test_a_column_that_there_is_not_raises():
    results = verify_tokens([token()], KEYRING, now=NOW)
    for name in ("codes", "", "CODE"):
        with pytest.raises(KeyError):
            results[name]
        with pytest.raises(KeyError):
            results.column(name)
    with pytest.raises(IndexError):
        results["code"][1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"now": NOW, "token_type": "delegation"},
        {"now": NOW, "token_type": "revocation"},
        {"now": NOW, "token_type": "x"},
        {"now": NOW, "max_lifetime": 0},
        {"now": NOW, "max_lifetime": 31 * DAY + 1},
        {"now": 5},
        {"now": 4_102_444_801},
    ],
    ids=str,
)
def test_tokens_that_cannot_be_issued_raise(wrong):
    with pytest.raises(InputError):
        issue_tokens(REQUEST, SIGNER, **wrong)


@pytest.mark.parametrize("token_type", ["delegation", "revocation", "authorisation", ""])
def test_only_token_types_that_a_call_takes_are_listed(token_type):
    with pytest.raises(InputError, match=f'token type: got "{token_type}", expected one of authorization') as caught:
        issue_tokens(REQUEST, SIGNER, now=NOW, token_type=token_type)
    assert str(caught.value).endswith("authorization, secure_command, reading_key")


def test_a_request_s_unknown_column_is_named():
    with pytest.raises(InputError, match="colour"):
        issue_tokens(REQUEST | {"colour": ["red", "red"]}, SIGNER, now=NOW)


class Broken:
    """A signer whose answer is not what was asked of it."""

    def __init__(self, answer):
        self.answer = answer
        self.public_key = SIGNER.public_key

    def sign(self, message):
        raise NotImplementedError

    def sign_many(self, messages):
        return self.answer(messages)


def no_answer(_messages):
    raise OSError("the HSM does not answer")


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: b"",
        lambda _: None,
        lambda _: "text" * 32,
        lambda messages: [bytes(64) for _ in messages],
        lambda messages: bytes(64 * len(messages)),
        lambda messages: bytes(64 * len(messages) - 1),
        lambda messages: SIGNER.sign_many(messages).tobytes() + b"\x00",
        lambda messages: SIGNER.sign_many(messages[:1]),
        lambda messages: SIGNER.sign_many(messages[::-1]),
        lambda messages: np.zeros((len(messages), 64), np.int32),
        lambda messages: np.zeros((len(messages), 64), np.float64),
    ],
)
def test_a_signer_that_answers_wrongly_gets_no_token_out(answer):
    for call in (
        lambda: issue_tokens(REQUEST, Broken(answer), now=NOW),
        lambda: issue_tokens({name: column * 60 for name, column in REQUEST.items()}, Broken(answer), now=NOW),
    ):
        with pytest.raises((ItronCoreError, TypeError, BufferError, ValueError)):
            call()


def test_exceptions_of_a_signer_pass_through():
    with pytest.raises(OSError, match="the HSM"):
        issue_tokens(REQUEST, Broken(no_answer), now=NOW)


def test_a_signer_may_answer_with_any_buffer_of_bytes():
    for form in (bytes, bytearray, memoryview, np.asarray):
        signed = issue_tokens(REQUEST, Broken(lambda messages, form=form: form(SIGNER.sign_many(messages))), now=NOW)
        assert codes_of(signed) == [0, 0]


# One bad row is one bad row.


def test_bad_tokens_of_every_kind_among_good_ones():
    good = [token(sequence=n) for n in range(3)]
    bad = [
        None,
        b"",
        b"\x00",
        bytes(2_000),
        good[0][:-1],
        good[0] + b"\x00",
        token(issued_at=NOW + DAY),
        sign(ISSUER, "authorization", claims(aud="nobody")),
        sign(ISSUER, "authorization", {}),
        write({}) * 100,
    ]
    for place in range(3):
        for one in bad:
            rows = [*good[:place], one, *good[place:]]
            codes = codes_of(rows)
            assert [row for row, code in enumerate(codes) if code] == [place]


@pytest.mark.parametrize(
    "column,value",
    [
        ("device", None),
        ("device", "ert:01"),
        ("device", ""),
        ("device", "\x00"),
        ("device", "é" * 500),
        ("device_class", None),
        ("device_class", "basics"),
        ("security_level", "none"),
        ("action", "fly"),
        ("action", ""),
        ("mode", "Betrieb"),
    ],
)
def test_an_unreadable_row_of_a_route_is_refused_alone(column, value):
    """1005, missing 0, the other columns null, and counted under level unknown."""
    route = {name: [values[0], values[0], values[1]] for name, values in ROUTE.items()}
    route["mode"] = ["mobile"] * 3
    route[column][1] = value
    results = process_route(route, KEYRING, now=NOW, permissions=31)
    columns = results.to_pydict()
    assert columns["reason"] == [0, 1005, 0]
    assert columns["decision"] == [0, 2, 0]
    assert columns["missing"] == [0, 0, 0]
    assert columns["unverified"][1] is False
    for name in ("session_until", "authorization_code", "secure_command_code", "reading_key_code"):
        assert columns[name][1] is None
    assert results.summary()["reason"] == {"ok": 2, "row_unreadable": 1}
    assert results.explain(1)


@pytest.mark.parametrize("column,number", [("device_class", 3), ("security_level", -1), ("action", 5), ("mode", 2**40)])
def test_an_unknown_number_is_one_unreadable_row(column, number):
    route = {"device": [DEVICE] * 2, "device_class": [0, 0], "security_level": [3, 3], "action": [0, 0], "mode": [0, 0]}
    route[column][1] = number
    assert process_route(route, KEYRING, now=NOW, permissions=31)["reason"].to_pylist() == [0, 1005]


@pytest.mark.parametrize("column", ["commands_used", "authorizations_used", "epoch"])
@pytest.mark.parametrize("number", [-1, -(2**63)])
def test_a_count_below_zero_is_one_unreadable_row(column, number):
    """Fewer than none is no number of uses, and no device is of such an epoch: it must not count as "not reached"."""
    results = process_route(ROUTE | {column: [number, 0]}, KEYRING, now=NOW, permissions=31)
    assert results["reason"].to_pylist() == [1005, 0]


def test_an_unreadable_row_is_counted_under_level_unknown():
    route = ROUTE | {"security_level": ["full", "full"], "device": [DEVICE, "nothing"]}
    results = process_route(route, KEYRING, now=NOW, permissions=31)
    assert results.summary()["security_level"] == {"full": 1, "unknown": 1}


def test_a_refused_token_in_a_single_call_raises_and_cannot_be_ignored():
    with pytest.raises(TokenRefused):
        verify_token(token(issued_at=NOW - 9 * DAY), KEYRING, now=NOW)


# Messages.


def test_messages_name_no_path_of_the_build_and_no_internal_word():
    """What a user reads is the argument, what came, and what was expected."""
    calls = [
        lambda: verify_tokens("text", KEYRING, now=NOW),
        lambda: verify_tokens([token()], KEYRING, now="x"),
        lambda: Keyring([1]),
        lambda: PublicKey.from_raw("Ed25519", b""),
        lambda: process_route({}, KEYRING, now=NOW, permissions=31),
        lambda: issue_tokens({}, SIGNER, now=NOW),
        lambda: Revocations(version=-1, expires_at=NOW),
        lambda: PolicyOptions(command_limit=-1),
        lambda: check_windows([1], [1], now=NOW, skew=-1),
    ]
    for call in calls:
        with pytest.raises(ItronCoreError) as raised:
            call()
        message = str(raised.value)
        assert message
        assert not re.search(r"panick|unwrap|\.rs\b|None\b.*Option|Err\(|called `", message)


def test_an_int_flag_and_an_enum_s_member_are_their_numbers():
    assert code_of(token(), action=Action.READ_ENDPOINT) == 0
    assert code_of(token(), action=0) == 0
    assert KeyringEntry(public(ISSUER), actions=[Action.READ_ENDPOINT, 8]).actions == 1 | 1 << 8


@pytest.mark.parametrize("sign", ["a", "é", "ש", "\u4e2d", "\U0001f4a9"])
@pytest.mark.parametrize("before", range(4))
def test_a_long_value_is_cut_between_two_characters(sign, before):
    """And says that it is: a part of a character is no character of the file."""
    device = "x" * before + sign * 5_000
    row = {"device": device, "device_class": "basic", "security_level": "full", "action": "read_endpoint"}
    (said,) = process_route([row], Keyring([]), now=NOW, permissions=31)["unreadable"]
    assert said.startswith('device: "')
    assert said.endswith('"...')
    shown = said.removeprefix('device: "').removesuffix('"...')
    assert device.startswith(shown)
    assert 76 < len(shown.encode()) <= 80
