"""Issuing: what may be asked is checked and encoded in Rust, a signer signs it, Rust verifies every signature again.

What the reader would refuse is refused here, with the row's number, before anything is signed.
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
    """Issue one token a row of `request` and return them as a binary column, same rows, same order.

    `request` holds the columns `device`, `actions` (a bit set, or a list of names), `sequence`, `epoch`, and where
    wanted `expires_at`, `not_before`, `session_seconds`, `subject`, `command`, `kdf`, `key_version`, `check_value`.
    `iat` is `now`. What the reader would refuse raises InputError and names the row; nothing is signed then.
    """
    pending = prepare_tokens(request, _public_key(signer), now=now, token_type=token_type, max_lifetime=max_lifetime)
    return _signed(pending, signer)


def issue_delegation(entry: KeyringEntry, signer: Signer, *, now: int | datetime, expires_at: int | datetime) -> bytes:
    """Issue the delegation of the key in `entry`, with that entry's ceilings, signed by a root key.

    `entry` is the KeyringEntry that the reader shall hold afterwards; its issuer is the delegation's `iss`.
    """
    return _only(_signed(prepare_delegation(entry, _public_key(signer), now=now, expires_at=expires_at), signer))


def issue_revocations(revocations: Revocations, signer: Signer, *, issuer: str, now: int | datetime) -> bytes:
    """Issue the signed snapshot of `revocations`, with its version and its expiry."""
    return _only(_signed(prepare_revocations(revocations, _public_key(signer), issuer=issuer, now=now), signer))


def _public_key(signer: object) -> PublicKey:
    key = getattr(signer, "public_key", None)
    if isinstance(key, PublicKey):
        return key
    raise InputError(f"signer: got {type(signer).__name__}, wanted a Signer")


def _signed(pending: PendingTokens, signer: Signer) -> Column:
    return pending.assemble(signer.sign_many(pending.messages()))


def _only(column: Column) -> bytes:
    (token,) = column.to_pylist()
    if not isinstance(token, bytes):
        raise InputError(f"a token of {type(token).__name__}; wanted bytes")
    return token
