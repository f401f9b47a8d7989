"""Tokens a second: strict parsing and claim checks included, against peers that only verify the signature."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from itertools import cycle, islice

import numpy as np
import pyarrow as pa
import pytest

import peers
from conftest import NOW, Work
from itron_core import Keyring, PublicKey, verify_signatures, verify_token, verify_tokens
from itron_core.testing import Tokens, make_signer, make_tokens

ALGORITHMS = ("Ed25519", "ESP256")
PEER_ROWS = 200
# A call shorter than this is repeated within a round: a clock cannot time it.
TOKENS_A_ROUND = 2_048


@cache
def tokens_of(algorithm: str, count: int, issuers: int = 1) -> Tokens:
    return make_tokens(count, now=NOW, algorithm=algorithm, issuers=issuers)


def codes_of(results: object) -> np.ndarray:
    return pa.record_batch(results)["code"].to_numpy()


def check(made: Tokens, results: object) -> None:
    assert np.flatnonzero(codes_of(results)).tolist() == made.refused


def ours_of(made: Tokens, threads: int = 1) -> Work:
    column = pa.array(made.tokens, pa.binary())
    check(made, verify_tokens(column, made.keyring, now=made.now, threads=threads))
    repeats = max(1, TOKENS_A_ROUND // len(made))

    def call() -> None:
        for _ in range(repeats):
            verify_tokens(column, made.keyring, now=made.now, threads=threads)

    return Work(call, repeats * len(made))


def sample_of(made: Tokens, count: int = PEER_ROWS) -> list[peers.Signed]:
    """Take rows for a peer, with their share of forged ones, over and over where there are few."""
    step = max(1, len(made) // count)
    return [peers.signed_parts(token) for token in islice(cycle(made.tokens[::step]), count)]


def pyca_of(made: Tokens, threads: int = 1, count: int = PEER_ROWS) -> Work:
    verify = peers.pyca_verifier(made.signers[0].public_key)
    whole = [peers.signed_parts(token) for token in made.tokens[: 2 * PEER_ROWS]]
    refused = [row for row, good in enumerate(peers.pyca_loop(verify, whole)) if not good]
    assert refused == [row for row in made.refused if row < len(whole)]
    rows = sample_of(made, count)
    call = (
        partial(peers.pyca_loop, verify, rows) if threads == 1 else partial(peers.pyca_threads, verify, rows, threads)
    )
    return Work(call, len(rows))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("count", [1, 64, 2_048, 10_000, pytest.param(100_000, marks=pytest.mark.full)])
def test_tokens_on_one_core(beside, algorithm, count):
    made = tokens_of(algorithm, count)
    beside(f"{algorithm}, {count:,} tokens, one core", "tokens", ours_of(made), pyca=pyca_of(made))


@pytest.mark.parametrize("algorithm", ["ML-DSA-44", "ML-DSA-65"])
def test_post_quantum_tokens(beside, algorithm):
    made = tokens_of(algorithm, 2_000)
    beside(f"{algorithm}, 2,000 tokens, one core", "tokens", ours_of(made), pyca=pyca_of(made))


@pytest.mark.full
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tokens_beside_other_libraries(beside, algorithm):
    made = tokens_of(algorithm, 10_000)
    key = made.signers[0].public_key
    cwt_tokens = made.tokens[:PEER_ROWS]
    others = {"python_cwt": Work(partial(peers.cwt_loop, peers.cwt_key(key), cwt_tokens), len(cwt_tokens))}
    if algorithm == "Ed25519":
        rows = sample_of(made)
        assert peers.pynacl_loop(key, rows) == peers.pyca_loop(peers.pyca_verifier(key), rows)
        others["pynacl"] = Work(partial(peers.pynacl_loop, key, rows), len(rows))
    beside(f"{algorithm}, other libraries", "tokens", ours_of(made), pyca=pyca_of(made), **others)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_threads(beside, algorithm):
    made = tokens_of(algorithm, 10_000)
    pyca = pyca_of(made, threads=2, count=2 * PEER_ROWS)
    # Ours on two threads follows pyca, which leaves it cold caches: so does ours on one.
    beside(
        f"{algorithm}, 10,000 tokens, two threads",
        "tokens",
        ours_of(made, threads=2),
        one_thread=replace(ours_of(made), before=pyca.call),
        pyca_two_threads=pyca,
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_eight_issuers_mixed(beside, algorithm):
    mixed = tokens_of(algorithm, 10_000, issuers=8)
    one = tokens_of(algorithm, 10_000)
    beside(f"{algorithm}, 10,000 tokens of 8 issuers", "tokens", ours_of(mixed), one_issuer=ours_of(one))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_token_warm(beside, algorithm):
    made = make_tokens(64, now=NOW, algorithm=algorithm, refused_share=0)

    def call() -> None:
        for token in made.tokens:
            verify_token(token, made.keyring, now=NOW)

    assert [verify_token(token, made.keyring, now=NOW).audience for token in made.tokens] == made.devices
    beside(f"{algorithm}, verify_token, table warm", "tokens", Work(call, len(made)), pyca=pyca_of(made))


def test_each_row_its_own_key(beside):
    count = 10_000
    signers = [make_signer("Ed25519", seed=f"one-off {row}") for row in range(count)]
    messages = [b"reading %08d" % row + bytes(112) for row in range(count)]
    signatures = [signer.sign(message) for signer, message in zip(signers, messages, strict=True)]
    signatures[77] = signatures[78]
    keys: list[PublicKey] = [signer.public_key for signer in signers]
    index = np.arange(count, dtype=np.int32)
    columns = pa.array(messages, pa.binary()), pa.array(signatures, pa.binary())
    call = partial(verify_signatures, keys, *columns, key_index=pa.array(index), threads=1)
    assert np.flatnonzero(codes_of(call())).tolist() == [77]
    loaded = [peers.pyca_verifier(key) for key in keys[:PEER_ROWS]]

    def pyca() -> list[bool]:
        return [verify(messages[row], signatures[row]) for row, verify in enumerate(loaded)]

    assert [row for row, good in enumerate(pyca()) if not good] == [77]
    beside("Ed25519, each row its own key", "signatures", Work(call, count), pyca=Work(pyca, len(loaded)))


@pytest.mark.full
def test_a_million_tokens_as_a_list(beside):
    made = tokens_of("Ed25519", 1_000_000)
    check(made, verify_tokens(made.tokens, made.keyring, now=NOW, threads=2))
    call = partial(verify_tokens, made.tokens, made.keyring, now=NOW, threads=2)
    pyca = pyca_of(made, threads=2, count=2_000)
    beside(
        "Ed25519, 1,000,000 tokens as list[bytes], two threads", "tokens", Work(call, len(made)), pyca_two_threads=pyca
    )


def test_a_keyring_made_anew(beside):
    """What loading the keys again costs; the tables of a process outlive the keyring."""
    made = tokens_of("Ed25519", 10_000)
    column = pa.array(made.tokens, pa.binary())
    entries = made.keyring.entries

    def call() -> None:
        verify_tokens(column, Keyring(entries), now=NOW, threads=1)

    beside("Ed25519, 10,000 tokens, keyring made anew", "tokens", Work(call, len(made)), pyca=pyca_of(made))
