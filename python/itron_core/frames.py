"""Frames in, frames out: tokens, routes and readings in a table, the answers beside their rows.

Takes tables of pandas (default or Arrow-backed), Polars (eager or lazy), PyArrow (tables, batches, datasets, readers),
DuckDB (relations) and narwhals, and returns the same kind; a dataset is returned as a reader. The rows keep their order and their
index. docs/frames.md has one line for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from itron_core import tables
from itron_core._arguments import instance
from itron_core.errors import InputError
from itron_core.policy import DEFAULT_OPTIONS
from itron_core.readings import ReadingResults, open_readings
from itron_core.routes import NO_ROWS, process_route
from itron_core.streams import token_questions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from itron_core._rust import Keyring, Revocations
    from itron_core.enums import Permission
    from itron_core.policy import PolicyOptions

__all__ = ["process", "readings", "verify"]

F = TypeVar("F")

# What `open_readings` takes as columns, and a frame has by name.
_BY_ROW = ("authentication_keys", "system_titles")


def verify(
    frame: F,
    keyring: Keyring,
    *,
    now: int | datetime,
    token: str = "token",
    audience: str | None = None,
    epoch: str | int | None = None,
    names: bool = False,
    prefix: str = "",
    progress: Callable[[int], object] | None = None,
    **options: Any,
) -> F:
    """Verify a column of tokens, and return the frame with the columns of `verify_tokens` beside its own.

    `token` names the column of tokens. `audience` names the column of devices, or is one device for all rows; `epoch` names a
    column, or is a number. `names` gives names in place of numbers, and `prefix` begins every new name. Without one, a claim
    whose name the frame already has is called `token_` and its name; a `code` that the frame already has raises InputError.
    `options` are those of `verify_tokens`, `columns=` among them.
    """
    asked = {"now": now, "audience": audience, "epoch": epoch} | options
    ask, empty = token_questions(keyring, token, asked)
    result: F = tables.answered(
        frame, ask, empty, prefixes=tables.CLAIMS_OF_TOKENS, names=names, prefix=prefix, progress=progress
    )
    return result


def process(
    frame: F,
    keyring: Keyring,
    *,
    now: int | datetime,
    permissions: Permission | int,
    options: PolicyOptions | None = None,
    revocations: Revocations | None = None,
    columns: Iterable[str] | None = None,
    names: bool = False,
    prefix: str = "",
    progress: Callable[[int], object] | None = None,
    threads: int | None = None,
) -> F:
    """Decide every row of a route, and return the frame with the columns of `process_route` beside its own.

    The route's columns are found by their names (docs/files.md); others are left alone. A result column that the frame already
    has raises InputError: pass a `prefix`. The other arguments are those of `process_route`, `names` those of `verify`.
    """
    decide = partial(
        process_route,
        keyring=keyring,
        now=now,
        permissions=permissions,
        options=DEFAULT_OPTIONS if options is None else options,
        revocations=revocations,
        columns=tables.read_once(columns),
        threads=threads,
    )
    result: F = tables.answered(
        frame,
        lambda table, tell: decide(tables.columns(table), progress=tell),
        decide(NO_ROWS),
        names=names,
        prefix=prefix,
        progress=progress,
    )
    return result


def readings(
    frame: F,
    keys: object,
    *,
    profile: str,
    telegram: str = "telegram",
    counter_floor: str | None = None,
    names: bool = False,
    prefix: str = "",
    progress: Callable[[int], object] | None = None,
    **options: Any,
) -> F:
    """Open a column of telegrams, and return the frame with the columns of `open_readings` beside its own.

    `telegram` names the column of telegrams, `counter_floor` one of counters. `keys` are `ReadingKeys`, a `KeySource`, None, or
    the name of a column of keys. `authentication_keys` and `system_titles` name columns, too. The other arguments are those of
    `open_readings` (`counter_floors` as a mapping) and, `names` and `prefix`, of `verify`.
    """
    by_row = {"counter_floors": counter_floor} if counter_floor is not None else {}
    by_row |= {name: options.pop(name) for name in _BY_ROW if options.get(name) is not None}
    if isinstance(keys, str):
        by_row, keys = by_row | {"keys": keys}, None
    floors = options.get("counter_floors")
    if floors is not None and (counter_floor is not None or not isinstance(floors, Mapping)):
        came = type(floors).__name__ if counter_floor is None else "counter_floor, too"
        raise InputError(
            f"counter_floors: got {came}, expected a mapping of devices to counters, or counter_floor with the name of a column"
        )
    for name, of in by_row.items():
        instance(name, of, str)
    fixed: dict[str, Any] = {"keys": keys, "profile": profile} | options
    opened: Callable[..., ReadingResults] = partial(open_readings, **fixed)

    def ask(table: Any, tell: Any) -> Any:
        asked = {name: tables.column(table, of, name) for name, of in by_row.items()}
        return opened(tables.column(table, telegram, "telegram"), progress=tell, **asked)

    result: F = tables.answered(
        frame, ask, opened(()), prefixes=tables.CLAIMS_OF_TELEGRAMS, names=names, prefix=prefix, progress=progress
    )
    return result
