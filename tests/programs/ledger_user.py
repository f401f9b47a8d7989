"""Use ids up, batch by batch, and say which were acknowledged, until it is killed."""

from itron_core.stores import open_store
from itron_core.tools_server.ledger import Ledger, Use


def work(url, start):
    ledger = Ledger(open_store(url))
    for number in range(start, start + 1_000_000):
        batch = [Use(b"k" * 8, (number * 10 + i).to_bytes(16), b"c" * 32, b"%d" % number, 1) for i in range(10)]
        codes = {int(v.code) for v in ledger.decide(batch)}
        print(number, *codes, flush=True)
