"""Chooses the revocation snapshot that a party holds after receiving another, and decides whether it is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from itron_core._rust import Revocations, accepted_revocations
from itron_core.errors import TokenRefused
from itron_core.exchange.verification import ring_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from itron_core._rust import Keyring

__all__ = ["NOTHING", "Snapshot", "snapshot_after"]


class Snapshot(NamedTuple):
    """A held revocation snapshot: its signed bytes, its version, and the time for which it was verified.

    `token` is None and the numbers are 0 if there was never one. Times are in seconds since 1970.
    """

    token: bytes | None
    version: int
    accepted_at: int

    def trusted(self, keyring: Keyring, delegations: Sequence[bytes]) -> Revocations | None:
        """Return its revocations; None if there is none, or if its signer is no longer trusted."""
        if self.token is None:
            return None
        try:
            ring = ring_at(keyring, delegations, self.accepted_at)
            return Revocations.from_token(self.token, ring, now=self.accepted_at)
        except TokenRefused:
            return None

    def is_in_force(self, keyring: Keyring, delegations: Sequence[bytes], moment: int) -> bool:
        """Return whether material may be used under it: it is valid and has not expired, or there was never one."""
        if self.token is None:
            return True
        try:
            found = Revocations.from_token(self.token, ring_at(keyring, delegations, moment), now=moment)
        except TokenRefused:
            return False
        return moment < found.expires_at  # no skew, as in verification


NOTHING = Snapshot(None, 0, 0)


def snapshot_after(
    held: Snapshot,
    offered: bytes | None,
    keyring: Keyring,
    *,
    delegations: tuple[Sequence[bytes], Sequence[bytes]],
    moment: int,
) -> Snapshot:
    """Return the snapshot to hold after another was offered: the newer one, or the held one if in doubt.

    `delegations` are those held so far, and those that came with the offer. An expired snapshot is held too: everything
    is stale under it until the next one. An excessive version counts while the key that signed it is trusted; after
    that, an older one replaces it. Raises TokenRefused if the offer is invalid, and ItronCoreError if it differs from
    the held one under the same version.
    """
    if offered is None or offered == held.token:
        return held
    together = list(dict.fromkeys([*delegations[0], *delegations[1]]))
    in_force = held.trusted(keyring, together)
    claimed = accepted_revocations(offered)
    if claimed.version < held.version:
        return _healed(held, offered, keyring, together, moment) or held
    at = min(moment, claimed.expires_at - 1)
    found = Revocations.from_token(
        offered,
        ring_at(keyring, delegations[1], at),
        now=at,
        newer_than=held.version,
        revocations=in_force,
    )
    return Snapshot(offered, found.version, at)


def _healed(
    held: Snapshot, offered: bytes, keyring: Keyring, delegations: Sequence[bytes], moment: int
) -> Snapshot | None:
    ring = ring_at(keyring, delegations, moment)
    try:
        found = Revocations.from_token(offered, ring, now=moment)
    except TokenRefused:
        return None
    try:
        Revocations.from_token(held.token or b"", ring, now=held.accepted_at, revocations=found)
    except TokenRefused:
        return Snapshot(offered, found.version, moment)
    return None
