"""The tamper-evident audit log: a Merkle tree of entries in files, under signed checkpoints (docs/audit.md).

Formats: C2SP tlog-tiles, tlog-checkpoint and signed-note; hashes and proofs of RFC 9162 section 2.1.
"""

from itron_core.audit.checkpoint import Checkpoint, read_checkpoint, read_verifier, verifier_of, write_checkpoint
from itron_core.audit.entries import audit_entries, audit_entry
from itron_core.audit.log import VERIFIER, AuditLog
from itron_core.audit.tree import verify_consistency, verify_inclusion
from itron_core.audit.verify import Verified, verify

__all__ = [
    "VERIFIER",
    "AuditLog",
    "Checkpoint",
    "Verified",
    "audit_entries",
    "audit_entry",
    "read_checkpoint",
    "read_verifier",
    "verifier_of",
    "verify",
    "verify_consistency",
    "verify_inclusion",
    "write_checkpoint",
]
