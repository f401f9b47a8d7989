"""A simulated device: sessions by its timer, single use, keys, levels and modes, hostile messages, its state in a file."""

import hashlib
import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import DAY, DEVICE, ISSUER, KEYRING, NOW, SECOND_ISSUER, STRANGER, ring, token
from itron_core import (
    Action,
    Code,
    DeviceClass,
    InputError,
    Keyring,
    KeyringEntry,
    LocalSigner,
    Mode,
    PolicyOptions,
    Reason,
    Revocations,
    SecurityLevel,
    issue_delegation,
    issue_tokens,
)
from itron_core.device import Answer, Device, Message, Outcome, TrustUpdate
from itron_core.device.state import written
from itron_core.enums import TOKEN_TYPES
from reference.signatures import P256_N

EPOCH = 4
OTHER = "ert:100000002"
DONE, REFUSED, REPLAYED = Outcome


def meter(device_class=DeviceClass.ENHANCED, level=SecurityLevel.COMMAND, keyring=KEYRING, **more):
    return Device(DEVICE, device_class, keyring=keyring, level=level, **{"epoch": EPOCH} | more)


def network_meter(**more):
    return meter(DeviceClass.MULTI_MODE, mode=Mode.NETWORK, **more)


def command(action, sequence=7, **more):
    return token("secure_command", actions=(action,), sequence=sequence, **more)


def authorization(*actions, sequence=7, **more):
    return token("authorization", actions=actions or tuple(Action), sequence=sequence, **more)


def send(device, action, token=None, *, uptime=None, now=None, **more):
    at = device.state.uptime if uptime is None else uptime
    return device.answer(Message(action, token, **more), uptime=at, now=now)


def outcome(answer):
    return answer.outcome, answer.reason


def do(device, action, token=None, **more):
    answer = send(device, action, token, **more)
    assert outcome(answer) == (DONE, 0)
    return answer.data


# --- Sessions ---


@pytest.mark.parametrize("seconds", [60, 3_600, 28_800])
def test_a_session_ends_by_the_timer(seconds):
    device = meter()
    do(device, Action.OPEN_SESSION, command(Action.OPEN_SESSION, exi=seconds), uptime=1_000)
    do(device, Action.PROGRAM_ENDPOINT, uptime=1_000)
    do(device, Action.PROGRAM_ENDPOINT, uptime=1_000 + seconds - 1)
    assert outcome(send(device, Action.PROGRAM_ENDPOINT, uptime=1_000 + seconds)) == (REFUSED, Reason.SESSION_EXPIRED)


def test_an_authorization_opens_for_its_own_length():
    device = network_meter()
    assert do(device, Action.OPEN_SESSION, authorization(), uptime=5) == {"session_seconds": 3_600}
    do(device, Action.READ_ENDPOINT, uptime=3_604)
    assert send(device, Action.READ_ENDPOINT, uptime=3_605).reason == Reason.SESSION_EXPIRED


@pytest.mark.parametrize("exi,code", [(None, Code.CLAIM_MISSING), (59, Code.CLAIM_RANGE), (28_801, Code.CLAIM_RANGE)])
def test_an_authorization_of_no_lawful_length_opens_nothing(exi, code):
    device = network_meter()
    assert outcome(send(device, Action.OPEN_SESSION, authorization(exi=exi))) == (REFUSED, code)


def test_closing_ends_a_session_and_needs_one():
    device = meter()
    assert send(device, Action.CLOSE_SESSION).reason == Reason.SESSION_REQUIRED
    do(device, Action.OPEN_SESSION, command(Action.OPEN_SESSION))
    do(device, Action.CLOSE_SESSION)
    assert send(device, Action.PROGRAM_ENDPOINT).reason == Reason.SESSION_REQUIRED
    assert send(device, Action.CLOSE_SESSION).reason == Reason.SESSION_REQUIRED


def test_a_restart_ends_a_session_and_forgets_no_use():
    device = meter()
    opener = command(Action.OPEN_SESSION)
    do(device, Action.OPEN_SESSION, opener, uptime=500)
    device.restart()
    assert outcome(send(device, Action.OPEN_SESSION, opener, uptime=0)) == (REPLAYED, 800)
    assert send(device, Action.PROGRAM_ENDPOINT, uptime=0).reason == Reason.SESSION_REQUIRED


def test_a_repeat_of_the_opener_neither_opens_again_nor_prolongs():
    device = meter()
    opener = command(Action.OPEN_SESSION, exi=60)
    first = send(device, Action.OPEN_SESSION, opener, uptime=0)
    again = send(device, Action.OPEN_SESSION, opener, uptime=59)
    assert again == Answer(REPLAYED, 800, first.data)
    assert send(device, Action.PROGRAM_ENDPOINT, uptime=60).reason == Reason.SESSION_EXPIRED
    assert send(device, Action.OPEN_SESSION, opener, uptime=61) == again
    assert send(device, Action.PROGRAM_ENDPOINT, uptime=61).reason == Reason.SESSION_EXPIRED


def test_a_session_allows_exactly_the_scope_of_its_authorization():
    device = network_meter()
    do(device, Action.OPEN_SESSION, authorization(Action.READ_ENDPOINT))
    do(device, Action.READ_ENDPOINT)
    before = device.state
    assert outcome(send(device, Action.DISCONNECT_SERVICE)) == (REFUSED, Code.SCOPE_DENIED)
    assert device.state == before
    do(device, Action.CLOSE_SESSION)


@pytest.mark.parametrize("opens", [command(Action.OPEN_SESSION), authorization(Action.READ_ENDPOINT)])
def test_neither_opener_opens_anything_in_the_other_mode(opens):
    answers = [send(device, Action.OPEN_SESSION, opens) for device in (meter(DeviceClass.MULTI_MODE), network_meter())]
    assert sorted(outcome(answer) for answer in answers) == [(DONE, 0), (REFUSED, Code.TYP_MISMATCH)]


def test_a_timer_never_falls():
    device = meter()
    send(device, Action.READ_ENDPOINT, uptime=9)
    with pytest.raises(InputError, match="backwards"):
        send(device, Action.READ_ENDPOINT, uptime=8)
    assert device.state.uptime == 9
    device.restart()
    do(device, Action.READ_ENDPOINT, uptime=0)


# --- Single use ---


def test_a_command_runs_once_and_its_repeat_gets_the_first_answer():
    device = meter()
    one, other = command(Action.DISCONNECT_SERVICE), command(Action.CONNECT_SERVICE, 8)
    first = send(device, Action.DISCONNECT_SERVICE, one)
    do(device, Action.CONNECT_SERVICE, other)
    before = device.state
    again = send(device, Action.DISCONNECT_SERVICE, one)
    assert again == Answer(REPLAYED, int(Code.REPLAY_IDENTICAL), {"service": "disconnected", "operations": 1})
    assert again.to_bytes() == first.to_bytes()
    assert device.state == before
    assert (device.state.service, device.state.operations) == ("connected", 2)


def test_an_answer_that_is_written_to_changes_no_later_one():
    device = meter()
    one = command(Action.DISCONNECT_SERVICE)
    first = send(device, Action.DISCONNECT_SERVICE, one)
    first.data["service"] = "tampered"
    assert send(device, Action.DISCONNECT_SERVICE, one).data["service"] == "disconnected"


def test_a_second_signature_of_one_command_is_the_same_command():
    """r, n - s is a second valid ECDSA signature: a log by signature bytes would run the command again."""
    device = meter()
    one = command(Action.DISCONNECT_SERVICE, signer=SECOND_ISSUER)
    do(device, Action.DISCONNECT_SERVICE, one)
    twin = one[:-32] + (P256_N - int.from_bytes(one[-32:])).to_bytes(32)
    assert twin != one
    assert outcome(send(device, Action.DISCONNECT_SERVICE, twin)) == (REPLAYED, 800)


def test_a_repeat_with_an_invalid_signature_is_refused():
    device = meter()
    one = command(Action.DISCONNECT_SERVICE)
    do(device, Action.DISCONNECT_SERVICE, one)
    forged = one[:-64] + command(Action.CONNECT_SERVICE)[-64:]
    assert outcome(send(device, Action.DISCONNECT_SERVICE, forged)) == (REFUSED, Code.SIGNATURE_INVALID)


def test_other_content_under_a_used_identity_is_a_conflict():
    device = meter()
    do(device, Action.DISCONNECT_SERVICE, command(Action.DISCONNECT_SERVICE))
    before = device.state
    for conflicting in (command(Action.CONNECT_SERVICE), command(Action.DISCONNECT_SERVICE, command=b"other")):
        action = Action.CONNECT_SERVICE if conflicting == command(Action.CONNECT_SERVICE) else Action.DISCONNECT_SERVICE
        assert outcome(send(device, action, conflicting)) == (REFUSED, Code.REPLAY_CONFLICT)
    assert device.state == before


def test_another_issuer_s_sequence_is_another_identity():
    device = meter()
    do(device, Action.DISCONNECT_SERVICE, command(Action.DISCONNECT_SERVICE))
    do(device, Action.CONNECT_SERVICE, command(Action.CONNECT_SERVICE, signer=SECOND_ISSUER))


def test_an_authorization_that_opened_a_session_switches_no_mode():
    device = network_meter()
    one = authorization()
    first = send(device, Action.OPEN_SESSION, one)
    again = send(device, Action.SWITCH_TO_MOBILE_MODE, one, key_exchange=True)
    assert again == Answer(REPLAYED, 800, first.data)
    assert device.state.mode is Mode.NETWORK


def test_a_refused_command_is_not_used_up():
    device = meter(level=SecurityLevel.READY_TO_SECURE)
    one = command(Action.DISCONNECT_SERVICE)
    assert outcome(send(device, Action.DISCONNECT_SERVICE, one)) == (REFUSED, Reason.SERVICE_UNAVAILABLE_UNSECURED)
    do(device, Action.SET_SECURITY_LEVEL, command(Action.SET_SECURITY_LEVEL, 8), level=SecurityLevel.COMMAND)
    assert outcome(send(device, Action.CONNECT_SERVICE, one)) == (REFUSED, Code.SCOPE_DENIED)
    do(device, Action.DISCONNECT_SERVICE, one)


def test_unneeded_material_is_not_used():
    device = meter()
    one = command(Action.DISCONNECT_SERVICE)
    do(device, Action.READ_ENDPOINT, one)
    do(device, Action.DISCONNECT_SERVICE, one)
    do(device, Action.READ_ENDPOINT, one)


def test_the_log_keeps_64_answers_and_then_has_a_floor():
    device = meter()
    used = {n: command(Action.EXERCISE_VALVE, n) for n in range(100, 165)}
    for one in used.values():
        do(device, Action.EXERCISE_VALVE, one)
    assert (len(device.state.uses), device.state.floor) == (64, 100)
    before = device.state
    assert outcome(send(device, Action.EXERCISE_VALVE, used[100])) == (REFUSED, Code.SEQUENCE_OLD)
    for never_used in (99, 1, 0):
        assert send(device, Action.EXERCISE_VALVE, command(Action.EXERCISE_VALVE, never_used)).reason == 802
    answers = [send(device, Action.EXERCISE_VALVE, one) for n, one in used.items() if n > 100]
    assert {outcome(answer) for answer in answers} == {(REPLAYED, 800)}
    assert [answer.data["operations"] for answer in answers] == list(range(2, 66))
    assert device.state == before


def test_in_a_full_log_a_low_sequence_is_done_once_and_answered_again():
    device = meter()
    for n in range(100, 164):
        do(device, Action.EXERCISE_VALVE, command(Action.EXERCISE_VALVE, n))
    late = command(Action.EXERCISE_VALVE, 5)
    do(device, Action.EXERCISE_VALVE, late)
    assert outcome(send(device, Action.EXERCISE_VALVE, late)) == (REPLAYED, 800)
    assert send(device, Action.EXERCISE_VALVE, command(Action.EXERCISE_VALVE, 6)).reason == Code.SEQUENCE_OLD
    assert device.state.floor == 100


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 90), min_size=65, max_size=160), st.randoms(use_true_random=False))
def test_whatever_the_order_nothing_is_done_twice(sequences, rng):
    device = meter()
    done = set()
    for sequence in sequences:
        answer = send(device, Action.EXERCISE_VALVE, command(Action.EXERCISE_VALVE, sequence))
        if answer.outcome is DONE:
            assert sequence not in done
            done.add(sequence)
        elif answer.outcome is REPLAYED:
            assert sequence in done
        else:
            assert answer.reason == Code.SEQUENCE_OLD
        if rng.random() < 0.05:
            device = Device.from_bytes(device.to_bytes(), keyring=KEYRING)
    assert device.state.operations == len(done)
    assert len(device.state.uses) <= 64


# --- Time without a clock ---


def test_a_time_once_seen_to_be_past_stays_past():
    device = meter()
    old = command(Action.DISCONNECT_SERVICE, issued_at=NOW)
    do(device, Action.CONNECT_SERVICE, command(Action.CONNECT_SERVICE, 8, issued_at=NOW + DAY + 120))
    assert outcome(send(device, Action.DISCONNECT_SERVICE, old)) == (REFUSED, Code.EXPIRED)
    assert outcome(send(device, Action.DISCONNECT_SERVICE, old, now=NOW)) == (REFUSED, Code.EXPIRED)
    newer = command(Action.DISCONNECT_SERVICE, issued_at=NOW + 1)
    do(device, Action.DISCONNECT_SERVICE, newer)
    assert device.state.watermark == NOW + DAY + 120


def test_a_reading_key_shows_the_time_as_well():
    device = meter(level=SecurityLevel.FULL)
    do(device, Action.READ_ENDPOINT, reading_key=token("reading_key", issued_at=NOW + 2 * DAY))
    assert send(device, Action.CONNECT_SERVICE, command(Action.CONNECT_SERVICE)).reason == Code.EXPIRED


def test_only_genuine_used_tokens_raise_the_watermark():
    device = meter()
    later = {"issued_at": NOW + 30 * DAY}
    for one in (
        command(Action.CONNECT_SERVICE, 8, signer=STRANGER, **later),
        command(Action.CONNECT_SERVICE, 8, device=OTHER, **later),
        command(Action.DISCONNECT_SERVICE, 8, **later),
    ):
        assert send(device, Action.CONNECT_SERVICE, one).outcome is REFUSED
    do(device, Action.CONNECT_SERVICE, command(Action.CONNECT_SERVICE))


def test_a_token_that_is_not_in_force_waits_for_a_later_one():
    device = meter()
    future = command(Action.CONNECT_SERVICE, nbf=NOW + 3_600)
    assert outcome(send(device, Action.CONNECT_SERVICE, future)) == (REFUSED, Code.NOT_YET_VALID)
    do(device, Action.EXERCISE_VALVE, command(Action.EXERCISE_VALVE, 8, issued_at=NOW + 3_600))
    do(device, Action.CONNECT_SERVICE, future)


def test_a_repeat_is_answered_after_its_token_expired():
    device = meter()
    one = command(Action.DISCONNECT_SERVICE)
    first = send(device, Action.DISCONNECT_SERVICE, one)
    do(device, Action.CONNECT_SERVICE, command(Action.CONNECT_SERVICE, 8, issued_at=NOW + 10 * DAY))
    assert send(device, Action.DISCONNECT_SERVICE, one) == Answer(REPLAYED, 800, first.data)
    assert send(device, Action.DISCONNECT_SERVICE, one, now=NOW + 20 * DAY) == Answer(REPLAYED, 800, first.data)


def test_a_device_with_a_clock_uses_it():
    device = meter()
    one = command(Action.CONNECT_SERVICE)
    assert send(device, Action.CONNECT_SERVICE, one, now=NOW - 121).reason == Code.IAT_IN_FUTURE
    assert send(device, Action.CONNECT_SERVICE, one, now=NOW + DAY + 120).reason == Code.EXPIRED
    do(device, Action.CONNECT_SERVICE, one, now=NOW + DAY + 119)
    assert send(device, Action.CONNECT_SERVICE, one, now=NOW + 40 * DAY) == Answer(
        REPLAYED, 800, {"service": "connected", "operations": 1}
    )


# --- Keys, levels, modes ---


def test_a_key_exchange_makes_the_old_material_stale():
    device = meter()
    old, new = command(Action.CONNECT_SERVICE, 8), command(Action.CONNECT_SERVICE, 9, epoch=EPOCH + 1)
    exchange = command(Action.EXCHANGE_KEYS)
    data = do(device, Action.EXCHANGE_KEYS, exchange)
    assert (data["epoch"], data["key_version"]) == (EPOCH + 1, 2)
    assert outcome(send(device, Action.CONNECT_SERVICE, old)) == (REFUSED, Code.EPOCH_STALE)
    assert send(device, Action.EXCHANGE_KEYS, exchange) == Answer(REPLAYED, 800, data)
    assert device.state.epoch == EPOCH + 1
    do(device, Action.CONNECT_SERVICE, new)


def test_an_epoch_that_cannot_rise_refuses_the_exchange():
    device = meter(epoch=2**32 - 1)
    one = command(Action.EXCHANGE_KEYS, epoch=2**32 - 1)
    before = device.state
    assert outcome(send(device, Action.EXCHANGE_KEYS, one)) == (REFUSED, Code.INTERNAL)
    assert device.state == before


@pytest.mark.parametrize("level", ["ready_to_secure", "command", "full"])
def test_the_level_that_the_command_names_is_set(level):
    device = meter()
    one = command(Action.SET_SECURITY_LEVEL, command=f"set_security_level:{level}".encode())
    wrong = SecurityLevel.COMMAND if level != "command" else SecurityLevel.FULL
    assert send(device, Action.SET_SECURITY_LEVEL, one, level=wrong).reason == Code.SCOPE_DENIED
    assert do(device, Action.SET_SECURITY_LEVEL, one)["level"] == level
    assert device.state.level is SecurityLevel[level.upper()]


def test_an_unnamed_level_is_not_set():
    device = meter()
    one = command(Action.SET_SECURITY_LEVEL, command=b"set_security_level")
    assert send(device, Action.SET_SECURITY_LEVEL, one).reason == Reason.ROW_UNREADABLE
    do(device, Action.SET_SECURITY_LEVEL, one, level=SecurityLevel.FULL)
    for name in (b"unknown", b"", b"FULL", b"\xff", b"full "):
        two = command(Action.SET_SECURITY_LEVEL, 8, command=b"set_security_level:" + name)
        for level in (None, SecurityLevel.COMMAND):
            assert send(device, Action.SET_SECURITY_LEVEL, two, level=level).reason == Code.CLAIM_RANGE
    assert device.state.level is SecurityLevel.FULL


@pytest.mark.parametrize(
    "change", [(Action.EXCHANGE_KEYS, None), (Action.SET_SECURITY_LEVEL, SecurityLevel.FULL)], ids=["keys", "level"]
)
def test_a_session_does_not_survive_another_key_or_level(change):
    action, level = change
    device = meter()
    do(device, Action.OPEN_SESSION, command(Action.OPEN_SESSION))
    do(device, action, command(action, 8), level=level)
    assert send(device, Action.PROGRAM_ENDPOINT).reason == Reason.SESSION_REQUIRED


def test_a_switch_of_mode_loses_interval_data_and_the_session_and_raises_the_epoch():
    device = meter(DeviceClass.MULTI_MODE)
    do(device, Action.OPEN_SESSION, command(Action.OPEN_SESSION, 6))
    switch = authorization(Action.SWITCH_TO_NETWORK_MODE)
    before = device.state
    answer = send(device, Action.SWITCH_TO_NETWORK_MODE, switch)
    assert (outcome(answer), device.state) == ((REFUSED, Reason.KEY_EXCHANGE_MISSING), before)
    data = do(device, Action.SWITCH_TO_NETWORK_MODE, switch, key_exchange=True)
    assert data == {"epoch": EPOCH + 1, "key_version": 2, "level": "command", "mode": "network"}
    assert (device.state.mode, device.state.interval_count, device.state.session) == (Mode.NETWORK, 0, None)
    assert send(device, Action.SWITCH_TO_NETWORK_MODE, switch, key_exchange=True) == Answer(REPLAYED, 800, data)
    assert send(device, Action.READ_ENDPOINT).reason == Reason.SESSION_REQUIRED
    back = authorization(Action.SWITCH_TO_MOBILE_MODE, sequence=9, epoch=EPOCH + 1)
    do(device, Action.SWITCH_TO_MOBILE_MODE, back, key_exchange=True)
    do(device, Action.READ_ENDPOINT)


def test_a_change_of_mode_needs_an_authorization_for_it():
    device = meter(DeviceClass.MULTI_MODE)
    for one, reason in (
        (None, Reason.AUTHORIZATION_MISSING),
        (b"", Reason.AUTHORIZATION_MISSING),
        (authorization(Action.SWITCH_TO_MOBILE_MODE), Code.SCOPE_DENIED),
        (command(Action.SWITCH_TO_NETWORK_MODE), Code.TYP_MISMATCH),
    ):
        answer = send(device, Action.SWITCH_TO_NETWORK_MODE, one, key_exchange=True)
        assert outcome(answer) == (REFUSED, reason)


def test_a_reading_key_of_another_key_reads_nothing():
    """Where the device knows its check value and version; after a key exchange it no longer does."""
    device = meter(level=SecurityLevel.FULL, key_version=4, check_value=b"kcv.")
    do(device, Action.READ_ENDPOINT, reading_key=token("reading_key"))
    for rkey in ([1, 5, b"kcv."], [1, 4, b"kcv,"]):
        answer = send(device, Action.READ_ENDPOINT, reading_key=token("reading_key", rkey=rkey))
        assert outcome(answer) == (REFUSED, Reason.READING_KEY_MISSING)
    do(device, Action.EXCHANGE_KEYS, command(Action.EXCHANGE_KEYS))
    assert (device.state.key_version, device.state.check_value) == (5, None)
    do(device, Action.READ_ENDPOINT, reading_key=token("reading_key", rkey=[1, 6, b"new."], epoch=EPOCH + 1))


@pytest.mark.parametrize(
    "revoked,code",
    [
        ({"devices": {DEVICE: (8, 0, 0)}}, Code.DEVICE_REVOKED),
        ({"issuers": [ISSUER.kid]}, Code.ISSUER_REVOKED),
    ],
)
def test_a_device_heeds_the_snapshot_that_it_was_given(revoked, code):
    snapshot = Revocations(**revoked, version=1, expires_at=NOW + DAY)
    device = meter(revocations=snapshot)
    assert outcome(send(device, Action.CONNECT_SERVICE, command(Action.CONNECT_SERVICE))) == (REFUSED, code)
    free = Device.from_bytes(device.to_bytes(), keyring=KEYRING)
    do(free, Action.CONNECT_SERVICE, command(Action.CONNECT_SERVICE))
    again = Device.from_bytes(free.to_bytes(), keyring=KEYRING, revocations=snapshot)
    assert again.answer(Message(Action.CONNECT_SERVICE, command(Action.CONNECT_SERVICE)), uptime=0).outcome is REPLAYED
    assert send(again, Action.CONNECT_SERVICE, command(Action.CONNECT_SERVICE, 6)).reason == code


# --- Effects ---


def test_settings_are_changed_once_a_message():
    device = meter(level=SecurityLevel.READY_TO_SECURE)
    do(device, Action.PROGRAM_ENDPOINT, settings={"interval": 900, "name": "Straße", "leaks": True})
    assert do(device, Action.PROGRAM_ENDPOINT, settings={"interval": 3_600})["changes"] == 2
    assert dict(device.state.settings) == {"interval": 3_600, "name": "Straße", "leaks": True, "program_endpoint": 2}
    do(device, Action.RESET_ENDPOINT)
    assert dict(device.state.settings) == {"reset_endpoint": 1}


def test_more_settings_than_a_device_has_room_for_change_nothing():
    device = meter(level=SecurityLevel.READY_TO_SECURE)
    do(device, Action.PROGRAM_ENDPOINT, settings={f"name {n}": n for n in range(63)})
    before = device.state
    assert outcome(send(device, Action.PROGRAM_ENDPOINT, settings={"more": 1})) == (REFUSED, Reason.ROW_UNREADABLE)
    assert device.state == before


@pytest.mark.parametrize(
    "action,service",
    [
        (Action.CONNECT_SERVICE, "connected"),
        (Action.DISCONNECT_SERVICE, "disconnected"),
        (Action.RESTRICT_SERVICE, "restricted"),
        (Action.EXERCISE_VALVE, "connected"),
        (Action.CONNECT_OVERRIDE, "connected"),
        (Action.DISCONNECT_OVERRIDE, "disconnected"),
        (Action.ARM_SERVICE, "armed"),
    ],
)
def test_a_service_command_changes_the_service(action, service):
    device = meter(options=PolicyOptions(reads_without_session=True))
    do(device, action, command(action))
    assert do(device, Action.GET_SERVICE_STATUS) == {"service": service}


def test_a_reading_says_the_index_and_changes_nothing():
    device = meter(DeviceClass.BASIC, SecurityLevel.READY_TO_SECURE)
    before = device.state
    reads = [action for action in Action if action.group == 1]
    said = {action: do(device, action) for action in reads}
    assert said[Action.READ_ENDPOINT] == {"index": 1_000}
    assert said[Action.READ_INTERVAL_DATA] == {"index": 1_000, "intervals": 96}
    assert device.state == before


# --- Hostile messages ---

GOOD = command(Action.CONNECT_SERVICE)


@pytest.mark.parametrize(
    "hostile",
    [b"\0", b"\xd2\x84" * 600, bytes(10**7), GOOD[:-1], GOOD + b"\0", GOOD[:-64], GOOD[:64], b"\xff" * 179],
    ids=["a byte", "nested", "huge", "short", "long", "unsigned", "head", "ones"],
)
def test_garbage_is_refused_with_a_code_and_changes_nothing(hostile):
    for device in (meter(), network_meter(), meter(DeviceClass.MULTI_MODE, SecurityLevel.FULL)):
        before = device.to_bytes()
        for action in (Action.CONNECT_SERVICE, Action.OPEN_SESSION, Action.SWITCH_TO_MOBILE_MODE, Action.EXCHANGE_KEYS):
            answer = send(device, action, hostile, key_exchange=True)
            assert answer.outcome is REFUSED
            assert answer.reason in {*map(int, Code), *map(int, Reason)} - {0}
        assert send(device, Action.READ_ENDPOINT, reading_key=hostile).reason != Code.INTERNAL
        assert device.to_bytes() == before


@pytest.mark.slow
def test_every_flipped_bit_of_a_command_is_refused():
    device = meter()
    before = device.state
    for bit in range(8 * len(GOOD)):
        flipped = bytearray(GOOD)
        flipped[bit // 8] ^= 1 << bit % 8
        answer = send(device, Action.CONNECT_SERVICE, bytes(flipped))
        assert answer.outcome is REFUSED
        assert 100 <= answer.reason < 400
    assert device.state == before
    do(device, Action.CONNECT_SERVICE, GOOD)


@pytest.mark.parametrize(
    "message",
    [
        None,
        (Action.READ_ENDPOINT,),
        Message("read_endpoint"),
        Message(0),
        Message(99),
        Message(SecurityLevel.FULL),
        Message(Action.READ_ENDPOINT, "text"),
        Message(Action.READ_ENDPOINT, 5),
        Message(Action.READ_ENDPOINT, bytearray(100)),
        Message(Action.READ_ENDPOINT, None, "text"),
        Message(Action.READ_ENDPOINT, key_exchange=1),
        Message(Action.SET_SECURITY_LEVEL, level=SecurityLevel.UNKNOWN),
        Message(Action.SET_SECURITY_LEVEL, level=2),
        Message(Action.PROGRAM_ENDPOINT, settings=[("a", 1)]),
        Message(Action.PROGRAM_ENDPOINT, settings={"": 1}),
        Message(Action.PROGRAM_ENDPOINT, settings={"a": 1.5}),
        Message(Action.PROGRAM_ENDPOINT, settings={"a": 2**63}),
        Message(Action.PROGRAM_ENDPOINT, settings={"a": "x" * 257}),
        Message(Action.PROGRAM_ENDPOINT, settings={"a": None}),
        Message(Action.PROGRAM_ENDPOINT, settings={1: 1}),
        Message(Action.PROGRAM_ENDPOINT, settings={"program_endpoint": 0}),
        Message(Action.PROGRAM_ENDPOINT, settings={f"{n}": 0 for n in range(65)}),
    ],
)
def test_a_message_of_wrong_types_raises(message):
    device = meter(level=SecurityLevel.READY_TO_SECURE)
    before = device.state
    with pytest.raises(InputError):
        device.answer(message, uptime=5)
    assert device.state == before


@pytest.mark.parametrize("uptime,now", [(-1, None), (1.0, None), (True, None), (None, None), (2**63, None), (0, -1)])
def test_a_moment_of_a_wrong_kind_raises(uptime, now):
    with pytest.raises(InputError):
        meter().answer(Message(Action.READ_ENDPOINT), uptime=uptime, now=now)


@pytest.mark.parametrize("now", [2**62, 2**63 - 1, 0, 1_577_836_799, 4_102_444_801, NOW * 1_000])
def test_a_clock_outside_2020_to_2100_raises(now):
    device = meter()
    with pytest.raises(InputError, match="2020 to 2100"):
        send(device, Action.CONNECT_SERVICE, GOOD, now=now)
    assert outcome(send(device, Action.CONNECT_SERVICE, GOOD, now=1_577_836_800)) == (REFUSED, Code.IAT_IN_FUTURE)
    assert outcome(send(device, Action.CONNECT_SERVICE, GOOD, now=4_102_444_800)) == (REFUSED, Code.EXPIRED)
    # What was refused moved no watermark: a wrong clock, once, ends nothing.
    assert outcome(send(device, Action.CONNECT_SERVICE, GOOD, now=NOW))[1] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": Mode.UNKNOWN},
        {"level": SecurityLevel.UNKNOWN},
        {"mode": Mode.NETWORK},
        {"device_class": DeviceClass.BASIC},
        {"device_class": 7},
        {"level": "full"},
        {"epoch": -1},
        {"epoch": 2**32},
        {"epoch": True},
        {"menu": [99]},
        {"menu": 5},
        {"options": {}},
        {"check_value": b"abc"},
        {"key_version": 1.0},
    ],
)
def test_a_device_that_cannot_be_raises(wrong):
    with pytest.raises(InputError):
        meter(**wrong)


@pytest.mark.parametrize("name", ["", "ert:", "ert:01", "eui64:00", 5, None])
def test_a_device_without_a_name_raises(name):
    with pytest.raises(InputError):
        Device(name, DeviceClass.BASIC, keyring=KEYRING)


def test_a_menu_of_other_than_actions_raises():
    device = meter(level=SecurityLevel.READY_TO_SECURE, menu=[Action.READ_ENDPOINT])
    do(device, Action.READ_ENDPOINT)
    assert outcome(send(device, Action.CHECK_ENDPOINT)) == (REFUSED, Reason.NOT_ON_MENU)


# --- Its state in a file ---


def lived_in():
    device = meter(
        DeviceClass.MULTI_MODE,
        menu=set(Action) - {Action.GEOMODE},
        options=PolicyOptions(reads_without_session=True),
        key_version=4,
        check_value=b"kcv.",
    )
    do(device, Action.OPEN_SESSION, command(Action.OPEN_SESSION), uptime=77)
    do(device, Action.PROGRAM_ENDPOINT, settings={"name": "ü\ud800\0", "limit": -(2**63), "on": True})
    do(device, Action.DISCONNECT_SERVICE, command(Action.DISCONNECT_SERVICE, 2**63 - 1))
    return device


def test_a_state_is_restored_unchanged_and_continues():
    device = lived_in()
    data = device.to_bytes()
    again = Device.from_bytes(data, keyring=KEYRING)
    assert again.state == device.state
    assert type(again.state) is type(device.state)
    assert again.to_bytes() == data
    assert outcome(send(again, Action.DISCONNECT_SERVICE, command(Action.DISCONNECT_SERVICE, 2**63 - 1))) == (
        REPLAYED,
        800,
    )
    do(again, Action.PROGRAM_ENDPOINT)
    with pytest.raises(InputError, match="backwards"):
        send(again, Action.READ_ENDPOINT, uptime=76)


def test_a_state_of_the_largest_log_can_be_read_again():
    device = meter()
    do(device, Action.OPEN_SESSION, command(Action.OPEN_SESSION))
    names = [f"{n:02}" + "\U0001f600" * 62 for n in range(62)]
    for name in names:
        do(device, Action.PROGRAM_ENDPOINT, settings={name: "\U0001f600" * 256})
    for n in range(100):
        do(device, Action.EXERCISE_VALVE, command(Action.EXERCISE_VALVE, 2**62 + n))
    assert Device.from_bytes(device.to_bytes(), keyring=KEYRING).state == device.state


@pytest.mark.slow
def test_every_flipped_bit_of_a_state_raises():
    data = lived_in().to_bytes()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InputError):
            Device.from_bytes(bytes(flipped), keyring=KEYRING)


def test_a_state_cut_short_or_drawn_out_raises():
    data = lived_in().to_bytes()
    for end in range(len(data)):
        with pytest.raises(InputError):
            Device.from_bytes(data[:end], keyring=KEYRING)
    for more in (b" ", b"\n", b"{}", bytes(1 << 20)):
        with pytest.raises(InputError):
            Device.from_bytes(data + more, keyring=KEYRING)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{}", b"[]", b"null", b"5", b"\xff", b"[" * 500_000, b'{"state":' * 90_000, b'{"state":{}}'),
        *(b'{"state":' + b"9" * 5_000 + b"}", b'{"state":NaN}', b'{"state":1e999}', None, "text"),
    ],
)
def test_an_invalid_state_raises(data):
    with pytest.raises(InputError):
        Device.from_bytes(data, keyring=KEYRING)


FORGED = [
    *({"device_class": value} for value in (3, -1, "basic", None, True)),
    *({"mode": value} for value in (2, 3, None)),
    *({"level": value} for value in (3, None)),
    *({"menu": value} for value in (None, [99], ["read"], 5)),
    *({"epoch": value} for value in (-1, 2**32, "4", 4.0, None)),
    *({"uptime": value} for value in (-1, "0", None, 2**63)),
    *({"watermark": value} for value in (-1, None, 2**63)),
    *({"floor": value} for value in (-2, "0", None)),
    *({"session": value} for value in ((), (1,), (-1, 0), ("a", 1), 5)),
    *({"uses": value} for value in (5, (5,), ((),), (("",) * 7,), None)),
    *({"service": value} for value in (5, "open", None, [])),
    *({"settings": value} for value in ((("a", None),), ((1, 2),), 5, (("a", 1, 2),))),
    *({"check_value": value} for value in ("zz", "00", 5)),
    *({"operations": value} for value in (-1, None)),
    *({"device": value} for value in (5, None, "ert:01")),
]


@pytest.mark.parametrize("change", FORGED, ids=str)
def test_a_state_written_by_hand_is_checked(change):
    """Its SHA-256 fits: it is no secret, and keeps out accidents only."""
    with pytest.raises(InputError):
        Device.from_bytes(written(meter().state._replace(**change)), keyring=KEYRING)


def test_a_state_of_other_fields_raises():
    data = meter().to_bytes()
    outer = json.loads(data)
    for change in (lambda state: state.pop("floor"), lambda state: state.update(more=1), lambda state: state.clear()):
        state = dict(outer["state"])
        change(state)
        text = json.dumps(state, sort_keys=True, separators=(",", ":")).encode()
        whole = outer | {"state": state, "sha256": hashlib.sha256(text).hexdigest()}
        with pytest.raises(InputError):
            Device.from_bytes(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode(), keyring=KEYRING)


def test_a_device_shows_itself_in_a_line():
    assert repr(meter()) == "Device(ert:100000001, ENHANCED, MOBILE, COMMAND)"
    assert meter().device == DEVICE


def test_the_example_of_the_page_is_true():
    page = (Path(__file__).parents[2] / "docs" / "device.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    names = {"keyring": KEYRING, "secure_command": command(Action.DISCONNECT_SERVICE)}
    exec(code, names)
    assert names["answer"] == Answer(DONE, 0, {"service": "disconnected", "operations": 1})


# --- Anything at all ---


@pytest.mark.slow
def test_random_messages_are_answered_and_a_refusal_changes_nothing():
    rng = random.Random(5)
    tokens = [None, b"", b"\xd2\x84"]
    for sequence, action in enumerate(Action):
        tokens += [command(action, sequence), authorization(action, sequence=sequence + 50)]
        tokens += [token("reading_key", actions=(action,), sequence=sequence + 100)]
    for device_class in DeviceClass:
        device = meter(device_class, SecurityLevel.READY_TO_SECURE, keyring=ring(ISSUER))
        for uptime in range(0, 30_000, 20):
            before = device.state._replace(uptime=uptime)
            message = Message(
                rng.choice(list(Action)),
                rng.choice(tokens),
                rng.choice(tokens),
                rng.random() < 0.5,
                rng.choice([None, *list(SecurityLevel)[:3]]),
                rng.choice([None, {"a": 1}]),
            )
            answer = device.answer(message, uptime=uptime)
            assert (answer.reason == 0) == (answer.outcome is DONE)
            if answer.outcome is not DONE:
                assert device.state == before
            assert json.loads(answer.to_bytes()) == answer.data
        assert Device.from_bytes(device.to_bytes(), keyring=KEYRING).state == device.state


# --- Delegations that were signed again ---

ROOT, NEXT_ROOT, ISSUING = (LocalSigner.generate() for _ in range(3))


def delegated(at, *, root=ROOT, begin=NOW, end=NOW + 90 * DAY):
    entry = KeyringEntry(ISSUING.public_key, issuer="ism", valid_from=begin, valid_until=end)
    return TrustUpdate((issue_delegation(entry, root, now=at, expires_at=end),), None)


def disconnect_command(at=NOW):
    columns = {"device": [DEVICE], "actions": [1 << Action.DISCONNECT_SERVICE], "sequence": [7], "epoch": [EPOCH]}
    (made,) = issue_tokens(columns | {"command": [b"x"]}, ISSUING, now=at, token_type="secure_command").to_pylist()
    return made


def trusting(*roots):
    entries = [KeyringEntry(root.public_key, issuer="ism", token_types=TOKEN_TYPES) for root in roots]
    return meter(keyring=Keyring(entries))


@pytest.mark.parametrize("root", [ROOT, NEXT_ROOT], ids=["a rotation", "another root"])
def test_without_a_clock_what_was_issued_before_its_delegation_was_signed_again_stays_good(root):
    device, held = trusting(ROOT, NEXT_ROOT), disconnect_command()
    assert device.answer(delegated(NOW), uptime=1).outcome is DONE
    assert device.answer(delegated(NOW + 3 * DAY, root=root), uptime=2).outcome is DONE
    do(device, Action.DISCONNECT_SERVICE, held)


def test_a_repeat_is_answered_after_the_delegation_was_signed_again():
    device, held = trusting(ROOT), disconnect_command()
    device.answer(delegated(NOW), uptime=1, now=NOW)
    do(device, Action.DISCONNECT_SERVICE, held, now=NOW + 10)
    device.answer(delegated(NOW + 3 * DAY), uptime=2, now=NOW + 3 * DAY)
    assert send(device, Action.DISCONNECT_SERVICE, held, now=NOW + 3 * DAY).outcome is REPLAYED


def test_without_a_clock_a_delegation_covers_only_what_was_issued_within_it():
    for begin, end in [(NOW + 10, NOW + 90 * DAY), (NOW - 9 * DAY, NOW)]:
        device = trusting(ROOT)
        assert device.answer(delegated(end - 1, begin=begin, end=end), uptime=1).outcome is DONE
        code = send(device, Action.DISCONNECT_SERVICE, disconnect_command()).reason
        assert code in {Code.ISSUER_WINDOW, Code.KEY_UNKNOWN}, (begin, end)
