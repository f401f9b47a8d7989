"""Calls of the parties that cannot be made: they raise what the package raises, and leave nothing behind."""

from contextlib import suppress

import pytest

from itron_core import (
    Action,
    ExchangeError,
    FieldTool,
    InputError,
    ItronCoreError,
    Keyring,
    KeyringEntry,
    LocalSigner,
    RequestRefused,
)
from itron_core.audit import audit_entry
from itron_core.exchange.identity import device_id
from itron_core.exchange.material import Page
from itron_core.exchange.records import DeviceRecord
from itron_core.field_tool.server_answers import check_records
from itron_core.manager.security_manager import SecurityManager
from itron_core.stores import open_store
from itron_core.tools_server import ToolsServer

NOW = 1_800_000_000
SIGNER = LocalSigner.generate()
RING = Keyring([KeyringEntry(SIGNER.public_key)])


@pytest.fixture
def tool(tmp_path):
    return FieldTool(open_store(tmp_path / "tool"), RING, "t1")


@pytest.fixture
def server(tmp_path):
    server = ToolsServer(open_store(tmp_path / "server"), RING)
    server.set_users([("ann", "gas", 31)], now=NOW)
    server.snapshot("t1", "ann", now=NOW)
    return server


@pytest.mark.parametrize("action", [99, -1, None, "read_endpoint", 1.0, []])
def test_an_action_is_an_action(tool, action):
    for call in (
        lambda: tool.work("ert:1", action, lambda _message: None, now=NOW),
        lambda: tool.preflight([("ert:1", action)], now=NOW),
        lambda: tool.request_commands(["ert:1"], token_type="secure_command", actions=[action], now=NOW),
    ):
        with pytest.raises(InputError, match="expected an Action"):
            call()
    assert tool.current_commands(now=NOW) == []


@pytest.mark.parametrize("plan", [None, 5, [None], [("ert:1",)], ["abc"], [(5, Action.READ_ENDPOINT)]])
def test_a_plan_is_pairs_of_a_device_and_an_action(tool, plan):
    with pytest.raises(InputError, match="plan"):
        tool.preflight(plan, now=NOW)


@pytest.mark.parametrize("device", [None, 5, b"ert:1", ["ert:1"]])
def test_a_device_is_a_text(tool, device):
    for call in (
        lambda: device_id(device),
        lambda: tool.work(device, Action.READ_ENDPOINT, lambda _message: None, now=NOW),
    ):
        with pytest.raises(InputError, match=r"device: got \w+, expected str"):
            call()


@pytest.mark.parametrize("number", [None, "1", 1.5, True, float("nan")])
def test_cursors_limits_and_pages_are_whole_numbers(tool, server, number):
    for call in (
        lambda: server.material("t1", number, 5, now=NOW),
        lambda: server.material("t1", 0, number, now=NOW),
        lambda: server.outcomes(number, 5),
        lambda: server.outcomes(0, number),
        lambda: tool.sync(server, "ann", now=NOW, page=number),
    ):
        with pytest.raises(InputError):
            call()


@pytest.mark.parametrize("limit", [0, -1])
def test_outcomes_are_asked_for_by_rows(server, limit):
    with pytest.raises(InputError, match="limit"):
        server.outcomes(0, limit)


@pytest.mark.parametrize("now", [None, "x", -1, 1.5, True, [NOW]])
def test_no_entry_of_the_audit_log_has_a_time_that_is_none(tmp_path, server, now):
    manager = SecurityManager(open_store(tmp_path / "manager"), SIGNER)
    for call in (
        lambda: audit_entry("sign_in", now),
        lambda: server.set_users([], now=now),
        lambda: manager.set_role("officer", 31, officer=True, now=now),
    ):
        with pytest.raises(InputError):
            call()
    assert server.snapshot("t1", "ann", now=NOW).permissions == 31


def test_what_a_store_cannot_hold_is_a_wrong_call(server):
    for wrong in (2**63, "\ud800"):
        with pytest.raises(ItronCoreError):
            server.set_users([(wrong, "gas", 1)], now=NOW)
    assert server.snapshot("t1", "ann", now=NOW).user == "ann"


@pytest.mark.parametrize("flag", [[], {}, set(), 2, None, "1"])
def test_a_record_s_flag_of_any_type_is_refused_as_the_server_s(flag):
    with pytest.raises(ExchangeError):
        check_records([DeviceRecord("ert:1", "gas", 1, 0, 1, flag, 0)], ["ert:1"], "gas")


WRONG = [None, "x", b"x", 1.5, float("nan"), True, -1, 2**64, [], {}, "\ud800"]
GOOD = {
    "officer": "olga",
    "devices": ["ert:1"],
    "token_type": "secure_command",
    "actions": Action.OPEN_SESSION,
    "now": NOW,
    "argument": "",
    "session_seconds": 600,
    "lifetime": 60,
    "subject": None,
    "key": None,
}


@pytest.fixture
def manager(tmp_path):
    manager = SecurityManager(open_store(tmp_path / "manager"), SIGNER)
    manager.set_role("officer", 31, officer=True, now=NOW)
    manager.set_user("olga", "officer", "gas", now=NOW)
    manager.set_devices([DeviceRecord("ert:1", "gas", 1, 0, 2)], now=NOW)
    return manager


def works_or_is_refused(call):
    with suppress(ItronCoreError):
        call()


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("name", GOOD)
def test_a_request_of_wrong_types_is_refused(manager, name, wrong):
    works_or_is_refused(lambda: manager.request(**{**GOOD, name: wrong}))
    assert manager.request(**GOOD).rows == 1
    assert manager.issue(now=NOW).issued >= 1


@pytest.mark.parametrize("devices", [[None], ["ert:1", 5], [b"ert:1"], [[]]], ids=repr)
def test_a_device_of_a_request_is_a_text(manager, devices):
    with pytest.raises(InputError, match=r"got .* in row \d, expected a device id"):
        manager.request(**{**GOOD, "devices": devices})


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_people_devices_and_pages_of_wrong_types_are_refused(manager, wrong):
    record = DeviceRecord("ert:1", "gas", 1, 0, 2)
    for call in (
        lambda: manager.set_role(wrong, 31, now=NOW),
        lambda: manager.set_role("r", wrong, now=NOW),
        lambda: manager.set_user(wrong, "officer", "gas", now=NOW),
        lambda: manager.set_user("u", wrong, "gas", now=NOW),
        lambda: manager.set_user("u", "officer", wrong, now=NOW),
        *(
            lambda name=name: manager.set_devices([record._replace(**{name: wrong})], now=NOW)
            for name in record._fields
        ),
        lambda: manager.materials(wrong, 5),
        lambda: manager.materials(0, wrong),
        lambda: manager.issue(now=wrong),
        lambda: manager.issue(now=NOW, request_id=wrong),
        lambda: manager.approve(wrong, "olga", now=NOW),
        lambda: manager.reject(1, wrong, now=NOW),
        lambda: manager.requests(state=wrong),
        lambda: manager.set_devices([record], pending_level=wrong, now=NOW),
        lambda: manager.revoke(devices={"ert:1": (wrong, 0, 0)}, now=NOW),
        lambda: manager.revoke(issuers=[wrong], now=NOW),
        lambda: manager.snapshot(now=wrong),
        lambda: manager.keyring(now=wrong),
    ):
        works_or_is_refused(call)


def test_nobody_is_without_a_name_or_a_unit(manager):
    for name, unit in (("", "gas"), ("ann", "")):
        with pytest.raises(InputError, match="non-empty"):
            manager.set_user(name, "officer", unit, now=NOW)


def test_a_user_that_was_taken_away_fetches_no_more(server):
    assert server.material("t1", 0, 5, now=NOW).rows == []
    server.set_users([("bob", "gas", 31)], now=NOW)
    with pytest.raises(RequestRefused, match="user_unknown"):
        server.material("t1", 0, 5, now=NOW)


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_the_server_s_calls_of_wrong_types_are_refused(server, wrong):
    record = DeviceRecord("ert:1", "gas", 1, 0, 2)
    for call in (
        lambda: server.receive("ism", wrong, now=NOW),
        lambda: server.receive("ism", Page([(1, wrong)], 1, more=False), now=NOW),
        lambda: server.receive(wrong, Page([], 0, more=False), now=NOW),
        lambda: server.request("t1", [wrong], now=NOW),
        lambda: server.report("t1", [wrong], now=NOW),
        lambda: server.set_devices([wrong], now=NOW),
        *(lambda name=name: server.set_devices([record._replace(**{name: wrong})], now=NOW) for name in record._fields),
        lambda: server.set_users([("bob", "gas", wrong)], now=NOW),
        lambda: server.set_users([(wrong, "gas", 31)], now=NOW),
        lambda: server.set_users([("bob", wrong, 31)], now=NOW),
        lambda: server.set_users([("bob", "gas", 31)], now=wrong),
        lambda: server.set_delegations([wrong], now=NOW),
        lambda: server.set_revocations(wrong, now=NOW),
        lambda: server.verify([b""], now=wrong),
        lambda: server.verify([b""], now=NOW, token_type=wrong),
        lambda: server.snapshot(wrong, "ann", now=NOW),
        lambda: server.snapshot("t1", wrong, now=NOW),
        lambda: server.devices("t1", [wrong], now=NOW),
        lambda: server.prune(before=wrong, now=NOW),
    ):
        works_or_is_refused(call)


def test_a_user_comes_once(server):
    with pytest.raises(InputError, match="duplicate name"):
        server.set_users([("bob", "gas", 31), ("bob", "water", 31)], now=NOW)
