"""Verify 10,000,000 tokens as a stream and tell the peak of resident memory, at the start and at the end.

Run in a process of its own, so that nothing else is in its memory: `python benches/stream.py [TOKENS]` prints JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import TYPE_CHECKING

import pyarrow as pa

from itron_core import verify_stream
from itron_core.testing import make_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_795_000_000
BATCH = 65_536
WARM_BATCHES = 4


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


def main(total: int) -> None:
    made = make_tokens(BATCH, now=NOW)
    column = pa.array(made.tokens, pa.binary())
    batches = -(-total // BATCH)

    def stream() -> Iterator[pa.Array]:
        for _ in range(batches):
            yield pa.concat_arrays([column])  # a new buffer a batch, as a reader would bring it

    verified = refused = 0
    warm = 0.0
    started = time.perf_counter()
    for number, results in enumerate(verify_stream(stream(), made.keyring, now=NOW)):
        codes = pa.record_batch(results)["code"].to_numpy()
        verified += len(codes)
        refused += int((codes != 0).sum())
        if number == WARM_BATCHES:
            warm = peak_mib()
    seconds = time.perf_counter() - started
    assert (verified, refused) == (batches * BATCH, batches * len(made.refused))
    print(
        json.dumps(
            {
                "tokens": verified,
                "refused": refused,
                "per_second": verified / seconds,
                "peak_mib_after_5_batches": warm,
                "peak_mib_at_the_end": peak_mib(),
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)
