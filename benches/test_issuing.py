"""Tokens issued in bulk: with a key in memory, beside the bare signing of `cryptography` on all cores; and in an HSM.

`manager.issue` is all that the security manager does for a request that is approved: numbers, signatures, every signature
verified again, audit entries, everything on the disk (SQLite).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

import peers
from conftest import NOW, Work
from itron_core import (
    Action,
    DeviceClass,
    Keyring,
    KeyringEntry,
    LocalSigner,
    Mode,
    Permission,
    SecurityLevel,
    SecurityManager,
    issue_tokens,
    verify_tokens,
)
from itron_core.exchange.records import DeviceRecord
from itron_core.stores import open_store

TOKENS = 20_000
ROWS = 100_000
HSM_TOKENS = 1_000
PLACES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
SCHEMES = {"Ed25519": (), "ESP256": (ec.ECDSA(hashes.SHA256(), deterministic_signing=True),)}


def private_key(algorithm):
    return ed25519.Ed25519PrivateKey.generate() if algorithm == "Ed25519" else ec.generate_private_key(ec.SECP256R1())


@pytest.mark.full
@pytest.mark.parametrize("algorithm", SCHEMES)
def test_issue(beside, algorithm):
    key = private_key(algorithm)
    signer = LocalSigner(key)
    request = request_of(TOKENS)
    tokens = issue_tokens(request, signer, now=NOW).to_pylist()
    check(tokens, signer)
    messages = [peers.signed_parts(token).message for token in tokens]
    beside(
        f"issue_tokens, {algorithm}, {TOKENS:,} authorizations, all cores",
        "tokens",
        Work(lambda: issue_tokens(request, signer, now=NOW), TOKENS),
        pyca_signing_all_cores=signing_all_cores(key, algorithm, messages),
    )


@pytest.mark.full
def test_manager_issue(beside, tmp_path):
    key = private_key("Ed25519")
    store = open_store(tmp_path / "manager.db")
    manager = SecurityManager(store, LocalSigner(key))
    manager.set_role("officer", sum(Permission), officer=True, now=NOW)
    manager.set_user("olga", "officer", "gas", now=NOW)
    devices = [f"ert:{number}" for number in range(ROWS)]
    what = DeviceClass.ENHANCED, Mode.MOBILE, SecurityLevel.FULL
    manager.set_devices([DeviceRecord(device, "gas", *what) for device in devices], now=NOW)

    def ask():
        manager.request("olga", devices, token_type="secure_command", actions=Action.OPEN_SESSION, now=NOW)

    def issue():
        assert manager.issue(now=NOW).issued == ROWS

    ask()
    issue()
    messages = [peers.signed_parts(row.token).message for _, row in manager.materials(0, ROWS).rows]
    bare = signing_all_cores(key, "Ed25519", messages)

    beside(
        f"manager.issue, Ed25519, {ROWS:,} commands, SQLite",
        "tokens",
        Work(issue, ROWS, before=ask),
        rounds=7,
        pyca_signing_all_cores=bare,
    )
    store.close()


@pytest.fixture(scope="module")
def softhsm(tmp_path_factory):
    """Say where the keys of a token of SoftHSM 2 are; the module reads its configuration once in a process."""
    pytest.importorskip("pkcs11", reason="no python-pkcs11: pip install 'itron-core[hsm]'")
    named = os.environ.get("ITRON_CORE_PKCS11_MODULE")
    library = named or next((place for place in PLACES if Path(place).exists()), None)
    if library is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM 2 is not installed (Debian's softhsm2), nor named by ITRON_CORE_PKCS11_MODULE")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    command = ["softhsm2-util", "--init-token", "--free", "--label", "bench", "--pin", "1234", "--so-pin", "5678"]
    subprocess.run([*command, "--module", library], check=True, capture_output=True)
    return {"library": library, "token": "bench", "pin": "1234"}


@pytest.mark.full
@pytest.mark.parametrize("algorithm", SCHEMES)
def test_issue_through_softhsm(beside, softhsm, algorithm):
    from itron_core.hsm import Pkcs11Signer

    request = request_of(HSM_TOKENS)
    with Pkcs11Signer.generate(**softhsm, label=algorithm, algorithm=algorithm) as signer:
        tokens = issue_tokens(request, signer, now=NOW).to_pylist()
        check(tokens, signer)
        messages = [peers.signed_parts(token).message for token in tokens]
        beside(
            f"issue_tokens, {algorithm}, {HSM_TOKENS:,} authorizations, SoftHSM",
            "tokens",
            Work(lambda: issue_tokens(request, signer, now=NOW), HSM_TOKENS),
            pyca_signing_all_cores=signing_all_cores(private_key(algorithm), algorithm, messages),
            softhsm_signing_one_by_one=Work(lambda: [signer.sign(message) for message in messages], HSM_TOKENS),
        )


def request_of(count):
    return {
        "device": [f"ert:{number}" for number in range(count)],
        "actions": [1 << 24] * count,
        "sequence": [1] * count,
        "epoch": [0] * count,
    }


def check(tokens, signer):
    keyring = Keyring([KeyringEntry(signer.public_key)])
    assert set(verify_tokens(tokens, keyring, now=NOW)["code"].to_pylist()) == {0}


def signing_all_cores(key, algorithm, messages):
    """Bare signing of these messages by a thread a core, without any token."""
    cores = os.cpu_count() or 1
    # Each thread has its own stretch: of messages that alternate, two threads would touch one cache line.
    size = -(-len(messages) // cores)
    parts = [messages[start : start + size] for start in range(0, len(messages), size)]

    def sign(part):
        return [key.sign(message, *SCHEMES[algorithm]) for message in part]

    def call():
        with ThreadPoolExecutor(cores) as pool:
            return list(pool.map(sign, parts))

    return Work(call, len(messages))
