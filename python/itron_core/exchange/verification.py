"""Checks received material before it is stored: each token, and the columns beside it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from itron_core._arguments import moment
from itron_core._rust import verify_tokens
from itron_core.enums import DEVICE_TOKEN_TYPES, Code
from itron_core.errors import InputError, KeyRefused, TokenRefused
from itron_core.exchange.material import LONGEST_LIFETIME

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from itron_core._rust import Keyring, Revocations
    from itron_core.exchange.material import Material

__all__ = ["TRUSTED", "check_before", "judge", "ring_at"]

# The greatest clock skew that a verifier may allow, in seconds (docs/format.md, section Limits).
LONGEST_SKEW = 600
# After these codes only time and revocation are open: the claims of the token are trusted.
TRUSTED = frozenset(
    {
        Code.OK,
        Code.IAT_IN_FUTURE,
        Code.NOT_YET_VALID,
        Code.EXPIRED,
        Code.SNAPSHOT_STALE,
        Code.ISSUER_REVOKED,
        Code.DEVICE_REVOKED,
        Code.TOKEN_REVOKED,
    }
)
CLAIMS = ("kid", "sequence", "actions", "epoch", "issued_at", "not_before", "expires_at", "session_seconds")


def ring_at(keyring: Keyring, delegations: Iterable[bytes], moment: int) -> Keyring:
    """Return the keyring with the delegations in force. Keys of the others are not trusted; nothing else changes.

    A keyring has one entry per key: of two delegations in force for one key, the one that ends last is taken.
    """
    chosen: dict[bytes, tuple[int, bytes]] = {}
    for token in delegations:
        try:
            entry = keyring.with_delegations([token], now=moment).entries[-1]
        except (TokenRefused, KeyRefused):
            continue
        until = entry.valid_until or 0
        if until >= chosen.get(entry.key.kid, (0, b""))[0]:
            chosen[entry.key.kid] = until, token
    return keyring.with_delegations([token for _, token in chosen.values()], now=moment)


def check_before(before: object, now: int) -> int:
    """Return the time by which material must have ended to be pruned. Raises InputError for a time in the future."""
    latest, ended = moment("now", now), moment("before", before)
    if ended > latest:
        raise InputError(f"before: got {ended}, which lies in the future; expected a time up to now, {latest}")
    return ended - LONGEST_SKEW


def judge(rows: Sequence[Material], keyring: Keyring, *, now: int, revocations: Revocations | None = None) -> list[int]:
    """Return one `Code` per row: the code of its token, verified for the row's device and type.

    A trusted token that contradicts any column of its row is CLAIM_INCONSISTENT; one of unknown type is TYP_MISMATCH.
    """
    codes = [int(Code.TYP_MISMATCH)] * len(rows)
    for token_type in DEVICE_TOKEN_TYPES:
        places = [place for place, row in enumerate(rows) if row.token_type == token_type]
        if not places:
            continue
        results = verify_tokens(
            [rows[place].token for place in places],
            keyring,
            now=now,
            token_type=token_type,
            audience=[rows[place].device for place in places],
            revocations=revocations,
            max_lifetime=LONGEST_LIFETIME,
        )
        said = zip(*(results[name].to_pylist() for name in CLAIMS), strict=True)
        for place, code, claims in zip(places, results["code"].to_pylist(), said, strict=True):
            contradicts = code in TRUSTED and not _agree(rows[place], claims)
            codes[place] = int(Code.CLAIM_INCONSISTENT) if contradicts else code
        _judge_untimely(rows, [place for place in places if codes[place] in TRUSTED - {Code.OK}], keyring, codes)
    return codes


def _judge_untimely(rows: Sequence[Material], places: Sequence[int], keyring: Keyring, codes: list[int]) -> None:
    """Check the device of tokens that are not yet valid, expired or revoked, all of one type: verification checks it last."""
    by_begin: dict[int, list[int]] = defaultdict(list)
    for place in places:
        by_begin[max(rows[place].issued_at, rows[place].not_before or 0)].append(place)
    for begin, some in by_begin.items():
        results = verify_tokens(
            [rows[place].token for place in some],
            keyring,
            now=begin,
            token_type=rows[some[0]].token_type,
            audience=[rows[place].device for place in some],
            max_lifetime=LONGEST_LIFETIME,
        )
        for place, code in zip(some, results["code"].to_pylist(), strict=True):
            codes[place] = codes[place] if code == Code.OK else code


def _agree(row: Material, claims: tuple[Any, ...]) -> bool:
    kid, sequence, actions, epoch, issued_at, not_before, expires_at, session_seconds = claims
    return (
        (row.kid, row.sequence, row.actions, row.epoch, row.session_seconds)
        == (kid, sequence, actions, epoch, session_seconds)
        and _second(issued_at) == row.issued_at
        and _second(not_before) == (row.issued_at if row.not_before is None else row.not_before)
        and _second(expires_at) == row.expires_at
    )


def _second(moment: datetime) -> int:
    return int(moment.timestamp())
