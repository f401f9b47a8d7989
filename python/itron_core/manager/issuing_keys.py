"""The keys of a security manager: delegated by a root, rotated with overlap, revoked in snapshots. No private key is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from itron_core._arguments import whole
from itron_core._rust import Keyring, KeyringEntry, Revocations
from itron_core.audit import audit_entry
from itron_core.enums import DEVICE_TOKEN_TYPES, TOKEN_TYPES
from itron_core.errors import InputError
from itron_core.issuing import issue_delegation, issue_revocations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from itron_core.audit.journal import Journal
    from itron_core.signing import Signer
    from itron_core.stores.protocol import Store, Transaction

__all__ = ["Authority"]

DAY = 86_400
LATEST = 4_102_444_800  # 2100-01-01, where the format's times end

STEPS = [
    """
    CREATE TABLE manager_key (
        kid BLOB NOT NULL PRIMARY KEY, delegation BLOB NOT NULL, valid_from INTEGER NOT NULL,
        valid_until INTEGER NOT NULL, position INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE manager_revoked_key (kid BLOB NOT NULL PRIMARY KEY) STRICT;
    CREATE TABLE manager_revoked_token (kid BLOB NOT NULL, cti BLOB NOT NULL, PRIMARY KEY (kid, cti)) STRICT;
    CREATE TABLE manager_watermark (
        device TEXT NOT NULL PRIMARY KEY, sequence INTEGER NOT NULL, issued_at INTEGER NOT NULL, epoch INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE manager_snapshot (one INTEGER NOT NULL PRIMARY KEY, version INTEGER NOT NULL) STRICT
    """
]
# Each of the three marks only rises, by itself.
RAISE_WATERMARK = """
    INSERT INTO manager_watermark AS known VALUES (?, ?, ?, ?) ON CONFLICT (device) DO UPDATE SET
        sequence = CASE WHEN excluded.sequence > known.sequence THEN excluded.sequence ELSE known.sequence END,
        issued_at = CASE WHEN excluded.issued_at > known.issued_at THEN excluded.issued_at ELSE known.issued_at END,
        epoch = CASE WHEN excluded.epoch > known.epoch THEN excluded.epoch ELSE known.epoch END
"""


class Authority:
    """Delegations and revocations in a store; every change is audited in the transaction that makes it."""

    def __init__(self, store: Store, journal: Journal, root: Signer | None, issuer: str) -> None:
        self._store, self._journal, self._root, self._issuer = store, journal, root, issuer
        store.migrate("manager_authority", STEPS)

    def delegate(self, signer: Signer, *, now: int, valid_from: int, overlap: int, lifetime: int) -> bytes:
        """Delegate a key from `valid_from` for `lifetime` from now on; those before it stay for `overlap`.

        A renewal begins where the delegation that it renews began: what was issued under that stays good.
        """
        if self._root is None:
            raise InputError("a rotation without a root key; give the manager root=, the key that delegates")
        whole("overlap", overlap)
        until, kid = whole("now", now) + whole("lifetime", lifetime, 1), signer.public_key.kid
        with self._store.read() as t:
            begun = t.rows("SELECT valid_from FROM manager_key WHERE kid = ? AND valid_until > ?", (kid, now))
        valid_from = min([valid_from, *(start for (start,) in begun)])
        entry = KeyringEntry(
            signer.public_key,
            issuer=self._issuer,
            valid_from=valid_from,
            valid_until=until,
        )
        delegation = issue_delegation(entry, self._root, now=now, expires_at=until)
        with self._store.write() as t:
            ((last,),) = t.rows("SELECT max(position) FROM manager_key")
            t.run("UPDATE manager_key SET valid_until = ? WHERE valid_until > ?", (now + overlap, now + overlap))
            t.run(
                "INSERT INTO manager_key VALUES (?, ?, ?, ?, ?) ON CONFLICT (kid) DO UPDATE SET"
                " delegation = excluded.delegation, valid_from = excluded.valid_from,"
                " valid_until = excluded.valid_until, position = excluded.position",
                (kid, delegation, valid_from, until, (last or 0) + 1),
            )
            entry_ = audit_entry("rotated", now, kid=kid, overlap=overlap, valid_from=valid_from, valid_until=until)
            self._journal.write(t, [entry_])
        self._journal.publish()
        return delegation

    def check_delegated(self, t: Transaction, signer: Signer, *, now: int) -> None:
        """Raise InputError where there is a root, and the signer's key is not delegated at `now`: nobody would believe it."""
        if self._root is None:
            return
        kid = signer.public_key.kid
        found = t.rows("SELECT valid_from, valid_until FROM manager_key WHERE kid = ?", (kid,))
        if not any(start <= now < end for start, end in found):
            raise InputError(
                f"the issuing key {kid.hex()} has no delegation in force at {now}; rotate(signer) makes one"
            )

    def delegations(self, *, now: int) -> list[bytes]:
        """Return the delegations in force, the oldest key first."""
        with self._store.read() as t:
            found = t.rows("SELECT delegation FROM manager_key WHERE valid_until > ? ORDER BY position", (now,))
        return [bytes(token) for (token,) in found]

    def keyring(self, signer: Signer, *, now: int) -> Keyring:
        """Return what a reader needs: the root with its delegations, or the issuing key alone."""
        if self._root is None:
            types = (*DEVICE_TOKEN_TYPES, "revocation")
            return Keyring([KeyringEntry(signer.public_key, issuer=self._issuer, token_types=types)])
        ring = Keyring([KeyringEntry(self._root.public_key, issuer=self._issuer, token_types=TOKEN_TYPES)])
        return ring.with_delegations(self.delegations(now=now), now=now)

    def revoke(
        self,
        issuers: Iterable[bytes],
        devices: Mapping[str, tuple[int, int, int]],
        tokens: Iterable[tuple[bytes, bytes]],
        *,
        now: int,
    ) -> None:
        """Put keys, devices and tokens on the list; a device's watermarks only rise."""
        # Made once here: what a snapshot would refuse must not enter the list that all later ones are made of.
        listed = Revocations(issuers=issuers, devices=devices, tokens=tokens, version=1, expires_at=LATEST)
        with self._store.write() as t:
            t.run_many(
                "INSERT INTO manager_revoked_key VALUES (?) ON CONFLICT DO NOTHING", [(kid,) for kid in listed.issuers]
            )
            t.run_many("INSERT INTO manager_revoked_token VALUES (?, ?) ON CONFLICT DO NOTHING", listed.tokens)
            t.run_many(RAISE_WATERMARK, [(device, *marks) for device, marks in listed.devices.items()])
            entries = [audit_entry("revoked_key", now, kid=kid) for kid in listed.issuers]
            entries += [audit_entry("revoked_token", now, kid=kid, cti=cti) for kid, cti in listed.tokens]
            entries += [
                audit_entry("revoked_device", now, device=device, sequence=marks[0], issued_at=marks[1], epoch=marks[2])
                for device, marks in listed.devices.items()
            ]
            self._journal.write(t, entries)
        self._journal.publish()

    def snapshot(self, signer: Signer, *, now: int, lifetime: int) -> bytes:
        """Return a signed snapshot of all that is revoked; its version is one more than that of the last."""
        until = whole("now", now) + whole("lifetime", lifetime, 1)
        with self._store.write() as t:
            version = 1 + sum(version for (version,) in t.rows("SELECT version FROM manager_snapshot"))
            t.run("DELETE FROM manager_snapshot")
            t.run("INSERT INTO manager_snapshot VALUES (1, ?)", (version,))
            listed = Revocations(
                issuers=[bytes(kid) for (kid,) in t.rows("SELECT kid FROM manager_revoked_key")],
                devices={
                    device: (sequence, issued_at, epoch)
                    for device, sequence, issued_at, epoch in t.rows("SELECT * FROM manager_watermark")
                },
                tokens=[(bytes(kid), bytes(cti)) for kid, cti in t.rows("SELECT kid, cti FROM manager_revoked_token")],
                version=version,
                expires_at=until,
            )
            self._journal.write(t, [audit_entry("snapshot", now, version=version, expires_at=until)])
        self._journal.publish()
        return issue_revocations(listed, self._root or signer, issuer=self._issuer, now=now)

    def has_revoked(self) -> bool:
        """Say whether anything was ever revoked."""
        with self._store.read() as t:
            return any(
                t.rows(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608
                for table in ("manager_revoked_key", "manager_revoked_token", "manager_watermark")
            )
