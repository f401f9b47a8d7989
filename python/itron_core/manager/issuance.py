"""Issues the tokens of a request, batch by batch: number, sign, release.

Numbers are committed before anything is signed under them, and a token is released by the transaction that stores it.
While a batch is signed, another thread stores the previous batch and numbers the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from itron_core._rust import MasterKey, derive_keys
from itron_core.audit import audit_entries, audit_entry
from itron_core.enums import Action, SecurityLevel
from itron_core.errors import InputError
from itron_core.exchange.identity import content_of, cti_of
from itron_core.exchange.material import LONGEST_LIFETIME
from itron_core.issuing import issue_tokens
from itron_core.manager.batches import Batch, number, open_batch, open_places, release
from itron_core.manager.eligibility import actions_of, command_of
from itron_core.manager.people import set_pending_level
from itron_core.manager.restoring import sequence_floor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from itron_core.audit.journal import Journal
    from itron_core.manager.requests import RequestToIssue, Terms
    from itron_core.signing import Signer
    from itron_core.stores.protocol import Store, Transaction

__all__ = ["Issuance", "RemoteMasterKey", "columns_of", "numbered"]

# docs/format.md, key derivation
KDFS = {"kbkdf-hmac-sha256": 1, "kbkdf-cmac-aes256": 2, "hkdf-sha256": 3, "kbkdf-cmac-aes128": 4}
DEFAULT_KDF = "kbkdf-hmac-sha256"

# Devices that get nothing, each with the reason.
Refused = list[tuple[str, str]]


class RemoteMasterKey(Protocol):
    """A master key held elsewhere, such as `Pkcs11MasterKey`."""

    @property
    def kdf(self) -> str:
        """The name of the derivation."""

    def check_values(self, device_ids: Iterable[str | bytes], *, utility: str | bytes, key_version: int) -> memoryview:
        """Return the key check values, shape (n, 4)."""


class Signed(NamedTuple):
    """A signed batch, to be stored."""

    batch: Batch
    tokens: list[bytes]
    kid: bytes


class Issuance:
    """Issues one allotted request; `now` is the time of its audit entries."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        asked: RequestToIssue,
        signer: Signer,
        reading_key: tuple[MasterKey | RemoteMasterKey, str] | None,
        *,
        now: int,
    ) -> None:
        self._store, self._journal, self._asked, self._now = store, journal, asked, now
        self._signer, self._reading_key = signer, reading_key

    def run(self) -> tuple[int, Refused]:
        """Sign and release the open batches; return the number of tokens released, and the devices that got none.

        The signer's exceptions pass through: batches signed before are released, the rest can be issued later.
        """
        with self._store.read() as t:
            places = open_places(t, self._asked.request)
        if len(places) > 1:
            return self._pipelined(places)
        issued, refused = 0, Refused()
        for place in places:
            _, batch, refused = self._step(None, place)
            issued, _, _ = self._step(self._sign(batch), None)
        return issued, refused

    def _pipelined(self, places: list[int]) -> tuple[int, Refused]:
        from concurrent.futures import ThreadPoolExecutor  # imports logging, which few calls need

        signed = None
        issued, batch, refused = self._step(None, places[0])
        with ThreadPoolExecutor(1) as writer:
            for place in (*places[1:], None):
                beside = writer.submit(self._step, signed, place)
                signed = self._sign(batch)
                count, batch, without = beside.result()
                issued, refused = issued + count, refused + without
        count, _, _ = self._step(signed, None)
        return issued + count, refused

    def _step(self, signed: Signed | None, place: int | None) -> tuple[int, Batch | None, Refused]:
        """Store one batch and number the next in the same transaction, which costs one sync of the disk."""
        batch, refused = None, Refused()
        with self._journal.transaction() as t:
            count = 0 if signed is None else self._released(t, signed)
            if place is not None:
                batch, refused = numbered(t, self._journal, self._asked, place, self._now)
        return count, batch, refused

    # --- Signing ---

    def _sign(self, batch: Batch | None) -> Signed | None:
        if batch is None or not batch.devices:
            return None
        asked, signer = self._asked, self._signer
        columns = columns_of(asked.terms, batch, asked.allotted_at)
        if asked.terms.token_type == "reading_key":
            columns |= self._reading_keys(batch)
        issued = issue_tokens(
            columns,
            signer,
            now=asked.allotted_at,
            token_type=asked.terms.token_type,
            max_lifetime=LONGEST_LIFETIME,
        )
        tokens = [token for token in issued.to_pylist() if isinstance(token, bytes)]
        return Signed(batch, tokens, signer.public_key.kid)

    def _reading_keys(self, batch: Batch) -> dict[str, list[Any]]:
        if self._reading_key is None:
            raise InputError(
                "master, utility: missing; reading keys need SecurityManager(..., master=KEY, utility=NAME)"
            )
        master, utility = self._reading_key
        checks = [b""] * len(batch.devices)
        for version in set(batch.key_versions):
            places = [place for place, its_own in enumerate(batch.key_versions) if its_own == version]
            values = _check_values(master, utility, version, [batch.devices[place] for place in places])
            for count, place in enumerate(places):
                checks[place] = values[4 * count : 4 * count + 4]
        kdf = DEFAULT_KDF if isinstance(master, MasterKey) else master.kdf
        return {"kdf": [KDFS[kdf]] * len(checks), "key_version": batch.key_versions, "check_value": checks}

    # --- Releasing ---

    def _released(self, t: Transaction, signed: Signed) -> int:
        if not release(t, signed.batch, signed.kid, signed.tokens):
            return 0
        self._journal.write(t, self._entries(signed))
        return len(signed.tokens)

    def _entries(self, signed: Signed) -> list[bytes]:
        asked, batch = self._asked, signed.batch
        return audit_entries(
            "issued",
            self._now,
            {
                "device": batch.devices,
                "cti": [cti_of(device, batch.sequence) for device in batch.devices],
                "content": [content_of(token) for token in signed.tokens],
            },
            request=asked.request,
            officer=asked.officer,
            token_type=asked.terms.token_type,
            actions=asked.terms.actions,
            kid=signed.kid,
        )


def numbered(
    t: Transaction, journal: Journal, asked: RequestToIssue, place: int, now: int
) -> tuple[Batch | None, Refused]:
    """Return a batch with its number, assigned in this transaction if it has none; None if it is already released."""
    before = open_batch(t, asked.request, place)
    if before is None or before.sequence:
        return before, []
    batch = number(t, before, asked.unit, after=sequence_floor(t))
    if asked.terms.token_type == "secure_command" and asked.terms.actions == 1 << Action.SET_SECURITY_LEVEL:
        set_pending_level(t, SecurityLevel[asked.terms.argument.upper()], batch.devices)
    kept = set(batch.devices)
    refused = [(device, "unit_changed") for device in before.devices if device not in kept]
    entry = audit_entry(
        "allotted", now, request=asked.request, sequence=batch.sequence, count=len(kept), refused=len(refused)
    )
    journal.write(t, [entry])
    return batch, refused


def columns_of(terms: Terms, batch: Batch, issued_at: int) -> dict[str, Any]:
    """Return the columns of `issue_tokens`, without those of reading keys."""
    count = len(batch.devices)
    columns: dict[str, Any] = {
        "device": batch.devices,
        "actions": [terms.actions] * count,
        "sequence": [batch.sequence] * count,
        "epoch": batch.epochs,
        "expires_at": [issued_at + terms.lifetime] * count,
    }
    if terms.session_seconds is not None:
        columns["session_seconds"] = [terms.session_seconds] * count
    if terms.subject is not None:
        columns["subject"] = [terms.subject] * count
    if terms.token_type == "secure_command":
        columns["command"] = [command_of(actions_of(terms.actions), terms.argument)] * count
    return columns


def _check_values(master: MasterKey | RemoteMasterKey, utility: str, key_version: int, devices: list[str]) -> bytes:
    """Return the key check values, 4 bytes each; a key in an HSM computes only these."""
    if isinstance(master, MasterKey):
        values = derive_keys(master, devices, utility=utility, key_version=key_version, kdf=DEFAULT_KDF).check_values()
    else:
        values = master.check_values(devices, utility=utility, key_version=key_version)
    return memoryview(values).tobytes()
