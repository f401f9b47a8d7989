"""Issuing: Rust checks and encodes the request, a signer signs it, and Rust verifies every signature.

Whatever a verifier would refuse is refused here, with the row's number, before anything is signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from itron_core._rust import (
    Column,
    KeyringEntry,
    PendingTokens,
    PublicKey,
    Revocations,
    prepare_delegation,
    prepare_revocations,
    prepare_tokens,
)
from itron_core.errors import InputError

if TYPE_CHECKING:
    from datetime import datetime

    from itron_core.signing import Signer

__all__ = ["issue_delegation", "issue_revocations", "issue_tokens"]


def issue_tokens(
    request: object,
    signer: Signer,
    *,
    now: int | datetime,
    token_type: str = "authorization",
    max_lifetime: int | None = None,
) -> Column:
    """Issue one token per row of `request`, and return them as a binary column in the same order.

    `request` has the columns `device`, `actions` (a bit set, or a list of names), `sequence` and `epoch`, and optionally
    `expires_at`, `not_before`, `session_seconds`, `subject`, `command`, `kdf`, `key_version`, `check_value`. `iat` is
    `now`. Raises InputError, with the row's number, for whatever a verifier would refuse; then nothing is signed.
    """
    pending = prepare_tokens(request, _public_key(signer), now=now, token_type=token_type, max_lifetime=max_lifetime)
    return _signed(pending, signer)


def issue_delegation(entry: KeyringEntry, signer: Signer, *, now: int | datetime, expires_at: int | datetime) -> bytes:
    """Issue the delegation of the key in `entry`, with that entry's ceilings, signed by a root key.

    `entry` is the KeyringEntry that verifiers will hold afterwards; its issuer is the delegation's `iss`.
    """
    return _only(_signed(prepare_delegation(entry, _public_key(signer), now=now, expires_at=expires_at), signer))


def issue_revocations(revocations: Revocations, signer: Signer, *, issuer: str, now: int | datetime) -> bytes:
    """Issue the signed snapshot of `revocations`, with its version and its expiry."""
    return _only(_signed(prepare_revocations(revocations, _public_key(signer), issuer=issuer, now=now), signer))


def _public_key(signer: object) -> PublicKey:
    key = getattr(signer, "public_key", None)
    if isinstance(key, PublicKey):
        return key
    raise InputError(f"signer: got {type(signer).__name__}, expected a Signer")


def _signed(pending: PendingTokens, signer: Signer) -> Column:
    return pending.assemble(signer.sign_many(pending.messages()))


def _only(column: Column) -> bytes:
    (token,) = column.to_pylist()
    if not isinstance(token, bytes):
        raise InputError(f"token: got {type(token).__name__}, expected bytes")
    return token
