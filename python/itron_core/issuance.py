"""How the tokens of a request come to be, chunk by chunk: numbers, signatures, release.

Numbers are committed before anything is signed under them, and a token is released by the transaction that stores it.
While a chunk is signed, another thread stores the one before it and gives the next one its numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from itron_core._rust import MasterKey, derive_keys
from itron_core.audit import audit_entries, audit_entry
from itron_core.eligibility import actions_of, command_of
from itron_core.errors import InputError
from itron_core.issuing import issue_tokens
from itron_core.levels import Action, SecurityLevel
from itron_core.material import LONGEST_LIFETIME, content_of, cti_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from itron_core.issuing import Signer
    from itron_core.journal import Journal
    from itron_core.store import Store, Transaction

__all__ = [
    "LAST_SEQUENCE",
    "OPEN",
    "Issuance",
    "Numbered",
    "RemoteMasterKey",
    "Wanted",
    "asked_of",
    "columns_of",
    "take_chunk",
]

# A power of two, as the store's blocks of rows are.
ROWS_A_CHUNK = 8_192
LAST_SEQUENCE = 2**63 - 1
# docs/format.md, key derivation
KDFS = {"kbkdf-hmac-sha256": 1, "kbkdf-cmac-aes256": 2, "hkdf-sha256": 3, "kbkdf-cmac-aes128": 4}
DEFAULT_KDF = "kbkdf-hmac-sha256"
# A row that is neither issued nor refused; the index of these is manager_row_open.
OPEN = "token IS NULL AND refused IS NULL"
BETWEEN = f"request = ? AND device >= ? AND device <= ? AND {OPEN}"
BEHIND = f"request = ? AND device > ? AND device <= ? AND {OPEN}"
UNNUMBERED = f"{BEHIND} AND sequence IS NULL"
RELEASE = (
    "INSERT INTO manager_row (serial, kid, token, request, device) VALUES {rows} ON CONFLICT (request, device)"
    " DO UPDATE SET serial = excluded.serial, kid = excluded.kid, token = excluded.token"
)


class RemoteMasterKey(Protocol):
    """A master key that is held elsewhere, as `Pkcs11MasterKey` is."""

    @property
    def kdf(self) -> str:
        """The name of its derivation."""

    def check_values(self, device_ids: Iterable[str | bytes], *, utility: str | bytes, key_version: int) -> memoryview:
        """Return the key check values, shape (n, 4)."""


class Wanted(NamedTuple):
    """What a request asks for each of its devices."""

    token_type: str
    actions: int
    argument: str
    session_seconds: int | None
    lifetime: int
    subject: str | None


class Numbered(NamedTuple):
    """A row that has its number, and all that is its own."""

    device: str
    sequence: int
    epoch: int
    key_version: int


class Asked(NamedTuple):
    """A request as far as its issuing goes; `allotted_at` is the issue time of all its tokens."""

    request: int
    unit: str
    officer: str
    allotted_at: int
    wanted: Wanted


class Chunk(NamedTuple):
    """Rows to be signed, by device; behind `last` there may be more. `refused` can have no number, for the reason."""

    rows: list[Numbered]
    last: str
    more: bool
    refused: list[tuple[str, str]]


class Signed(NamedTuple):
    """A chunk with its tokens, to be stored."""

    rows: list[Numbered]
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

    def run(self) -> tuple[int, list[tuple[str, str]]]:
        """Sign and release what is still to be; returns how many tokens were released here, and what got none.

        What the signer raises passes through: what was signed before is released, the rest goes on later.
        """
        chunk = self._take("")
        if not chunk.more:
            return self._release(self._sign(chunk)), chunk.refused
        return self._pipelined(chunk)

    def _pipelined(self, first: Chunk) -> tuple[int, list[tuple[str, str]]]:
        from concurrent.futures import ThreadPoolExecutor  # brings logging, which few calls need

        issued, refused = 0, [*first.refused]
        chunk: Chunk | None = first
        signed: Signed | None = None
        with ThreadPoolExecutor(1) as writer:
            while chunk is not None:
                beside = writer.submit(self._release_and_take, signed, chunk)
                try:
                    signed = self._sign(chunk)
                finally:
                    count, chunk = beside.result()
                    issued += count
                    refused += chunk.refused if chunk is not None else []
        return issued + self._release(signed), refused

    def _release_and_take(self, signed: Signed | None, before: Chunk) -> tuple[int, Chunk | None]:
        """Store a chunk and give numbers to the one behind `before`, in one transaction: one sync of the disk."""
        with self._store.write() as t:
            count = self._stored(t, signed)
            chunk = take_chunk(t, self._journal, self._asked, before.last, self._now) if before.more else None
        self._journal.publish()
        return count, chunk

    def _take(self, after: str) -> Chunk:
        with self._store.write() as t:
            chunk = take_chunk(t, self._journal, self._asked, after, self._now)
        self._journal.publish()
        return chunk

    def _release(self, signed: Signed | None) -> int:
        with self._store.write() as t:
            count = self._stored(t, signed)
        self._journal.publish()
        return count

    # --- Signing ---

    def _sign(self, chunk: Chunk) -> Signed | None:
        if not chunk.rows:
            return None
        asked, signer = self._asked, self._signer
        columns = columns_of(asked.wanted, chunk.rows, asked.allotted_at)
        if asked.wanted.token_type == "reading_key":
            columns |= self._reading_keys(chunk.rows)
        issued = issue_tokens(
            columns,
            signer,
            now=asked.allotted_at,
            token_type=asked.wanted.token_type,
            max_lifetime=LONGEST_LIFETIME,
        )
        tokens = [token for token in issued.to_pylist() if isinstance(token, bytes)]
        return Signed(chunk.rows, tokens, signer.public_key.kid)

    def _reading_keys(self, rows: list[Numbered]) -> dict[str, list[Any]]:
        if self._reading_key is None:
            raise InputError("reading keys without a master key; give the manager `master` and `utility`")
        master, utility = self._reading_key
        checks = [b""] * len(rows)
        for version in {row.key_version for row in rows}:
            places = [place for place, row in enumerate(rows) if row.key_version == version]
            values = _check_values(master, utility, version, [rows[place].device for place in places])
            for number, place in enumerate(places):
                checks[place] = values[4 * number : 4 * number + 4]
        versions = [row.key_version for row in rows]
        kdf = DEFAULT_KDF if isinstance(master, MasterKey) else master.kdf
        return {"kdf": [KDFS[kdf]] * len(rows), "key_version": versions, "check_value": checks}

    # --- Releasing ---

    def _stored(self, t: Transaction, signed: Signed | None) -> int:
        """Store tokens; where another process was first, its token stays the only one of that sequence number."""
        if signed is None:
            return 0
        number, fresh = self._asked.request, self._fresh(t, signed)
        start = _last_serial(t) + 1
        t.run_block(
            RELEASE,
            [
                (serial, signed.kid, token, number, row.device)
                for serial, (row, token) in enumerate(zip(fresh.rows, fresh.tokens, strict=True), start)
            ],
        )
        self._journal.write(t, self._entries(fresh) if fresh.rows else [])
        return len(fresh.rows)

    def _fresh(self, t: Transaction, signed: Signed) -> Signed:
        between = self._asked.request, signed.rows[0].device, signed.rows[-1].device
        ((count,),) = t.rows(f"SELECT count(*) FROM manager_row WHERE {BETWEEN}", between)  # noqa: S608
        if count == len(signed.rows):
            return signed
        still = {device for (device,) in t.rows(f"SELECT device FROM manager_row WHERE {BETWEEN}", between)}  # noqa: S608
        kept = [both for both in zip(signed.rows, signed.tokens, strict=True) if both[0].device in still]
        return signed._replace(rows=[row for row, _ in kept], tokens=[token for _, token in kept])

    def _entries(self, fresh: Signed) -> list[bytes]:
        asked = self._asked
        return audit_entries(
            "issued",
            self._now,
            {
                "device": [row.device for row in fresh.rows],
                "cti": [cti_of(row.device, row.sequence) for row in fresh.rows],
                "content": [content_of(token) for token in fresh.tokens],
            },
            request=asked.request,
            officer=asked.officer,
            token_type=asked.wanted.token_type,
            actions=asked.wanted.actions,
            kid=fresh.kid,
        )


def asked_of(t: Transaction, request: int) -> Asked:
    """Return a request that there is; before it is allotted, its issue time is 0."""
    ((unit, officer, allotted_at, *wanted),) = t.rows(
        f"SELECT unit, officer, allotted_at, {', '.join(Wanted._fields)} FROM manager_request WHERE id = ?",  # noqa: S608
        (request,),
    )
    return Asked(request, unit, officer, allotted_at or 0, Wanted(*wanted))


def take_chunk(t: Transaction, journal: Journal, asked: Asked, after: str, now: int) -> Chunk:
    """Return the next open rows behind a device; those without a number are given theirs in this transaction."""
    ((last, count, numbered),) = t.rows(
        "SELECT max(device), count(*), count(sequence) FROM (SELECT device, sequence FROM manager_row"  # noqa: S608
        f" WHERE request = ? AND device > ? AND {OPEN} ORDER BY device LIMIT ?) AS next_rows",
        (asked.request, after, ROWS_A_CHUNK),
    )
    if not count:
        return Chunk([], after, more=False, refused=[])
    between = asked.request, after, last
    refused = []
    if numbered < count:
        refused = _allot(t, asked, between)
        entry = audit_entry(
            "allotted", now, request=asked.request, count=count - numbered - len(refused), refused=len(refused)
        )
        journal.write(t, [entry])
    rows = t.rows(
        f"SELECT device, sequence, epoch, key_version FROM manager_row WHERE {BEHIND} ORDER BY device",  # noqa: S608
        between,
    )
    return Chunk([Numbered(*row) for row in rows], last, count == ROWS_A_CHUNK, refused)


def _allot(t: Transaction, asked: Asked, between: tuple[int, str, str]) -> list[tuple[str, str]]:
    """Fix the whole content of some tokens: what of it is the device's own, and the device's next number."""
    refused = t.rows(
        "SELECT device, CASE WHEN EXISTS (SELECT 1 FROM manager_device d WHERE d.device = manager_row.device"  # noqa: S608
        f" AND d.unit = ?) THEN 'sequence_spent' ELSE 'unit_changed' END FROM manager_row WHERE {UNNUMBERED}"
        " AND NOT EXISTS (SELECT 1 FROM manager_device d WHERE d.device = manager_row.device AND d.unit = ?"
        " AND d.sequence < ?) ORDER BY device",
        (asked.unit, *between, asked.unit, LAST_SEQUENCE),
    )
    t.run_many(
        "UPDATE manager_row SET refused = ? WHERE request = ? AND device = ?",
        [(reason, asked.request, device) for device, reason in refused],
    )
    these = f"device IN (SELECT device FROM manager_row WHERE {UNNUMBERED})"  # noqa: S608
    t.run(f"UPDATE manager_device SET sequence = sequence + 1 WHERE {these}", between)  # noqa: S608
    if asked.wanted.token_type == "secure_command" and asked.wanted.actions == 1 << Action.SET_SECURITY_LEVEL:
        level = int(SecurityLevel[asked.wanted.argument.upper()])
        t.run(f"UPDATE manager_device SET pending_level = ? WHERE {these}", (level, *between))  # noqa: S608
    t.run(
        "UPDATE manager_row SET (sequence, epoch, key_version) ="  # noqa: S608
        " (SELECT d.sequence, d.epoch, d.key_version FROM manager_device d WHERE d.device = manager_row.device)"
        f" WHERE {UNNUMBERED}",
        between,
    )
    return [(device, reason) for device, reason in refused]


def columns_of(wanted: Wanted, rows: Sequence[Numbered], issued_at: int) -> dict[str, Any]:
    """Return the columns of `issue_tokens`, but for those of reading keys."""
    count = len(rows)
    columns: dict[str, Any] = {
        "device": [row.device for row in rows],
        "actions": [wanted.actions] * count,
        "sequence": [row.sequence for row in rows],
        "epoch": [row.epoch for row in rows],
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


def _last_serial(t: Transaction) -> int:
    ((last,),) = t.rows("SELECT max(serial) FROM manager_row")
    return int(last or 0)
