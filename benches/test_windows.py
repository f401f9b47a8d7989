"""Rows a second: one window a row against one `now`."""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import peers
from conftest import NOW, Work
from itron_core import check_windows

ROWS_A_ROUND = 1_000_000


def repeated(call, rows: int) -> Work:
    repeats = max(1, ROWS_A_ROUND // rows)

    def many() -> None:
        for _ in range(repeats):
            call()

    return Work(many, repeats * rows)


@pytest.mark.parametrize("rows", [10_000, 100_000, 1_000_000, pytest.param(10_000_000, marks=pytest.mark.full)])
def test_windows(beside, rows):
    rng = np.random.default_rng(rows)
    not_before = rng.integers(NOW - 7_200, NOW + 600, rows)
    not_after = not_before + 3_600
    out, scratch = np.empty(rows, bool), np.empty(rows, bool)
    frame = pl.DataFrame({"not_before": not_before, "not_after": not_after})
    ours = partial(check_windows, not_before, not_after, now=NOW)
    with_numpy = partial(peers.numpy_windows, not_before, not_after, NOW, out, scratch)
    with_polars = partial(peers.polars_windows, frame, NOW)
    expected = (not_before <= NOW) & (not_after > NOW)
    assert np.array_equal(pa.array(ours()).to_numpy(zero_copy_only=False), expected)
    assert np.array_equal(with_numpy(), expected)
    assert np.array_equal(with_polars().to_numpy(), expected)
    beside(
        f"check_windows, {rows:,} rows",
        "rows",
        repeated(ours, rows),
        numpy=repeated(with_numpy, rows),
        polars=repeated(with_polars, rows),
    )
