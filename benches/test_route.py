"""Routes: beside a plain Python loop over the same rows, and beside the bare verification of the same tokens."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import pyarrow as pa
import pytest

import plain_route
from conftest import NOW, Work
from itron_core import Permission, process_route, verify_tokens
from itron_core.testing import Route, make_route, make_tokens

PEER_ROWS = 1_000


@cache
def route_of(rows: int) -> Route:
    return make_route(rows, now=NOW, seed=rows)


def of_form(reason: int) -> int:
    """Make one of all faults of form, which the plain loop does not tell apart."""
    return plain_route.MALFORMED if 100 <= reason < 300 and reason != plain_route.FOREIGN else reason


def of_signature(reason: int) -> int:
    return plain_route.FORGED if reason in {300, 301} else reason


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [10_000, pytest.param(100_000, marks=pytest.mark.full)])
def test_route_beside_a_plain_loop(beside, rows, threads):
    made = route_of(rows)
    ours = partial(process_route, made.table, made.keyring, now=NOW, permissions=made.permissions, threads=threads)
    plain = plain_route.PlainRoute([entry.key for entry in made.keyring.entries], NOW, made.permissions)
    peer_rows = made.table.slice(0, PEER_ROWS).to_pylist()
    results = pa.record_batch(ours())
    decided = zip(results["decision"].to_pylist(), results["reason"].to_pylist(), strict=True)
    expected = [(decision, of_signature(of_form(reason))) for decision, reason in decided][:PEER_ROWS]
    assert [(row.decision, row.reason) for row in plain.judge_all(peer_rows)] == expected
    beside(
        f"process_route, {rows:,} devices, threads={threads}",
        "rows",
        Work(ours, rows),
        plain_loop=Work(partial(plain.judge_all, peer_rows), PEER_ROWS),
    )


@pytest.mark.parametrize("rows", [10_000, pytest.param(1_000_000, marks=pytest.mark.full)])
def test_route_beside_its_tokens(beside, rows):
    """One authorization a device, all genuine but for the forged ones; what the route adds to their verification."""
    made = make_tokens(rows, now=NOW)
    tokens, devices = pa.array(made.tokens, pa.binary()), pa.array(made.devices)
    route = pa.table(
        {
            "device": devices,
            "device_class": ["multi_mode"] * rows,
            "mode": ["network"] * rows,
            "security_level": ["full"] * rows,
            "action": ["read_endpoint"] * rows,
            "authorization": tokens,
        }
    )
    ours = partial(process_route, route, made.keyring, now=NOW, permissions=Permission.READ_ENDPOINTS, threads=2)
    bare = partial(verify_tokens, tokens, made.keyring, now=NOW, audience=devices, threads=2)
    assert np.flatnonzero(pa.record_batch(bare())["code"].to_numpy()).tolist() == made.refused
    assert np.flatnonzero(pa.record_batch(ours())["decision"].to_numpy() != 1).tolist() == made.refused
    beside(
        f"process_route, {rows:,} devices with one token each", "rows", Work(ours, rows), verify_tokens=Work(bare, rows)
    )
