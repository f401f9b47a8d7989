"""The public calls as a type checker sees them: this file is checked by mypy, and every function in it is also called.

Lines marked with an ignore are mistakes that the types must find: `warn_unused_ignores` makes a missing complaint an error.
"""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import pytest

import itron_core as ic
from itron_core.enums import TOKEN_TYPES

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOW = 1_795_000_000
DEVICES = ["ert:1", "ert:2"]


class OwnSigner:
    """A signer of one's own: the protocol, without a base class."""

    def __init__(self) -> None:
        """Hold a local one, as an HSM would hold its own."""
        self._held = ic.LocalSigner.generate()

    @property
    def public_key(self) -> ic.PublicKey:
        """The key that verifies."""
        return self._held.public_key

    def sign(self, message: bytes) -> bytes:
        """Sign one message."""
        return self._held.sign(message)

    def sign_many(self, messages: Sequence[bytes]) -> memoryview:
        """Sign many."""
        return self._held.sign_many(messages)


def issue(signer: ic.Signer) -> ic.Column:
    """Issue two authorizations by any signer."""
    request: dict[str, list[object]] = {"device": [*DEVICES], "actions": [1, 1], "sequence": [1, 2], "epoch": [0, 0]}
    tokens = ic.issue_tokens(request, signer, now=NOW)
    assert_type(tokens, ic.Column)
    return tokens


def test_a_protocol_is_enough_to_sign() -> None:
    signer: ic.Signer = OwnSigner()
    assert isinstance(signer, ic.Signer)
    keyring = ic.Keyring([signer.public_key])
    results = ic.verify_tokens(issue(signer), keyring, now=NOW, audience=DEVICES)
    assert results["code"].to_pylist() == [0, 0]


def test_tokens_are_typed() -> None:
    signer = ic.LocalSigner.generate()
    keyring = ic.Keyring([ic.KeyringEntry(signer.public_key, issuer="i", actions=[ic.Action.READ_ENDPOINT])])
    tokens = issue(signer)
    results = ic.verify_tokens(tokens, keyring, now=dt.datetime.fromtimestamp(NOW, dt.UTC), threads=1)
    assert_type(results, ic.TokenResults)
    assert_type(results["code"], ic.Column)
    assert_type(results.column_names, list[str])
    assert_type(len(results), int)
    token = ic.verify_token(tokens[0], keyring, now=NOW, action=ic.Action.READ_ENDPOINT)
    assert_type(token, ic.Token)
    assert_type(token.actions, frozenset[ic.Action])
    assert_type(token.expires_at, dt.datetime)
    assert_type(token.sequence, int | None)
    assert_type(token.command, bytes | None)
    assert_type(token.reading_key, ic.ReadingKey | None)
    stream = ic.verify_stream([tokens, tokens], keyring, now=NOW)
    streamed: Iterator[ic.TokenResults] = stream
    assert [len(one) for one in streamed] == [2, 2]


def test_refusals_are_typed() -> None:
    with pytest.raises(ic.TokenRefused) as raised:
        ic.verify_token(b"", ic.Keyring([]), now=NOW)
    assert_type(raised.value.code, ic.Code)
    assert_type(raised.value.name, str)
    assert_type(raised.value.code.explain(), str)


def test_routes_are_typed() -> None:
    route = {
        "device": DEVICES,
        "device_class": [ic.DeviceClass.BASIC] * 2,
        "security_level": ["unknown"] * 2,
        "action": [ic.Action.READ_ENDPOINT] * 2,
    }
    options = ic.PolicyOptions(command_limit=3)
    permissions = ic.Permission.READ_ENDPOINTS | ic.Permission.REMOTE_CONNECT
    results = ic.process_route(route, ic.Keyring([]), now=NOW, permissions=permissions, options=options)
    assert_type(results, ic.RouteResults)
    assert_type(results.explain(0), str)
    assert_type(results.summary(), dict[str, Any])
    batches = ic.process_batches([route], ic.Keyring([]), now=NOW, permissions=31)
    assert [len(one) for one in batches] == [2]
    needed = ic.needs(ic.DeviceClass.ENHANCED, ic.Mode.UNKNOWN, ic.SecurityLevel.FULL, ic.Action.READ_ENDPOINT)
    assert_type(needed, ic.Need)
    assert needed & ic.Need.READING_KEY


def test_sessions_and_keys_are_typed() -> None:
    assert_type(ic.check_sessions([NOW], [60], now=NOW), ic.SessionResults)
    windows = ic.check_windows([NOW], [NOW + 1], now=NOW)
    assert_type(windows, ic.Column)
    master = ic.MasterKey.generate()
    keys = ic.derive_keys(master, DEVICES, utility="U", length=32)
    assert_type(keys, ic.DerivedKeys)
    assert_type(keys.key(0), bytes)
    assert_type(keys.to_buffer(), memoryview)
    assert_type(ic.derive_key(master, "ert:1", utility=b"U"), bytes)
    results = ic.verify_signatures(ic.LocalSigner.generate().public_key, [b""], [b""])
    assert_type(results, ic.SignatureResults)
    assert results["code"].to_pylist() == [300]
    features = ic.cpu_features()
    assert set(features) == {"detected", "kernels"}


def test_delegations_and_revocations_are_typed() -> None:
    signer, child = ic.LocalSigner.generate(), ic.LocalSigner.generate("ESP256")
    entry = ic.KeyringEntry(child.public_key, issuer="child")
    one = ic.issue_delegation(entry, signer, now=NOW, expires_at=NOW + 60)
    assert_type(one, bytes)
    root = ic.KeyringEntry(signer.public_key, token_types=TOKEN_TYPES)
    keyring = ic.Keyring([root]).with_delegations([one], now=NOW)
    assert_type(keyring.entries, list[ic.KeyringEntry])
    assert_type(keyring.entries[1].delegated_by, bytes | None)
    snapshot = ic.Revocations(devices={"ert:1": (1, 2, 3)}, version=1, expires_at=NOW + 60)
    signed = ic.issue_revocations(snapshot, signer, issuer="i", now=NOW)
    assert ic.Revocations.from_token(signed, keyring, now=NOW) == snapshot


def test_mistakes_are_found_by_types_and_at_run_time() -> None:
    keyring = ic.Keyring([])
    with pytest.raises(TypeError):
        ic.verify_tokens([], keyring)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        ic.verify_tokens([], keyring, now="today")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ic.verify_tokens([], [], now=NOW)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ic.verify_token(5, keyring, now=NOW)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ic.Keyring([1])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        ic.derive_key(bytes(32), "ert:1", utility="U")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ic.MasterKey()
    with pytest.raises(AttributeError):
        keyring.entries = []  # type: ignore[misc]
    with pytest.raises(ic.ItronCoreError):
        ic.PolicyOptions(command_limit="2")  # type: ignore[arg-type]


def test_mypy_has_nothing_to_say_about_this_file() -> None:
    """Strict, with the package's own settings: each `assert_type` above holds, and each ignore is needed."""
    pytest.importorskip("mypy")
    root = Path(ic.__file__).parent.parent.parent
    settings = root / "pyproject.toml"
    if not settings.exists():
        pytest.skip("the package is not in its source tree")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(settings), str(Path(__file__).resolve())],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )
    assert done.returncode == 0, done.stdout + done.stderr
