"""Batches of a request's rows: each is numbered, signed and released as one.

Every batch has its own sequence number, so no device has two tokens of one number. The content of its tokens is
committed with the number, before anything is signed. No number is used twice, whatever crashes in between.
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
    "Batch",
    "Released",
    "add_batches",
    "close_open",
    "last_sequence",
    "last_serial",
    "number",
    "of_sequences",
    "open_batch",
    "open_places",
    "release",
    "released",
]

ROWS_PER_BATCH = 8_192
LAST_SEQUENCE = 2**63 - 1

# An unreleased batch.
OPEN = "tokens IS NULL"


class Batch(NamedTuple):
    """Some rows of a request; until it is numbered, `sequence` is 0 and `epochs` and `key_versions` are empty."""

    request: int
    place: int
    sequence: int
    devices: list[str]
    epochs: list[int]
    key_versions: list[int]


class Released(NamedTuple):
    """A batch with its tokens; `first` is the serial of its first token."""

    batch: Batch
    first: int
    kid: bytes
    tokens: list[bytes]


def add_batches(t: Transaction, request: int, devices: Sequence[str]) -> None:
    """Store the devices of a new request in batches."""
    starts = range(0, len(devices), ROWS_PER_BATCH)
    batches = [devices[start : start + ROWS_PER_BATCH] for start in starts]
    t.run_many(
        "INSERT INTO manager_lot (request, place, size, devices) VALUES (?, ?, ?, ?)",
        [(request, place, len(batch), "\n".join(batch)) for place, batch in enumerate(batches)],
    )


def open_places(t: Transaction, request: int) -> list[int]:
    """Return the places of a request's unreleased batches."""
    found = t.rows(f"SELECT place FROM manager_lot WHERE request = ? AND {OPEN} ORDER BY place", (request,))  # noqa: S608
    return [place for (place,) in found]


def open_batch(t: Transaction, request: int, place: int) -> Batch | None:
    """Return an unreleased batch, with or without a number; None if it is released."""
    found = t.rows(
        "SELECT request, place, sequence, devices, epochs, key_versions FROM manager_lot"  # noqa: S608
        f" WHERE request = ? AND place = ? AND {OPEN}",
        (request, place),
    )
    return _batch(found[0]) if found else None


def number(t: Transaction, batch: Batch, unit: str, *, after: int = 0) -> Batch:
    """Assign the next number above `after` to a batch, and fix its tokens' content. Devices that left the unit are omitted."""
    # One row for hundreds of devices: each row would take the interpreter's lock from the signing thread.
    found = rows_of(
        t,
        "SELECT group_concat(device || ' ' || epoch || ' ' || key_version, ' ') FROM manager_device"
        " WHERE unit = ? AND retired = 0 AND device IN ({values})",
        batch.devices,
        (unit,),
    )
    words = " ".join(text for (text,) in found if text is not None).split()
    known = dict(zip(words[::3], zip(words[1::3], words[2::3], strict=True), strict=True))
    devices = [device for device in batch.devices if device in known]
    numbered = batch._replace(
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
            *(None if devices else packed([]), batch.request, batch.place),
        ),
    )
    return numbered


def release(t: Transaction, batch: Batch, kid: bytes, tokens: Sequence[bytes]) -> bool:
    """Store the tokens of a batch and return True; return False if another process has already stored its own."""
    changed = t.run(
        f"UPDATE manager_lot SET first = ?, kid = ?, tokens = ? WHERE request = ? AND place = ? AND {OPEN}",  # noqa: S608
        (last_serial(t) + 1, kid, packed(tokens), batch.request, batch.place),
    )
    return changed == 1


def close_open(t: Transaction) -> None:
    """Release the open batches without tokens."""
    t.run(f"UPDATE manager_lot SET tokens = ? WHERE {OPEN}", (packed([]),))  # noqa: S608


def last_sequence(t: Transaction) -> int:
    """Return the highest number of a batch, or 0 if there is none."""
    ((last,),) = t.rows("SELECT max(sequence) FROM manager_lot")
    return int(last or 0)


def last_serial(t: Transaction) -> int:
    """Return the serial of the newest token, or 0 if there is none."""
    found = t.rows("SELECT first + size - 1 FROM manager_lot WHERE first IS NOT NULL ORDER BY first DESC LIMIT 1")
    return int(found[0][0]) if found else 0


def released(t: Transaction, after: int, last: int) -> Iterator[Released]:
    """Yield the batches that hold the serials after < serial <= last, one at a time."""
    firsts = t.rows(
        "SELECT first FROM manager_lot WHERE first <= ? AND first >="
        " (SELECT coalesce(max(first), 1) FROM manager_lot WHERE first <= ?) ORDER BY first",
        (last, after + 1),
    )
    return _read(t, "first", [first for (first,) in firsts])


def of_sequences(t: Transaction, sequences: Iterable[int]) -> Iterator[Released]:
    """Yield the released batches with these numbers, one at a time."""
    return _read(t, "sequence", [sequence for sequence in sequences if sequence <= LAST_SEQUENCE])


def _read(t: Transaction, column: str, values: Iterable[int]) -> Iterator[Released]:
    # One at a time: a batch takes some megabytes.
    for value in values:
        for first, kid, tokens, *batch in t.rows(
            "SELECT first, kid, tokens, request, place, sequence, devices, epochs, key_versions FROM manager_lot"  # noqa: S608
            f" WHERE {column} = ? AND first IS NOT NULL",
            (value,),
        ):
            yield Released(_batch(tuple(batch)), first, bytes(kid), unpacked(bytes(tokens)))


def _batch(row: Row) -> Batch:
    request, place, sequence, devices, *columns = row
    epochs, key_versions = ([int(text) for text in (column or "").split()] for column in columns)
    return Batch(request, place, sequence or 0, devices.split("\n"), epochs, key_versions)
