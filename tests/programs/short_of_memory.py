"""Make a call that needs more memory than this process may have, and print what it raises or answers, as JSON."""

import json
import resource
import sys
from pathlib import Path

import pyarrow as pa

from helpers import ISSUER, KEYRING, NOW, entry, token
from itron_core import check_windows, process_route, verify_signatures, verify_tokens

MANY = 2**31 - 1


def limit(more):
    """Let the process have so many bytes more than it has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(call):
    nulls = pa.nulls(MANY)
    route = pa.table(dict.fromkeys(("device", "device_class", "security_level", "action"), nulls))
    tokens = [token()] * 64 * 200
    verify_tokens(tokens[:1], KEYRING, now=NOW)
    key = entry(ISSUER).key
    calls = {
        "verify_tokens": lambda: verify_tokens(nulls, KEYRING, now=NOW),
        "process_route": lambda: process_route(route, KEYRING, now=NOW, permissions=31),
        "verify_signatures": lambda: verify_signatures(key, nulls, nulls),
        "check_windows": lambda: check_windows(nulls, nulls, now=NOW),
        "threads": lambda: list(verify_tokens(tokens, KEYRING, now=NOW, threads=200)["code"]),
    }
    limit(300 << 20 if call == "threads" else 128 << 20)
    try:
        answer = calls[call]()
    except MemoryError as error:
        answer = type(error).__name__
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
