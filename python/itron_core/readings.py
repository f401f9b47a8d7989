"""Protected readings, opened in bulk: bytes out, never values.

Three profiles: "cose" (reading profile 1, the project's own), "wmbus" (wireless M-Bus and OMS), "dlms" (DLMS/COSEM).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Self, overload

from itron_core._rust import KeySource, ReadingColumns, ReadingKeys
from itron_core._rust import open_readings as _open_readings
from itron_core._rust import protect_readings as _protect_readings
from itron_core.enums import Protection, ReadingCode
from itron_core.errors import InputError
from itron_core.streams import Stream, in_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from itron_core._rust import Column

__all__ = [
    "KeySource",
    "ReadingKeys",
    "ReadingResults",
    "last_counters",
    "open_reading_stream",
    "open_readings",
    "protect_readings",
    "rising_counters",
]

# What a telegram with this protection proves once it is opened.
_PROOF = {
    Protection.NONE: "nothing",
    Protection.MODE_5: "that two bytes decrypt to 2F2F; changes after them are not detected",
    Protection.MODE_7: "that a holder of the key made it, and that nothing was changed",
    Protection.MODE_10: "that a holder of the key made it, and that nothing was changed",
    Protection.ELL_CTR: "that a checksum of 16 bits fits; a changed telegram can be made to fit",
    Protection.DLMS_ENCRYPTED: "nothing: it is encrypted, but carries no tag",
    Protection.DLMS_AUTHENTICATED: "that a holder of both keys made it, and that nothing was changed",
    Protection.DLMS_BOTH: "that a holder of both keys made it, and that nothing was changed",
    Protection.COSE: "that a holder of the key made it, and that nothing was changed",
}

# What to do about a refusal.
_REMEDY = {
    ReadingCode.NOT_PROTECTED: "Give no key for it and pass allow_plain=True to take it as it is.",
    ReadingCode.NO_KEY: "Add a key for this device; missing_keys() lists all devices without one.",
    ReadingCode.KEY_LENGTH: "Give 16 bytes, or 32 where the telegram says AES-256.",
    ReadingCode.TITLE_MISSING: "Pass system_titles: the association knows the title.",
    ReadingCode.AUTHENTICATION_KEY_MISSING: "Give the authentication key, or pass minimum_assurance=0 to open it unchecked.",
    ReadingCode.CHECK_FAILED: "If all telegrams of the device fail, its key is wrong; if some do, they are damaged.",
    ReadingCode.KEY_MISMATCH: "Use the key version that the telegram was made with.",
}

# Who reads a bit as proof: below this many bits a match may be chance.
_GENUINE_BITS = 64


def open_readings(
    telegrams: object,
    keys: object,
    *,
    profile: str,
    authentication_keys: object = None,
    system_titles: object = None,
    counter_floors: object = None,
    minimum_assurance: int | None = None,
    allow_plain: bool = False,
    columns: Iterable[str] | None = None,
    progress: Callable[[int], object] | None = None,
    threads: int | None = None,
) -> ReadingResults:
    """Check and decrypt each telegram: one row per telegram, same order; a refused row has a code and no payload.

    `telegrams` is a binary column, or text in hexadecimal. `keys` is one key per row (a column, or `DerivedKeys`),
    `ReadingKeys` joined by the telegram's own device, or a `KeySource`. `authentication_keys` and `system_titles` are
    columns for profile "dlms". `counter_floors` is an integer column (null: not asked), or a mapping of devices to
    counters as `last_counters` returns it. `minimum_assurance` is in bits, by default 16 for "wmbus" and 64 otherwise.
    `columns` are the result columns to make, by default all; `progress` is called with the number of rows that are done. A call that cannot be made raises `InputError`.
    """
    opened = _open_readings(
        telegrams,
        keys,
        profile=profile,
        authentication_keys=authentication_keys,
        system_titles=system_titles,
        counter_floors=counter_floors,
        minimum_assurance=minimum_assurance,
        allow_plain=allow_plain,
        columns=columns,
        progress=progress,
        threads=threads,
    )
    return ReadingResults(opened)


def open_reading_stream(
    batches: Iterable[object],
    keys: object,
    *,
    profile: str,
    minimum_assurance: int | None = None,
    allow_plain: bool = False,
    progress: Callable[[int], object] | None = None,
    threads: int | None = None,
) -> Stream[ReadingResults]:
    """Map batches of telegrams to their results, one at a time and in order: memory is that of one batch.

    A batch is a column of telegrams, opened with `keys` (`ReadingKeys`, `KeySource` or None), or a mapping of the
    columns of `open_readings` by name: telegrams, keys, authentication_keys, system_titles, counter_floors.
    `progress` is called after each batch with the number of rows that are done.
    The arguments are checked at the call; an invalid batch raises when its result is asked for.
    """
    opened = partial(
        open_readings,
        profile=profile,
        minimum_assurance=minimum_assurance,
        allow_plain=allow_plain,
        threads=threads,
    )
    return in_batches(partial(_open_batch, opened, keys), batches, opened((), keys), progress)


def _open_batch(opened: partial[ReadingResults], keys: object, batch: object) -> ReadingResults:
    if not isinstance(batch, Mapping):
        return opened(batch, keys)
    columns = dict(batch)
    unknown = sorted(set(columns) - _COLUMNS, key=str)
    if unknown or "telegrams" not in columns:
        got = ", ".join(map(str, columns))
        raise InputError(f"batch: got the columns {got}, expected telegrams and at most {', '.join(sorted(_COLUMNS))}")
    return opened(columns.pop("telegrams"), columns.pop("keys", keys), **columns)


_COLUMNS = frozenset({"telegrams", "keys", "authentication_keys", "system_titles", "counter_floors"})


def protect_readings(
    payloads: object,
    keys: object,
    *,
    devices: object,
    counters: object,
    check_values: object = None,
    algorithm: str = "A128GCM",
) -> Column:
    """Make one reading of profile "cose" per payload: a binary column, same rows.

    `keys` is `DerivedKeys`, or a binary column beside `check_values` of 4 bytes. `devices` are names ("ert:...",
    "eui64:...") or 8 bytes; `counters` are 0 to 2^32 - 1, each once per device and key, else `InputError` is raised.
    """
    return _protect_readings(
        payloads, keys, devices=devices, counters=counters, check_values=check_values, algorithm=algorithm
    )


class ReadingResults(ReadingColumns):
    """The opened readings, row for row; exports Arrow, any number of times.

    Columns: code int16 (`ReadingCode`), assurance int16 (bits of the check that passed), protection int16
    (`Protection`), device string, counter int64, payload binary (null unless code is 0). Of a refused row, device,
    counter and protection are shown as far as they were read, and nothing vouches for them.
    """

    __slots__ = ()

    def __new__(cls, columns: ReadingColumns) -> Self:
        """Take the columns that `open_readings` of the extension returned."""
        return super().__new__(cls, columns)

    @overload
    def __getitem__(self, key: str, /) -> Column: ...
    @overload
    def __getitem__(self, key: slice, /) -> Self: ...
    def __getitem__(self, key: str | slice, /) -> Column | Self:
        """Return a column by its name; with a slice, these rows as results of the same kind, without a copy."""
        found = super().__getitem__(key)
        return type(self)(found) if isinstance(found, ReadingColumns) else found

    def __reduce__(self) -> tuple[object, ...]:
        """Return what pickle makes the same results from; the payloads are among it."""
        return _restored, self._state()

    def summary(self) -> dict[str, Any]:
        """Count the rows: `rows`; by name under `code`, `protection` and `assurance`; and `device`, the devices by verdict.

        A verdict is "wrong_key" if every row of a device failed a check of 16 bits, "corrupt" if some did, "plain" if
        a row came unprotected, "no_key", "ok" if all rows were opened, else "refused". `devices()` lists them.
        """
        counts = self._counts()
        verdicts: dict[str, int] = {}
        for verdict in self.devices().column("verdict"):
            verdicts[verdict] = verdicts.get(verdict, 0) + 1
        return {
            "rows": len(self),
            "code": {ReadingCode(number).name.lower(): count for number, count in _known(counts["code"])},
            "protection": {_protection_name(number): count for number, count in counts["protection"].items()},
            "assurance": {str(number): count for number, count in _known(counts["assurance"])},
            "device": dict(sorted(verdicts.items())),
        }

    def explain(self, row: int) -> str:
        """Say one row in sentences: what it is, how sure that is, or why it was refused and what to do."""
        code_number, assurance, protection_number, device, counter, payload, asked = self._row(row)
        code = ReadingCode(code_number)
        who = device or "A telegram of an unknown device"
        counted = "" if counter is None else f", counter {counter}"
        protection = None if protection_number is None else Protection(protection_number)
        lines = [f"{who}{counted}: {code.name.lower()} ({code_number}), protected by {_protection_name(protection)}."]
        lines.append(code.explain())
        if code is ReadingCode.OK and protection is not None:
            opened = Protection.DLMS_ENCRYPTED if protection.name.startswith("DLMS") and not assurance else protection
            sure = "genuine" if assurance >= _GENUINE_BITS else "not proven genuine"
            lines.append(f"{payload} bytes, {sure}: the check of {assurance} bits proves {_PROOF[opened]}.")
        if code is ReadingCode.TOO_WEAK:
            lines.append(f"The call asks for {asked} bits; pass a smaller minimum_assurance to open it all the same.")
        if code in _REMEDY:
            lines.append(_REMEDY[code])
        return "\n".join(lines)


def _restored(table: object, devices: Any) -> ReadingResults:
    """Return the results that were pickled."""
    return ReadingResults(ReadingColumns._restore(table, devices))  # noqa: SLF001  # the extension's half of this class


def last_counters(results: ReadingResults) -> dict[str, int]:
    """Return the highest counter of each device whose telegrams were opened: the `counter_floors` of the next call.

    Devices whose protection has no counter (wmbus mode 5, plain telegrams) are left out.
    """
    return _results_given(results)._last_counters()  # noqa: SLF001  # the extension's half of this class


def rising_counters(results: ReadingResults) -> Column:
    """Return a bool column: whether each opened row's counter is above all earlier ones of its device in this call.

    Null where the row was refused or has no counter.
    """
    return _results_given(results)._rising()  # noqa: SLF001  # as above


def _results_given(results: object) -> ReadingResults:
    if not isinstance(results, ReadingResults):
        raise InputError(f"results: got {type(results).__name__}, expected ReadingResults")
    return results


def _known(counts: Mapping[int | None, int]) -> list[tuple[int, int]]:
    return [(number, count) for number, count in counts.items() if number is not None]


def _protection_name(number: int | None) -> str:
    return "unknown" if number is None else Protection(number).name.lower()
