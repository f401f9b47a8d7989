"""No secret byte leaves a party: its store, journal, audit log, logs, errors and HTTP answers are searched."""

import base64
import http.client
import logging

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

import parties_world
from itron_core import Action, ItronCoreError, LocalSigner, MasterKey, derive_key
from parties_world import KINDS, Cut, World

SEED, ISSUING, MASTER = (bytes(range(start, start + 32)) for start in (60, 110, 160))
SCALAR = int.from_bytes(ISSUING)


def secrets():
    """Every key that must stay where it is, and those that are derived for devices."""
    master = MasterKey.from_bytes(MASTER)
    derived = [
        derive_key(master, device, utility="UTIL", label=label, key_version=version, length=16)
        for device in KINDS
        for label in ("read-enc", "read-auth")
        for version in (1, 2)
    ]
    return [SEED, ISSUING, MASTER, *derived]


def spellings(secret):
    """A secret as bytes, in hex, in base64 with and without its end, and as a list of numbers."""
    hexadecimal, based = secret.hex().encode(), base64.b64encode(secret)
    listed = ", ".join(str(byte) for byte in secret).encode()
    return [
        secret,
        hexadecimal,
        hexadecimal.upper(),
        based.rstrip(b"="),
        base64.urlsafe_b64encode(secret).rstrip(b"="),
        listed,
    ]


def found_in(data):
    return [secret for secret in secrets() for spelled in spellings(secret) if spelled in data]


@pytest.fixture
def world(tmp_path, monkeypatch):
    root = LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(SEED))
    monkeypatch.setattr(parties_world, "ROOT", root)
    monkeypatch.setattr(parties_world, "AUDITOR", root)
    monkeypatch.setattr(parties_world, "FIRST_KEY", LocalSigner(ec.derive_private_key(SCALAR, ec.SECP256R1())))
    monkeypatch.setattr(parties_world, "MASTER", MasterKey.from_bytes(MASTER))
    (tmp_path / "world").mkdir()
    world = World(tmp_path / "world")
    yield world
    world.close()


def lived(world):
    """Let everything happen once, with refusals."""
    for name in KINDS:
        for action in (Action.EXCHANGE_KEYS, Action.DISCONNECT_SERVICE, Action.PROGRAM_ENDPOINT, Action.READ_ENDPOINT):
            world.work("t1", name, action)
    world.revoke(devices=[("ert:1", 3)], keys=[bytes(8)])
    world.give(list(KINDS), "reading_key", 1)
    world.rotate("Ed25519", 600)
    world.heal()


@pytest.mark.slow
def test_no_party_writes_a_secret_down(world, caplog):
    caplog.set_level(logging.DEBUG)
    lived(world)
    world.close()
    files = [path for path in world.folder.rglob("*") if path.is_file()]
    assert len(files) > 8
    for path in files:
        assert not found_in(path.read_bytes()), path
    assert not found_in(caplog.text.encode())


@pytest.mark.slow
def test_no_error_and_no_representation_shows_a_secret(world):
    said = [repr(vars(part)) for part, _, _ in world.parts.values()]
    said += [repr(parties_world.ROOT), str(parties_world.MASTER), repr(world.signer)]
    wrong = [
        lambda: world.manager.request("ann", ["ert:1"], token_type="reading_key", actions=1, now=world.now),
        lambda: world.manager.revoke(issuers=[b"short"], now=world.now),
        lambda: world.manager.rotate(world.signer, now=world.now, overlap=-1),
        lambda: world.server.snapshot("t1", "nobody", now=world.now),
        lambda: world.tool("t1").sync(Cut(world, 0), "ann", now=world.now),
        lambda: derive_key(MasterKey.from_bytes(MASTER), "no device", utility="UTIL", key_version=1),
    ]
    for call in wrong:
        with pytest.raises(ItronCoreError) as caught:
            call()
        said.append(f"{caught.value!r} {caught.value} {vars(caught.value)}")
    assert not found_in(" ".join(said).encode())


def test_the_search_finds_secrets_that_are_there():
    for secret in secrets():
        for spelled in spellings(secret):
            assert secret in found_in(b"before" + spelled + b"behind")


@pytest.mark.slow
def test_no_http_answer_holds_a_secret(world):
    pytest.importorskip("uvicorn")
    from itron_core.service.app import bearer_token, create_app
    from serving import Running

    lived(world)
    people = LocalSigner.generate()
    app = create_app(world.server, bearer_key=people.public_key, clock=lambda: world.now)
    running, statuses = Running(app), set()
    try:
        for who in [{"roles": ["manager"]}, {"roles": ["field_tool"], "tool": "t1", "unit": "gas"}]:
            token = bearer_token(people, subject="ann", now=world.now, lifetime=600, **who)
            for method, path in asked(app):
                status, answer = answered(running.port, method, path, token)
                statuses.add(status)
                assert not found_in(answer), path
    finally:
        running.stop()
    assert 200 in statuses
    assert any(status >= 400 for status in statuses)


def asked(app):
    """Every operation that the service has, with a cursor where one is needed."""
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            plain = path.replace("{source}", "ism").replace("{tool}", "t1")
            yield method.upper(), f"{plain}?after=0&limit=1000&user=ann"


def answered(port, method, path, token):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "Content-Type": "application/json"}
        connection.request(method, path, body=None if method == "GET" else b"{}", headers=headers)
        answer = connection.getresponse()
        return answer.status, repr(answer.getheaders()).encode() + answer.read()
    finally:
        connection.close()
