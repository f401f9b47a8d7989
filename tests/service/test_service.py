"""The tools server over HTTP: a real server on loopback, real stores, and servers and clients that lie."""

import base64
import contextlib
import dataclasses
import http.client
import json
import pickle
import random
import socket
import threading
import time

import pytest

from itron_core import (
    Action,
    Code,
    ExchangeError,
    FieldTool,
    InputError,
    Keyring,
    KeyringEntry,
    LocalSigner,
    Permission,
    RequestRefused,
    Revocations,
    StoreError,
    issue_delegation,
    issue_revocations,
    issue_tokens,
)
from itron_core.enums import TOKEN_TYPES
from itron_core.exchange.material import Material, MaterialState, Page
from itron_core.exchange.records import CommandRequest, DeviceRecord, OutcomeReport
from itron_core.manager.security_manager import SecurityManager
from itron_core.service import bodies as wire
from itron_core.service.app import ServiceLimits, bearer_token, create_app
from itron_core.service.bearer import AUDIENCE, ISSUER
from itron_core.service.client import RemoteToolsServer
from itron_core.stores import open_store
from itron_core.tools_server import Quotas, ToolsServer
from serving import Running

NOW = 1_800_000_000
HOUR = 3_600
ROOT, ISSUING, PEOPLE = LocalSigner.generate(), LocalSigner.generate(), LocalSigner.generate()
DEVICES = [f"ert:{number}" for number in range(100, 110)]
ALL = int(sum(Permission))
LIMITS = ServiceLimits(body=2 * 2**20, rows=25_000, body_seconds=2.0)


OPEN = []


def connect(*arguments, **more):
    OPEN.append(RemoteToolsServer(*arguments, **more))
    return OPEN[-1]


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPEN:
        OPEN.pop().close()


@dataclasses.dataclass
class World:
    tools_server: ToolsServer
    running: Running
    clock: list

    @property
    def url(self):
        return self.running.url

    def remote(self, **who):
        return connect(self.url, bearer(**who), timeout=20)

    def manager(self):
        return self.remote(subject="ism", roles=["manager"], tool="", unit="")

    def call(self, method, path, body=None, *, token="default", **headers):
        """One raw request: status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.running.port, timeout=20)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {bearer() if token == 'default' else token}"
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        found = answer.status, answer.headers, answer.read()
        connection.close()
        return found


def bearer(signer=PEOPLE, *, subject="ann", tool="t1", unit="gas", roles=("field_tool",), now=NOW, **more):
    more = {"lifetime": HOUR, **more}
    return bearer_token(signer, subject=subject, tool=tool, unit=unit, roles=roles, now=now, **more)


def keyring():
    return Keyring(
        [
            KeyringEntry(ROOT.public_key, issuer="root", token_types=TOKEN_TYPES),
            KeyringEntry(ISSUING.public_key, issuer="ism"),
        ]
    )


@pytest.fixture
def world(tmp_path):
    store = open_store(tmp_path / "server.db")
    clock = [NOW]
    server = ToolsServer(store, keyring())
    server.set_users([("ann", "gas", ALL), ("low", "gas", 1), ("eve", "water", ALL)], now=NOW)
    server.set_devices([DeviceRecord(device, "gas", 1, 0, 1, True, 0) for device in DEVICES], now=NOW)
    app = create_app(server, bearer_key=PEOPLE.public_key, clock=lambda: clock[0], limits=LIMITS)
    running = Running(app)
    yield World(server, running, clock)
    running.stop()
    store.close()


def material(devices=DEVICES, *, sequence=1, action=Action.DISCONNECT_SERVICE):
    count = len(devices)
    columns = {
        "device": devices,
        "actions": [1 << action] * count,
        "sequence": [sequence] * count,
        "epoch": [0] * count,
        "expires_at": [NOW + HOUR] * count,
        "command": [b"open"] * count,
    }
    tokens = issue_tokens(columns, ISSUING, now=NOW, token_type="secure_command").to_pylist()
    facts = (1 << action, ISSUING.public_key.kid, sequence, 0, NOW, None, NOW + HOUR, None)
    return [
        Material("gas", device, "secure_command", *facts, token) for device, token in zip(devices, tokens, strict=True)
    ]


def page(rows, start=1):
    return Page(list(enumerate(rows, start)), start + len(rows) - 1, more=False)


def wants_for(devices=DEVICES):
    return [
        CommandRequest(number, device, "secure_command", Action.DISCONNECT_SERVICE)
        for number, device in enumerate(devices, 1)
    ]


def outcome(row, number=1, *, content=None):
    used = MaterialState.USED
    found = content or row.content
    return OutcomeReport(
        number, row.device, Action.DISCONNECT_SERVICE, row.kid, row.cti, found, used, 0, b"\0\xff", NOW
    )


def problem_of(answer):
    status, headers, body = answer
    assert headers["Content-Type"] == "application/problem+json"
    told = json.loads(body)
    assert told.keys() == {"type", "title", "status", "detail", "reason"}
    assert told["status"] == status
    assert len(told["detail"]) < 400
    return told["reason"]


# --- The same calls, from afar ---


@pytest.mark.slow
def test_the_whole_exchange_is_that_of_the_library(world):
    rows = material()
    manager, tool = world.manager(), world.remote()
    local = world.tools_server
    manager.set_users([("ann", "gas", Permission.REMOTE_DISCONNECT), ("bob", "gas", ALL)], now=NOW)
    manager.set_devices([DeviceRecord("ert:7", "gas", 2, 1, 3, True, 9)], now=NOW)
    assert manager.received("ism") == 0
    assert manager.receive("ism", page(rows), now=NOW) == [0] * 10
    assert manager.receive("ism", page(rows), now=NOW) == [0] * 10
    assert manager.received("ism") == 10 == local.received("ism")
    found = tool.snapshot("t1", "ann", now=NOW)
    assert found == local.snapshot("t1", "ann", now=NOW)
    assert found.permissions == Permission.REMOTE_DISCONNECT
    for _ in range(2):
        assert tool.request("t1", wants_for(DEVICES[:4]), now=NOW) == 4
    synced = tool.material("t1", 0, 3, now=NOW)
    assert synced == local.material("t1", 0, 3, now=NOW)
    assert [row for _, row in synced.rows] == rows[:3]
    assert synced.more
    assert tool.devices("t1", ["ert:7", "ert:100", "ert:9"], now=NOW) == local.devices(
        "t1", ["ert:7", "ert:100", "ert:9"], now=NOW
    )
    reported = [outcome(rows[0]), outcome(rows[1], 2, content=bytes(32))]
    for _ in range(2):
        assert tool.report("t1", reported, now=NOW) == [Code.OK, Code.REPLAY_CONFLICT]
    assert manager.outcomes(0, 100) == local.outcomes(0, 100)
    assert [row[2:] for row in manager.outcomes(0, 100).rows] == list(zip(reported, [0, 801], strict=True))
    assert manager.outcomes(1, 100).rows == local.outcomes(1, 100).rows


@pytest.mark.slow
def test_delegations_and_revocations_arrive(world):
    manager, tool = world.manager(), world.remote()
    delegate = LocalSigner.generate("ESP256")
    entry = KeyringEntry(delegate.public_key, issuer="ism-2", token_types=["secure_command"])
    delegation = issue_delegation(entry, ROOT, now=NOW, expires_at=NOW + HOUR)
    snapshot = issue_revocations(
        Revocations(devices={}, version=3, expires_at=NOW + HOUR), ROOT, issuer="root", now=NOW
    )
    older = issue_revocations(Revocations(devices={}, version=2, expires_at=NOW + HOUR), ROOT, issuer="root", now=NOW)
    manager.set_delegations([delegation], now=NOW)
    manager.set_revocations(snapshot, now=NOW)
    found = tool.snapshot("t1", "ann", now=NOW)
    assert found.delegations == (delegation,)
    assert found.revocations == snapshot
    with pytest.raises((RequestRefused, ExchangeError)):
        manager.set_revocations(older, now=NOW)
    with pytest.raises(RequestRefused) as refused:
        manager.set_delegations([delegation[:-1] + bytes([delegation[-1] ^ 1])], now=NOW)
    assert refused.value.reason == "signature_invalid"
    assert tool.snapshot("t1", "ann", now=NOW) == found


@pytest.mark.slow
def test_a_field_tool_syncs_over_http_as_it_does_here(world, tmp_path):
    rows = material()
    world.manager().receive("ism", page(rows), now=NOW)
    store = open_store(tmp_path / "tool.db")
    tool = FieldTool(store, keyring(), "t1")
    tool.request_commands(DEVICES, token_type="secure_command", actions=[Action.DISCONNECT_SERVICE], now=NOW)
    report = tool.sync(world.remote(), "ann", now=NOW, page=3)
    assert (report.material, report.devices) == (10, 10)
    assert tool.sync(world.remote(), "ann", now=NOW).material == 0
    store.close()


@pytest.mark.slow
def test_the_security_manager_delivers_and_collects_over_http(tmp_path):
    stores = [open_store(tmp_path / name) for name in ("manager.db", "server.db", "tool.db")]
    manager = SecurityManager(stores[0], ISSUING, root=ROOT)
    manager.set_role("officer", ALL, officer=True, now=NOW)
    manager.set_role("worker", ALL, now=NOW)
    for name, role in (("olga", "officer"), ("ann", "worker")):
        manager.set_user(name, role, "gas", now=NOW)
    manager.set_devices([DeviceRecord(device, "gas", 1, 0, 1, True, 0) for device in DEVICES], now=NOW)
    manager.rotate(ISSUING, now=NOW)
    manager.revoke(issuers=[b"12345678"], now=NOW)
    manager.request("olga", DEVICES, token_type="secure_command", actions=Action.EXCHANGE_KEYS, now=NOW)
    manager.issue(now=NOW)
    roots = Keyring([KeyringEntry(ROOT.public_key, issuer="ism", token_types=TOKEN_TYPES)])
    app = create_app(ToolsServer(stores[1], roots), bearer_key=PEOPLE.public_key, clock=lambda: NOW)
    running = Running(app)
    server = connect(running.url, bearer(subject="ism", roles=["manager"], tool="", unit=""))
    assert [manager.deliver(server, now=NOW, limit=3) for _ in range(2)] == [10, 0]
    tool = FieldTool(stores[2], roots, "t1")
    tool.request_commands(DEVICES, token_type="secure_command", actions=[Action.EXCHANGE_KEYS], now=NOW)
    exchange = connect(running.url, bearer())
    assert tool.sync(exchange, "ann", now=NOW).material == 10
    row = exchange.material("t1", 0, 1, now=NOW).rows[0][1]
    exchange.report("t1", [outcome(row)], now=NOW)
    assert [manager.collect(server, now=NOW) for _ in range(2)] == [1, 0]
    running.stop()
    for store in stores:
        store.close()


@pytest.mark.slow
def test_a_page_of_20_000_rows_comes_whole(world):
    devices = [f"ert:{number}" for number in range(1_000, 21_000)]
    rows = material(devices)
    world.tools_server.receive("ism", page(rows), now=NOW)
    tool = world.remote()
    tool.snapshot("t1", "ann", now=NOW)
    tool.request("t1", wants_for(devices), now=NOW)
    found = tool.material("t1", 0, 20_000, now=NOW)
    assert [row for _, row in found.rows] == rows
    assert not found.more


@pytest.mark.slow
def test_pages_are_no_longer_than_the_server_s_limit(tmp_path):
    store = open_store(tmp_path / "server.db")
    server = ToolsServer(store, keyring())
    server.set_users([("ann", "gas", ALL)], now=NOW)
    server.receive("ism", page(material()), now=NOW)
    limits = LIMITS._replace(rows=4)
    running = Running(create_app(server, bearer_key=PEOPLE.public_key, clock=lambda: NOW, limits=limits))
    tool = connect(running.url, bearer())
    tool.snapshot("t1", "ann", now=NOW)
    for start in (0, 4, 8):
        tool.request("t1", wants_for()[start : start + 4], now=NOW)
    cursor, sizes, more = 0, [], True
    while more:
        found = tool.material("t1", cursor, 1_000, now=NOW)
        cursor, more = found.next, found.more
        sizes.append(len(found.rows))
    assert sizes == [4, 4, 2]
    rows = [{"number": 1, "device": "ert:1", "token_type": "secure_command", "action": 1}] * 5
    answer = World(server, running, []).call("POST", "/v1/wants", json.dumps({"rows": rows}), Content_Type=wire.JSON)
    assert (answer[0], problem_of(answer)) == (413, "too_many_rows")
    running.stop()
    store.close()


@pytest.mark.slow
def test_the_verifier_as_a_service(world):
    rows = material()
    reader = world.remote(subject="job", roles=["reader"], tool="", unit="")
    tokens = [rows[0].token, b"", rows[1].token[:-1] + bytes([rows[1].token[-1] ^ 1])]
    expected = world.tools_server.verify(tokens, now=NOW, token_type="secure_command")
    assert reader.verify(tokens, token_type="secure_command") == expected
    assert expected[0] == Code.OK
    assert Code.OK not in expected[1:]
    revoked = Revocations(tokens=[(rows[0].kid, rows[0].cti)], version=1, expires_at=NOW + 60)
    world.tools_server.set_revocations(issue_revocations(revoked, ROOT, issuer="root", now=NOW), now=NOW)
    assert reader.verify(tokens[:1], token_type="secure_command") == [Code.TOKEN_REVOKED]
    world.clock[0] = NOW + HOUR // 2
    assert reader.verify([rows[2].token], token_type="secure_command") == [Code.SNAPSHOT_STALE]


# --- Who may ---

TOOL_CALLS = [
    ("GET", "/v1/snapshot", "field_tool"),
    ("POST", "/v1/wants", "field_tool"),
    ("GET", "/v1/material", "field_tool"),
    ("POST", "/v1/devices", "field_tool"),
    ("POST", "/v1/outcomes", "field_tool"),
    ("PUT", "/v1/users", "manager"),
    ("PUT", "/v1/devices", "manager"),
    ("PUT", "/v1/delegations", "manager"),
    ("PUT", "/v1/revocations", "manager"),
    ("POST", "/v1/material/ism", "manager"),
    ("GET", "/v1/material/ism/cursor", "manager"),
    ("GET", "/v1/outcomes", "manager"),
    ("GET", "/v1/tools/t1/material", "manager"),
    ("POST", "/v1/verify", "reader"),
]


@pytest.mark.slow
@pytest.mark.parametrize("method,path,role", TOOL_CALLS)
def test_each_route_requires_a_bearer_of_its_role(world, method, path, role):
    body = b"{}" if method != "GET" else None
    status, headers, _ = answer = world.call(method, path, body, token=None, Content_Type=wire.JSON)
    assert status == 401
    assert headers["WWW-Authenticate"].startswith("Bearer ")
    assert problem_of(answer) == "bearer_refused"
    others = [other for other in ("field_tool", "manager", "reader") if other != role]
    answer = world.call(method, path, body, token=bearer(roles=others), Content_Type=wire.JSON)
    assert (answer[0], problem_of(answer)) == (403, "role_missing")
    status, _, _ = world.call(method, path, body, token=bearer(roles=[role]), Content_Type=wire.JSON)
    assert status not in {401, 404, 405, 500}


def jwt(header, claims, sign=PEOPLE.sign):
    def segment(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = f"{segment(json.dumps(header).encode())}.{segment(json.dumps(claims).encode())}"
    return f"{signed}.{segment(sign(signed.encode()))}"


def claims(**changed):
    names = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "tool": "t1", "unit": "gas", "roles": ["field_tool"]}
    found = names | {"iat": NOW, "nbf": NOW, "exp": NOW + 60} | changed
    return {name: value for name, value in found.items() if value is not ...}


HEADER = {"alg": "Ed25519", "typ": "JWT"}


def hs256(key):
    import hashlib
    import hmac

    return lambda message: hmac.new(key, message, hashlib.sha256).digest()


def pem(signer):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PublicKey.from_public_bytes(signer.public_key.raw)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


BAD_BEARERS = {
    "none": lambda: jwt({"alg": "none", "typ": "JWT"}, claims(), lambda _: b""),
    "None": lambda: jwt({"alg": "None", "typ": "JWT"}, claims(), lambda _: b""),
    "no algorithm": lambda: jwt({"typ": "JWT"}, claims()),
    "HS256 with the raw public key": lambda: jwt(
        {"alg": "HS256", "typ": "JWT"}, claims(), hs256(PEOPLE.public_key.raw)
    ),
    "HS256 with the PEM": lambda: jwt({"alg": "HS256", "typ": "JWT"}, claims(), hs256(pem(PEOPLE))),
    "EdDSA, which names two algorithms": lambda: jwt({"alg": "EdDSA", "typ": "JWT"}, claims()),
    "ES256 by name": lambda: jwt({"alg": "ES256", "typ": "JWT"}, claims()),
    "another key": lambda: jwt(HEADER, claims(), ROOT.sign),
    "its own key in the header": lambda: jwt(
        {**HEADER, "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}}, claims(), ROOT.sign
    ),
    "a key id": lambda: jwt({**HEADER, "kid": "../../key"}, claims()),
    "critical": lambda: jwt({**HEADER, "crit": ["b64"], "b64": False}, claims()),
    "another type": lambda: jwt({"alg": "Ed25519", "typ": "at+jwt"}, claims()),
    "no exp": lambda: jwt(HEADER, claims(exp=...)),
    "exp null": lambda: jwt(HEADER, claims(exp=None)),
    "exp a text": lambda: jwt(HEADER, claims(exp=str(NOW + 60))),
    "exp a fraction": lambda: jwt(HEADER, claims(exp=NOW + 60.5)),
    "exp NaN": lambda: jwt(HEADER, claims(exp=float("nan"))),
    "exp true": lambda: jwt(HEADER, claims(exp=True)),
    "expired now": lambda: jwt(HEADER, claims(exp=NOW)),
    "expired": lambda: bearer(now=NOW - 2 * HOUR),
    "early": lambda: bearer(now=NOW + 1),
    "no nbf": lambda: jwt(HEADER, claims(nbf=...)),
    "no iat": lambda: jwt(HEADER, claims(iat=...)),
    "too long in force": lambda: bearer(lifetime=LIMITS.bearer_lifetime + 1),
    "another audience": lambda: jwt(HEADER, claims(aud="other")),
    "no audience": lambda: jwt(HEADER, claims(aud=...)),
    "another issuer": lambda: jwt(HEADER, claims(iss="other")),
    "no subject": lambda: jwt(HEADER, claims(sub=...)),
    "an empty subject": lambda: jwt(HEADER, claims(sub="")),
    "a subject with NUL": lambda: jwt(HEADER, claims(sub="ann\0")),
    "a subject that is half a pair": lambda: jwt(HEADER, claims(sub="\ud800")),
    "a tool that is a number": lambda: jwt(HEADER, claims(tool=1)),
    "roles a text": lambda: jwt(HEADER, claims(roles="field_tool")),
    "roles nested": lambda: jwt(HEADER, claims(roles=[["field_tool"]])),
    "another claim": lambda: jwt(HEADER, claims(admin=True)),
    "claims a list": lambda: jwt(HEADER, [1]),
    "claims nested": lambda: ".".join(["e30", base64.urlsafe_b64encode(b"[" * 2_900).decode().rstrip("="), "AA"]),
    "cut": lambda: bearer()[:-1],
    "longer": lambda: bearer() + "A",
    "too long": lambda: bearer(subject="a" * 200) + "A" * 4_096,
    "two parts": lambda: bearer().rpartition(".")[0],
    "five parts": lambda: bearer() + "..",
    "no base64": lambda: "!." * 2 + "!",
    "an issued token": lambda: base64.urlsafe_b64encode(material()[0].token).decode(),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", BAD_BEARERS)
def test_bad_bearers_are_refused(world, kind):
    token = BAD_BEARERS[kind]()
    answer = world.call("GET", "/v1/snapshot", token=token)
    assert (answer[0], problem_of(answer)) == (401, "bearer_refused")
    assert token.encode() not in answer[2]
    with pytest.raises(ExchangeError, match="401 bearer_refused") as refused:
        connect(world.url, "x" + bearer()).snapshot("t1", "ann", now=NOW)
    assert bearer()[:40] not in str(refused.value)


@pytest.mark.slow
def test_good_bearers_of_both_kinds_of_keys(tmp_path):
    assert jwt(HEADER, claims()) != bearer()
    for algorithm, names in {"Ed25519": ["Ed25519"], "ESP256": ["ES256"]}.items():
        signer = LocalSigner.generate(algorithm)
        store = open_store(tmp_path / f"{algorithm}.db")
        server = ToolsServer(store, keyring())
        server.set_users([("ann", "gas", ALL)], now=NOW)
        running = Running(create_app(server, bearer_key=signer.public_key, clock=lambda: NOW))
        made = [jwt({"alg": name, "typ": "JWT"}, claims(), signer.sign) for name in names]
        for token in [*made, bearer(signer)]:
            assert connect(running.url, token).snapshot("t1", "ann", now=NOW).user == "ann"
        running.stop()
        store.close()


@pytest.mark.slow
@pytest.mark.parametrize("key", [b"secret", "secret", None, ROOT])
def test_only_a_public_key_is_a_bearer_key(world, key):
    with pytest.raises(InputError, match="expected a PublicKey"):
        create_app(world.tools_server, bearer_key=key, clock=lambda: NOW)


@pytest.mark.parametrize(
    "changed",
    [{"roles": []}, {"roles": ["root"]}, {"subject": ""}, {"subject": "a\nb"}, {"lifetime": 0}, {"tool": "\0"}],
)
def test_no_bearer_is_made_of_nonsense(changed):
    with pytest.raises(InputError):
        bearer(**changed)


@pytest.mark.slow
def test_no_user_can_act_on_the_previous_users_sign_in(world):
    """A tool is shared; permissions are those of who is signed in."""
    ann, low = world.remote(), world.remote(subject="low")
    with pytest.raises(RequestRefused) as refused:
        ann.request("t1", wants_for(), now=NOW)
    assert refused.value.reason == "sign_in_required"
    ann.snapshot("t1", "ann", now=NOW)
    for call in (
        lambda: low.request("t1", wants_for(), now=NOW),
        lambda: low.material("t1", 0, 10, now=NOW),
        lambda: low.devices("t1", DEVICES, now=NOW),
    ):
        with pytest.raises(RequestRefused) as refused:
            call()
        assert refused.value.reason == "sign_in_required"
    assert ann.request("t1", wants_for(), now=NOW) == 10


@pytest.mark.slow
def test_a_unit_sees_nothing_of_another(world):
    world.tools_server.receive("ism", page(material()), now=NOW)
    wrong = world.remote(unit="water")
    with pytest.raises(RequestRefused) as refused:
        wrong.snapshot("t1", "ann", now=NOW)
    assert refused.value.reason == "unit_mismatch"
    world.remote().snapshot("t1", "ann", now=NOW)
    with pytest.raises(RequestRefused) as refused:
        wrong.request("t1", wants_for(), now=NOW)
    assert refused.value.reason == "unit_mismatch"
    with pytest.raises(RequestRefused) as refused:
        wrong.report("t1", [outcome(material()[0])], now=NOW)
    assert refused.value.reason == "unit_mismatch"
    eve = world.remote(subject="eve", tool="t2", unit="water")
    eve.snapshot("t2", "eve", now=NOW)
    eve.request("t2", wants_for(), now=NOW)
    assert eve.material("t2", 0, 10, now=NOW).rows == []
    assert eve.devices("t2", DEVICES, now=NOW) == []


@pytest.mark.slow
def test_the_bearer_says_which_tool_speaks_and_the_client_holds_to_it(world):
    tool = world.remote()
    for call in (
        lambda: tool.snapshot("t2", "ann", now=NOW),
        lambda: tool.snapshot("t1", "bob", now=NOW),
        lambda: tool.material("t2", 0, 1, now=NOW),
        lambda: tool.report("t2", [], now=NOW),
    ):
        with pytest.raises(InputError, match="the owner of the bearer token"):
            call()


@pytest.mark.slow
def test_refusals_of_the_library_keep_their_reason(world):
    tool = world.remote()
    nobody = world.remote(subject="nobody")
    with pytest.raises(RequestRefused, match="officer must add this user") as refused:
        nobody.snapshot("t1", "nobody", now=NOW)
    assert refused.value.reason == "user_unknown"
    tool.snapshot("t1", "ann", now=NOW)
    with pytest.raises(RequestRefused) as refused:
        tool.request("t1", wants_for()[1:], now=NOW)
    assert refused.value.reason == "number_skipped"
    with pytest.raises(RequestRefused) as refused:
        tool.material("t1", 99, 10, now=NOW)
    assert refused.value.reason == "cursor_unknown"


# --- What is sent ---


HOSTILE_JSON = {
    "empty": b"",
    "text": b"hello",
    "a list": b"[]",
    "null": b"null",
    "no rows": b"{}",
    "rows null": b'{"rows":null}',
    "rows an object": b'{"rows":{}}',
    "a row a text": b'{"rows":["ert:1"]}',
    "a row without its column": b'{"rows":[{}]}',
    "a column more": b'{"rows":[{"device":"ert:1","tool":"t2"}]}',
    "a fact more": b'{"rows":[],"tool":"t2"}',
    "a name twice": b'{"rows":[{"device":"ert:1","device":"ert:2"}]}',
    "a name twice with one value": b'{"rows":[{"device":"ert:1","device":"ert:1"}]}',
    "a name twice by an escape": b'{"rows":[{"device":"ert:1","d\\u0065vice":"ert:2"}]}',
    "rows twice": b'{"rows":[],"rows":[{"device":"ert:1"}]}',
    "a name twice, with quotes escaped": b'{"rows":[{"device":"\\"a","device":"b"}]}',
    "a number": b'{"rows":[{"device":1}]}',
    "null in it": b'{"rows":[{"device":null}]}',
    "half a pair": b'{"rows":[{"device":"\\ud800"}]}',
    "a NUL": b'{"rows":[{"device":"\\u0000"}]}',
    "no UTF-8": b'{"rows":[{"device":"\xff"}]}',
    "a long text": b'{"rows":[{"device":"' + b"e" * 2_000 + b'"}]}',
    "NaN": b'{"rows":NaN}',
    "a fraction": b'{"rows":1.5}',
    "a huge number": b'{"rows":' + b"9" * 10_000 + b"}",
    "nested arrays": b"[" * 100_000,
    "nested a little": b"[" * 1_000,
    "nested objects": b'{"a":' * 20_000,
    "many values": b"[" + b"0," * 100_000 + b"0]",
    "many rows": b'{"rows":[' + b'{"device":"a"},' * 30_000 + b'{"device":"a"}]}',
    "a mark before it": b"\xef\xbb\xbf" + b'{"rows":[]}',
    "UTF-16": '{"rows":[]}'.encode("utf-16"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE_JSON)
def test_hostile_json_is_refused_with_one_sentence(world, kind):
    world.remote().snapshot("t1", "ann", now=NOW)
    answer = world.call("POST", "/v1/devices", HOSTILE_JSON[kind], Content_Type=wire.JSON)
    assert answer[0] in {400, 413}, answer
    assert problem_of(answer) in {"bad_request", "too_many_rows"}


def test_texts_with_escapes_are_read_as_they_are():
    """Escapes are counted among the quotation marks that show a name twice: none of these has one."""
    for text in ['"', '""', "\\", '\\"', '\\\\"', "\\u0000", 'a"b\\', '{"device":"x","device":"y"}', "[{"]:
        body = json.dumps({"rows": [{"device": text}, {"device": text + "é"}]}).encode()
        assert [row.device for row in wire.decode(wire.DeviceNames, body, most_rows=2).rows] == [text, text + "é"]


def mutated(body, chance):
    """Change a good body in a few places: single bytes, something cut out, put in, or put twice."""
    found = bytearray(body)
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(len(found) - 4)
        match chance.randrange(4):
            case 0:
                found[at] = chance.choice([0, 1, 34, 44, 92, 123, 125, 255])
            case 1:
                found[at:at] = found[at : at + chance.randrange(1, 40)]
            case 2:
                del found[at : at + chance.randrange(1, 16)]
            case _:
                found[at:at] = bytes(chance.randrange(1, 16))
    return bytes(found)


@pytest.mark.slow
def test_whatever_the_bytes_a_body_is_read_or_refused():
    """Nothing but WireError, and what is read is what a strict reader of the standard library reads."""
    good = wire.encode(wire.MaterialPage.of(page(material())))
    chance = random.Random(5)
    read = 0
    for _ in range(5_000):
        body = mutated(good, chance)
        with contextlib.suppress(wire.WireError):
            found = wire.decode(wire.MaterialPage, body, most_rows=20).page()
            read += 1
            assert all(type(serial) is int and 0 <= serial < 2**63 for serial, _ in found.rows)
            assert all("\0" not in row.device and row.device.encode() is not None for _, row in found.rows)
            assert all(type(row.token) is bytes for _, row in found.rows)
            strict = json.loads(body, object_pairs_hook=once)
            assert [row["device"] for row in strict["rows"]] == [row.device for _, row in found.rows]
    assert 0 < read < 5_000


def once(pairs):
    assert len({name for name, _ in pairs}) == len(pairs), "a name came twice, and was read"
    return dict(pairs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [-1, 2**63, 2**64, 10**400, 1.5, 1.0, "1", None, True], ids=lambda value: str(value)[:20]
)
def test_numbers_out_of_their_bounds_are_refused(world, number):
    world.remote().snapshot("t1", "ann", now=NOW)
    rows = [{"number": number, "device": "ert:1", "token_type": "secure_command", "action": 1}]
    answer = world.call("POST", "/v1/wants", json.dumps({"rows": rows}).encode(), Content_Type=wire.JSON)
    assert (answer[0], problem_of(answer)) == (400, "bad_request")


@pytest.mark.slow
def test_invalid_command_requests_and_outcomes_are_refused(world):
    tool = world.remote()
    tool.snapshot("t1", "ann", now=NOW)
    for want in (
        CommandRequest(1, "ert:1", "nothing", 1),
        CommandRequest(1, "ert:1", "secure_command", 63),
        CommandRequest(1, "ert:1", "secure_command", 2**62),
    ):
        with pytest.raises(ExchangeError, match="400 bad_request"):
            tool.request("t1", [want], now=NOW)
    for changed in ({"state": 99}, {"action": 2**40}, {"number": 0}):
        with pytest.raises(ExchangeError, match="400 bad_request"):
            tool.report("t1", [outcome(material()[0])._replace(**changed)], now=NOW)


@pytest.mark.slow
def test_users_and_devices_that_every_field_tool_would_refuse_are_not_taken(world):
    manager, local = world.manager(), world.tools_server
    ann = ("ann", "gas", 1)
    for users in ([ann, ann], [("", "gas", 1)], [("ann", "gas", 2**62)]):
        with pytest.raises(ExchangeError, match="400 bad_request"):
            manager.set_users(users, now=NOW)
    good = DeviceRecord("ert:5", "gas", 1, 0, 1, True, 0)
    for changed in ({"device": "x"}, {"device_class": 9}, {"mode": 9}, {"security_level": 9}):
        with pytest.raises(ExchangeError, match="400 bad_request"):
            manager.set_devices([good, good._replace(**changed)], now=NOW)
    local.snapshot("t1", "ann", now=NOW)
    assert local.devices("t1", ["ert:5", "x"], now=NOW) == []


@pytest.mark.slow
def test_media_types(world):
    world.remote().snapshot("t1", "ann", now=NOW)
    good = json.dumps({"rows": []}).encode()
    for content_type in ("text/plain", "", "application/vnd.apache.arrow.file", "application/x-www-form-urlencoded"):
        answer = world.call("POST", "/v1/devices", good, Content_Type=content_type)
        assert (answer[0], problem_of(answer)) == (415, "media_type_unsupported")
    answer = world.call("POST", "/v1/devices", good, Content_Type=wire.JSON, Content_Encoding="gzip")
    assert answer[0] == 415
    for accept in (
        "*/*",
        wire.JSON,
        f"text/html;q=0.5, {wire.JSON}",
        "application/*;q=0.1",
        "Application/JSON; charset=utf-8",
    ):
        status, headers, _ = world.call("GET", "/v1/snapshot", Accept=accept)
        assert (status, headers["Content-Type"]) == (200, wire.JSON), accept
        assert headers["Cache-Control"] == "no-store"
    arrow = "application/vnd.apache.arrow.stream"
    for accept in ("text/html", f"{wire.JSON};q=0", f"{wire.JSON};q=x", arrow):
        answer = world.call("GET", "/v1/snapshot", Accept=accept)
        assert (answer[0], problem_of(answer)) == (406, "media_type_unacceptable")
    answer = world.call("POST", "/v1/devices", good, Content_Type=arrow)
    assert (answer[0], problem_of(answer)) == (415, "media_type_unsupported")


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        "/v1/material?after=-1",
        "/v1/material?after=9223372036854775808",
        "/v1/material?after=x",
        "/v1/material?limit=0",
        "/v1/material?limit=1.5",
        "/v1/outcomes?after=-1",
        "/v1/material/a%2Fb/cursor",
        "/v1/material/a%00b/cursor",
        "/v1/material/" + "a" * 200 + "/cursor",
        "/v1/nothing",
        "/docs",
        "/v1/../etc/passwd",
    ],
)
def test_wrong_parameters_and_paths(world, path):
    answer = world.call("GET", path, token=bearer(roles=["field_tool", "manager"]))
    assert answer[0] in {404, 422}
    assert problem_of(answer) in {"parameter_refused", "not_found"}
    answer = world.call("DELETE", "/v1/devices")
    assert problem_of(answer) == "method_not_allowed"
    assert answer[1]["Allow"] == "POST, PUT"


# --- Limits, before anything is parsed ---


def raw(world, *parts, pause=0.0):
    """Send bytes as they are; return all that comes back."""
    with socket.create_connection(("127.0.0.1", world.running.port), timeout=20) as connection:
        with contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        found = b""
        with contextlib.suppress(OSError):
            while some := connection.recv(65_536):
                found += some
    return found


def head(*lines, path="/v1/devices", token=None):
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token or bearer()}", *lines]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.slow
def test_a_body_that_says_that_it_is_too_long_is_not_read(world):
    length = f"Content-Length: {LIMITS.body + 1}"
    answer = raw(world, head(f"Content-Type: {wire.JSON}", length))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer
    assert raw(world, head(f"Content-Type: {wire.JSON}", "Content-Length: " + "9" * 19))[:12] == b"HTTP/1.1 413"


@pytest.mark.slow
def test_a_body_that_does_not_say_it_is_cut_off_at_the_limit(world):
    chunk = b"10000\r\n" + b"[" * 65_536 + b"\r\n"
    chunks = [chunk] * (LIMITS.body // 65_536 + 16)
    answer = raw(world, head(f"Content-Type: {wire.JSON}", "Transfer-Encoding: chunked"), *chunks)
    assert b"HTTP/1.1 413 " in answer or answer == b""
    assert world.call("GET", "/v1/health", token=None)[0] == 200


@pytest.mark.slow
def test_a_body_that_does_not_come_is_not_waited_for(world):
    started = time.monotonic()
    answer = raw(world, head(f"Content-Type: {wire.JSON}", "Content-Length: 100"), b"{")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"body_too_slow" in answer
    assert time.monotonic() - started < 10


@pytest.mark.slow
def test_a_client_that_disconnects_affects_no_other(world):
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", world.running.port)) as connection:
            connection.sendall(head(f"Content-Type: {wire.JSON}", "Content-Length: 100") + b"{")
    assert world.call("GET", "/v1/health", token=None)[0] == 200
    assert world.remote().snapshot("t1", "ann", now=NOW).user == "ann"


@pytest.mark.slow
def test_a_stranger_s_body_is_not_read(world):
    """Who calls is asked first: 401 comes although not a byte of the body did."""
    started = time.monotonic()
    answer = raw(world, head(f"Content-Type: {wire.JSON}", "Content-Length: 1000", token="stranger"))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()
    assert time.monotonic() - started < 2


# --- Faults inside ---


class Failing:
    """A tools server whose store is gone, or which has a defect."""

    def __init__(self, error):
        self.error = error

    def __getattr__(self, _name):
        def fail(*_arguments, **_more):
            raise self.error

        return fail


@pytest.mark.slow
@pytest.mark.parametrize(
    "error,status,reason",
    [
        (StoreError("the store postgres://user:hunter2@host is locked"), 503, "store_unavailable"),
        (ZeroDivisionError("hunter2"), 500, "internal_error"),
        (KeyError("hunter2"), 500, "internal_error"),
        (UnicodeEncodeError("utf-8", "hunter2", 0, 1, "hunter2"), 500, "internal_error"),
    ],
)
def test_a_fault_inside_says_nothing_of_itself(error, status, reason):
    running = Running(create_app(Failing(error), bearer_key=PEOPLE.public_key, clock=lambda: NOW))
    world = World(None, running, [])
    for call in (("GET", "/v1/snapshot"), ("GET", "/v1/health")):
        answer = world.call(*call)
        assert (answer[0], problem_of(answer)) == (status, reason)
        assert b"hunter2" not in answer[2]
        assert b"Traceback" not in answer[2]
        assert (answer[1]["Retry-After"] is not None) == (status == 503)
    with pytest.raises(ExchangeError, match=f"{status} {reason}"):
        world.remote().snapshot("t1", "ann", now=NOW)
    running.stop()


@pytest.mark.slow
def test_a_locked_store_is_503_and_works_later(tmp_path, monkeypatch):
    monkeypatch.setattr("itron_core.stores.sqlite.SECONDS_TO_WAIT_FOR_A_LOCK", 0.2)
    path = tmp_path / "server.db"
    store = open_store(path)
    server = ToolsServer(store, keyring())
    server.set_users([("ann", "gas", ALL)], now=NOW)
    running = Running(create_app(server, bearer_key=PEOPLE.public_key, clock=lambda: NOW))
    tool = connect(running.url, bearer())
    import sqlite3

    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ExchangeError, match="503 store_unavailable"):
        tool.snapshot("t1", "ann", now=NOW)
    other.execute("ROLLBACK")
    other.close()
    assert tool.snapshot("t1", "ann", now=NOW).user == "ann"
    running.stop()
    store.close()


@pytest.mark.slow
def test_callers_at_once_are_all_answered(world):
    """More than are worked on at once: none is lost, and each gets its own."""
    found = {}

    def call(number):
        tool = f"tool-{number}"
        remote = world.remote(tool=tool)
        remote.snapshot(tool, "ann", now=NOW)
        found[number] = remote.request(tool, wants_for(DEVICES[: number % 10 + 1]), now=NOW)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: number % 10 + 1 for number in range(24)}


@pytest.mark.slow
def test_slow_bodies_of_one_bearer_delay_no_other(tmp_path):
    store = open_store(tmp_path / "server.db")
    server = ToolsServer(store, keyring())
    server.set_users([("ann", "gas", ALL), ("bob", "gas", ALL)], now=NOW)
    limits = ServiceLimits(body_seconds=600)
    running = Running(create_app(server, bearer_key=PEOPLE.public_key, clock=lambda: NOW, limits=limits))
    head = f"POST /v1/wants HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer()}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    slow = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(2 * limits.at_once)]
    for connection in slow:
        connection.sendall(head.encode())
    # A wait here would be of ten minutes.
    other = connect(running.url, bearer(subject="bob", tool="t2"), timeout=30)
    assert [other.snapshot("t2", "bob", now=NOW).user for _ in range(20)] == ["bob"] * 20
    for connection in slow:
        connection.close()
    assert connect(running.url, bearer(), timeout=30).snapshot("t1", "ann", now=NOW).user == "ann"
    running.stop()
    store.close()


# --- Servers that lie ---


class Liar:
    """Answers every connection with the same bytes, whatever was asked."""

    def __init__(self, answer, *, pause=0.0, again=0):
        self.answer, self.pause, self.again = answer, pause, again
        self.asked = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                with connection, contextlib.suppress(OSError):
                    self.asked.append(connection.recv(65_536))
                    connection.sendall(self.answer)
                    for _ in range(self.again):
                        time.sleep(self.pause)
                        connection.sendall(b"x" * 65_536 if not self.pause else b"x")

    def __enter__(self):
        return self

    def __exit__(self, *_rest):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)


def http_answer(body, *, status="200 OK", media_type=wire.JSON, length=None, more=""):
    length = len(body) if length is None else length
    lines = f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n{more}Connection: close\r\n\r\n"
    return lines.encode() + body


EMPTY_PAGE = json.dumps({"next": 0, "more": False, "rows": []}).encode()
REFUSAL = json.dumps({"type": "about:blank", "title": "x", "status": 403, "detail": "x", "reason": "made_up"}).encode()
ROW = dict(
    zip(
        wire.MaterialRow.__struct_fields__,
        [1, "gas", "ert:1", "secure_command", 1, "AAAA", 1, 0, 0, None, 1, None, "AAAA"],
        strict=True,
    )
)


def json_page(**changed):
    return json.dumps({"next": 1, "more": False, "rows": [ROW], **changed}).encode()


def many(count):
    return json_page(rows=[{**ROW, "serial": number} for number in range(count)])


LIES = {
    "nothing": b"",
    "no HTTP": b"hello\r\n\r\n",
    "HTML": http_answer(b"<html>Sign in to the network</html>", media_type="text/html"),
    "HTML called JSON": http_answer(b"<html>"),
    "another type": http_answer(EMPTY_PAGE, media_type="application/vnd.apache.arrow.stream"),
    "a fact twice": http_answer(EMPTY_PAGE.replace(b'"next": 0', b'"next": 0, "next": 0')),
    "too short": http_answer(EMPTY_PAGE, length=len(EMPTY_PAGE) + 10),
    "cut JSON": http_answer(EMPTY_PAGE[:-3]),
    "a length that is none": http_answer(EMPTY_PAGE, length="-5"),
    "an encoding": http_answer(b"\x1f\x8b" + bytes(20), more="Content-Encoding: gzip\r\n"),
    "a redirect": http_answer(b"", status="302 Found", more="Location: http://127.0.0.1:9/\r\n"),
    "a redirect that keeps the method": http_answer(b"", status="307 X", more="Location: https://example.com/\r\n"),
    "no content": http_answer(b"", status="204 No Content"),
    "created": http_answer(EMPTY_PAGE, status="201 Created"),
    "a list": http_answer(b"[]"),
    "next a text": http_answer(json_page(next="1")),
    "next below zero": http_answer(json_page(next=-1)),
    "next null": http_answer(json_page(next=None)),
    "more a number": http_answer(json_page(more=1)),
    "a fact more": http_answer(json_page(admin=True)),
    "rows null": http_answer(json_page(rows=None)),
    "more rows than asked for": http_answer(many(11)),
    "a serial true": http_answer(json_page(rows=[{**ROW, "serial": True}])),
    "a token that is a list": http_answer(json_page(rows=[{**ROW, "token": [1]}])),
    "a token that is no base64": http_answer(json_page(rows=[{**ROW, "token": "!!!!"}])),
    "a token too long": http_answer(json_page(rows=[{**ROW, "token": "AAAA" * 30_000}])),
    "a device null": http_answer(json_page(rows=[{**ROW, "device": None}])),
    "nested": http_answer(b"[" * 100_000),
    "500 in HTML": http_answer(b"<html>Traceback</html>", status="500 X", media_type="text/html"),
    "a refusal as another status": http_answer(REFUSAL, status="500 X", media_type="application/problem+json"),
    "a refusal as JSON": http_answer(REFUSAL, status="403 X"),
    "a problem that is none": http_answer(b"[1]", status="403 X", media_type="application/problem+json"),
    "a long problem": http_answer(b"[" * 100_000, status="403 X", media_type="application/problem+json"),
    "a header too long": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000 + b"\r\n\r\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES)
def test_a_false_answer_of_a_server_is_refused(lie):
    token = bearer()
    with (
        Liar(LIES[lie]) as liar,
        connect(liar.url, token, timeout=5) as remote,
        pytest.raises(ExchangeError) as refused,
    ):
        remote.material("t1", 0, 10, now=NOW)
    assert len(liar.asked) == 1, "nothing is asked twice, and no redirect is followed"
    assert token not in str(refused.value) + repr(refused.value.__cause__)
    assert len(str(refused.value)) < 800


def test_a_true_answer_of_the_same_kind_is_accepted():
    with Liar(http_answer(many(10))) as liar, connect(liar.url, bearer()) as remote:
        assert len(remote.material("t1", 0, 10, now=NOW).rows) == 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(HOSTILE_JSON.keys() - {"a number"}))
def test_hostile_json_of_a_server_is_refused(kind):
    with (
        Liar(http_answer(HOSTILE_JSON[kind].replace(b'"device"', b'"code"'))) as liar,
        connect(liar.url, bearer()) as remote,
        pytest.raises(ExchangeError),
    ):
        remote.report("t1", [outcome(material()[0])], now=NOW)


def test_an_answer_without_end_is_left(monkeypatch):
    monkeypatch.setattr("itron_core.service.client.LARGEST_ANSWER", 1_000_000)
    endless = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    with (
        Liar(endless, again=100) as liar,
        connect(liar.url, bearer()) as remote,
        pytest.raises(ExchangeError, match="more than 1000000 bytes"),
    ):
        remote.material("t1", 0, 10, now=NOW)


@pytest.mark.slow
def test_an_answer_that_drips_is_left():
    endless = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    started = time.monotonic()
    with Liar(endless, again=30, pause=0.1) as liar:
        remote = connect(liar.url, bearer(), timeout=0.5)
        with pytest.raises(ExchangeError, match="longer than"):
            remote.material("t1", 0, 10, now=NOW)
        assert time.monotonic() - started < 3


def test_a_server_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ExchangeError, match="cannot be reached: it refused the connection"):
        connect(f"http://127.0.0.1:{port}", bearer()).snapshot("t1", "ann", now=NOW)


@pytest.mark.slow
@pytest.mark.parametrize("codes", [[0], [0, 0, 0], [0, -1], [0, None], [0, "0"]])
def test_a_wrong_number_of_codes_is_refused(codes):
    body = json.dumps({"rows": [{"code": code} for code in codes]}).encode()
    with (
        Liar(http_answer(body)) as liar,
        connect(liar.url, bearer()) as remote,
        pytest.raises(ExchangeError),
    ):
        remote.report("t1", [outcome(row, number) for number, row in enumerate(material(DEVICES[:2]), 1)], now=NOW)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "http://10.0.0.1:8000",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "ftp://127.0.0.1",
        "//127.0.0.1",
        "127.0.0.1:8000",
        "https://user:password@example.com",
        "https://example.com/?a=b",
        "https://",
        "http://[::2]:80",
        "http://127.0.0.1:x",
        "http://[::1",
        "",
        None,
    ],
)
def test_urls_that_would_give_the_bearer_away(url):
    with pytest.raises(InputError) as refused:
        connect(url, bearer())
    assert "password" not in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "url", ["https://example.com/tools/", "http://localhost:1", "http://127.0.0.2:1", "http://[::1]:1"]
)
def test_urls_that_may_be(url):
    remote = connect(url, bearer())
    assert bearer() not in repr(remote) + str(vars(remote))
    with pytest.raises(TypeError):
        pickle.dumps(remote)


@pytest.mark.parametrize("token", ["", "a\tb", "a\r\nX: y", "a" * 5_000, "ä"])
def test_bearers_that_no_header_can_carry(token):
    with pytest.raises(InputError) as refused:
        connect("https://example.com", token)
    assert token not in str(refused.value) or not token


@pytest.mark.slow
def test_nothing_of_the_environment_sends_the_bearer_elsewhere(world, monkeypatch, tmp_path):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / "netrc").write_text("default login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert world.remote().snapshot("t1", "ann", now=NOW).user == "ann"


# --- OpenAPI, and what may not be told ---


@pytest.mark.slow
def test_openapi_tells_all(world):
    status, _, body = world.call("GET", "/openapi.json", token=None)
    document = json.loads(body)
    assert status == 200
    assert document["openapi"].startswith("3.1")
    told = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert told == {
        (method, path.replace("ism", "{source}").replace("t1", "{tool}")) for method, path, _ in TOOL_CALLS
    } | {("GET", "/v1/health")}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], path
            assert operation["description"], path
            good = [code for code in operation["responses"] if code.startswith("2")]
            assert len(good) == 1, path
            for code, response in operation["responses"].items():
                assert response["description"], (path, code)
                assert code == "204" or response["content"], (path, code)
            assert ("requestBody" in operation) == (method != "get"), path
            assert ("security" in operation) == (path != "/v1/health"), path
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.slow
def test_bodies_match_their_openapi_schemas(world):
    """Names and types of an answer in JSON, against its own schema, which comes from the model."""
    document = json.loads(world.call("GET", "/openapi.json", token=None)[2])
    world.tools_server.receive("ism", page(material()), now=NOW)
    tool = world.remote()
    tool.snapshot("t1", "ann", now=NOW)
    tool.request("t1", wants_for(), now=NOW)

    def schema_of(found):
        return document["components"]["schemas"][found["$ref"].rpartition("/")[2]]

    schema = schema_of(document["paths"]["/v1/material"]["get"]["responses"]["200"]["content"][wire.JSON]["schema"])
    answer = json.loads(world.call("GET", "/v1/material", Accept=wire.JSON)[2])
    assert set(answer) == set(schema["required"]) == set(schema["properties"])
    row = schema_of(schema["properties"]["rows"]["items"])
    assert set(answer["rows"][0]) == set(row["required"]) == set(row["properties"])
    assert row["additionalProperties"] is False
    assert row["properties"]["serial"] == {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
    assert base64.b64decode(answer["rows"][0]["token"]) == material()[0].token or len(answer["rows"]) == 10


@pytest.mark.slow
def test_no_secret_is_in_any_answer(world, caplog):
    """Neither bearers, nor private keys, nor paths, in answers or in the log, of good calls and of bad ones."""
    token = bearer(roles=["field_tool", "manager", "reader"])
    answers = [
        world.call(method, path, body, token=token, Content_Type=media_type)
        for method, path, _ in TOOL_CALLS
        for media_type in (wire.JSON, "text/plain")
        for body in ([None] if method == "GET" else [b"", token.encode(), b'{"rows":[]}'])
    ]
    answers += [world.call("GET", "/v1/snapshot", token=token + "A"), world.call("GET", "/v1/" + token, token=None)]
    said = b"".join(body + str(headers.items()).encode() for _, headers, body in answers) + caplog.text.encode()
    assert all(status < 500 for status, _, _ in answers)
    for secret in (token.encode(), token.rpartition(".")[2].encode(), b"Traceback", b"site-packages", b"server.db"):
        assert secret not in said


@pytest.mark.slow
def test_a_bearer_of_another_unit_binds_no_tool_that_is_refused(world):
    with pytest.raises(RequestRefused) as refused:
        world.remote(tool="t9", unit="water").snapshot("t9", "ann", now=NOW)
    assert refused.value.reason == "unit_mismatch"
    assert world.tools_server.signed_in("t9") is None
    world.remote(subject="eve", tool="t9", unit="water").snapshot("t9", "eve", now=NOW)


@pytest.mark.slow
def test_a_user_without_a_unit_is_refused(world):
    with pytest.raises(ExchangeError, match=r"unit of a user: got '', expected"):
        world.remote(roles=["manager"]).set_users([("ann", "", 1)], now=NOW)


@pytest.mark.slow
def test_only_a_manager_can_list_material_held_by_a_tool(world):
    local, manager, tool = world.tools_server, world.manager(), world.remote()
    manager.receive("ism", page(material()), now=NOW)
    tool.snapshot("t1", "ann", now=NOW)
    tool.request("t1", wants_for(DEVICES[:4]), now=NOW)
    assert len(local.held_by("t1", 0, 100, now=NOW).rows) == 4
    for after, limit in [(0, 100), (0, 1), (1, 1), (100, 5)]:
        assert manager.held_by("t1", after, limit, now=NOW) == local.held_by("t1", after, limit, now=NOW)
    with pytest.raises(RequestRefused):
        tool.held_by("t1", 0, 100, now=NOW)


# --- Bearers that were revoked, and what monitors ask ---


@pytest.mark.slow
def test_a_revoked_bearer_is_refused(world):
    lost, kept = bearer(token_id="lost"), bearer(token_id="kept")
    with connect(world.url, lost) as first, connect(world.url, kept) as second:
        first.snapshot("t1", "ann", now=NOW)
        world.tools_server.revoke_bearers(ids=["lost"], now=NOW)
        with pytest.raises(ExchangeError, match="401 bearer_refused: the bearer token was revoked"):
            first.snapshot("t1", "ann", now=NOW)
        second.snapshot("t1", "ann", now=NOW)
        world.tools_server.revoke_bearers(tools=["t1"], now=NOW)
        with pytest.raises(ExchangeError, match="401 bearer_refused"):
            second.material("t1", 0, 1, now=NOW)
    other = world.remote(tool="t2")
    other.snapshot("t2", "ann", now=NOW)
    world.clock[0] = NOW + 1
    with connect(world.url, bearer(now=NOW + 1)) as found_again:
        found_again.snapshot("t1", "ann", now=NOW)


@pytest.mark.slow
def test_a_bearer_of_another_service_is_refused(world):
    with connect(world.url, bearer(audience="itron-core-other")) as client, pytest.raises(ExchangeError, match="401"):
        client.snapshot("t1", "ann", now=NOW)


@pytest.mark.slow
def test_head_on_health_is_200_and_has_no_body(world):
    status, headers, body = world.call("HEAD", "/v1/health", token=None)
    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == str(len(world.call("GET", "/v1/health", token=None)[2]))
    assert world.call("HEAD", "/v1/snapshot")[0] == 405


@pytest.mark.slow
def test_a_quota_is_429_and_the_client_says_why(tmp_path):
    store = open_store(tmp_path / "server.db")
    server = ToolsServer(store, keyring(), quotas=Quotas(command_requests=2))
    server.set_users([("ann", "gas", ALL)], now=NOW)
    running = Running(create_app(server, bearer_key=PEOPLE.public_key, clock=lambda: NOW))
    tool = connect(running.url, bearer())
    tool.snapshot("t1", "ann", now=NOW)
    with pytest.raises(RequestRefused) as refused:
        tool.request("t1", wants_for(DEVICES[:3]), now=NOW)
    assert refused.value.reason == "quota_exceeded"
    assert tool.request("t1", wants_for(DEVICES[:2]), now=NOW) == 2
    running.stop()
    store.close()
