"""A security manager's issuing keys: delegated by a root, rotated with overlap, revoked in snapshots. Stores no private key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from itron_core._arguments import LATEST, moment, whole
from itron_core._rust import Keyring, KeyringEntry, Revocations, verify_tokens
from itron_core.audit import audit_entry
from itron_core.enums import DEVICE_TOKEN_TYPES, TOKEN_TYPES, Code
from itron_core.errors import InputError
from itron_core.issuing import issue_delegation, issue_revocations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from itron_core._rust import PublicKey
    from itron_core.audit.journal import Journal
    from itron_core.signing import Signer
    from itron_core.stores.protocol import Store, Transaction

__all__ = ["IssuingKey", "IssuingKeys", "list_revoked", "raise_version"]


# Each of the three watermarks only rises.
RAISE_WATERMARK = """
    INSERT INTO manager_watermark AS known (device, sequence, issued_at, epoch) VALUES (?, ?, ?, ?) ON CONFLICT (device) DO UPDATE SET
        sequence = CASE WHEN excluded.sequence > known.sequence THEN excluded.sequence ELSE known.sequence END,
        issued_at = CASE WHEN excluded.issued_at > known.issued_at THEN excluded.issued_at ELSE known.issued_at END,
        epoch = CASE WHEN excluded.epoch > known.epoch THEN excluded.epoch ELSE known.epoch END
"""


class IssuingKey(NamedTuple):
    """A delegated issuing key: its id, and the start and end of its delegation, in seconds since 1970."""

    kid: bytes
    valid_from: int
    valid_until: int


class IssuingKeys:
    """Delegations and revocations in a store; every change is committed together with its audit entries."""

    def __init__(self, store: Store, journal: Journal, root: Signer | None, issuer: str) -> None:
        self._store, self._journal, self._root, self._issuer = store, journal, root, issuer

    def delegate(self, signer: Signer, *, now: int, valid_from: int, overlap: int, lifetime: int) -> bytes:
        """Delegate a key from `valid_from` until `lifetime` seconds from now; earlier keys stay for `overlap` seconds.

        A renewed delegation keeps its start, so that tokens issued under it stay valid. One that was signed by a clock
        that was ahead is signed again, unless it begins in the future.
        """
        if self._root is None:
            raise InputError("root: missing; rotate needs the key that delegates: SecurityManager(..., root=SIGNER)")
        whole("overlap", overlap)
        until, kid = moment("now", now) + whole("lifetime", lifetime, 1), signer.public_key.kid
        with self._store.read() as t:
            begun = t.rows("SELECT valid_from FROM manager_key WHERE kid = ? AND valid_until > ?", (kid, now))
            held = t.rows(
                "SELECT delegation, valid_from, valid_until FROM manager_key"
                " WHERE kid <> ? AND valid_from <= ? AND valid_until > ?",
                (kid, now, now),
            )
        valid_from = min([valid_from, *(start for (start,) in begun)])
        delegation = self._signed(signer.public_key, now, valid_from, until)
        # Tokens of earlier keys stay valid for the overlap, even if a delegation would end sooner.
        ring = self._ring(self._root)
        renewed = [
            self._renewed(ring, bytes(token), start, now, now + overlap)
            for token, start, end in held
            if end < now + overlap or _issued_at(bytes(token), ring, now) > now
        ]
        with self._journal.transaction() as t:
            ((last,),) = t.rows("SELECT max(position) FROM manager_key")
            t.run("UPDATE manager_key SET valid_until = ? WHERE valid_until > ?", (now + overlap, now + overlap))
            t.run_many(
                "UPDATE manager_key SET delegation = ?, valid_until = ? WHERE kid = ?",
                [(token, now + overlap, old) for old, token in renewed],
            )
            t.run(
                "INSERT INTO manager_key (kid, delegation, valid_from, valid_until, position) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (kid) DO UPDATE SET"
                " delegation = excluded.delegation, valid_from = excluded.valid_from,"
                " valid_until = excluded.valid_until, position = excluded.position",
                (kid, delegation, valid_from, until, (last or 0) + 1),
            )
            entries = [audit_entry("rotated", now, kid=kid, overlap=overlap, valid_from=valid_from, valid_until=until)]
            entries += [
                audit_entry("delegation_renewed", now, kid=old, valid_until=now + overlap) for old, _ in renewed
            ]
            self._journal.write(t, entries)
        return delegation

    def _signed(self, key: PublicKey, now: int, valid_from: int, until: int) -> bytes:
        assert self._root is not None  # noqa: S101  # checked by the caller
        entry = KeyringEntry(key, issuer=self._issuer, valid_from=valid_from, valid_until=until)
        return issue_delegation(entry, self._root, now=now, expires_at=until)

    def _ring(self, *roots: Signer) -> Keyring:
        keys = {one.public_key.kid: one.public_key for one in roots}.values()
        return Keyring([KeyringEntry(key, issuer=self._issuer, token_types=TOKEN_TYPES) for key in keys])

    def _renewed(self, ring: Keyring, token: bytes, valid_from: int, now: int, until: int) -> tuple[bytes, bytes]:
        """Return the kid of a delegated key, and a new delegation."""
        at = max(now, _issued_at(token, ring, now))
        key = ring.with_delegations([token], now=at).entries[-1].key
        return key.kid, self._signed(key, now, valid_from, until)

    def change_root(self, root: Signer, *, now: int) -> None:
        """Delegate all keys with unexpired delegations by another root from now on, each until its previous end."""
        if self._root is None:
            raise InputError("root: missing; the issuing key of this manager is trusted without one")
        moment("now", now)
        with self._store.read() as t:
            held = t.rows(
                "SELECT delegation, valid_from, valid_until FROM manager_key WHERE valid_from <= ? AND valid_until > ?",
                (now, now),
            )
        # Both roots, so that an interrupted call can be repeated before its caller has stored the new root.
        old = self._ring(self._root, root)
        before, self._root = self._root, root
        try:
            renewed = [self._renewed(old, bytes(token), start, now, end) for token, start, end in held]
            with self._journal.transaction() as t:
                # What begins in the future was signed by a clock that was ahead.
                t.run("UPDATE manager_key SET valid_until = ? WHERE valid_from > ?", (now, now))
                t.run_many(
                    "UPDATE manager_key SET delegation = ? WHERE kid = ?", [(token, kid) for kid, token in renewed]
                )
                kids = {"before": before.public_key.kid, "root": root.public_key.kid}
                self._journal.write(t, [audit_entry("root_changed", now, count=len(renewed), **kids)])
        except BaseException:
            self._root = before
            raise

    def keys(self) -> list[IssuingKey]:
        """Return all keys that were ever delegated here, oldest first."""
        with self._store.read() as t:
            found = t.rows("SELECT kid, valid_from, valid_until FROM manager_key ORDER BY position")
        return [IssuingKey(bytes(kid), start, end) for kid, start, end in found]

    def delegated_until(self, t: Transaction, signer: Signer, *, now: int) -> int:
        """Return when the delegation of the signer's key ends. Tokens are not accepted after that.

        Raises InputError if there is a root key but no delegation in force at `now`.
        """
        if self._root is None:
            return LATEST
        kid = signer.public_key.kid
        found = t.rows("SELECT valid_from, valid_until FROM manager_key WHERE kid = ?", (kid,))
        ends = [int(end) for start, end in found if start <= now < end]
        if not ends:
            past = "".join(
                f"; the last one begins at {_shown(start)}: was a clock ahead?"
                if start > now
                else f"; the last one ended at {_shown(end)}"
                for start, end in found
            )
            raise InputError(
                f"the issuing key {kid.hex()} has no delegation in force at {_shown(now)}{past}; itron-core manager rotate"
                " HOME makes one (in Python: rotate)"
            )
        return max(ends)

    def delegations(self, *, now: int) -> list[bytes]:
        """Return the delegations in force, the oldest key first; without those that a clock ahead of `now` has signed."""
        if self._root is None:
            return []
        with self._store.read() as t:
            found = t.rows("SELECT delegation FROM manager_key WHERE valid_until > ? ORDER BY position", (now,))
        tokens, ring = [bytes(token) for (token,) in found], self._ring(self._root)
        codes = verify_tokens(tokens, ring, now=now, token_type="delegation")["code"].to_pylist()
        return [token for token, code in zip(tokens, codes, strict=True) if code != Code.IAT_IN_FUTURE]

    def keyring(self, signer: Signer, *, now: int) -> Keyring:
        """Return the keyring for verifying: the root with its delegations, or the issuing key alone."""
        if self._root is None:
            types = (*DEVICE_TOKEN_TYPES, "revocation")
            return Keyring([KeyringEntry(signer.public_key, issuer=self._issuer, token_types=types)])
        return self._ring(self._root).with_delegations(self.delegations(now=now), now=now)

    def revoke(
        self,
        issuers: Iterable[bytes],
        devices: Mapping[str, tuple[int, int, int]],
        tokens: Iterable[tuple[bytes, bytes]],
        *,
        now: int,
    ) -> None:
        """Add keys, devices and tokens to the revocations; a device's watermarks only rise."""
        with self._journal.transaction() as t:
            listed = list_revoked(t, issuers=issuers, devices=devices, tokens=tokens)
            entries = [audit_entry("revoked_key", now, kid=kid) for kid in listed.issuers]
            entries += [audit_entry("revoked_token", now, kid=kid, cti=cti) for kid, cti in listed.tokens]
            entries += [
                audit_entry("revoked_device", now, device=device, sequence=marks[0], issued_at=marks[1], epoch=marks[2])
                for device, marks in listed.devices.items()
            ]
            self._journal.write(t, entries)

    def snapshot(self, signer: Signer, *, now: int, lifetime: int) -> bytes:
        """Return a signed snapshot of all revocations; its version is one more than the last."""
        until = moment("now", now) + whole("lifetime", lifetime, 1)
        with self._journal.transaction() as t:
            version = 1 + sum(version for (version,) in t.rows("SELECT version FROM manager_snapshot"))
            t.run("DELETE FROM manager_snapshot")
            t.run("INSERT INTO manager_snapshot (one, version) VALUES (1, ?)", (version,))
            listed = Revocations(**_listed(t), version=version, expires_at=until)
            self._journal.write(t, [audit_entry("snapshot", now, version=version, expires_at=until)])
        return issue_revocations(listed, self._root or signer, issuer=self._issuer, now=now)

    def revoked(self) -> tuple[list[bytes], dict[str, tuple[int, int, int]], list[tuple[bytes, bytes]]]:
        """Return all revocations: keys, devices with their watermarks, and tokens."""
        with self._store.read() as t:
            found = _listed(t)
        return found["issuers"], found["devices"], found["tokens"]

    def has_revoked(self) -> bool:
        """Return whether anything was ever revoked."""
        with self._store.read() as t:
            return any(
                t.rows(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608
                for table in ("manager_revoked_key", "manager_revoked_token", "manager_watermark")
            )


def _issued_at(delegation: bytes, ring: Keyring, now: int) -> int:
    """Return when a genuine delegation was issued, be it in the future."""
    (issued,) = verify_tokens([delegation], ring, now=now, token_type="delegation")["issued_at"].to_pylist()
    return now if issued is None else int(issued.timestamp())


def _shown(seconds: int) -> str:
    return f"{seconds} ({datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC)"


class _Listed(TypedDict):
    issuers: list[bytes]
    devices: dict[str, tuple[int, int, int]]
    tokens: list[tuple[bytes, bytes]]


def _listed(t: Transaction) -> _Listed:
    return {
        "issuers": [bytes(kid) for (kid,) in t.rows("SELECT kid FROM manager_revoked_key ORDER BY kid")],
        "devices": {
            device: (sequence, issued_at, epoch)
            for device, sequence, issued_at, epoch in t.rows(
                "SELECT device, sequence, issued_at, epoch FROM manager_watermark ORDER BY device"
            )
        },
        "tokens": [
            (bytes(kid), bytes(cti))
            for kid, cti in t.rows("SELECT kid, cti FROM manager_revoked_token ORDER BY kid, cti")
        ],
    }


def list_revoked(
    t: Transaction,
    issuers: Iterable[bytes] = (),
    devices: Mapping[str, tuple[int, int, int]] | None = None,
    tokens: Iterable[tuple[bytes, bytes]] = (),
) -> Revocations:
    """Add keys, devices and tokens to the revocations, and return them in the form of a snapshot.

    Raises InputError for what a snapshot would refuse, since all later snapshots contain it.
    """
    listed = Revocations(issuers=issuers, devices=devices or {}, tokens=tokens, version=1, expires_at=LATEST)
    t.run_many(
        "INSERT INTO manager_revoked_key (kid) VALUES (?) ON CONFLICT DO NOTHING", [(kid,) for kid in listed.issuers]
    )
    t.run_many("INSERT INTO manager_revoked_token (kid, cti) VALUES (?, ?) ON CONFLICT DO NOTHING", listed.tokens)
    t.run_many(RAISE_WATERMARK, [(device, *marks) for device, marks in listed.devices.items()])
    return listed


def raise_version(t: Transaction, version: int) -> None:
    """Make the next snapshot's version higher than this."""
    known = sum(known for (known,) in t.rows("SELECT version FROM manager_snapshot"))
    t.run("DELETE FROM manager_snapshot")
    t.run("INSERT INTO manager_snapshot (one, version) VALUES (1, ?)", (max(known, version),))
