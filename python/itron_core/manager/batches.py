"""The rows of requests as the manager's store keeps them: in lots, which are numbered, signed and released as one.

A lot has one sequence number, and no two have the same: so no device has two tokens of one number. What its tokens say is
committed with its number, before anything is signed; a number is never given twice, whatever crashes in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from itron_core.stores.byte_strings import packed, unpacked
from itron_core.stores.protocol import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from itron_core.stores.protocol import Row, Transaction

__all__ = [
    "OPEN",
    "Lot",
    "Released",
    "add_lots",
    "close_open",
    "last_sequence",
    "last_serial",
    "number",
    "of_sequences",
    "open_lot",
    "open_places",
    "release",
    "released",
]

ROWS_A_LOT = 8_192
LAST_SEQUENCE = 2**63 - 1

# A lot that is neither released nor empty.
OPEN = "tokens IS NULL"


class Lot(NamedTuple):
    """Some rows of a request; `sequence` 0 and no epochs or key versions as long as it has no number."""

    request: int
    place: int
    sequence: int
    devices: list[str]
    epochs: list[int]
    key_versions: list[int]


class Released(NamedTuple):
    """A lot with its tokens; the serial of the first is `first`."""

    lot: Lot
    first: int
    kid: bytes
    tokens: list[bytes]


def add_lots(t: Transaction, request: int, devices: Sequence[str]) -> None:
    """Keep the devices of a new request."""
    starts = range(0, len(devices), ROWS_A_LOT)
    lots = [devices[start : start + ROWS_A_LOT] for start in starts]
    t.run_many(
        "INSERT INTO manager_lot (request, place, size, devices) VALUES (?, ?, ?, ?)",
        [(request, place, len(lot), "\n".join(lot)) for place, lot in enumerate(lots)],
    )


def open_places(t: Transaction, request: int) -> list[int]:
    """Return the places of the lots of a request that are not released."""
    found = t.rows(f"SELECT place FROM manager_lot WHERE request = ? AND {OPEN} ORDER BY place", (request,))  # noqa: S608
    return [place for (place,) in found]


def open_lot(t: Transaction, request: int, place: int) -> Lot | None:
    """Return a lot, with or without a number; None where it is released."""
    found = t.rows(
        "SELECT request, place, sequence, devices, epochs, key_versions FROM manager_lot"  # noqa: S608
        f" WHERE request = ? AND place = ? AND {OPEN}",
        (request, place),
    )
    return _lot(found[0]) if found else None


def number(t: Transaction, lot: Lot, unit: str, *, after: int = 0) -> Lot:
    """Give a lot the next number, one beyond `after`, and fix what its tokens say; devices that are not of the unit any more are left out."""
    # One row for hundreds of devices: a thousand rows would take the interpreter's lock from the signer a thousand times.
    found = rows_of(
        t,
        "SELECT group_concat(device || ' ' || epoch || ' ' || key_version, ' ') FROM manager_device"
        " WHERE unit = ? AND retired = 0 AND device IN ({values})",
        lot.devices,
        (unit,),
    )
    words = " ".join(text for (text,) in found if text is not None).split()
    known = dict(zip(words[::3], zip(words[1::3], words[2::3], strict=True), strict=True))
    devices = [device for device in lot.devices if device in known]
    numbered = lot._replace(
        sequence=max(last_sequence(t), after) + 1,
        devices=devices,
        epochs=[int(known[device][0]) for device in devices],
        key_versions=[int(known[device][1]) for device in devices],
    )
    t.run(
        "UPDATE manager_lot SET sequence = ?, size = ?, devices = ?, epochs = ?, key_versions = ?, tokens = ?"
        " WHERE request = ? AND place = ?",
        (
            *(numbered.sequence, len(devices), "\n".join(devices)),
            *(" ".join(map(str, numbered.epochs)), " ".join(map(str, numbered.key_versions))),
            *(None if devices else packed([]), lot.request, lot.place),
        ),
    )
    return numbered


def release(t: Transaction, lot: Lot, kid: bytes, tokens: Sequence[bytes]) -> bool:
    """Store the tokens of a lot; where another process was first, its tokens stay the only ones, and this returns False."""
    changed = t.run(
        f"UPDATE manager_lot SET first = ?, kid = ?, tokens = ? WHERE request = ? AND place = ? AND {OPEN}",  # noqa: S608
        (last_serial(t) + 1, kid, packed(tokens), lot.request, lot.place),
    )
    return changed == 1


def close_open(t: Transaction) -> None:
    """Release the lots that are open without a token."""
    t.run(f"UPDATE manager_lot SET tokens = ? WHERE {OPEN}", (packed([]),))  # noqa: S608


def last_sequence(t: Transaction) -> int:
    """Return the highest number that a lot has, 0 where there is none."""
    ((last,),) = t.rows("SELECT max(sequence) FROM manager_lot")
    return int(last or 0)


def last_serial(t: Transaction) -> int:
    """Return the serial of the newest token, 0 where there is none."""
    found = t.rows("SELECT first + size - 1 FROM manager_lot WHERE first IS NOT NULL ORDER BY first DESC LIMIT 1")
    return int(found[0][0]) if found else 0


def released(t: Transaction, after: int, last: int) -> Iterator[Released]:
    """Yield the lots that hold the serials after < serial <= last, one at a time."""
    firsts = t.rows(
        "SELECT first FROM manager_lot WHERE first <= ? AND first >="
        " (SELECT coalesce(max(first), 1) FROM manager_lot WHERE first <= ?) ORDER BY first",
        (last, after + 1),
    )
    return _read(t, "first", [first for (first,) in firsts])


def of_sequences(t: Transaction, sequences: Iterable[int]) -> Iterator[Released]:
    """Yield the released lots of these numbers, one at a time."""
    return _read(t, "sequence", [sequence for sequence in sequences if sequence <= LAST_SEQUENCE])


def _read(t: Transaction, column: str, values: Iterable[int]) -> Iterator[Released]:
    # One at a time: a lot is some megabytes.
    for value in values:
        for first, kid, tokens, *lot in t.rows(
            "SELECT first, kid, tokens, request, place, sequence, devices, epochs, key_versions FROM manager_lot"  # noqa: S608
            f" WHERE {column} = ? AND first IS NOT NULL",
            (value,),
        ):
            yield Released(_lot(tuple(lot)), first, bytes(kid), unpacked(bytes(tokens)))


def _lot(row: Row) -> Lot:
    request, place, sequence, devices, *columns = row
    epochs, key_versions = ([int(text) for text in (column or "").split()] for column in columns)
    return Lot(request, place, sequence or 0, devices.split("\n"), epochs, key_versions)
