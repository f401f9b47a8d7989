"""The tools server on both stores: what is granted to whom, cursors, repeats, alarms."""

import pytest

from itron_core import (
    Action,
    Code,
    ExchangeError,
    InputError,
    ItronCoreError,
    Keyring,
    KeyringEntry,
    LocalSigner,
    Permission,
    RequestRefused,
    Revocations,
    TokenRefused,
    issue_delegation,
    issue_revocations,
    issue_tokens,
)
from itron_core.enums import TOKEN_TYPES
from itron_core.exchange.material import Material, MaterialState, Page
from itron_core.exchange.pages import PAGE_BYTES, ROW_BYTES
from itron_core.exchange.records import CommandRequest, DeviceRecord, OutcomeReport
from itron_core.stores import open_store
from itron_core.stores.incarnation import mark_restored
from itron_core.tools_server import BearerRecord, Quotas, ToolsServer

NOW = 1_800_000_000
HOUR = 3_600
ROOT = LocalSigner.generate()
ISSUER = LocalSigner.generate()
DEVICES = [f"ert:{number}" for number in range(100, 110)]
ALL = sum(Permission)


def keyring():
    return Keyring(
        [
            KeyringEntry(ROOT.public_key, issuer="root", token_types=TOKEN_TYPES),
            KeyringEntry(ISSUER.public_key, issuer="ism"),
        ]
    )


def material(
    devices=DEVICES,
    *,
    token_type="secure_command",
    action=Action.DISCONNECT_SERVICE,
    sequence=1,
    unit="gas",
    signer=ISSUER,
    expires_in=HOUR,
    scope=None,
):
    count = len(devices)
    scope = scope or 1 << action
    columns = {
        "device": devices,
        "actions": [scope] * count,
        "sequence": [sequence] * count,
        "epoch": [0] * count,
        "expires_at": [NOW + expires_in] * count,
    }
    if token_type == "secure_command":
        columns["command"] = [action.name.lower().encode()] * count
    tokens = issue_tokens(columns, signer, now=NOW, token_type=token_type).to_pylist()
    session = HOUR if token_type == "authorization" or action is Action.OPEN_SESSION else None
    return [
        Material(
            unit,
            device,
            token_type,
            scope,
            signer.public_key.kid,
            sequence,
            0,
            NOW,
            None,
            NOW + expires_in,
            session,
            token,
        )
        for device, token in zip(devices, tokens, strict=True)
    ]


def page(rows, start=1):
    return Page(list(enumerate(rows, start)), start + len(rows) - 1, more=False)


@pytest.fixture
def server(store_url):
    store = open_store(store_url)
    server = ToolsServer(store, keyring())
    server.set_users(
        [("ann", "gas", ALL), ("bob", "gas", ALL), ("eve", "water", ALL), ("low", "gas", Permission.READ_ENDPOINTS)],
        now=NOW,
    )
    server.set_devices([DeviceRecord(device, "gas", 1, 0, 1, True, 0) for device in DEVICES], now=NOW)
    yield server
    store.close()


def wants(devices=DEVICES, *, token_type="secure_command", action=Action.DISCONNECT_SERVICE, start=1):
    return [CommandRequest(number, device, token_type, action) for number, device in enumerate(devices, start)]


def outcome(row, number=1, *, state=MaterialState.USED, answer=b"{}", content=None):
    return OutcomeReport(
        number, row.device, Action.DISCONNECT_SERVICE, row.kid, row.cti, content or row.content, state, 0, answer, NOW
    )


def signed_in(server, tool="t1", user="ann"):
    server.snapshot(tool, user, now=NOW)
    return tool


def held(server, tool, after=0, limit=100):
    return [row for _, row in server.material(tool, after, limit, now=NOW).rows]


def kinds(server):
    import json

    return [json.loads(entry)["kind"] for entry in server._journal.entries(0, 10_000)]


def test_material_that_waits_is_granted_on_request(server):
    rows = material()
    assert server.receive("ism", page(rows), now=NOW) == [0] * 10
    tool = signed_in(server)
    assert held(server, tool) == []
    assert server.request(tool, wants(DEVICES[:3]), now=NOW) == 3
    assert held(server, tool) == rows[:3]


def test_later_material_is_granted_to_open_command_requests(server):
    tool = signed_in(server)
    server.request(tool, wants(DEVICES[:3]), now=NOW)
    rows = material()
    server.receive("ism", page(rows), now=NOW)
    assert held(server, tool) == rows[:3]


def test_two_tools_may_hold_material_for_one_device(server):
    rows = material()
    server.receive("ism", page(rows), now=NOW)
    for tool, user in [("t1", "ann"), ("t2", "bob")]:
        server.request(signed_in(server, tool, user), wants(DEVICES[:1]), now=NOW)
        assert held(server, tool) == rows[:1]


@pytest.mark.parametrize("limit", [1, 3, 10, 100])
def test_pages_are_the_same_for_every_limit_and_repeat(server, limit):
    rows = material()
    server.receive("ism", page(rows), now=NOW)
    tool = signed_in(server)
    server.request(tool, wants(), now=NOW)
    cursor, found = 0, []
    while True:
        answer = server.material(tool, cursor, limit, now=NOW)
        assert server.material(tool, cursor, limit, now=NOW) == answer
        found += [row for _, row in answer.rows]
        cursor = answer.next
        if not answer.more:
            break
    assert found == rows


def test_every_call_can_be_repeated(server):
    rows = material()
    tool = signed_in(server)
    for _ in range(2):
        assert server.receive("ism", page(rows), now=NOW) == [0] * 10
        assert server.request(tool, wants(), now=NOW) == 10
        assert server.report(tool, [outcome(rows[0])], now=NOW) == [Code.OK]
    assert server.received("ism") == 10
    assert len(server.outcomes(0, 10).rows) == 1
    # What overlaps is taken once.
    more = material(sequence=2)
    assert server.receive("ism", page([*rows[5:], *more], start=6), now=NOW) == [0] * 15
    assert server.received("ism") == 20
    assert server.request(tool, wants(DEVICES[5:] + DEVICES[:2], start=6), now=NOW) == 12


def test_a_use_is_decided_once_and_its_repeat_by_another_tool_is_a_replay(server):
    rows = material()
    server.receive("ism", page(rows), now=NOW)
    for tool, user in [("t1", "ann"), ("t2", "bob")]:
        server.request(signed_in(server, tool, user), wants(), now=NOW)
    assert server.report("t1", [outcome(rows[0])], now=NOW) == [Code.OK]
    assert server.report("t2", [outcome(rows[0], answer=b"later")], now=NOW) == [Code.REPLAY_IDENTICAL]
    assert rows[0] not in held(server, "t2")
    assert len(held(server, "t2")) == 9


@pytest.mark.parametrize(
    "change",
    [
        lambda row: outcome(row, content=bytes(32)),
        lambda row: outcome(row._replace(device=DEVICES[1])),
        lambda row: outcome(row._replace(sequence=99)),
        lambda row: outcome(row._replace(kid=bytes(8))),
    ],
    ids=["content", "device", "sequence", "key"],
)
def test_using_ungranted_material_is_an_alarm_and_uses_nothing(server, change):
    rows = material()
    server.receive("ism", page(rows), now=NOW)
    tool = signed_in(server)
    server.request(tool, wants(DEVICES[:1]), now=NOW)
    assert server.report(tool, [change(rows[0])], now=NOW) == [Code.REPLAY_CONFLICT]
    assert kinds(server)[-1] == "alarm"
    assert held(server, tool) == rows[:1]
    assert server.report(tool, [outcome(rows[0], 2)], now=NOW) == [Code.OK]


def test_material_sent_without_an_answer_is_not_used(server):
    rows = material()
    server.receive("ism", page(rows), now=NOW)
    tool = signed_in(server)
    server.request(tool, wants(DEVICES[:1]), now=NOW)
    assert server.report(tool, [outcome(rows[0], state=MaterialState.SENT)], now=NOW) == [Code.OK]
    assert held(server, tool) == rows[:1]


def test_grants_need_permission_and_unit(server):
    server.receive("ism", page(material()), now=NOW)
    low = signed_in(server, "low-tool", "low")
    assert server.request(low, wants(), now=NOW) == 10
    assert held(server, low) == []
    assert kinds(server).count("critical_refused") == 10
    eve = signed_in(server, "eve-tool", "eve")
    server.request(eve, wants(), now=NOW)
    assert held(server, eve) == []
    assert server.devices(eve, DEVICES, now=NOW) == []


def test_an_authorization_needs_its_own_permission(server):
    server.set_users([("ann", "gas", ALL & ~Permission.SIGNED_AUTHORIZATION)], now=NOW)
    server.receive("ism", page(material(token_type="authorization", action=Action.READ_ENDPOINT)), now=NOW)
    tool = signed_in(server)
    server.request(tool, wants(token_type="authorization", action=Action.READ_ENDPOINT), now=NOW)
    assert held(server, tool) == []


def test_a_removed_user_is_refused(server):
    tool = signed_in(server)
    server.set_users([("bob", "gas", ALL)], now=NOW)
    with pytest.raises(RequestRefused, match="user_unknown"):
        server.snapshot(tool, "ann", now=NOW)
    server.receive("ism", page(material()), now=NOW)
    server.request(tool, wants(), now=NOW)
    with pytest.raises(RequestRefused, match="user_unknown"):
        held(server, tool)
    server.snapshot(tool, "bob", now=NOW)
    assert held(server, tool) == []


def test_a_tool_stays_in_its_unit(server):
    signed_in(server, "t1", "ann")
    with pytest.raises(RequestRefused, match="unit_mismatch"):
        server.snapshot("t1", "eve", now=NOW)


def test_a_tool_that_never_signed_in_is_refused(server):
    for call in [
        lambda: server.request("t9", wants(), now=NOW),
        lambda: server.material("t9", 0, 1, now=NOW),
        lambda: server.devices("t9", DEVICES, now=NOW),
        lambda: server.report("t9", [], now=NOW),
    ]:
        with pytest.raises(RequestRefused, match="sign_in_required"):
            call()


def test_a_number_stands_for_one_thing(server):
    rows = material()
    server.receive("ism", page(rows), now=NOW)
    tool = signed_in(server)
    server.request(tool, wants(DEVICES[:5]), now=NOW)
    said = [outcome(row, number) for number, row in enumerate(rows[:3], 1)]
    assert server.report(tool, said, now=NOW) == [0, 0, 0]
    assert server.report(tool, said, now=NOW) == [0, 0, 0]
    assert (server.snapshot(tool, "ann", now=NOW).reported, server.snapshot(tool, "ann", now=NOW).wanted) == (3, 5)
    for changes in [{"device": DEVICES[5]}, {"answer": b"x"}, {"at": NOW + 1}, {"state": MaterialState.SENT}]:
        with pytest.raises(RequestRefused, match="number_reused"):
            server.report(tool, [said[0], said[1]._replace(**changes), outcome(rows[3], 4)], now=NOW)
    with pytest.raises(RequestRefused, match="number_reused"):
        server.request(tool, [*wants(DEVICES[1:5]), *wants(DEVICES[5:], start=6)], now=NOW)
    snapshot = server.snapshot(tool, "ann", now=NOW)
    assert (snapshot.reported, snapshot.wanted, len(server.outcomes(0, 10).rows)) == (3, 5, 3)


def test_cursors_and_numbers_out_of_order_are_refused(server):
    tool = signed_in(server)
    with pytest.raises(RequestRefused, match="cursor_unknown"):
        server.material(tool, 1, 10, now=NOW)
    with pytest.raises(InputError):
        server.material(tool, -1, 10, now=NOW)
    with pytest.raises(RequestRefused, match="number_skipped"):
        server.request(tool, wants(start=2), now=NOW)
    with pytest.raises(RequestRefused, match="number_skipped"):
        server.report(tool, [outcome(material()[0], 5)], now=NOW)
    with pytest.raises(InputError):
        server.request(tool, [CommandRequest(1, DEVICES[0], "delegation", 0)], now=NOW)
    with pytest.raises(InputError):
        server.request(tool, [CommandRequest(1, DEVICES[0], "secure_command", 6)], now=NOW)
    with pytest.raises(InputError):
        server.material(tool, 0, 0, now=NOW)
    assert server.request(tool, wants(), now=NOW) == 10


def test_invalid_material_is_not_stored_and_stops_nothing(server):
    rows = material()
    foreign = material(signer=LocalSigner.generate())[0]
    bad = [
        rows[1]._replace(token=rows[1].token[:-1] + bytes([rows[1].token[-1] ^ 1])),
        rows[2]._replace(device=DEVICES[3]),
        rows[4]._replace(sequence=7),
        rows[5]._replace(actions=1),
        rows[6]._replace(token_type="authorization"),
        rows[7]._replace(token_type="nonsense"),
        rows[8]._replace(token=b""),
        rows[9]._replace(epoch=3),
        rows[9]._replace(kid=bytes(8)),
        rows[9]._replace(expires_at=NOW + 2 * HOUR),
        foreign,
    ]
    codes = server.receive("ism", page([rows[0], *bad, rows[3]]), now=NOW)
    assert codes[0] == codes[-1] == Code.OK
    assert all(code != Code.OK for code in codes[1:-1])
    tool = signed_in(server)
    server.request(tool, wants(), now=NOW)
    assert held(server, tool) == [rows[0], rows[3]]
    assert kinds(server).count("material_refused") == len(bad)


def test_a_page_that_does_not_rise_is_refused_as_a_whole(server):
    a, b, *_ = material()
    for rows, end in [([(2, a), (1, b)], 2), ([(1, a), (1, b)], 1), ([(1, a), (5, b)], 4)]:
        with pytest.raises(ExchangeError):
            server.receive("ism", Page(rows, end, more=False), now=NOW)
    assert server.received("ism") == 0


def test_expired_material_is_not_granted(server):
    server.receive("ism", page(material(expires_in=HOUR)), now=NOW)
    tool = signed_in(server)
    server.request(tool, wants(), now=NOW + HOUR)
    assert held(server, tool) == []


def test_keys_come_and_go_by_delegation(server):
    issuing = LocalSigner.generate()
    token = issue_delegation(
        KeyringEntry(issuing.public_key, issuer="ism-2", token_types=["secure_command"]),
        ROOT,
        now=NOW,
        expires_at=NOW + HOUR,
    )
    rows = material(signer=issuing)
    assert set(server.receive("ism", page(rows[:5]), now=NOW)) == {Code.KEY_UNKNOWN}
    server.set_delegations([token], now=NOW)
    assert server.receive("ism", page(rows[5:], start=6), now=NOW) == [0] * 5
    assert server.snapshot("t1", "ann", now=NOW).delegations == (token,)
    with pytest.raises(TokenRefused):
        server.set_delegations([token[:-1] + b"x"], now=NOW)
    assert server.snapshot("t1", "ann", now=NOW).delegations == (token,)
    # An expired delegation ends its key, and the others go on.
    later = NOW + 2 * HOUR
    assert set(server.receive("late", page(rows), now=later)) == {Code.KEY_UNKNOWN}
    assert server.receive("late", page(material(expires_in=3 * HOUR, sequence=2), start=11), now=later) == [0] * 10


def test_a_delegation_renewed_early_takes_the_place_of_the_first(server):
    issuing = LocalSigner.generate()

    def delegation(begins, ends, **ceiling):
        entry = KeyringEntry(
            issuing.public_key, issuer="ism-2", token_types=["secure_command"], valid_from=NOW + begins, **ceiling
        )
        return issue_delegation(entry, ROOT, now=NOW, expires_at=NOW + ends)

    first, renewed, early = delegation(0, HOUR), delegation(0, 9 * HOUR), delegation(2 * HOUR, 10 * HOUR)
    rows = material(signer=issuing, expires_in=9 * HOUR)
    for tokens in ([first, renewed, early], [early, renewed, first]):
        server.set_delegations(tokens, now=NOW)
        assert server.snapshot("t1", "ann", now=NOW).delegations == tuple(tokens)
        for later in [0, HOUR, 3 * HOUR]:
            codes = server.verify([row.token for row in rows], now=NOW + later, token_type="secure_command")
            # What was issued before the window of the last one began is not its key's.
            assert set(codes) == {0 if later < 2 * HOUR else Code.ISSUER_WINDOW}, later
    wider = delegation(0, 2 * HOUR, audience_prefix="eui64:")
    server.set_delegations([wider, renewed], now=NOW)
    assert server.verify([rows[0].token], now=NOW, token_type="secure_command") == [0]
    server.set_delegations([wider, first], now=NOW)
    assert server.verify([rows[0].token], now=NOW, token_type="secure_command") == [Code.CEILING_EXCEEDED]


def test_material_of_a_key_that_was_rotated_out_keeps_nothing_else_back(server):
    """A tool takes no page with it: granted to one, it would let no sync through any more."""
    issuing = LocalSigner.generate()
    entry = KeyringEntry(issuing.public_key, issuer="ism-2", token_types=["secure_command"])
    server.set_delegations([issue_delegation(entry, ROOT, now=NOW, expires_at=NOW + HOUR)], now=NOW)
    rows = [*material(DEVICES[:5], signer=issuing), *material(DEVICES[5:])]
    assert server.receive("ism", page(rows), now=NOW) == [0] * 10
    tool = signed_in(server)
    server.request(tool, wants(), now=NOW)
    assert held(server, tool) == rows
    server.set_delegations([], now=NOW)
    assert held(server, tool) == rows[5:]


def test_revocations_rise_by_version(server):
    def snapshot(version):
        revocations = Revocations(issuers=[], version=version, expires_at=NOW + HOUR)
        return issue_revocations(revocations, ROOT, issuer="root", now=NOW)

    first, second = snapshot(1), snapshot(2)
    server.set_revocations(first, now=NOW)
    server.set_revocations(second, now=NOW)
    assert server.snapshot("t1", "ann", now=NOW).revocations == second
    with pytest.raises(Exception, match="version"):
        server.set_revocations(first, now=NOW)
    with pytest.raises(TokenRefused):
        server.set_revocations(second[:-1] + b"x", now=NOW)
    assert server.snapshot("t1", "ann", now=NOW).revocations == second


def test_a_revoked_key_does_not_clear_itself_when_the_snapshot_in_force_has_expired(server):
    """The key is still in the server's keyring, and no other snapshot has come meanwhile."""

    def signed(signer, version, *revoked, at=NOW):
        made = Revocations(version=version, expires_at=at + HOUR, issuers=revoked)
        return issue_revocations(made, signer, issuer="root", now=at)

    first = signed(ROOT, 1, ROOT.public_key.kid)
    server.set_revocations(first, now=NOW)
    later = NOW + 9 * HOUR
    with pytest.raises(TokenRefused, match="issuer_revoked"):
        server.set_revocations(signed(ROOT, 2, at=later), now=later)
    assert server.snapshot("t1", "ann", now=later).revocations == first


def test_the_server_takes_as_many_delegations_as_a_tool(server):
    with pytest.raises(InputError, match="delegations: got 257, expected at most 256"):
        server.set_delegations([b""] * 257, now=NOW)


def stock(server):
    """Return how many pieces of material are known, and of how many the token is here."""
    with server._store.read() as t:
        (counts,) = t.rows("SELECT count(*), count(*) FILTER (WHERE length(token) > 0) FROM server_material")
        return counts


def test_expired_material_is_pruned_except_granted_records(server):
    rows = material(expires_in=HOUR) + material(sequence=2, expires_in=9 * HOUR)
    server.receive("ism", page(rows), now=NOW)
    for tool, user in [("t1", "ann"), ("t2", "bob")]:
        signed_in(server, tool, user)
    server.request("t1", wants(DEVICES[:4]), now=NOW)
    server.request("t2", wants(DEVICES[:2]), now=NOW)
    assert len(held(server, "t1")) == 8
    later = NOW + 4 * HOUR
    assert server.prune(before=NOW + HOUR + 600, now=later) == 0
    assert stock(server) == (20, 20)
    assert server.prune(before=NOW + HOUR + 601, now=later) == 10
    assert server.prune(before=NOW + HOUR + 601, now=later) == 0
    # Those that nobody was granted are gone, the four of t1 are known.
    assert stock(server) == (14, 10)
    # The cursor of a tool that had fetched nothing passes by what is gone.
    first = server.material("t2", 0, 1, now=later)
    assert [row.sequence for _, row in first.rows] == [2]
    rest = server.material("t2", first.next, 1, now=later)
    assert [row.sequence for _, row in rest.rows] == [2]
    assert (first.more, rest.more, rest.next) == (True, False, 4)


def test_uses_of_pruned_material_are_decided_as_before(server):
    rows = material(expires_in=HOUR)
    server.receive("ism", page(rows), now=NOW)
    for tool, user in [("t1", "ann"), ("t2", "bob")]:
        signed_in(server, tool, user)
        server.request(tool, wants(DEVICES[:3]), now=NOW)
    later = NOW + 90 * 24 * HOUR
    reported = [outcome(rows[0])]
    assert server.report("t1", reported, now=NOW) == [Code.OK]
    assert server.prune(before=later, now=later) == 10
    other = outcome(rows[1], 3, content=bytes(32))
    assert server.report("t1", [*reported, outcome(rows[1], 2), other], now=later) == [0, 0, Code.REPLAY_CONFLICT]
    assert server.report("t2", [outcome(rows[0]), outcome(rows[2], 2)], now=later) == [Code.REPLAY_IDENTICAL, 0]
    # Never granted: nobody can have used it.
    assert server.report("t2", [outcome(rows[3], 3)], now=later) == [Code.REPLAY_CONFLICT]
    # An old copy of a tool's store is found out.
    with pytest.raises(RequestRefused, match="outdated copy"):
        server.report("t1", [outcome(rows[2])], now=later)
    with pytest.raises(RequestRefused, match="outdated copy"):
        server.request("t1", wants(DEVICES[5:6]), now=later)
    assert kinds(server).count("pruned") == 1
    assert len(server.outcomes(0, 10).rows) == 6


def test_serials_rise_on_when_all_was_pruned(server):
    tool = signed_in(server)
    server.request(tool, wants(), now=NOW)
    server.receive("ism", page(material(expires_in=HOUR)), now=NOW)
    server.receive("ism", page(material(sequence=2, expires_in=HOUR, action=Action.CONNECT_SERVICE), 11), now=NOW)
    later = NOW + 4 * HOUR
    assert server.prune(before=later, now=later) == 20
    assert server.received("ism") == 20
    assert server.receive("ism", page(material(expires_in=HOUR)), now=later) == [0] * 10
    assert stock(server) == (10, 0)
    # From another source they come again: what is known stays as it is, and nothing that ended is granted.
    assert server.receive("other", page(material(expires_in=HOUR)), now=later) == [Code.EXPIRED] * 10
    assert held(server, tool) == []
    server.receive("ism", page(material(sequence=3, expires_in=9 * HOUR), start=21), now=later)
    assert [serial for serial, _ in server.material(tool, 10, 100, now=later).rows] == list(range(11, 21))


@pytest.mark.parametrize("before", [NOW + 1, -1, 1.5, True, None])
def test_nothing_is_pruned_before_its_time(server, before):
    server.receive("ism", page(material(expires_in=1)), now=NOW)
    with pytest.raises(InputError):
        server.prune(before=before, now=NOW)


def test_device_records_are_renewed(server):
    tool = signed_in(server)
    server.set_devices([DeviceRecord(DEVICES[0], "gas", 2, 1, 2, False, 9)], now=NOW)
    assert server.devices(tool, [DEVICES[0], "ert:5"], now=NOW) == [DeviceRecord(DEVICES[0], "gas", 2, 1, 2, False, 9)]
    assert len(server.devices(tool, [f"ert:{n}" for n in range(2000)] * 2, now=NOW)) == len(DEVICES)


def test_outcomes_are_read_by_cursor(server):
    rows = material()
    server.receive("ism", page(rows), now=NOW)
    tool = signed_in(server)
    server.request(tool, wants(), now=NOW)
    said = [outcome(row, number) for number, row in enumerate(rows, 1)]
    server.report(tool, said[:4], now=NOW)
    server.report(tool, said, now=NOW)
    first = server.outcomes(0, 7)
    rest = server.outcomes(first.next, 7)
    assert (first.more, rest.more) == (True, False)
    assert first.rows + rest.rows == [(number, tool, one, 0) for number, one in enumerate(said, 1)]


def test_no_token_and_no_key_enters_the_audit_log(server):
    rows = material()
    server.receive("ism", page(rows), now=NOW)
    tool = signed_in(server)
    server.request(tool, wants(), now=NOW)
    server.report(tool, [outcome(rows[0])], now=NOW)
    text = b"".join(server._journal.entries(0, 1000))
    assert rows[0].cti.hex().encode() in text
    for row in rows:
        assert row.token.hex().encode() not in text
        assert row.token not in text


# --- Grants go by the whole scope, by who is signed in, and by what that user may do now ---

READ_AND_DISCONNECT = 1 << Action.READ_ENDPOINT | 1 << Action.DISCONNECT_SERVICE


@pytest.mark.parametrize("lacks", [Permission.REMOTE_DISCONNECT, Permission.SIGNED_AUTHORIZATION])
@pytest.mark.parametrize("material_first", [True, False])
def test_an_authorization_is_granted_by_every_action_of_its_scope(server, lacks, material_first):
    server.set_users([("ann", "gas", ALL & ~lacks), ("bob", "gas", ALL)], now=NOW)
    rows = material(token_type="authorization", action=Action.READ_ENDPOINT, scope=READ_AND_DISCONNECT)
    steps = [
        lambda: server.receive("ism", page(rows), now=NOW),
        lambda: server.request(
            signed_in(server, "t1", "ann"), wants(token_type="authorization", action=Action.READ_ENDPOINT), now=NOW
        ),
    ]
    for step in steps if material_first else steps[::-1]:
        step()
    assert held(server, "t1") == []
    bob = signed_in(server, "t2", "bob")
    server.request(bob, wants(token_type="authorization", action=Action.READ_ENDPOINT), now=NOW)
    assert held(server, bob) == rows


def test_the_next_user_of_a_tool_fetches_nothing_granted_to_the_one_before(server):
    rows = material()
    server.receive("ism", page(rows[:5]), now=NOW)
    server.request(signed_in(server, "t1", "ann"), wants(), now=NOW)
    for user in ["bob", "low"]:
        signed_in(server, "t1", user)
        server.receive("ism", page(rows[5:8], 6), now=NOW)
        assert held(server, "t1") == []
    server.request(signed_in(server, "t1", "bob"), wants(DEVICES[:2], start=11), now=NOW)
    assert held(server, "t1") == rows[:2]
    signed_in(server, "t1", "ann")
    assert sorted(held(server, "t1")) == sorted(rows[:8])


def test_removing_a_permission_ends_requests_grants_and_later_material(server):
    rows = material()
    server.receive("ism", page(rows[:5]), now=NOW)
    tool = signed_in(server)
    server.request(tool, wants(), now=NOW)
    assert held(server, tool) == rows[:5]
    less = ALL & ~Permission.REMOTE_DISCONNECT
    server.set_users([("ann", "gas", less)], now=NOW)
    server.receive("ism", page(rows[5:], 6), now=NOW)
    assert held(server, tool) == []
    signed_in(server)
    assert held(server, tool) == []
    # Given back, nothing revives: it is requested again.
    server.set_users([("ann", "gas", ALL)], now=NOW)
    assert held(server, signed_in(server)) == []
    # What was used while it was granted is a use as ever.
    assert server.report(tool, [outcome(rows[0])], now=NOW) == [Code.OK]
    server.request(tool, wants(DEVICES[3:6], start=11), now=NOW)
    assert held(server, tool) == rows[3:6]


# --- What one tool may have the server do ---


def test_equal_requests_are_kept_once_and_different_ones_up_to_the_quota(store_url):
    store = open_store(store_url)
    server = ToolsServer(store, keyring(), quotas=Quotas(command_requests=3, outcome_bytes_per_day=10_000))
    server.set_users([("ann", "gas", ALL)], now=NOW)
    tool = signed_in(server)
    equal = [CommandRequest(number, DEVICES[0], "secure_command", Action.CONNECT_SERVICE) for number in range(1, 501)]
    assert server.request(tool, equal, now=NOW) == 500
    with store.read() as t:
        assert t.rows("SELECT number FROM server_want") == [(500,)]
    assert server.request(tool, wants(DEVICES[:2], start=501), now=NOW) == 502
    with pytest.raises(
        RequestRefused, match=r"quota_exceeded: .* would have 4 command requests, more than its limit of 3"
    ):
        server.request(tool, wants(DEVICES[2:3], start=503), now=NOW)
    assert server.snapshot(tool, "ann", now=NOW).wanted == 502
    # Outcomes: bytes per day.
    rows = material()
    big = [outcome(row, number, answer=bytes(4_000)) for number, row in enumerate(rows[:2], 1)]
    assert len(server.report(tool, big, now=NOW)) == 2
    more = outcome(rows[2], 3, answer=bytes(4_000))
    with pytest.raises(RequestRefused, match="quota_exceeded"):
        server.report(tool, [more], now=NOW)
    assert len(server.report(tool, big, now=NOW)) == 2, "a repeat costs nothing"
    assert len(server.report(tool, [more], now=NOW + 24 * HOUR)) == 1
    store.close()


def test_a_repeat_of_two_numbers_reads_two_outcomes_of_all(server, monkeypatch):
    tool = signed_in(server)
    reports = [outcome(row, number, answer=bytes(60_000)) for number, row in enumerate(material() * 10, 1)]
    server.report(tool, reports, now=NOW)
    read = []
    made = OutcomeReport.__new__
    monkeypatch.setattr(OutcomeReport, "__new__", lambda kind, *row: read.append(1) or made(kind, *row))
    assert len(server.report(tool, [reports[0], reports[-1]], now=NOW)) == 2
    assert len(read) == 2


@pytest.mark.slow
def test_pages_are_limited_in_bytes_and_continue_after(server):
    tool = signed_in(server)
    count = 2 * PAGE_BYTES // (60_000 + ROW_BYTES) + 1
    reports = [outcome(material()[0], number, answer=bytes(60_000)) for number in range(1, count + 1)]
    server.report(tool, reports, now=NOW)
    pages, after, more = [], 0, True
    while more:
        found = server.outcomes(after, 10_000)
        assert sum(len(row.answer) + ROW_BYTES for _, _, row, _ in found.rows) <= PAGE_BYTES
        pages.append(found)
        after, more = found.next, found.more
    assert len(pages) == 3
    assert [row for page in pages for _, _, row, _ in page.rows] == reports


def test_a_cursor_beyond_the_outcomes_is_refused(server):
    tool = signed_in(server)
    server.report(tool, [outcome(material()[0])], now=NOW)
    assert server.outcomes(1, 10).rows == []
    with pytest.raises(RequestRefused, match="cursor_unknown"):
        server.outcomes(2, 10)


@pytest.mark.parametrize("now", [0, NOW * 1_000, 4_102_444_801, -1, 2**63, True, None])
def test_a_time_outside_2020_to_2100_is_refused_at_every_door(server, now):
    tool = signed_in(server)
    row = material()[0]
    for call in [
        lambda: server.receive("ism", page([row]), now=now),
        lambda: server.set_users([], now=now),
        lambda: server.set_devices([], now=now),
        lambda: server.set_delegations([], now=now),
        lambda: server.set_revocations(b"", now=now),
        lambda: server.prune(before=NOW, now=now),
        lambda: server.prune(before=now, now=NOW),
        lambda: server.verify([b""], now=now),
        lambda: server.snapshot(tool, "ann", now=now),
        lambda: server.request(tool, wants(), now=now),
        lambda: server.material(tool, 0, 1, now=now),
        lambda: server.devices(tool, DEVICES, now=now),
        lambda: server.report(tool, [outcome(row)], now=now),
        lambda: server.report(tool, [outcome(row)._replace(at=now)], now=NOW),
        lambda: server.revoke_bearers(tools=["t1"], now=now),
    ]:
        with pytest.raises(InputError):
            call()


def test_counts_that_leave_no_number_after_them_are_refused(server):
    with pytest.raises(InputError):
        server.receive("ism", Page([], 2**62 + 1, more=False), now=NOW)
    tool = signed_in(server)
    with pytest.raises(InputError):
        server.report(tool, [outcome(material()[0], 2**62 + 1)], now=NOW)


# --- Snapshots that ended, and versions that were run up ---


def snapshot_of(signer, version, *, issuers=(), now=NOW, lifetime=60):
    found = Revocations(issuers=issuers, version=version, expires_at=now + lifetime)
    return issue_revocations(found, signer, issuer="root", now=now)


def test_without_a_snapshot_in_force_everything_works_except_material(server):
    rows = material()
    server.receive("ism", page(rows), now=NOW)
    server.set_revocations(snapshot_of(ROOT, 1), now=NOW)
    later = NOW + 600
    tool = "t1"
    assert server.snapshot(tool, "ann", now=later).wanted == 0
    assert server.request(tool, wants(), now=later) == 10
    assert server.report(tool, [outcome(rows[0], state=MaterialState.SENT)], now=later) == [0]
    assert server.material(tool, 0, 100, now=later) == Page([], 0, more=False)
    server.set_revocations(snapshot_of(ROOT, 2, now=later), now=later)
    assert [row for _, row in server.material(tool, 0, 100, now=later).rows] == rows


@pytest.mark.parametrize("trusted_no_more", ["its delegation is gone", "it is revoked"])
def test_an_excessive_version_loses_effect_when_its_key_is_no_longer_trusted(server, trusted_no_more):
    stolen = LocalSigner.generate()
    entry = KeyringEntry(stolen.public_key, issuer="root", token_types=["revocation"])
    server.set_delegations([issue_delegation(entry, ROOT, now=NOW, expires_at=NOW + HOUR)], now=NOW)
    server.set_revocations(snapshot_of(ROOT, 7), now=NOW)
    server.set_revocations(snapshot_of(stolen, 2**40), now=NOW)
    with pytest.raises(ItronCoreError):
        server.set_revocations(snapshot_of(ROOT, 8), now=NOW)
    if trusted_no_more == "it is revoked":
        healing = snapshot_of(ROOT, 8, issuers=[stolen.public_key.kid])
    else:
        server.set_delegations([], now=NOW)
        healing = snapshot_of(ROOT, 8)
    server.set_revocations(healing, now=NOW)
    assert server.snapshot("t1", "ann", now=NOW).revocations == healing
    server.set_revocations(snapshot_of(ROOT, 9), now=NOW)
    with pytest.raises(ItronCoreError):
        server.set_revocations(snapshot_of(ROOT, 8), now=NOW)


# --- Bearers that were revoked, and stores that were put back ---


def test_bearers_are_revoked_by_id_and_by_tool(server):
    assert not server.bearer_revoked("one", "t1", NOW)
    server.revoke_bearers(ids=["one"], tools=["t2"], now=NOW)
    assert server.bearer_revoked("one", "t1", NOW + HOUR)
    assert server.bearer_revoked("other", "t2", NOW)
    assert not server.bearer_revoked("other", "t1", NOW)
    assert not server.bearer_revoked("new", "t2", NOW + 1), "the tool was found, and given a new one"
    assert {"bearer_revoked", "bearers_revoked"} <= set(kinds(server))
    with pytest.raises(InputError):
        server.revoke_bearers(ids=[""], now=NOW)


def bearer(token_id, tool="t1", *, issued_at=NOW):
    return BearerRecord(token_id, "ann", "field_tool", tool, "gas", issued_at, issued_at + HOUR)


def test_bearers_that_were_made_are_listed_and_say_whether_they_were_revoked(server):
    made = [bearer("one"), bearer("two"), bearer("three", "t2"), bearer("four", "t2", issued_at=NOW + 2)]
    for one in made:
        server.keep_bearer(one, now=NOW)
    server.revoke_bearers(ids=["one"], tools=["t2"], now=NOW + 1)
    assert {one.token_id: one.revoked for one in server.bearers()} == {
        "one": True,
        "two": False,
        "three": True,
        "four": False,
    }
    assert "bearer_made" in kinds(server)
    for wrong in ("one", bearer("")._replace(issued_at=NOW * 1_000), bearer("x\0")):
        with pytest.raises(InputError):
            server.keep_bearer(wrong, now=NOW)


def test_a_tool_that_was_removed_does_nothing_any_more(server):
    server.receive("ism", page(material()), now=NOW)
    server.snapshot("t1", "ann", now=NOW)
    server.request("t1", [CommandRequest(1, DEVICES[0], "secure_command", Action.DISCONNECT_SERVICE)], now=NOW)
    assert len(server.material("t1", 0, 10, now=NOW).rows) == 1
    server.keep_bearer(bearer("one"), now=NOW)
    server.remove_tool("t1", now=NOW)
    for call in (
        lambda: server.snapshot("t1", "ann", now=NOW + 1),
        lambda: server.request("t1", [], now=NOW + 1),
        lambda: server.material("t1", 0, 10, now=NOW + 1),
        lambda: server.report("t1", [], now=NOW + 1),
        lambda: server.devices("t1", DEVICES, now=NOW + 1),
    ):
        with pytest.raises(RequestRefused, match="tool_removed"):
            call()
    assert server.bearers()[0].revoked
    assert len(server.held_by("t1", 0, 10, now=NOW + 1).rows) == 1, "what it holds can still be revoked"
    assert [(one.tool, one.removed) for one in server.tools()] == [("t1", True)]
    server.snapshot("t3", "ann", now=NOW + 1)
    assert [(one.tool, one.removed) for one in server.tools()] == [("t1", True), ("t3", False)]


def test_only_a_tool_that_was_heard_of_can_be_removed(server):
    with pytest.raises(RequestRefused, match="tool_unknown"):
        server.remove_tool("t-typo", now=NOW)
    server.keep_bearer(bearer("one", "t9"), now=NOW)
    server.remove_tool("t9", now=NOW)
    server.remove_tool("t9", now=NOW + 1)
    with pytest.raises(RequestRefused, match="tool_removed"):
        server.snapshot("t9", "ann", now=NOW + 1)


def test_the_server_lists_its_users_devices_and_material(server):
    server.receive("ism", page(material()), now=NOW)
    assert [row.device for _, row in server.materials(0, 100).rows] == DEVICES
    assert {row.token for _, row in server.materials(0, 100).rows} == {b""}, "a list hands nothing out"
    first = server.materials(0, 4)
    assert (len(first.rows), first.more, len(server.materials(first.next, 100).rows)) == (4, True, 6)
    assert "ann" in [name for name, _, _ in server.users()]
    assert [one.device for one in server.all_devices()] == sorted(one.device for one in server.all_devices())


def test_a_sign_in_and_a_page_name_the_incarnation_of_the_store(store_url):
    store = open_store(store_url)
    server = ToolsServer(store, keyring())
    server.set_users([("ann", "gas", ALL)], now=NOW)
    before = server.snapshot("t1", "ann", now=NOW).incarnation
    assert before == server.outcomes(0, 1).incarnation == store.incarnation
    with store.write() as t:
        mark_restored(t)
    assert before != server.snapshot("t1", "ann", now=NOW).incarnation == server.outcomes(0, 1).incarnation
    store.close()
