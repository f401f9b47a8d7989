"""A row's answer does not depend on how often its key was used before: tables grow with use, verdicts do not move."""

import pytest

from itron_core import verify_tokens
from itron_core.testing import make_tokens

pytestmark = pytest.mark.kernels

NOW = 1_795_000_000
CALLS = 5


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["Ed25519", "ESP256"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("issuers", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("count", [9, 100, 2_000])
def test_the_same_tokens_get_the_same_answer_call_after_call(algorithm, threads, issuers, count):
    # A seed of their own: the keys are new to this process, and their tables not yet built.
    seed = count * 100 + issuers * 10 + threads
    made = make_tokens(count, now=NOW, algorithm=algorithm, issuers=issuers, seed=seed, refused_share=0.02)
    for call in range(CALLS):
        codes = verify_tokens(made.tokens, made.keyring, now=NOW, threads=threads)["code"].to_pylist()
        assert [row for row, code in enumerate(codes) if code] == made.refused, f"call {call}"
