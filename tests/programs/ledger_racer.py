"""Decide all ids in an order of its own, beside other processes that do the same."""

import random
import sys
import time

from itron_core.stores import open_store
from itron_core.tools_server.ledger import Ledger, Use

url, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ledger = Ledger(open_store(url))
ids = list(range(count))
random.Random(seed).shuffle(ids)
print("ready", flush=True)
sys.stdin.readline()
won = []
for start in range(0, count, 100):
    batch = ids[start : start + 100]
    verdicts = ledger.decide([Use(b"k" * 8, n.to_bytes(16), b"c" * 32, b"", 1) for n in batch])
    won += [n for n, verdict in zip(batch, verdicts, strict=False) if verdict.code == 0]
    # Who waits for SQLite's lock looks for it now and then only: without a pause the first may hold it to the end.
    time.sleep(0.004 * random.random())
print(*won)
