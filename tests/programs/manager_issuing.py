"""Request disconnects for all devices and issue them, again and again, until it is killed."""

import sys
from pathlib import Path

from itron_core import LocalSigner
from itron_core.manager import SecurityManager, batches
from itron_core.stores import open_store
from test_manager import DEVICES, NOW, UNLIMITED, disconnect


def work(store_url, pem, rows_per_batch):
    batches.ROWS_PER_BATCH = rows_per_batch
    signer = LocalSigner.from_pem(Path(pem).read_bytes())
    manager = SecurityManager(open_store(store_url), signer, limits=UNLIMITED)
    while True:
        disconnect(manager, DEVICES)
        print(manager.issue(now=NOW).issued, flush=True)


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], int(sys.argv[3]))
