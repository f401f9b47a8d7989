"""Kill a child that appends as fast as it can and says what it has been promised."""

import json
import os
import random
import signal
import sys
import time

from itron_core.audit import verify
from programs.audit_common import FOLDER, ORIGIN, SIGNER, VKEY, leaves, opened
from reference.merkle import audit


def appending(folder, say, rng):
    log = opened(folder)
    os.write(say, b"0\n")
    while True:
        start = log.size
        log.append(leaves(start, start + rng.choice([1, 3, 97, 300])), at=start)
        os.write(say, b"%d\n" % log.size)


rng = random.Random(int(sys.argv[3]))
promised = 0
for _kill in range(int(sys.argv[2])):
    hear, say = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hear)
        appending(FOLDER, say, random.Random(rng.random()))
    os.close(say)
    # Half of them are killed while they open the log, half while they append.
    if rng.random() < 0.5:
        os.read(hear, 2)
    time.sleep(rng.random() * 0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(hear) as said:
        promised = max([promised, *(int(line) for line in said if line.endswith("\n"))])
    if not (FOLDER / "checkpoint").exists():
        assert promised == 0
        continue
    found = verify(FOLDER, SIGNER.public_key, origin=ORIGIN).size
    assert found >= promised, (found, promised)
    log = opened(FOLDER)
    assert log.entries(max(0, found - 1_000), found) == leaves(max(0, found - 1_000), found)
    promised = found
_, entries = audit(FOLDER, VKEY)
assert entries == leaves(0, promised)
print(json.dumps(promised))
