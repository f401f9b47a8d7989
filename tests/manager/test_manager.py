"""The security manager on both stores: who may ask, what is issued once, caps, keys, kills."""

import datetime as dt
import json
import os
import random
import subprocess
import sys
from itertools import product

import pytest

from itron_core import (
    Action,
    Code,
    DeviceClass,
    ExchangeError,
    InputError,
    Keyring,
    KeyringEntry,
    LocalSigner,
    MasterKey,
    Mode,
    Permission,
    RequestRefused,
    Revocations,
    SecurityLevel,
    StoreError,
    derive_key,
    issue_tokens,
    verify_token,
    verify_tokens,
)
from itron_core.device import Device, Message
from itron_core.enums import TOKEN_TYPES
from itron_core.exchange.material import LONGEST_LIFETIME, Material, MaterialState, Page
from itron_core.exchange.protocols import OutcomePage
from itron_core.exchange.records import CommandRequest, DeviceRecord, OutcomeReport
from itron_core.exchange.verification import judge, ring_at
from itron_core.manager import batches
from itron_core.manager.security_manager import Limits, SecurityManager
from itron_core.stores import open_store
from itron_core.tools_server import ToolsServer
from kills import KILLS, Warm

NOW = 1_800_000_000
DAY = 86_400
ALL = sum(Permission)
SIGNER = LocalSigner.generate()
ROOT = LocalSigner.generate()
DEVICES = [f"ert:{number}" for number in range(100, 150)]
UNLIMITED = Limits(alone=10**9, critical=10**9)
LOTS = [8_192, 7]


def peopled(manager):
    manager.set_role("officer", ALL, officer=True, now=NOW)
    manager.set_role("reader", Permission.READ_ENDPOINTS, officer=True, now=NOW)
    manager.set_role("worker", ALL, now=NOW)
    for name, role, unit in [
        ("olga", "officer", "gas"),
        ("otto", "officer", "gas"),
        ("wanda", "officer", "water"),
        ("rita", "reader", "gas"),
        ("ann", "worker", "gas"),
    ]:
        manager.set_user(name, role, unit, now=NOW)
    manager.set_devices([record(device) for device in DEVICES], now=NOW)
    return manager


def record(device, **changes):
    return DeviceRecord(device, "gas", DeviceClass.ENHANCED, Mode.MOBILE, SecurityLevel.COMMAND, True, 0)._replace(
        **changes
    )


@pytest.fixture
def store(store_url):
    store = open_store(store_url)
    yield store
    store.close()


def reopened(store):
    """The same database by a connection of its own."""
    return open_store(getattr(store, "_path", None) or store._url)


@pytest.fixture
def manager(store):
    return peopled(SecurityManager(store, SIGNER))


def disconnect(manager, devices=DEVICES[:1], officer="olga", now=NOW):
    return manager.request(officer, devices, token_type="secure_command", actions=Action.DISCONNECT_SERVICE, now=now)


def issued(manager):
    return [row for _, row in manager.materials(0, 1_000_000).rows]


def test_a_request_becomes_tokens_that_verify(manager):
    asked = manager.request(
        "olga",
        DEVICES,
        token_type="authorization",
        actions=1 | 1 << Action.PROGRAM_ENDPOINT,
        now=NOW,
        session_seconds=600,
    )
    assert asked[:4] == (1, "approved", 50, [])
    assert "program_endpoints, read_endpoints" in asked.warnings[0]
    assert manager.issue(now=NOW + 5) == ([1], 50, [])
    rows = issued(manager)
    results = verify_tokens(
        [row.token for row in rows], manager.keyring(now=NOW), now=NOW + 5, audience=[row.device for row in rows]
    )
    assert set(results["code"].to_pylist()) == {0}
    assert {(row.sequence, row.epoch, row.issued_at, row.session_seconds) for row in rows} == {(1, 0, NOW + 5, 600)}
    assert sorted(row.device for row in rows) == sorted(DEVICES)
    assert manager.issue(now=NOW + 6) == ([], 0, [])


def test_sequence_numbers_rise_for_each_device(manager):
    for _ in range(3):
        disconnect(manager)
    manager.issue(now=NOW)
    assert [row.sequence for row in issued(manager)] == [1, 2, 3]


def test_only_officers_make_requests_and_only_within_their_role(manager):
    for name in ["ann", "nobody"]:
        with pytest.raises(RequestRefused, match="not_an_officer"):
            disconnect(manager, officer=name)
    with pytest.raises(RequestRefused, match="remote_disconnect"):
        disconnect(manager, officer="rita")
    with pytest.raises(RequestRefused, match="signed_authorization"):
        manager.request("rita", DEVICES, token_type="authorization", actions=Action.READ_ENDPOINT, now=NOW)
    with pytest.raises(RequestRefused, match="role_unknown"):
        manager.set_user("x", "none", "gas", now=NOW)
    assert issued(manager) == []


def test_a_request_repeated_under_its_key_is_one(manager):
    def ask(devices=(*DEVICES, "ert:9"), *, officer="olga", key="job 7", now=NOW, **more):
        return manager.request(
            officer, devices, token_type="secure_command", actions=Action.DISCONNECT_SERVICE, now=now, key=key, **more
        )

    first = ask()
    assert first[:4] == (1, "waiting", 50, [("ert:9", "device_unknown")])
    before = len(manager._journal)
    manager.approve(1, "otto", now=NOW)
    manager.issue(now=NOW)
    after = len(manager._journal)
    assert after > before
    again = ask(now=NOW + DAY)
    assert again == first
    assert type(again.refused[0]) is tuple
    assert ask([*DEVICES, "ert:9"], lifetime=7 * DAY) == first  # the same, in other words
    assert len(manager._journal) == after
    for changes in [{"lifetime": DAY}, {"subject": "t1"}, {"devices": DEVICES}, {"devices": (*DEVICES[::-1], "ert:9")}]:
        with pytest.raises(RequestRefused, match="key_reused"):
            ask(**changes)
    assert len(manager.requests()) == 1
    assert manager.issue(now=NOW).issued == 0
    # A key is each officer's own, and none is no key.
    assert [ask(officer="otto").id, ask(key="job 8").id, ask(key=None).id, ask(key=None).id] == [2, 3, 4, 5]


def test_an_idempotency_key_gives_nothing_to_a_former_officer(manager):
    asked = {"token_type": "secure_command", "actions": Action.OPEN_SESSION, "now": NOW, "key": "job"}
    manager.request("olga", DEVICES, **asked)
    manager.set_user("olga", "worker", "gas", now=NOW)
    with pytest.raises(RequestRefused, match="not_an_officer"):
        manager.request("olga", DEVICES, **asked)


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb", b"job", 7])
def test_an_invalid_idempotency_key_raises(manager, key):
    with pytest.raises(InputError, match="key"):
        manager.request("olga", DEVICES, token_type="secure_command", actions=Action.OPEN_SESSION, now=NOW, key=key)
    assert manager.requests() == []


def test_the_longest_issued_lifetime_is_accepted_by_every_party(manager):
    manager.request("olga", DEVICES, token_type="secure_command", actions=Action.OPEN_SESSION, now=NOW)
    manager.issue(now=NOW)
    rows = issued(manager)
    assert {row.expires_at - row.issued_at for row in rows} == {LONGEST_LIFETIME}
    assert set(judge(rows, manager.keyring(now=NOW), now=NOW)) == {0}
    verify_token(rows[0].token, manager.keyring(now=NOW), now=NOW, token_type="secure_command")  # by the default


def test_material_too_long_lived_for_a_device_is_not_stored():
    column = {"device": [DEVICES[0]], "actions": [1 << Action.OPEN_SESSION], "sequence": [1], "epoch": [0]}
    expires_at = NOW + LONGEST_LIFETIME + 1
    more = {"command": [b"open_session"], "expires_at": [expires_at], "session_seconds": [3_600]}
    (token,) = issue_tokens(
        column | more, SIGNER, now=NOW, token_type="secure_command", max_lifetime=31 * DAY
    ).to_pylist()
    kid, actions = SIGNER.public_key.kid, 1 << Action.OPEN_SESSION
    row = Material("gas", DEVICES[0], "secure_command", actions, kid, 1, 0, NOW, None, expires_at, 3_600, token)
    assert judge([row], Keyring([KeyringEntry(SIGNER.public_key)]), now=NOW) == [Code.LIFETIME_TOO_LONG]


def test_rows_that_can_have_nothing_are_values(manager):
    manager.set_devices(
        [
            record("ert:1", device_class=DeviceClass.BASIC),
            record("ert:2", security_level=SecurityLevel.READY_TO_SECURE),
            record("ert:3", unit="water"),
        ],
        now=NOW,
    )
    asked = disconnect(manager, ["ert:1", "ert:2", "ert:3", "ert:9", "ert:100", "ert:100"])
    assert asked.rows == 1
    assert asked.refused == [
        ("ert:1", "service_unavailable_unsecured"),
        ("ert:2", "service_unavailable_unsecured"),
        ("ert:3", "device_unknown"),
        ("ert:9", "device_unknown"),
        ("ert:100", "named_twice"),
    ]
    manager.set_devices(
        [record("ert:2", security_level=SecurityLevel.READY_TO_SECURE)], pending_level=SecurityLevel.COMMAND, now=NOW
    )
    assert disconnect(manager, ["ert:2"]).rows == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"token_type": "delegation"},
        {"actions": 0},
        {"actions": 3},
        {"actions": 1 << 40},
        {"lifetime": 0},
        {"lifetime": 7 * DAY + 1},
        {"session_seconds": 60},
        {"devices": "ert:100"},
        {"argument": "\u00e4"},
        {"argument": "x" * 257},
        {"subject": "x" * 65},
        {"subject": ""},
        {"now": 0},
        {"actions": Action.SET_SECURITY_LEVEL},
        {"actions": Action.SET_SECURITY_LEVEL, "argument": "unknown"},
        {"actions": Action.OPEN_SESSION, "session_seconds": 59},
        {"token_type": "authorization", "session_seconds": 0},
        {"token_type": "authorization", "argument": "x"},
        {"token_type": "reading_key", "actions": 1, "session_seconds": 60},
    ],
    ids=repr,
)
def test_an_invalid_request_raises_and_stores_nothing(manager, wrong):
    good = {"devices": DEVICES, "token_type": "secure_command", "actions": Action.CONNECT_SERVICE, "now": NOW}
    with pytest.raises(InputError):
        manager.request("olga", **(good | wrong))
    assert manager.requests() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"device": "meter"},
        {"device_class": 3},
        {"mode": 9},
        {"security_level": -1},
        {"epoch": -1},
        {"epoch": 2**32},
    ],
    ids=repr,
)
def test_an_invalid_device_raises_and_no_device_is_stored(manager, wrong):
    with pytest.raises(InputError):
        manager.set_devices([record("ert:1"), record("ert:2")._replace(**wrong)], now=NOW)
    assert len(manager.devices()) == len(DEVICES)


@pytest.mark.parametrize("after,limit", [(-1, 1), (0, 0)])
def test_a_page_of_materials_needs_a_cursor_from_0_and_a_row(manager, after, limit):
    with pytest.raises(InputError):
        manager.materials(after, limit)


def test_unknown_permissions_of_a_role_raise(manager):
    with pytest.raises(InputError, match="permissions: got 32"):
        manager.set_role("all", 32, now=NOW)


def test_critical_commands_in_bulk_need_two_officers(manager):
    asked = disconnect(manager, DEVICES)
    assert asked.state == "waiting"
    assert manager.issue(now=NOW).issued == 0
    with pytest.raises(RequestRefused, match="second_person"):
        manager.approve(asked.id, "olga", now=NOW)
    with pytest.raises(RequestRefused, match="permission_denied"):
        manager.approve(asked.id, "rita", now=NOW)
    with pytest.raises(RequestRefused, match="permission_denied"):
        manager.approve(asked.id, "wanda", now=NOW)
    manager.approve(asked.id, "otto", now=NOW)
    assert manager.issue(now=NOW).issued == 50
    with pytest.raises(RequestRefused, match="not_waiting"):
        manager.approve(asked.id, "otto", now=NOW)


def test_bulk_cannot_be_split(manager):
    states = [disconnect(manager, [device]).state for device in DEVICES[:12]]
    assert states == ["approved"] * 10 + ["waiting"] * 2
    assert disconnect(manager, officer="otto").state == "approved"
    assert disconnect(manager, now=NOW + DAY + 1).state == "approved"


def test_an_authorization_that_allows_service_is_critical(manager):
    asked = manager.request(
        "olga", DEVICES, token_type="authorization", actions=1 << Action.DISCONNECT_SERVICE, now=NOW
    )
    assert asked.state == "waiting"
    manager.reject(asked.id, "otto", now=NOW)
    assert manager.issue(now=NOW).issued == 0


def test_withdrawn_requests_do_not_count_against_the_limit(manager):
    asked = disconnect(manager, DEVICES[:10])
    manager.reject(asked.id, "olga", now=NOW)
    assert disconnect(manager, DEVICES[:10]).state == "approved"
    assert [one.state for one in manager.requests()] == ["rejected", "approved"]
    assert [one.id for one in manager.requests(state="approved")] == [2]
    manager.issue(now=NOW)
    with pytest.raises(RequestRefused, match="not_waiting"):
        manager.reject(2, "otto", now=NOW)


def test_refusals_of_critical_requests_are_audited(manager):
    def reasons():
        entries = [json.loads(entry) for entry in manager._journal.entries(0, 1_000)]
        return [entry["reason"] for entry in entries if entry["kind"] == "critical_refused"]

    for officer in ["ann", "rita", "nobody"]:
        with pytest.raises(RequestRefused):
            disconnect(manager, officer=officer)
    asked = disconnect(manager, DEVICES)
    for officer in ["olga", "wanda"]:
        with pytest.raises(RequestRefused):
            manager.approve(asked.id, officer, now=NOW)
    with pytest.raises(RequestRefused):
        manager.request("ann", DEVICES, token_type="reading_key", actions=1, now=NOW)
    names = ["not_an_officer", "permission_denied", "not_an_officer", "second_person", "permission_denied"]
    assert reasons() == names


def test_a_capped_request_keeps_nothing_else_back(store):
    manager = peopled(SecurityManager(store, SIGNER, limits=Limits(alone=100, critical=10, window=1_000)))
    with pytest.raises(RequestRefused, match=r"critical_cap.*make smaller requests"):
        disconnect(manager, DEVICES)
    disconnect(manager, DEVICES[:6])
    disconnect(manager, DEVICES[:6])
    manager.request("olga", DEVICES, token_type="authorization", actions=1, now=NOW)
    with pytest.raises(RequestRefused, match=f"critical_cap.*at {NOW + 1_000} or later"):
        manager.issue(now=NOW)
    assert len(issued(manager)) == 56
    assert kinds(manager).count("critical_refused") == 2
    lower = SecurityManager(store, SIGNER, limits=Limits(alone=100, critical=5, window=1_000))
    with pytest.raises(RequestRefused, match="make smaller requests"):
        lower.issue(now=NOW + 2_000)


@pytest.mark.parametrize("person", ["olga", "otto"])
def test_requests_of_people_who_lost_their_rights_are_not_issued(manager, person):
    asked = disconnect(manager, DEVICES)
    manager.approve(asked.id, "otto", now=NOW)
    manager.set_role("reader", Permission.READ_ENDPOINTS, officer=True, now=NOW)
    manager.set_user(person, "reader", "gas", now=NOW)
    with pytest.raises(RequestRefused, match="permission_denied"):
        manager.issue(now=NOW)
    manager.set_user(person, "worker", "gas", now=NOW)
    with pytest.raises(RequestRefused, match="not_an_officer"):
        manager.issue(now=NOW)
    manager.set_user(person, "officer", "water", now=NOW)
    with pytest.raises(RequestRefused, match=r"permission_denied.*moved to unit 'water'"):
        manager.issue(now=NOW)
    assert issued(manager) == []
    assert kinds(manager).count("critical_refused") == 3
    manager.set_user(person, "officer", "gas", now=NOW)
    assert manager.issue(now=NOW).issued == len(DEVICES)


def test_one_request_can_be_issued_alone(manager):
    first, second = disconnect(manager), disconnect(manager, DEVICES[1:2])
    assert manager.issue(now=NOW, request_id=second.id) == ([2], 1, [])
    assert [row.device for row in issued(manager)] == [DEVICES[1]]
    waiting = disconnect(manager, DEVICES)
    for number in [waiting.id, 99]:
        with pytest.raises(RequestRefused, match="not_approved"):
            manager.issue(now=NOW, request_id=number)
    assert manager.issue(now=NOW, request_id=first.id) == ([1], 1, [])
    assert manager.issue(now=NOW, request_id=first.id) == ([], 0, [])


def test_a_device_that_moved_meanwhile_gets_nothing(manager):
    disconnect(manager, DEVICES[:2])
    manager.set_devices([record(DEVICES[0], unit="water")], now=NOW)
    assert manager.issue(now=NOW) == ([1], 1, [(DEVICES[0], "unit_changed")])
    assert [row.device for row in issued(manager)] == [DEVICES[1]]
    assert manager.issue(now=NOW) == ([], 0, [])


def test_a_number_belongs_to_one_batch(manager, store):
    disconnect(manager)
    disconnect(manager)
    manager.issue(now=NOW)
    with pytest.raises(StoreError), store.write() as t:
        t.run("UPDATE manager_lot SET sequence = 1 WHERE request = 2")


def test_the_cap_slides(store):
    manager = peopled(SecurityManager(store, SIGNER, limits=Limits(alone=100, critical=60, window=1_000)))
    disconnect(manager, DEVICES)
    disconnect(manager, DEVICES[:20])
    with pytest.raises(RequestRefused, match=f"critical_cap.*{NOW + 1_000}"):
        manager.issue(now=NOW)
    assert len(issued(manager)) == 50
    assert manager.issue(now=NOW + 1_000).issued == 20


def test_reading_keys_name_the_check_value_of_the_device_key(store):
    master = MasterKey.generate()
    manager = peopled(SecurityManager(store, SIGNER, master=master, utility="UTIL"))
    manager.request("olga", DEVICES[:3], token_type="reading_key", actions=0b11111, now=NOW)
    manager.issue(now=NOW)
    for row in issued(manager):
        token = verify_token(
            row.token, manager.keyring(now=NOW), now=NOW, token_type="reading_key", audience=row.device
        )
        check = derive_key(master, row.device, utility="UTIL", label="kcv", key_version=1, length=16)[:4]
        assert token.reading_key == (1, 1, check)


def test_reading_keys_without_a_master_key_raise_and_wait(store):
    manager = peopled(SecurityManager(store, SIGNER))
    manager.request("olga", DEVICES[:3], token_type="reading_key", actions=1, now=NOW)
    with pytest.raises(InputError, match="master"):
        manager.issue(now=NOW)
    again = SecurityManager(store, SIGNER, master=MasterKey.generate(), utility="UTIL")
    assert again.issue(now=NOW).issued == 3


class Failing:
    """A signer that fails after so many calls."""

    def __init__(self, calls):
        self.calls, self.public_key = calls, SIGNER.public_key

    def sign(self, message):
        return SIGNER.sign(message)

    def sign_many(self, messages):
        self.calls -= 1
        if self.calls < 0:
            raise OSError("the HSM is gone")
        return SIGNER.sign_many(messages)


def test_a_signer_that_fails_loses_nothing(store):
    manager = peopled(SecurityManager(store, Failing(0)))
    disconnect(manager)
    with pytest.raises(OSError, match="gone"):
        manager.issue(now=NOW)
    assert issued(manager) == []
    again = SecurityManager(store, SIGNER)
    assert again.issue(now=NOW + 500).issued == 1
    assert [(row.sequence, row.issued_at) for row in issued(again)] == [(1, NOW)]


def levels(manager):
    """Ask for a level for all devices."""
    return manager.request(
        "olga", DEVICES, token_type="secure_command", actions=Action.SET_SECURITY_LEVEL, argument="full", now=NOW
    )


@pytest.fixture
def small_batches(monkeypatch):
    """Lots of 7 rows, so that 50 devices are many of them."""
    monkeypatch.setattr(batches, "ROWS_PER_BATCH", 7)


@pytest.mark.usefixtures("small_batches")
def test_a_request_of_many_batches_is_issued_in_order(manager, store):
    asked = levels(manager)
    assert asked.rows == 50
    refused = [DEVICES[0], *DEVICES[21:28], DEVICES[49]]  # in the first, a middle and the last batch, and a whole batch
    manager.set_devices([record(device, unit="water") for device in refused], now=NOW)
    assert manager.issue(now=NOW) == ([1], 41, [(device, "unit_changed") for device in refused])
    rows = issued(manager)
    assert [row.device for row in rows] == [device for device in DEVICES if device not in refused]
    assert sorted({row.sequence for row in rows}) == [1, 2, 3, 5, 6, 7]  # the fourth and the last batch are empty
    check_audited(manager, rows)
    codes = verify_tokens([row.token for row in rows], manager.keyring(now=NOW), now=NOW, token_type="secure_command")
    assert set(codes["code"].to_pylist()) == {0}
    with store.read() as t:
        pending = dict(t.rows("SELECT device, pending_level FROM manager_device"))
    assert {pending[device] for device in refused} == {3}
    assert {pending[row.device] for row in rows} == {2}


@pytest.mark.usefixtures("small_batches")
def test_materials_are_paged_at_every_place(manager):
    levels(manager)
    disconnect(manager)
    manager.issue(now=NOW)
    rows = manager.materials(0, 100).rows
    assert [serial for serial, _ in rows] == list(range(1, 52))
    for after, limit in product(range(53), [1, 6, 7, 8, 50, 51, 1_000]):
        page = manager.materials(after, limit)
        assert page.rows == rows[after : after + limit]
        assert (page.next, page.more) == (max(after, min(after + limit, 51)), after + limit < 51)


@pytest.mark.slow
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("calls", range(9))
def test_a_signer_that_fails_between_batches_loses_nothing(store, calls):
    manager = peopled(SecurityManager(store, Failing(calls)))
    levels(manager)
    if calls < 8:
        with pytest.raises(OSError, match="gone"):
            manager.issue(now=NOW)
    else:
        manager.issue(now=NOW)
    before = issued(manager)
    # What was signed before the failure may wait for the next call, and nothing else.
    assert len(before) in {min(7 * max(calls - 1, 0), 50), min(7 * calls, 50)}
    again = SecurityManager(store, SIGNER)
    assert again.issue(now=NOW + 500).issued == 50 - len(before)
    rows = issued(again)
    assert rows[: len(before)] == before
    check_numbers(rows)
    check_audited(again, rows)
    assert [row.issued_at for row in rows] == [NOW] * 50


@pytest.mark.usefixtures("small_batches")
def test_a_number_is_committed_before_its_token_is_signed(store):
    class Watching(Failing):
        def sign_many(self, messages):
            with other.read() as t:
                ((numbered,),) = t.rows("SELECT sum(size) FROM manager_lot WHERE sequence IS NOT NULL")
            seen.append((numbered, sum(map(len, signed)) + len(messages)))
            signed.append(messages)
            return SIGNER.sign_many(messages)

    manager = peopled(SecurityManager(store, Watching(0)))
    other, seen, signed = reopened(store), [], []
    levels(manager)
    manager.issue(now=NOW)
    other.close()
    assert [at_once for _, at_once in seen] == [7, 14, 21, 28, 35, 42, 49, 50]
    assert all(numbered >= at_once for numbered, at_once in seen)


def test_keys_rotate_with_overlap(store):
    manager = peopled(SecurityManager(store, SIGNER, root=ROOT))
    manager.rotate(SIGNER, now=NOW)
    disconnect(manager)
    manager.issue(now=NOW)
    manager.rotate(LocalSigner.generate("ESP256"), now=NOW + 100, overlap=1_000)
    disconnect(manager)
    manager.issue(now=NOW + 100)
    old, new = issued(manager)
    assert old.kid != new.kid

    def codes(now):
        ring = manager.keyring(now=now)
        return verify_tokens([old.token, new.token], ring, now=now, token_type="secure_command")["code"].to_pylist()

    assert codes(NOW + 1_099) == [0, 0]
    assert codes(NOW + 1_100) == [230, 0]


def test_another_root_delegates_the_keys_that_are_in_force(store):
    manager = peopled(SecurityManager(store, SIGNER, root=ROOT))
    manager.rotate(SIGNER, now=NOW, lifetime=DAY)
    second = LocalSigner.generate("ESP256")
    manager.rotate(second, now=NOW + 10, overlap=100)
    disconnect(manager)
    manager.issue(now=NOW + 10)
    (row,) = issued(manager)
    new = LocalSigner.generate("ESP256")
    manager.change_root(new, now=NOW + 20)
    manager.change_root(new, now=NOW + 20)  # as after a crash

    def code(root, now):
        ring = ring_at(
            Keyring([KeyringEntry(root.public_key, issuer="ism", token_types=TOKEN_TYPES)]),
            manager.delegations(now=now),
            now,
        )
        return verify_tokens([row.token], ring, now=now, token_type="secure_command")["code"].to_pylist()[0]

    assert (code(new, NOW + 30), code(ROOT, NOW + 30)) == (0, Code.KEY_UNKNOWN)
    ring = Keyring([KeyringEntry(new.public_key, issuer="ism", token_types=TOKEN_TYPES)])
    manager.revoke(devices={DEVICES[0]: (1, 0, 0)}, now=NOW + 30)
    assert Revocations.from_token(manager.snapshot(now=NOW + 30), ring, now=NOW + 30).version == 1
    assert len(manager.keyring(now=NOW + 50).entries) == 3, "root, and both keys until the overlap ends"
    assert len(manager.keyring(now=NOW + 200).entries) == 2
    # A store whose caller was cut before it kept the new root goes on by the same call.
    again = SecurityManager(store, second, root=ROOT)
    again.change_root(new, now=NOW + 40)
    assert code(new, NOW + 41) == 0
    assert again.issuing_keys()[0].valid_until == NOW + 110


def test_without_a_root_key_the_root_cannot_change(manager):
    with pytest.raises(InputError, match="root"):
        manager.change_root(LocalSigner.generate(), now=NOW)


def test_a_retired_device_gets_nothing_and_its_material_is_revoked(store):
    manager = peopled(SecurityManager(store, SIGNER))
    disconnect(manager, DEVICES[:2])
    manager.issue(now=NOW)
    disconnect(manager, DEVICES[:2])  # approved, not issued yet
    manager.retire(DEVICES[:1], now=NOW)
    assert manager.retired() == {DEVICES[0]}
    report = manager.issue(now=NOW)
    assert (report.issued, report.refused) == (1, [(DEVICES[0], "unit_changed")])
    assert disconnect(manager, DEVICES[:1]).refused == [(DEVICES[0], "device_retired")]
    ring = manager.keyring(now=NOW)
    revocations = Revocations.from_token(manager.snapshot(now=NOW), ring, now=NOW)
    tokens = [row.token for row in issued(manager)]
    codes = verify_tokens(tokens, ring, now=NOW, token_type="secure_command", revocations=revocations)[
        "code"
    ].to_pylist()
    assert codes == [Code.DEVICE_REVOKED, 0, 0]
    manager.set_devices([record(DEVICES[0])], now=NOW + 1)
    assert manager.retired() == set()
    disconnect(manager, DEVICES[:1])
    manager.issue(now=NOW + 1)
    last = issued(manager)[-1].token
    assert verify_tokens([last], ring, now=NOW + 1, token_type="secure_command", revocations=revocations)[
        "code"
    ].to_pylist() == [0]


def test_an_unknown_device_is_not_retired(manager):
    with pytest.raises(RequestRefused, match="device_unknown"):
        manager.retire([DEVICES[0], "ert:9"], now=NOW)
    with pytest.raises(RequestRefused, match="device_unknown"):
        manager.retire(["meter"], now=NOW)
    assert manager.retired() == set()
    assert manager.revoked() == ([], {}, [])


def test_material_issued_before_a_renewal_stays_valid(store):
    manager = peopled(SecurityManager(store, SIGNER, root=ROOT))
    manager.rotate(SIGNER, now=NOW, lifetime=DAY)
    disconnect(manager)
    manager.issue(now=NOW)
    manager.rotate(SIGNER, now=NOW + 1_000, lifetime=9 * DAY)
    disconnect(manager)
    manager.issue(now=NOW + 1_000)
    first, second = issued(manager)
    assert first.expires_at == NOW + DAY, "nothing is issued beyond its delegation"
    for row, later in [(first, NOW + 1_000), (first, NOW + DAY - 1), (second, NOW + 1_000), (second, NOW + 2 * DAY)]:
        verify_token(row.token, manager.keyring(now=later), now=later, token_type="secure_command")
    # One that has ended is not renewed but made anew: what it covered has ended with it.
    manager.rotate(SIGNER, now=NOW + 20 * DAY)
    (entry,) = manager.keyring(now=NOW + 20 * DAY).entries[1:]
    assert entry.valid_from == NOW + 20 * DAY


def test_material_allotted_before_a_rotation_is_valid_after_it(store):
    manager = peopled(SecurityManager(store, Failing(0), root=ROOT))
    manager.rotate(manager._signer, now=NOW)
    disconnect(manager)
    with pytest.raises(OSError, match="gone"):
        manager.issue(now=NOW)
    manager.rotate(LocalSigner.generate(), now=NOW + 100)
    assert manager.issue(now=NOW + 200).issued == 1
    (row,) = issued(manager)
    verify_token(row.token, manager.keyring(now=NOW + 200), now=NOW + 200, token_type="secure_command")


def test_a_key_without_a_delegation_issues_nothing(store):
    manager = peopled(SecurityManager(store, SIGNER, root=ROOT))
    disconnect(manager)
    with pytest.raises(InputError, match="no delegation"):
        manager.issue(now=NOW)
    manager.rotate(SIGNER, now=NOW, lifetime=DAY)
    assert manager.issue(now=NOW).issued == 1
    disconnect(manager)
    with pytest.raises(InputError, match="no delegation"):
        manager.issue(now=NOW + DAY)
    assert len(issued(manager)) == 1


def test_watermarks_only_rise(manager):
    for marks in [(9, 5, 0), (10, 0, 1), (3, 0, 0)]:
        manager.revoke(devices={"ert:100": marks}, now=NOW)
    ring = manager.keyring(now=NOW)
    assert Revocations.from_token(manager.snapshot(now=NOW), ring, now=NOW).devices == {"ert:100": (10, 5, 1)}
    for wrong in [{"issuers": [b"short"]}, {"tokens": [(b"12345678", b"short")]}, {"devices": {"meter": (0, 0, 0)}}]:
        with pytest.raises(InputError):
            manager.revoke(**wrong, now=NOW)
    assert len(Revocations.from_token(manager.snapshot(now=NOW), ring, now=NOW).devices) == 1


def test_without_a_root_key_rotation_raises(manager):
    with pytest.raises(InputError, match="root"):
        manager.rotate(SIGNER, now=NOW)


def test_revocations_stay_in_rising_snapshots(manager):
    disconnect(manager, DEVICES[:3])
    manager.issue(now=NOW)
    rows = issued(manager)
    manager.revoke(tokens=[(rows[0].kid, rows[0].cti)], devices={rows[1].device: (2, 0, 0)}, now=NOW)
    first = manager.snapshot(now=NOW)
    manager.revoke(issuers=[b"12345678"], now=NOW)
    ring = manager.keyring(now=NOW)
    one = Revocations.from_token(first, ring, now=NOW)
    two = Revocations.from_token(manager.snapshot(now=NOW), ring, now=NOW, newer_than=one.version)
    assert (one.version, two.version) == (1, 2)
    for revocations in (one, two):
        results = verify_tokens(
            [row.token for row in rows], ring, now=NOW, token_type="secure_command", revocations=revocations
        )
        assert results["code"].to_pylist() == [604, 602, 0]


@pytest.fixture
def server(tmp_path):
    store = open_store(tmp_path / "server.db")
    yield ToolsServer(store, Keyring([KeyringEntry(ROOT.public_key, issuer="ism", token_types=TOKEN_TYPES)]))
    store.close()


def test_everything_reaches_the_tools_server_and_comes_back(store, server):
    manager = peopled(SecurityManager(store, SIGNER, root=ROOT))
    manager.rotate(SIGNER, now=NOW)
    manager.revoke(issuers=[b"12345678"], now=NOW)
    manager.request("olga", DEVICES, token_type="secure_command", actions=Action.EXCHANGE_KEYS, now=NOW)
    manager.issue(now=NOW)
    assert manager.deliver(server, now=NOW, limit=7) == 50
    assert manager.deliver(server, now=NOW) == 0
    snapshot = server.snapshot("t1", "ann", now=NOW)
    assert snapshot.permissions == ALL
    assert snapshot.revocations is not None
    assert {r.device for r in server.devices("t1", DEVICES, now=NOW)} == set(DEVICES)
    from itron_core.exchange.records import CommandRequest

    server.request("t1", [CommandRequest(1, DEVICES[0], "secure_command", Action.EXCHANGE_KEYS)], now=NOW)
    ((_, row),) = server.material("t1", 0, 10, now=NOW).rows
    answer = b'{"epoch":1,"key_version":2,"level":"full","mode":"mobile"}'
    used = OutcomeReport(
        1, row.device, Action.EXCHANGE_KEYS, row.kid, row.cti, row.content, MaterialState.USED, 0, answer, NOW
    )
    server.report("t1", [used], now=NOW)
    assert manager.collect(server, now=NOW) == 1
    assert manager.collect(server, now=NOW) == 0
    assert next(r for r in manager.devices() if r.device == DEVICES[0]) == record(
        DEVICES[0], epoch=1, security_level=SecurityLevel.FULL
    )


class Reported:
    """A server that answers with these outcomes, as a hostile one could."""

    def __init__(self, *outcomes, serials=None, end=None, more=False, code=0):
        self.serials = serials or range(1, len(outcomes) + 1)
        self.rows = [(serial, "t", outcome, code) for serial, outcome in zip(self.serials, outcomes, strict=True)]
        self.end, self.more = end, more

    def outcomes(self, after, limit):
        rows = [row for row in self.rows if row[0] > after or self.end is not None]
        return OutcomePage(rows, self.end if self.end is not None else max(self.serials, default=after), self.more)


def told(level="full", epoch=1, key_version=2, mode="mobile"):
    return json.dumps({"epoch": epoch, "key_version": key_version, "level": level, "mode": mode}).encode()


def secured(manager, *arguments, action=Action.SET_SECURITY_LEVEL):
    """Issue a command of the SECURITY group for the first device for each argument, and return what was issued."""
    before = len(issued(manager))
    for argument in arguments:
        manager.request("olga", DEVICES[:1], token_type="secure_command", actions=action, argument=argument, now=NOW)
    manager.issue(now=NOW)
    return issued(manager)[before:]


def use(row, answer, *, action=Action.SET_SECURITY_LEVEL, state=MaterialState.USED, at=NOW, **changes):
    outcome = OutcomeReport(1, row.device, action, row.kid, row.cti, row.content, state, 0, answer, at)
    return outcome._replace(**changes)


def level_of(manager, device=DEVICES[0]):
    return next(r for r in manager.devices() if r.device == device).security_level


def kinds(manager):
    return [json.loads(entry)["kind"] for entry in manager._journal.entries(0, 1_000_000)]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"epoch":"x"}',
        b'{"epoch":1,"level":5}',
        told(epoch=-1),
        told(epoch=2),
        told(epoch=10**30),
        told(epoch=1e400),
        told(key_version=2**32),
        told(level="unknown"),
        told(mode="flying"),
    ],
)
def test_an_answer_that_tells_nothing_changes_nothing(manager, answer):
    (row,) = secured(manager, "full")
    before = manager.devices()
    assert manager.collect(Reported(use(row, answer)), now=NOW) == 1
    assert manager.devices() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"device": DEVICES[1]},
        {"kid": b"12345678"},
        {"kid": b""},
        {"cti": bytes(16)},
        {"cti": b"\xff" * 16},
        {"cti": b""},
        {"content": bytes(32)},
        {"action": Action.EXCHANGE_KEYS},
        {"state": MaterialState.SENT},
        {"state": MaterialState.REFUSED},
    ],
)
def test_only_the_use_of_a_token_issued_here_teaches(manager, changes):
    (row,) = secured(manager, "full")
    before = manager.devices()
    manager.collect(Reported(use(row, told(), **changes)), now=NOW)
    assert manager.devices() == before
    is_alarm = changes.get("state") is None and changes.get("kid") != b""
    assert ("alarm" in kinds(manager)) == is_alarm
    assert manager.collect(Reported(use(row, told()), serials=[2]), now=NOW) == 1
    assert level_of(manager) == SecurityLevel.FULL


def test_the_later_of_two_answers_counts_and_a_replay_is_an_old_one(manager):
    full, command = secured(manager, "full", "command")
    manager.collect(
        Reported(use(command, told("command", 0), at=NOW + 9), use(full, told("full", 0), at=NOW + 5)), now=NOW + 10
    )
    assert level_of(manager) == SecurityLevel.COMMAND
    late = use(full, told("full", 0), at=NOW + 20, state=MaterialState.REPLAYED)
    manager.collect(Reported(late, serials=[3]), now=NOW + 20)
    assert level_of(manager) == SecurityLevel.COMMAND


def test_a_replay_teaches_where_the_first_answer_was_lost(manager):
    (full,) = secured(manager, "full")
    manager.collect(Reported(use(full, told("full", 0), state=MaterialState.REPLAYED)), now=NOW)
    assert level_of(manager) == SecurityLevel.FULL


@pytest.mark.parametrize(
    "page",
    [
        {"serials": [2, 1], "end": 2},
        {"serials": [1, 1], "end": 1},
        {"serials": [0, 1], "end": 1},
        {"serials": [1, 2], "end": 1},
    ],
)
def test_a_page_that_does_not_rise_is_not_taken(manager, page):
    (row,) = secured(manager, "full")
    before = manager.devices()
    with pytest.raises(ExchangeError):
        manager.collect(Reported(use(row, told()), use(row, told()), **page), now=NOW)
    with pytest.raises(ExchangeError):
        manager.collect(Reported(end=0, more=True), now=NOW)
    assert manager.devices() == before


@pytest.mark.parametrize("code", [1, 802, -1])
def test_a_code_that_no_report_is_answered_is_not_taken(manager, code):
    (row,) = secured(manager, "full")
    with pytest.raises(ExchangeError):
        manager.collect(Reported(use(row, told()), code=code), now=NOW)
    assert level_of(manager) == SecurityLevel.COMMAND


def test_conflicting_outcomes_update_no_device(manager):
    (row,) = secured(manager, "full")
    manager.collect(Reported(use(row, told()), code=Code.REPLAY_CONFLICT), now=NOW)
    assert level_of(manager) == SecurityLevel.COMMAND
    alarm = json.loads(manager._journal.entries(0, 1_000)[-1])
    assert (alarm["kind"], alarm["device"], alarm["code"]) == ("alarm", row.device, 801)
    manager.collect(Reported(use(row, told()), serials=[2], code=Code.REPLAY_IDENTICAL), now=NOW)
    assert level_of(manager) == SecurityLevel.FULL


def test_a_tool_that_was_never_granted_a_token_teaches_nothing_by_it(store, server):
    manager = peopled(SecurityManager(store, SIGNER, root=ROOT))
    manager.rotate(SIGNER, now=NOW)
    (row,) = secured(manager, "full")
    manager.deliver(server, now=NOW)
    for tool in ["honest", "thief"]:
        server.snapshot(tool, "ann", now=NOW)
    server.request("honest", [CommandRequest(1, row.device, "secure_command", Action.SET_SECURITY_LEVEL)], now=NOW)
    assert server.report("thief", [use(row, told())], now=NOW) == [801]
    assert manager.collect(server, now=NOW) == 1
    assert level_of(manager) == SecurityLevel.COMMAND
    assert kinds(manager)[-1] == "alarm"
    assert server.report("honest", [use(row, told())], now=NOW) == [0]
    assert manager.collect(server, now=NOW) == 1
    assert level_of(manager) == SecurityLevel.FULL


@pytest.mark.parametrize("changes", [{"action": 99}, {"state": 99}, {"at": -1}, {"at": 2**63}])
def test_an_outcome_that_is_none_is_not_taken(manager, changes):
    (row,) = secured(manager, "full")
    with pytest.raises(ExchangeError):
        manager.collect(Reported(use(row, told()), use(row, told())._replace(**changes)), now=NOW)
    assert level_of(manager) == SecurityLevel.COMMAND


def test_a_level_that_is_about_to_come_is_one_it_can_have(manager):
    ready = record("ert:100", security_level=SecurityLevel.READY_TO_SECURE)
    manager.set_devices([ready], now=NOW)
    assert disconnect(manager).refused == [("ert:100", "service_unavailable_unsecured")]
    (row,) = secured(manager, "command")
    assert verify_token(row.token, manager.keyring(now=NOW), now=NOW, token_type="secure_command").command == (
        b"set_security_level:command"
    )
    assert disconnect(manager).rows == 1
    manager.set_devices([ready], now=NOW)
    assert disconnect(manager).rows == 1
    manager.set_devices([ready], pending_level={"ert:100": SecurityLevel.UNKNOWN}, now=NOW)
    assert disconnect(manager).rows == 0


def test_a_device_accepts_issued_material_and_its_report_returns(manager):
    manager.set_devices([record(DEVICES[0], security_level=SecurityLevel.READY_TO_SECURE)], now=NOW)
    ring = manager.keyring(now=NOW)
    device = Device(DEVICES[0], DeviceClass.ENHANCED, keyring=ring)
    steps = [(Action.EXCHANGE_KEYS, ""), (Action.SET_SECURITY_LEVEL, "full"), (Action.DISCONNECT_SERVICE, "")]
    for serial, (action, argument) in enumerate(steps, 1):
        (row,) = secured(manager, argument, action=action)
        answer = device.answer(Message(action, token=row.token), uptime=serial, now=NOW + serial)
        assert answer.outcome == 0
        used = use(row, answer.to_bytes(), action=action, at=NOW + serial)
        manager.collect(Reported(used, serials=[serial]), now=NOW + serial)
    assert manager.devices()[0] == record(DEVICES[0], security_level=SecurityLevel.FULL, epoch=1)
    assert [row.epoch for row in issued(manager)] == [0, 1, 1]


def test_a_server_that_is_ahead_of_us_is_not_fed(store, server):
    other = peopled(SecurityManager(store, SIGNER, root=ROOT))
    other.rotate(SIGNER, now=NOW)
    disconnect(other)
    other.issue(now=NOW)
    server.receive("ism", Page([], 7, more=False), now=NOW)
    with pytest.raises(ExchangeError, match="older state"):
        other.deliver(server, now=NOW)
    assert other.deliver(server, now=NOW, source="ism-2") == 1


@pytest.mark.parametrize("ahead", [3_600, 85 * DAY, 3_000 * DAY])
def test_a_rotation_by_a_clock_that_was_ahead_is_healed_by_the_next(store, server, ahead):
    """What was issued before it stays good, and delivery, the keyring and a new root work again."""
    manager = peopled(SecurityManager(store, SIGNER, root=ROOT))
    manager.rotate(SIGNER, now=NOW)
    disconnect(manager)
    manager.issue(now=NOW)
    manager.rotate(LocalSigner.generate(), now=NOW + ahead)
    disconnect(manager, DEVICES[:2], now=NOW + 10)
    with pytest.raises(InputError, match=r"begins at .* was a clock ahead.*manager rotate"):
        manager.issue(now=NOW + 10)
    manager.rotate(LocalSigner.generate(), now=NOW + 20)
    assert manager.issue(now=NOW + 20).issued == 2
    refused = []
    assert manager.deliver(server, now=NOW + 20, refused=lambda *why: refused.append(why)) == 3
    assert refused == []
    for row in issued(manager):
        verify_token(row.token, manager.keyring(now=NOW + 20), now=NOW + 20, token_type="secure_command")
    manager.change_root(root := LocalSigner.generate(), now=NOW + 30)
    trusted = KeyringEntry(root.public_key, issuer="ism", token_types=TOKEN_TYPES)
    ring = Keyring([trusted]).with_delegations(manager.delegations(now=NOW + 30), now=NOW + 30)
    for row in issued(manager):
        verify_token(row.token, ring, now=NOW + 30, token_type="secure_command")


def test_material_issued_by_a_clock_that_was_ahead_is_named_and_comes_into_force_later(store, server):
    manager = peopled(SecurityManager(store, SIGNER, root=ROOT))
    manager.rotate(SIGNER, now=NOW)
    disconnect(manager, now=NOW + 30 * DAY)
    manager.issue(now=NOW + 30 * DAY)
    refused = []
    assert manager.deliver(server, now=NOW, refused=lambda row, code: refused.append((row.device, code))) == 0
    assert refused == [(DEVICES[0], Code.IAT_IN_FUTURE)]
    assert [row.device for _, row in server.materials(0, 10).rows] == [DEVICES[0]]


def test_material_refused_by_the_server_is_audited(store, server):
    """A key whose overlap has passed: nobody believes its tokens any more."""
    manager = peopled(SecurityManager(store, SIGNER, root=ROOT))
    manager.rotate(SIGNER, now=NOW)
    disconnect(manager)
    manager.issue(now=NOW)
    manager.rotate(LocalSigner.generate(), now=NOW, overlap=10)
    assert manager.deliver(server, now=NOW + 10) == 0
    assert kinds(manager).count("delivery_refused") == 1


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ed25519

    path = tmp_path_factory.mktemp("keys") / "key.pem"
    key = ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
    return path


def check_numbers(rows):
    """No sequence number of a device twice, none left out, and no token that was signed twice."""
    numbers = [(row.device, row.sequence) for row in rows]
    assert len(set(numbers)) == len(numbers)
    found = {number for _, number in numbers}
    assert found == set(range(1, len(found) + 1))
    assert len({row.token for row in rows}) == len(rows)


def check_audited(manager, rows):
    """The journal tells of each token once, and of no other."""
    entries = [json.loads(entry) for entry in manager._journal.entries(0, 10_000_000)]
    told = [(entry["cti"], entry["content"]) for entry in entries if entry["kind"] == "issued"]
    assert sorted(told) == sorted((row.cti.hex(), row.content.hex()) for row in rows)


@pytest.mark.slow
def test_a_kill_issues_nothing_twice_and_loses_nothing_that_was_acknowledged(store_url, pem):
    signer = LocalSigner.from_pem(pem.read_bytes())
    store = open_store(store_url)
    manager = peopled(SecurityManager(store, signer, limits=UNLIMITED))
    rng, rows, cut = random.Random(3), [], 0
    with Warm("manager_issuing") as warm:
        for number in range(KILLS):
            death = warm.run(store_url, str(pem), LOTS[number % 2], delay=rng.random() * 0.02)
            assert death.was_killed
            new = [row for _, row in manager.materials(len(rows), 1_000_000).rows]
            assert len(new) >= sum(map(int, death.lines))
            # Half of the times what is left is finished here, else the next child finds it.
            if rng.random() < 0.5:
                cut += manager.issue(now=NOW + 1).issued
                new = [row for _, row in manager.materials(len(rows), 1_000_000).rows]
            rows += new
    cut += manager.issue(now=NOW + 1).issued
    released, rows = rows, issued(manager)
    assert rows[: len(released)] == released  # what was released stays what and where it was
    check_numbers(rows)
    check_audited(manager, rows)
    assert len(rows) == sum(record.size for record in manager.requests())
    results = verify_tokens(
        [row.token for row in rows],
        manager.keyring(now=NOW),
        now=NOW,
        token_type="secure_command",
        audience=[row.device for row in rows],
    )
    assert set(results["code"].to_pylist()) == {0}
    assert cut or KILLS < 25  # else no kill came between allotting and releasing
    store.close()


@pytest.mark.slow
def test_two_processes_release_one_token_a_sequence_number(store_url, pem):
    signer = LocalSigner.from_pem(pem.read_bytes())
    store = open_store(store_url)
    manager = peopled(SecurityManager(store, signer, limits=UNLIMITED))
    arguments = [sys.executable, "-m", "programs.manager_issuing", store_url, str(pem)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    children = [
        subprocess.Popen([*arguments, str(size)], stdout=subprocess.PIPE, text=True, env=environment) for size in LOTS
    ]
    for child in children:
        for _ in range(5):
            child.stdout.readline()
    for child in children:
        child.kill()
        child.communicate()
    manager.issue(now=NOW)
    rows = issued(manager)
    check_numbers(rows)
    check_audited(manager, rows)
    store.close()


def test_no_secret_is_in_the_store(tmp_path, pem):
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    secret = bytes(range(60, 92))
    key = load_pem_private_key(pem.read_bytes(), None)
    store = open_store(tmp_path / "manager.db")
    manager = peopled(
        SecurityManager(store, LocalSigner(key), root=ROOT, master=MasterKey.from_bytes(secret), utility="UTIL")
    )
    manager.rotate(LocalSigner(key), now=NOW)
    manager.request("olga", DEVICES, token_type="reading_key", actions=1, now=NOW)
    manager.issue(now=NOW)
    assert len(issued(manager)) == len(DEVICES)
    manager.revoke(issuers=[b"12345678"], now=NOW)
    manager.snapshot(now=NOW)
    store.close()
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        for hidden in (secret, key.private_bytes_raw()):
            assert hidden not in data
            assert hidden.hex().encode() not in data


@pytest.mark.parametrize("name", ["x" * 1_001, "\u00e4" * 501, "a\0b", "\ud800", ""])
def test_a_name_has_the_same_bound_whatever_the_store_is(manager, name):
    for call in [
        lambda: manager.set_role(name, ALL, now=NOW),
        lambda: manager.set_user(name, "worker", "gas", now=NOW),
        lambda: manager.set_user("ann", "worker", name, now=NOW),
    ]:
        with pytest.raises(InputError):
            call()


def test_the_longest_names_are_kept(manager):
    manager.set_role("r" * 1_000, ALL, now=NOW)
    manager.set_user("u" * 1_000, "r" * 1_000, "\u00e4" * 500, now=NOW)
    assert ("u" * 1_000, "\u00e4" * 500, ALL) in manager.users()


# What stands on what


def test_nothing_is_issued_beyond_its_delegation(store):
    """What a tool is handed says so too, and the server takes it."""
    manager = peopled(SecurityManager(store, SIGNER, root=ROOT))
    manager.rotate(SIGNER, now=NOW, lifetime=9 * DAY)
    disconnect(manager)
    late = NOW + 5 * DAY
    manager.issue(now=late)
    (row,) = issued(manager)
    assert row.expires_at == NOW + 9 * DAY
    assert verify_token(row.token, manager.keyring(now=late), now=late, token_type="secure_command").expires_at == (
        dt.datetime.fromtimestamp(NOW + 9 * DAY, dt.UTC)
    )
    assert "shortened" in kinds(manager)


def test_after_its_delegation_nothing_is_issued_and_the_end_is_named(store):
    manager = peopled(SecurityManager(store, SIGNER, root=ROOT))
    manager.rotate(SIGNER, now=NOW, lifetime=DAY)
    disconnect(manager)
    with pytest.raises(InputError, match=rf"ended at {NOW + DAY}.*manager rotate"):
        manager.issue(now=NOW + DAY)


def test_a_rotation_renews_the_delegation_of_before_for_the_overlap(store):
    manager, fresh = peopled(SecurityManager(store, SIGNER, root=ROOT)), LocalSigner.generate()
    manager.rotate(SIGNER, now=NOW)
    disconnect(manager)
    manager.issue(now=NOW + 82 * DAY)
    (row,) = issued(manager)
    manager.rotate(fresh, now=NOW + 89 * DAY, overlap=7 * DAY)
    for later in [NOW + 89 * DAY - 1, row.expires_at - 1]:
        ring = manager.keyring(now=later)
        assert SIGNER.public_key.kid in {entry.key.kid for entry in ring.entries}
        verify_token(row.token, ring, now=later, token_type="secure_command")
    until = {entry.key.kid: entry.valid_until for entry in manager.keyring(now=NOW + 95 * DAY).entries}
    assert until[SIGNER.public_key.kid] == NOW + 96 * DAY
    assert SIGNER.public_key.kid not in {entry.key.kid for entry in manager.keyring(now=NOW + 96 * DAY).entries}


@pytest.mark.parametrize("now", [NOW * 1_000, 0, 1_577_836_799, 4_102_444_801, True, 1.5e9, "now"])
def test_a_time_outside_2020_to_2100_is_refused_at_every_door(store, now):
    manager = peopled(SecurityManager(store, SIGNER, root=ROOT))
    server = ToolsServer(open_store(f"{store._path}2"), manager.keyring(now=NOW)) if hasattr(store, "_path") else None
    before = len(manager._journal)
    calls = [
        lambda: manager.set_role("r", ALL, now=now),
        lambda: manager.remove_role("worker", now=now),
        lambda: manager.set_user("u", "worker", "gas", now=now),
        lambda: manager.remove_user("ann", now=now),
        lambda: manager.set_devices([record("ert:1")], now=now),
        lambda: disconnect(manager, now=now),
        lambda: manager.approve(1, "olga", now=now),
        lambda: manager.reject(1, "olga", now=now),
        lambda: manager.issue(now=now),
        lambda: manager.rotate(SIGNER, now=now),
        lambda: manager.revoke(issuers=[bytes(8)], now=now),
        lambda: manager.snapshot(now=now),
        lambda: manager.deliver(server, now=now),
        lambda: manager.collect(server, now=now),
        lambda: manager.go_on_after_restore(now=now),
    ]
    for call in calls:
        with pytest.raises(InputError, match="now"):
            call()
    assert len(manager._journal) == before


def test_a_clock_that_was_ahead_once_does_not_use_up_the_cap_for_years(store):
    manager = peopled(SecurityManager(store, SIGNER, limits=Limits(alone=2, critical=2)))
    far = NOW + 3_000 * DAY
    for device in DEVICES[:2]:
        disconnect(manager, [device], now=far)
    manager.issue(now=far)
    assert disconnect(manager, DEVICES[2:4]).state == "approved"
    assert manager.issue(now=NOW).issued == 2
    # Set back by hours, the clock gives nothing back.
    assert disconnect(manager, DEVICES[4:5], now=NOW - 3_600).state == "waiting"


# People who go


def test_a_user_and_a_role_can_be_removed(manager):
    asked = disconnect(manager)
    with pytest.raises(RequestRefused, match=r"role_in_use.*'ann'"):
        manager.remove_role("worker", now=NOW)
    manager.remove_user("ann", now=NOW)
    manager.remove_role("worker", now=NOW)
    manager.remove_user("olga", now=NOW)
    assert not {"ann", "olga"} & {name for name, _, _ in manager.users()}
    assert [name for name, _, _ in manager.roles()] == ["officer", "reader"]
    with pytest.raises(RequestRefused, match="not_an_officer"):
        manager.issue(now=NOW, request_id=asked.id)
    for call, reason in [
        (lambda: manager.remove_user("ann", now=NOW), "user_unknown"),
        (lambda: manager.remove_role("worker", now=NOW), "role_unknown"),
    ]:
        with pytest.raises(RequestRefused, match=reason):
            call()
    assert [kind for kind in kinds(manager) if "removed" in kind] == ["user_removed", "role_removed", "user_removed"]


def test_a_request_for_actions_of_two_permissions_warns_and_is_made(manager):
    ask = {"token_type": "authorization", "now": NOW}
    both = manager.request("olga", DEVICES[:1], actions=1 | 1 << Action.DISCONNECT_SERVICE, key="k", **ask)
    assert both.state == "approved"
    (warning,) = both.warnings
    assert "read_endpoints" in warning
    assert "remote_disconnect" in warning
    assert manager.request("olga", DEVICES[:1], actions=1 | 1 << Action.DISCONNECT_SERVICE, key="k", **ask) == both
    assert not manager.request("olga", DEVICES[:1], actions=Action.READ_ENDPOINT, **ask).warnings


def test_material_of_a_lost_tool_is_listed_and_revoked_by_one_call(store, tmp_path):
    manager = peopled(SecurityManager(store, SIGNER, root=ROOT))
    manager.rotate(SIGNER, now=NOW)
    roots = Keyring([KeyringEntry(ROOT.public_key, issuer="ism", token_types=TOKEN_TYPES)])
    server = ToolsServer(open_store(tmp_path / "tools.db"), roots)
    for device in DEVICES[:3]:
        disconnect(manager, [device])
    manager.issue(now=NOW)
    manager.deliver(server, now=NOW)
    server.snapshot("t1", "ann", now=NOW)
    wants = [
        CommandRequest(number, device, "secure_command", Action.DISCONNECT_SERVICE)
        for number, device in enumerate(DEVICES[:2], 1)
    ]
    server.request("t1", wants, now=NOW)
    got = [row for _, row in server.material("t1", 0, 10, now=NOW).rows]
    held = manager.held_by(server, "t1", now=NOW)
    assert [(row.kid, row.cti) for row in held] == [(row.kid, row.cti) for row in got]
    assert len(held) == 2
    assert not any(row.token for row in held)
    assert manager.held_by(server, "t2", now=NOW) == []
    assert manager.held_by(server, "t1", now=NOW + 8 * DAY) == [], "what has ended is held by nobody"
    server.set_users([], now=NOW)
    assert manager.revoke_held(server, "t1", now=NOW) == held, "also what was taken away since"
    ring = manager.keyring(now=NOW)
    revoked = Revocations.from_token(manager.snapshot(now=NOW), ring, now=NOW)
    codes = [
        verify_tokens([row.token], ring, now=NOW, token_type="secure_command", revocations=revoked)["code"][0]
        for row in issued(manager)
    ]
    assert codes == [Code.TOKEN_REVOKED, Code.TOKEN_REVOKED, Code.OK]
