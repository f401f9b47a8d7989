"""Keys over HTTP from a real server: fetched within bounds, kept, and never worse than the last good set."""

import json
import logging
import pickle
import re
import ssl
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

import pytest

pytest.importorskip("httpx")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from itron_core import (
    Code,
    ExchangeError,
    InputError,
    Keyring,
    KeyringEntry,
    LocalSigner,
    Permission,
    TokenRefused,
    issue_tokens,
    process_route,
    verify_token,
    verify_tokens,
)
from itron_core.keys_over_http import KeysOverHttp

pytestmark = pytest.mark.slow

NOW = 1_795_000_000
STRANGER = {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "of another service"}


class Served:
    """What the server answers, which a test changes while it runs; `asked` counts."""

    def __init__(self):
        self.status, self.headers, self.body, self.asked, self.pause = 200, {}, b"", 0, 0.0
        self.paths = {}

    def serve_keys(self, *signers, others=()):
        keys = json.loads(Keyring([KeyringEntry(each.public_key, issuer="u") for each in signers]).to_jwks())["keys"]
        self.body = json.dumps({"keys": [*others, *keys]}).encode()


@contextmanager
def serving(served, tls=None):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            served.asked += 1
            status, headers, body = served.paths.get(self.path, (served.status, served.headers, served.body))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            for at in range(0, len(body), 1_000 if served.pause else len(body) or 1):
                time.sleep(served.pause)
                try:
                    self.wfile.write(body[at : at + 1_000] if served.pause else body)
                except OSError:
                    return

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/jwks.json"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def served():
    return Served()


@pytest.fixture
def url(served):
    with serving(served) as url:
        yield url


@pytest.fixture
def clock():
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


def signer():
    return LocalSigner.generate("Ed25519")


def tokens_of(signer, count=1):
    request = {"device": ["ert:5"] * count, "actions": [1] * count, "epoch": [0] * count}
    return issue_tokens(request | {"sequence": list(range(1, count + 1))}, signer, now=NOW).to_pylist()


def codes_of(keys, tokens):
    return list(keys.run(lambda keyring: verify_tokens(tokens, keyring, now=NOW))["code"])


def test_the_set_is_fetched_once_and_kept(served, url):
    key = signer()
    served.serve_keys(key)
    keys = KeysOverHttp(url)
    assert served.asked == 0, "nothing is fetched before it is needed"
    assert [codes_of(keys, tokens_of(key)) for _ in range(5)] == [[0]] * 5
    assert (served.asked, keys.error) == (1, None)


def test_the_example_of_the_page_runs(served, url):
    key = signer()
    served.serve_keys(key)
    page = (Path(__file__).parents[2] / "docs" / "your-service.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1].replace("https://keys.example/jwks.json", url)
    names = {"tokens": tokens_of(key, 3), "now": NOW}
    exec(compile(code, "docs/your-service.md", "exec"), names)
    assert list(names["results"]["code"]) == [0, 0, 0]


def test_an_unknown_key_fetches_the_set_again_at_most_once_per_interval(served, url, clock):
    known, new, forger = signer(), signer(), signer()
    served.serve_keys(known)
    keys = KeysOverHttp(url, retry_seconds=30, clock=clock)
    assert codes_of(keys, tokens_of(known)) == [0]
    served.serve_keys(known, new)
    assert codes_of(keys, tokens_of(new)) == [Code.KEY_UNKNOWN]
    assert served.asked == 1, "the interval has not passed"
    clock.now = 30
    assert codes_of(keys, tokens_of(known) + tokens_of(new) + tokens_of(forger)) == [0, 0, Code.KEY_UNKNOWN]
    assert served.asked == 2
    for _ in range(50):
        assert codes_of(keys, tokens_of(forger)) == [Code.KEY_UNKNOWN]
    assert served.asked == 2, "forged tokens do not cause fetches"


def test_an_unknown_key_of_one_token_or_of_a_route_fetches_the_set_again(served, url, clock):
    first, second, third = signer(), signer(), signer()
    served.serve_keys(first)
    keys = KeysOverHttp(url, retry_seconds=1, clock=clock)
    keys.keyring()
    served.serve_keys(second)
    clock.now = 1
    (token,) = tokens_of(second)
    assert keys.run(lambda keyring: verify_token(token, keyring, now=NOW)).audience == "ert:5"
    served.serve_keys(third)
    clock.now = 2
    route = {"device": ["ert:5"], "device_class": ["basic"], "security_level": ["ready_to_secure"]}
    route |= {"action": ["read_endpoint"], "authorization": tokens_of(third)}
    results = keys.run(lambda keyring: process_route(route, keyring, now=NOW, permissions=Permission(31)))
    assert list(results["authorization_code"]) == [0]
    with pytest.raises(TokenRefused):
        keys.run(lambda keyring: verify_token(token, keyring, now=NOW))
    assert served.asked == 3


def test_equal_sets_are_one_keyring(served, url, clock):
    key = signer()
    served.serve_keys(key)
    keys = KeysOverHttp(url, max_age=10, retry_seconds=1, clock=clock)
    first = keys.keyring()
    clock.now = 10
    served.serve_keys(key, others=[STRANGER])
    assert keys.keyring() is first
    assert served.asked == 2
    assert len(keys.skipped) == 1
    assert "RSA" in keys.skipped[0]


@pytest.mark.parametrize(
    "worse",
    [
        (500, {}, b""),
        (404, {}, b"no such page"),
        (200, {}, b""),
        (200, {}, b"\xff\xfe"),
        (200, {}, b"[" * 100_000),
        (200, {}, b'{"keys": []}'),
        (200, {}, json.dumps({"keys": [STRANGER]}).encode()),
        (200, {}, json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}]}).encode()),
        (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"),
        (200, {"Content-Length": "900"}, b"{"),
        (302, {"Location": "ftp://127.0.0.1/keys"}, b""),
        (302, {"Location": "file:///etc/passwd"}, b""),
        (302, {"Location": "https://127.0.0.1:1/keys"}, b""),
        (302, {"Location": "http://192.0.2.1/keys"}, b""),
        (302, {"Location": "http://user:word@127.0.0.1/keys"}, b""),
        (302, {"Location": "http://[::1/keys"}, b""),
        (302, {}, b""),
        (307, {"Location": "/jwks.json"}, b""),
    ],
    ids=lambda answer: f"{answer[0]} {answer[1].get('Location', '')} {answer[2][:20]!r}",
)
def test_a_worse_answer_keeps_the_last_good_set(served, url, clock, worse, caplog):
    key = signer()
    served.serve_keys(key)
    keys = KeysOverHttp(url, max_age=10, retry_seconds=10, clock=clock)
    first = keys.keyring()
    served.status, served.headers, served.body = worse
    clock.now = 10
    caplog.clear()
    with caplog.at_level(logging.WARNING, "itron_core"):
        assert keys.keyring() is first
    assert keys.error
    assert "kept the last set" in caplog.text
    assert "word" not in caplog.text
    assert "\x1b" not in caplog.text
    assert keys.age == 10
    served.status, served.headers = 200, {}
    served.serve_keys(key)
    clock.now = 20
    assert (keys.keyring(), keys.error, keys.age) == (first, None, 0)


def test_without_a_good_set_a_call_raises_and_asks_no_more_than_the_interval(served, url, clock, caplog):
    served.status = 503
    keys = KeysOverHttp(url, retry_seconds=30, clock=clock)
    for _ in range(10):
        with pytest.raises(ExchangeError, match=r"no keys yet: .*503"):
            keys.keyring()
    assert (served.asked, keys.age) == (1, None)
    assert "keys: none yet: " in caplog.text


def test_redirects_of_the_same_scheme_are_followed_a_few_times(served, url):
    key = signer()
    served.serve_keys(key)
    for hop in range(3):
        served.paths[f"/{hop}"] = (302, {"Location": f"/{hop + 1}?v=1" if hop < 2 else "/jwks.json"}, b"")
        served.paths[f"/{hop}?v=1"] = served.paths[f"/{hop}"]
    assert len(KeysOverHttp(url.replace("jwks.json", "0")).keyring()) == 1


def test_https_does_not_redirect_to_http(served, url, tmp_path):
    served.serve_keys(signer())
    private = ec.generate_private_key(ec.SECP256R1())
    name, today = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]), datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
    builder = builder.serial_number(1).not_valid_before(today - timedelta(1)).not_valid_after(today + timedelta(1))
    builder = builder.add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
    )
    pem = builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    pem_key = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "both.pem").write_bytes(pem + pem_key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "both.pem")
    trusting = ssl.create_default_context(cadata=pem.decode())
    over_tls = Served()
    over_tls.serve_keys(signer())
    with serving(over_tls, tls) as safe:
        assert len(KeysOverHttp(safe, tls=trusting).keyring()) == 1
        with pytest.raises(ExchangeError, match="certificate is not trusted"):
            KeysOverHttp(safe).keyring()
        over_tls.status, over_tls.headers = 302, {"Location": url}
        with pytest.raises(ExchangeError, match="redirects to another scheme"):
            KeysOverHttp(safe, tls=trusting).keyring()
    assert served.asked == 0


def test_an_answer_is_limited_in_size_and_in_time(served, url):
    served.serve_keys(signer())
    with pytest.raises(ExchangeError, match="more than 50 bytes"):
        KeysOverHttp(url, most_bytes=50).keyring()
    served.body, served.pause = b" " * 60_000, 0.1
    started = time.monotonic()
    with pytest.raises(ExchangeError, match="longer than 1 seconds"):
        KeysOverHttp(url, timeout=1).keyring()
    assert time.monotonic() - started < 4


def test_threads_share_one_fetch(served, url):
    key = signer()
    served.serve_keys(key)
    served.pause = 0.05
    keys, found = KeysOverHttp(url), []
    threads = [threading.Thread(target=lambda: found.append(keys.keyring())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len({id(each) for each in found}) == 1
    assert (len(found), served.asked) == (16, 1)


@pytest.mark.parametrize(
    "url", ["http://keys.example/jwks", "ftp://x/y", "file:///etc/passwd", "https://u:p@x/", "https:///x", "", 7, None]
)
def test_a_url_that_could_be_changed_on_the_way_is_refused(url):
    with pytest.raises(InputError, match="url: "):
        KeysOverHttp(url)


@pytest.mark.parametrize("bound", ["max_age", "retry_seconds", "timeout", "most_bytes"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, None])
def test_bounds_are_whole_numbers_from_1(bound, value):
    with pytest.raises(InputError, match=f"{bound}: "):
        KeysOverHttp("https://keys.example/", **{bound: value})


def test_it_is_not_pickled_and_its_keyring_is(served, url):
    served.serve_keys(signer())
    keys = KeysOverHttp(url)
    assert pickle.loads(pickle.dumps(keys.keyring())) == keys.keyring()
    with pytest.raises(TypeError, match="keyring"):
        pickle.dumps(keys)
