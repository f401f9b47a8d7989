"""What both programs of test_audit_crash.py need: a log, its entries, and its verifier."""

import sys
from pathlib import Path

from itron_core import LocalSigner
from itron_core.audit import AuditLog, verifier_of

ORIGIN = "utility.example/audit"
SIGNER = LocalSigner.generate()
VKEY = verifier_of(ORIGIN, SIGNER.public_key)
FOLDER = Path(sys.argv[1])


def leaves(start, end, word=b"entry"):
    return [b"%s %d" % (word, number) for number in range(start, end)]


def opened(folder):
    return AuditLog(folder, SIGNER, origin=ORIGIN, patience=0)
