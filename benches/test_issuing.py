"""Tokens issued in bulk with a key in memory, beside the bare signing of `cryptography` on all cores."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

import peers
from conftest import NOW, Work
from itron_core import Keyring, KeyringEntry, LocalSigner, issue_tokens, verify_tokens

TOKENS = 20_000


def private_key(algorithm):
    return ed25519.Ed25519PrivateKey.generate() if algorithm == "Ed25519" else ec.generate_private_key(ec.SECP256R1())


@pytest.mark.full
@pytest.mark.parametrize("algorithm", ["Ed25519", "ESP256"])
def test_issue(beside, algorithm):
    key = private_key(algorithm)
    signer = LocalSigner(key)
    request = {
        "device": [f"ert:{number}" for number in range(TOKENS)],
        "actions": [1 << 24] * TOKENS,
        "sequence": [1] * TOKENS,
        "epoch": [0] * TOKENS,
    }
    tokens = issue_tokens(request, signer, now=NOW).to_pylist()
    keyring = Keyring([KeyringEntry(signer.public_key)])
    assert set(verify_tokens(tokens, keyring, now=NOW)["code"].to_pylist()) == {0}
    messages = [peers.signed_parts(token).message for token in tokens]
    scheme = () if algorithm == "Ed25519" else (ec.ECDSA(hashes.SHA256(), deterministic_signing=True),)

    def sign(part):
        return [key.sign(message, *scheme) for message in part]

    with ThreadPoolExecutor() as pool:
        cores = os.cpu_count() or 1
        parts = [messages[start::cores] for start in range(cores)]
        beside(
            f"issue_tokens, {algorithm}, {TOKENS:,} authorizations, all cores",
            "tokens",
            Work(lambda: issue_tokens(request, signer, now=NOW), TOKENS),
            pyca_signing_all_cores=Work(lambda: list(pool.map(sign, parts)), TOKENS),
        )
