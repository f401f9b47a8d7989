"""What is revoked, as a caller names it or as a snapshot brings it."""

from dataclasses import dataclass, field

from reference.claims import REVOCATION
from reference.token import verify


class SnapshotRefusedError(Exception):
    """A snapshot that is not taken, with its code."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class SnapshotOlderError(Exception):
    """A genuine snapshot of a lower version than the one taken last, or of its version with other bytes."""


@dataclass(frozen=True)
class Revocations:
    """Revoked kids, watermarks (sequence, iat, epoch) by device, revoked (kid, cti), and when all of it is stale."""

    version: int
    expires_at: int
    issuers: frozenset = frozenset()
    devices: dict = field(default_factory=dict)
    tokens: frozenset = frozenset()
    token: bytes | None = None

    @classmethod
    def from_token(cls, token, keyring, now, *, newer_than=None, in_force=None, max_lifetime=86_400):
        """Read a snapshot under the one in force; one that is refused, or not newer than it may be, raises."""
        code, _, claims = verify(token, keyring, now, REVOCATION, revocations=in_force, max_lifetime=max_lifetime)
        if code:
            raise SnapshotRefusedError(code)
        taken = max(newer_than or 0, in_force.version if in_force else 0)
        if claims["version"] < taken:
            raise SnapshotOlderError
        if in_force and claims["version"] == in_force.version and token != in_force.token:
            raise SnapshotOlderError
        return cls(
            claims["version"],
            claims["expires_at"],
            frozenset(claims["issuers"]),
            {device: tuple(marks) for device, *marks in claims["devices"]},
            frozenset(claims["tokens"]),
            token,
        )

    def is_device_revoked(self, claims):
        """Tell whether a token lies below any of its device's three watermarks."""
        marks = self.devices.get(claims["audience"])
        return marks is not None and any(
            claims[name] < mark for name, mark in zip(("sequence", "issued_at", "epoch"), marks, strict=True)
        )
