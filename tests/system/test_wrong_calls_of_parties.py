"""Calls of the parties that cannot be made: they raise what the package raises, and leave nothing behind."""

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
def test_a_value_that_is_not_an_action_raises(tool, action):
    for call in (
        lambda: tool.work("ert:1", action, lambda _message: None, now=NOW),
        lambda: tool.preflight([("ert:1", action)], now=NOW),
        lambda: tool.request_commands(["ert:1"], token_type="secure_command", actions=[action], now=NOW),
    ):
        with pytest.raises(InputError, match="expected an Action"):
            call()
    assert tool.current_commands(now=NOW) == []


@pytest.mark.parametrize("plan", [None, 5, [None], [("ert:1",)], ["abc"], [(5, Action.READ_ENDPOINT)]])
def test_a_plan_that_is_not_pairs_of_device_and_action_raises(tool, plan):
    with pytest.raises(InputError, match="plan"):
        tool.preflight(plan, now=NOW)


@pytest.mark.parametrize("device", [None, 5, b"ert:1", ["ert:1"]])
def test_a_device_that_is_not_text_raises(tool, device):
    for call in (
        lambda: device_id(device),
        lambda: tool.work(device, Action.READ_ENDPOINT, lambda _message: None, now=NOW),
    ):
        with pytest.raises(InputError, match=r"device: got \w+, expected str"):
            call()


@pytest.mark.parametrize("number", [None, "1", 1.5, True, float("nan")])
def test_cursors_limits_and_pages_that_are_not_whole_numbers_raise(tool, server, number):
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
def test_outcomes_need_a_limit_of_one_row_or_more(server, limit):
    with pytest.raises(InputError, match="limit"):
        server.outcomes(0, limit)


@pytest.mark.parametrize("now", [None, "x", -1, 1.5, True, [NOW]])
def test_an_invalid_time_raises_and_is_never_audited(tmp_path, server, now):
    manager = SecurityManager(open_store(tmp_path / "manager"), SIGNER)
    for call in (
        lambda: audit_entry("sign_in", now),
        lambda: server.set_users([], now=now),
        lambda: manager.set_role("officer", 31, officer=True, now=now),
    ):
        with pytest.raises(InputError):
            call()
    assert server.snapshot("t1", "ann", now=NOW).permissions == 31


def test_values_that_no_store_can_hold_raise(server):
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


# The values of WRONG that these arguments may have; every other one is refused.
ACCEPTED = {
    "devices": ["[]", "{}"],
    "argument": ["'x'"],
    "session_seconds": ["None"],
    "lifetime": ["None"],
    "subject": ["None", "'x'"],
    "key": ["None", "'x'"],
    "name": ["'x'"],
    "role": ["'x'"],
    "unit": ["'x'"],
    "level_verified": ["True"],
    "request_id": ["None"],
    "state": ["None"],
    "pending_level": ["None", "{}"],
    "sequence": ["True"],
    "source": ["'x'"],
    "tool": ["'x'"],
    "names": ["'x'"],
}


def refuses_wrong_values(name, wrong, call):
    """Check that the call raises what the package raises, unless its argument of this name may have the value."""
    if repr(wrong) in ACCEPTED.get(name, []):
        call()
        return
    with pytest.raises(ItronCoreError):
        call()


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("name", GOOD)
def test_a_request_of_wrong_types_is_refused(manager, name, wrong):
    refuses_wrong_values(name, wrong, lambda: manager.request(**{**GOOD, name: wrong}))
    assert manager.request(**GOOD).rows == 1
    assert manager.issue(now=NOW).issued >= 1


@pytest.mark.parametrize("devices", [[None], ["ert:1", 5], [b"ert:1"], [[]]], ids=repr)
def test_a_device_of_a_request_is_a_text(manager, devices):
    with pytest.raises(InputError, match=r"got .* in row \d, expected a device id"):
        manager.request(**{**GOOD, "devices": devices})


RECORD = DeviceRecord("ert:1", "gas", 1, 0, 2)
CALLS_OF_A_MANAGER = {
    ("name", "of a role"): lambda manager, wrong: manager.set_role(wrong, 31, now=NOW),
    ("permissions", "of a role"): lambda manager, wrong: manager.set_role("r", wrong, now=NOW),
    ("name", "of a user"): lambda manager, wrong: manager.set_user(wrong, "officer", "gas", now=NOW),
    ("role", "of a user"): lambda manager, wrong: manager.set_user("u", wrong, "gas", now=NOW),
    ("unit", "of a user"): lambda manager, wrong: manager.set_user("u", "officer", wrong, now=NOW),
    **{
        (field, "of a device"): lambda manager, wrong, field=field: manager.set_devices(
            [RECORD._replace(**{field: wrong})], now=NOW
        )
        for field in RECORD._fields
    },
    ("pending_level", "of devices"): lambda manager, wrong: manager.set_devices([RECORD], pending_level=wrong, now=NOW),
    ("after", "of materials"): lambda manager, wrong: manager.materials(wrong, 5),
    ("limit", "of materials"): lambda manager, wrong: manager.materials(0, wrong),
    ("now", "of issue"): lambda manager, wrong: manager.issue(now=wrong),
    ("request_id", "of issue"): lambda manager, wrong: manager.issue(now=NOW, request_id=wrong),
    ("request", "of approve"): lambda manager, wrong: manager.approve(wrong, "olga", now=NOW),
    ("officer", "of reject"): lambda manager, wrong: manager.reject(1, wrong, now=NOW),
    ("state", "of requests"): lambda manager, wrong: manager.requests(state=wrong),
    ("sequence", "of revoke"): lambda manager, wrong: manager.revoke(devices={"ert:1": (wrong, 0, 0)}, now=NOW),
    ("issuers", "of revoke"): lambda manager, wrong: manager.revoke(issuers=[wrong], now=NOW),
    ("now", "of snapshot"): lambda manager, wrong: manager.snapshot(now=wrong),
    ("now", "of keyring"): lambda manager, wrong: manager.keyring(now=wrong),
    ("now", "of delegations"): lambda manager, wrong: manager.delegations(now=wrong),
}


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("argument", CALLS_OF_A_MANAGER, ids=" ".join)
def test_people_devices_and_pages_of_wrong_types_are_refused(manager, argument, wrong):
    if argument == ("role", "of a user"):
        manager.set_role("x", 31, now=NOW)
    refuses_wrong_values(argument[0], wrong, lambda: CALLS_OF_A_MANAGER[argument](manager, wrong))


def test_a_user_without_a_name_or_a_unit_raises(manager):
    for name, unit in (("", "gas"), ("ann", "")):
        with pytest.raises(InputError, match="non-empty"):
            manager.set_user(name, "officer", unit, now=NOW)


def test_a_removed_user_can_fetch_nothing(server):
    assert server.material("t1", 0, 5, now=NOW).rows == []
    server.set_users([("bob", "gas", 31)], now=NOW)
    with pytest.raises(RequestRefused, match="user_unknown"):
        server.material("t1", 0, 5, now=NOW)


CALLS_OF_A_SERVER = {
    ("page", "of receive"): lambda server, wrong: server.receive("ism", wrong, now=NOW),
    ("row", "of receive"): lambda server, wrong: server.receive("ism", Page([(1, wrong)], 1, more=False), now=NOW),
    ("source", "of receive"): lambda server, wrong: server.receive(wrong, Page([], 0, more=False), now=NOW),
    ("source", "of received"): lambda server, wrong: server.received(wrong),
    ("requests", "of request"): lambda server, wrong: server.request("t1", [wrong], now=NOW),
    ("outcomes", "of report"): lambda server, wrong: server.report("t1", [wrong], now=NOW),
    ("records", "of set_devices"): lambda server, wrong: server.set_devices([wrong], now=NOW),
    **{
        (field, "of a device"): lambda server, wrong, field=field: server.set_devices(
            [RECORD._replace(**{field: wrong})], now=NOW
        )
        for field in RECORD._fields
    },
    ("permissions", "of a user"): lambda server, wrong: server.set_users([("bob", "gas", wrong)], now=NOW),
    ("name", "of a user"): lambda server, wrong: server.set_users([(wrong, "gas", 31)], now=NOW),
    ("unit", "of a user"): lambda server, wrong: server.set_users([("bob", wrong, 31)], now=NOW),
    ("now", "of set_users"): lambda server, wrong: server.set_users([("bob", "gas", 31)], now=wrong),
    ("tokens", "of set_delegations"): lambda server, wrong: server.set_delegations([wrong], now=NOW),
    ("token", "of set_revocations"): lambda server, wrong: server.set_revocations(wrong, now=NOW),
    ("now", "of verify"): lambda server, wrong: server.verify([b""], now=wrong),
    ("token_type", "of verify"): lambda server, wrong: server.verify([b""], now=NOW, token_type=wrong),
    ("tool", "of snapshot"): lambda server, wrong: server.snapshot(wrong, "ann", now=NOW),
    ("user", "of snapshot"): lambda server, wrong: server.snapshot("t1", wrong, now=NOW),
    ("names", "of devices"): lambda server, wrong: server.devices("t1", [wrong], now=NOW),
    ("before", "of prune"): lambda server, wrong: server.prune(before=wrong, now=NOW),
}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("argument", CALLS_OF_A_SERVER, ids=" ".join)
def test_the_server_s_calls_of_wrong_types_are_refused(server, argument, wrong):
    refuses_wrong_values(argument[0], wrong, lambda: CALLS_OF_A_SERVER[argument](server, wrong))


def test_a_user_comes_once(server):
    with pytest.raises(InputError, match="duplicate name"):
        server.set_users([("bob", "gas", 31), ("bob", "water", 31)], now=NOW)
