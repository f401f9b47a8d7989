"""How the tokens of a request come to be, lot by lot: numbers, signatures, release.

Numbers are committed before anything is signed under them, and a token is released by the transaction that stores it.
While a lot is signed, another thread stores the one before it and gives the next one its numbers.
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
from itron_core.manager.batches import Lot, number, open_lot, open_places, release
from itron_core.manager.eligibility import actions_of, command_of
from itron_core.manager.people import set_pending_level
from itron_core.manager.restoring import sequence_floor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from itron_core.audit.journal import Journal
    from itron_core.manager.requests import Asked, Wanted
    from itron_core.signing import Signer
    from itron_core.stores.protocol import Store, Transaction

__all__ = ["Issuance", "RemoteMasterKey", "columns_of", "numbered"]

# docs/format.md, key derivation
KDFS = {"kbkdf-hmac-sha256": 1, "kbkdf-cmac-aes256": 2, "hkdf-sha256": 3, "kbkdf-cmac-aes128": 4}
DEFAULT_KDF = "kbkdf-hmac-sha256"

# The devices that get nothing, each with the reason.
Refused = list[tuple[str, str]]


class RemoteMasterKey(Protocol):
    """A master key that is held elsewhere, as `Pkcs11MasterKey` is."""

    @property
    def kdf(self) -> str:
        """The name of its derivation."""

    def check_values(self, device_ids: Iterable[str | bytes], *, utility: str | bytes, key_version: int) -> memoryview:
        """Return the key check values, shape (n, 4)."""


class Signed(NamedTuple):
    """A lot with its tokens, to be stored."""

    lot: Lot
    tokens: list[bytes]
    kid: bytes


class Issuance:
    """The issuing of one request that is allotted; `now` is the time of its entries in the journal."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        asked: Asked,
        signer: Signer,
        reading_key: tuple[MasterKey | RemoteMasterKey, str] | None,
        *,
        now: int,
    ) -> None:
        self._store, self._journal, self._asked, self._now = store, journal, asked, now
        self._signer, self._reading_key = signer, reading_key

    def run(self) -> tuple[int, Refused]:
        """Sign and release what is still to be; returns how many tokens were released here, and what got none.

        What the signer raises passes through: what was signed before is released, the rest goes on later.
        """
        with self._store.read() as t:
            places = open_places(t, self._asked.request)
        if len(places) > 1:
            return self._pipelined(places)
        issued, refused = 0, Refused()
        for place in places:
            _, lot, refused = self._step(None, place)
            issued, _, _ = self._step(self._sign(lot), None)
        return issued, refused

    def _pipelined(self, places: list[int]) -> tuple[int, Refused]:
        from concurrent.futures import ThreadPoolExecutor  # brings logging, which few calls need

        signed = None
        issued, lot, refused = self._step(None, places[0])
        with ThreadPoolExecutor(1) as writer:
            for place in (*places[1:], None):
                beside = writer.submit(self._step, signed, place)
                signed = self._sign(lot)
                count, lot, without = beside.result()
                issued, refused = issued + count, refused + without
        count, _, _ = self._step(signed, None)
        return issued + count, refused

    def _step(self, signed: Signed | None, place: int | None) -> tuple[int, Lot | None, Refused]:
        """Store a lot and give its number to the next, in one transaction: one sync of the disk."""
        lot, refused = None, Refused()
        with self._journal.transaction() as t:
            count = 0 if signed is None else self._released(t, signed)
            if place is not None:
                lot, refused = numbered(t, self._journal, self._asked, place, self._now)
        return count, lot, refused

    # --- Signing ---

    def _sign(self, lot: Lot | None) -> Signed | None:
        if lot is None or not lot.devices:
            return None
        asked, signer = self._asked, self._signer
        columns = columns_of(asked.wanted, lot, asked.allotted_at)
        if asked.wanted.token_type == "reading_key":
            columns |= self._reading_keys(lot)
        issued = issue_tokens(
            columns,
            signer,
            now=asked.allotted_at,
            token_type=asked.wanted.token_type,
            max_lifetime=LONGEST_LIFETIME,
        )
        tokens = [token for token in issued.to_pylist() if isinstance(token, bytes)]
        return Signed(lot, tokens, signer.public_key.kid)

    def _reading_keys(self, lot: Lot) -> dict[str, list[Any]]:
        if self._reading_key is None:
            raise InputError("reading keys without a master key; give the manager `master` and `utility`")
        master, utility = self._reading_key
        checks = [b""] * len(lot.devices)
        for version in set(lot.key_versions):
            places = [place for place, its_own in enumerate(lot.key_versions) if its_own == version]
            values = _check_values(master, utility, version, [lot.devices[place] for place in places])
            for count, place in enumerate(places):
                checks[place] = values[4 * count : 4 * count + 4]
        kdf = DEFAULT_KDF if isinstance(master, MasterKey) else master.kdf
        return {"kdf": [KDFS[kdf]] * len(checks), "key_version": lot.key_versions, "check_value": checks}

    # --- Releasing ---

    def _released(self, t: Transaction, signed: Signed) -> int:
        if not release(t, signed.lot, signed.kid, signed.tokens):
            return 0
        self._journal.write(t, self._entries(signed))
        return len(signed.tokens)

    def _entries(self, signed: Signed) -> list[bytes]:
        asked, lot = self._asked, signed.lot
        return audit_entries(
            "issued",
            self._now,
            {
                "device": lot.devices,
                "cti": [cti_of(device, lot.sequence) for device in lot.devices],
                "content": [content_of(token) for token in signed.tokens],
            },
            request=asked.request,
            officer=asked.officer,
            token_type=asked.wanted.token_type,
            actions=asked.wanted.actions,
            kid=signed.kid,
        )


def numbered(t: Transaction, journal: Journal, asked: Asked, place: int, now: int) -> tuple[Lot | None, Refused]:
    """Return a lot with its number, given in this transaction where it had none; None where it is released meanwhile."""
    before = open_lot(t, asked.request, place)
    if before is None or before.sequence:
        return before, []
    lot = number(t, before, asked.unit, after=sequence_floor(t))
    if asked.wanted.token_type == "secure_command" and asked.wanted.actions == 1 << Action.SET_SECURITY_LEVEL:
        set_pending_level(t, SecurityLevel[asked.wanted.argument.upper()], lot.devices)
    kept = set(lot.devices)
    refused = [(device, "unit_changed") for device in before.devices if device not in kept]
    entry = audit_entry(
        "allotted", now, request=asked.request, sequence=lot.sequence, count=len(kept), refused=len(refused)
    )
    journal.write(t, [entry])
    return lot, refused


def columns_of(wanted: Wanted, lot: Lot, issued_at: int) -> dict[str, Any]:
    """Return the columns of `issue_tokens`, but for those of reading keys."""
    count = len(lot.devices)
    columns: dict[str, Any] = {
        "device": lot.devices,
        "actions": [wanted.actions] * count,
        "sequence": [lot.sequence] * count,
        "epoch": lot.epochs,
        "expires_at": [issued_at + wanted.lifetime] * count,
    }
    if wanted.session_seconds is not None:
        columns["session_seconds"] = [wanted.session_seconds] * count
    if wanted.subject is not None:
        columns["subject"] = [wanted.subject] * count
    if wanted.token_type == "secure_command":
        columns["command"] = [command_of(actions_of(wanted.actions), wanted.argument)] * count
    return columns


def _check_values(master: MasterKey | RemoteMasterKey, utility: str, key_version: int, devices: list[str]) -> bytes:
    """Return the key check values, 4 bytes each; a key in an HSM tells them without deriving anything else."""
    if isinstance(master, MasterKey):
        values = derive_keys(master, devices, utility=utility, key_version=key_version, kdf=DEFAULT_KDF).check_values()
    else:
        values = master.check_values(devices, utility=utility, key_version=key_version)
    return memoryview(values).tobytes()
