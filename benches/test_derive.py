"""Keys a second: 100,000 devices from one master key, into one buffer."""

from __future__ import annotations

import cbor2
import numpy as np
import pyarrow as pa
import pytest

import peers
from conftest import Work
from itron_core import MasterKey, derive_keys

DEVICES = 100_000
PEER_DEVICES = 2_000
MASTER = bytes(range(32))
UTILITY = b"UTIL0001"


def context_of(device: int, key_version: int) -> bytes:
    return cbor2.dumps([1, UTILITY, device.to_bytes(8), key_version])


@pytest.mark.parametrize("threads", [1, 2])
def test_derive(beside, threads):
    numbers = range(100_000_001, 100_000_001 + DEVICES)
    ids = pa.array([number.to_bytes(8) for number in numbers], pa.binary(8))
    master = MasterKey.from_bytes(MASTER)
    contexts = [context_of(number, 4) for number in numbers[:PEER_DEVICES]]

    def ours() -> object:
        return derive_keys(master, ids, utility=UTILITY, key_version=4, threads=threads)

    def pyca() -> list[bytes]:
        return peers.pyca_derive(MASTER, contexts, b"itron_core/v1/read-enc")

    keys = np.asarray(ours().to_buffer())
    assert keys.shape == (DEVICES, 16)
    assert [row.tobytes() for row in keys[:PEER_DEVICES]] == pyca()
    beside(
        f"derive_keys, kdf 1, 16 bytes, {DEVICES:,} devices, threads={threads}",
        "keys",
        Work(ours, DEVICES),
        **{"pyca" if threads == 1 else "pyca_one_thread": Work(pyca, PEER_DEVICES)},
    )
