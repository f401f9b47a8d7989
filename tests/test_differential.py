"""The extension against the second reading of the pages, on random tokens and routes."""

import pytest

from reference.compare import different_batches, different_rows, different_tokens
from reference.world import World

pytest.importorskip("pyarrow")


@pytest.mark.parametrize("seed", [1, 2])
def test_both_readings_answer_every_token_alike(seed):
    assert list(different_tokens(World(seed), seed, 1_500)) == []


@pytest.mark.parametrize("seed", [3, 4])
def test_both_readings_answer_a_mixed_batch_alike(seed):
    assert list(different_batches(World(seed), seed, 1_500)) == []


@pytest.mark.parametrize("seed", [1, 2])
def test_both_readings_decide_every_row_alike(seed):
    assert list(different_rows(World(seed), seed, 12)) == []
