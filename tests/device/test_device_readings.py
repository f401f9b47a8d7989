"""A reading from the meter to the opened bytes: protected by the device, carried by the field tool, opened with the master."""

import copy
import json
import pickle

import pytest

from itron_core import (
    Action,
    DeviceClass,
    InputError,
    KeySource,
    MasterKey,
    Message,
    PolicyOptions,
    Reason,
    SecurityLevel,
    derive_keys,
    issue_tokens,
    open_readings,
    verify_token,
)
from itron_core.device import Device, Outcome
from itron_core.exchange.material import Material
from test_field_tool import DAY, DEVICES, ISSUER, NOW, READ, keyring, make_world  # noqa: F401  # a fixture

D = DEVICES[0]
MASTER = MasterKey.generate()
UTILITY = "UTIL0001"
FULL = SecurityLevel.FULL


def derived(version=1, length=16, device=D):
    return derive_keys(MASTER, [device], utility=UTILITY, key_version=version, length=length)


def meter(**options):
    options = {"reading_key": derived(), "options": PolicyOptions(reads_without_session=True)} | options
    return Device(D, DeviceClass.ENHANCED, keyring=keyring(), level=FULL, **options)


def grant(version=1, check_value=None):
    columns = {
        "device": [D],
        "actions": [1 << READ | 1 << Action.GET_SERVICE_STATUS],
        "sequence": [version],
        "epoch": [0],
        "kdf": [1],
        "key_version": [version],
        "check_value": [check_value or bytes(derived(version).check_values())],
    }
    return issue_tokens(columns, ISSUER, now=NOW, token_type="reading_key").to_pylist()[0]


def opened(answers, version=1, **options):
    source = KeySource(MASTER, utility=UTILITY, key_version=version)
    readings = [bytes.fromhex(answer.data["reading"]) for answer in answers]
    return open_readings(readings, source, profile="cose", **options)


def test_a_reading_goes_from_the_meter_to_the_opened_bytes(make_world):  # noqa: F811
    world = make_world(level=FULL)
    world.devices[D] = meter()
    token = grant()
    row = Material(
        "gas",
        D,
        "reading_key",
        1 << READ | 1 << Action.GET_SERVICE_STATUS,
        ISSUER.public_key.kid,
        1,
        0,
        NOW,
        None,
        NOW + 7 * DAY,
        None,
        token,
    )
    world.grant([row])
    tool = world.tool()
    tool.request_commands([D], token_type="reading_key", actions=[READ], now=NOW)
    tool.sync(world.server, "ann", now=NOW)
    result = tool.work(D, READ, world.link(), now=NOW)
    assert (result.reason, list(result.answers[0].data)) == (0, ["reading"])
    tool.report(world.server, now=NOW)
    ((_, _, outcome, _),) = world.server.outcomes(0, 10).rows
    (reading,) = [bytes.fromhex(json.loads(outcome.answer)["reading"])]
    results = open_readings([reading], KeySource(MASTER, utility=UTILITY), profile="cose")
    assert (results["code"].to_pylist(), results["device"].to_pylist(), results["counter"].to_pylist()) == (
        [0],
        [D],
        [1],
    )
    assert json.loads(results["payload"].to_pylist()[0]) == {"index": 1_000}


def test_the_grant_and_the_reading_name_the_same_version_of_the_key():
    """Its check value is what the grant names and what the reading's key id is; another version opens nothing."""
    device = meter()
    answer = device.answer(Message(READ, reading_key=grant()), uptime=0, now=NOW)
    named = verify_token(grant(), keyring(), now=NOW, token_type="reading_key", audience=D).reading_key
    assert named.key_version == device.state.key_version == 1
    assert named.check_value == bytes(derived().check_values())
    assert named.check_value in bytes.fromhex(answer.data["reading"])[:32]
    assert opened([answer])["code"].to_pylist() == [0]
    assert opened([answer], version=2)["code"].to_pylist() == [1111]
    for other in [grant(2), grant(1, b"else")]:
        refused = device.answer(Message(READ, reading_key=other), uptime=0, now=NOW)
        assert (refused.outcome, refused.reason) == (Outcome.REFUSED, Reason.READING_KEY_MISSING)


@pytest.mark.parametrize("length", [16, 32])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_the_counter_rises_with_each_reading_and_survives_restarts(length, as_bytes):
    keys = derived(length=length)
    options = {"reading_key": keys}
    if as_bytes:
        options = {"reading_key": keys.key(0), "check_value": bytes(keys.check_values())}
    device, answers = meter(**options), []
    for turn in range(3):
        answers += [
            device.answer(Message(action, reading_key=grant()), uptime=turn, now=NOW)
            for action in (READ, Action.GET_SERVICE_STATUS)
        ]
        # What is refused counts nothing.
        assert device.answer(Message(READ), uptime=turn, now=NOW).outcome is Outcome.REFUSED
        device.restart()
        device = Device.from_bytes(device.to_bytes(), keyring=keyring(), **options)
    if length == 16:
        results = opened(answers)
        assert set(results["code"].to_pylist()) == {0}
        assert results["counter"].to_pylist() == list(range(1, 7))
    assert device.state.reading_counter == 6


def test_a_device_without_a_key_answers_in_the_clear_and_one_with_a_key_never_does():
    assert meter(reading_key=None).answer(Message(READ, reading_key=grant()), uptime=0, now=NOW).data == {
        "index": 1_000
    }
    device = meter()
    after_exchange = Device.from_bytes(device.to_bytes(), keyring=keyring(), reading_key=derived())
    after_exchange._state = after_exchange.state._replace(check_value=None, key_version=2)
    refused = after_exchange.answer(Message(READ, reading_key=grant(2)), uptime=0, now=NOW)
    assert (refused.outcome, refused.reason, refused.data) == (Outcome.REFUSED, Reason.READING_KEY_MISSING, {})
    renewed = Device.from_bytes(after_exchange.to_bytes(), keyring=keyring(), reading_key=derived(2))
    answer = renewed.answer(Message(READ, reading_key=grant(2)), uptime=0, now=NOW)
    assert opened([answer], version=2)["code"].to_pylist() == [0]


def test_a_counter_never_comes_twice_under_one_key():
    device = meter()
    device._state = device.state._replace(reading_counter=2**32 - 2)
    assert device.answer(Message(READ, reading_key=grant()), uptime=0, now=NOW).outcome is Outcome.DONE
    assert device.answer(Message(READ, reading_key=grant()), uptime=0, now=NOW).reason == 900


def test_nothing_shows_the_reading_key():
    keys = derived()
    secret = keys.key(0)
    device = meter(reading_key=secret, check_value=bytes(keys.check_values()))
    shown = repr(device) + repr(device.state) + repr(device._reading_key)
    assert secret.hex() not in shown
    assert repr(secret) not in shown
    assert secret.hex().encode() not in device.to_bytes()
    for taken in [pickle.dumps, copy.copy, copy.deepcopy]:
        with pytest.raises(TypeError):
            taken(device)


@pytest.mark.parametrize(
    "options",
    [
        {"reading_key": b"short", "check_value": b"kcv."},
        {"reading_key": bytes(16), "check_value": None},
        {"reading_key": "0" * 32, "check_value": b"kcv."},
        {"reading_key": derived(), "check_value": b"else"},
        {"reading_key": derive_keys(MASTER, ["ert:1", "ert:2"], utility=UTILITY)},
    ],
)
def test_a_reading_key_that_cannot_be_used_raises(options):
    with pytest.raises(InputError):
        meter(**options)
    assert "00000" not in str(options.get("check_value"))
