"""Whole routes: whether an action is allowed on every device of a route, and if not, why and what to fetch.

One call of Rust verifies and decides; the needs are a table made by `policy`.
"""

from __future__ import annotations

from functools import lru_cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, overload

from itron_core import tables
from itron_core._arguments import instance
from itron_core._rust import Keyring, Policy, PolicyTable, Revocations, RouteColumns
from itron_core._rust import process_route as decided_columns
from itron_core.explain import Row, explain
from itron_core.policy import DEFAULT_OPTIONS, PolicyOptions, compiled_table, options_given
from itron_core.streams import Stream, in_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from itron_core._rust import Column
    from itron_core.enums import Permission

__all__ = ["RouteResults", "policy_table", "process_batches", "process_route"]


# An empty route: deciding it checks only the other arguments.
NO_ROWS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    dict.fromkeys(("device", "device_class", "security_level", "action"), ())
)


def _compile(options: PolicyOptions) -> Policy:
    return Policy(*compiled_table(options), options.command_limit, options.authorization_limit)


_compiled = lru_cache(maxsize=32)(_compile)


def _policy(options: PolicyOptions) -> Policy:
    return _compiled(options_given(options))


def policy_table(options: PolicyOptions = DEFAULT_OPTIONS) -> PolicyTable:
    """Return the whole policy as a table of 864 rows: device_class, mode, security_level, action (names), then numbers.

    `needs` is a bit set of `Need` (int32); `reason` (int16) is why a combination is NEVER, else 0. `opener` (int32) is the
    material that opens the required session, `counted` (int32) the material whose uses count until the next sync.
    """
    return _policy(options).table()


def process_route(
    route: object,
    keyring: Keyring,
    *,
    now: int | datetime,
    permissions: Permission | int,
    options: PolicyOptions = DEFAULT_OPTIONS,
    revocations: Revocations | None = None,
    columns: Iterable[str] | None = None,
    progress: Callable[[int], object] | None = None,
    threads: int | None = None,
) -> RouteResults:
    """Decide every row of a route: an Arrow table, or a mapping of columns with the names of docs/routes.md.

    `now` is in seconds since 1970, or an aware datetime; `permissions` are the user's, for rows without their own. Nothing
    is written or used. An unreadable row is refused with reason 1005. `columns` are the result columns to make, by default
    all; `progress` is called with the number of rows that are done. Raises InputError for a column of a wrong type or length.
    """
    decided = decided_columns(
        NO_ROWS if isinstance(route, list) and not route else route,  # as rows of JSON, none of which names a column
        keyring,
        now=now,
        permissions=permissions,
        policy=_policy(options),
        revocations=revocations,
        columns=columns,
        progress=progress,
        threads=threads,
    )
    return RouteResults(decided, options)


def process_batches(
    batches: Iterable[object],
    keyring: Keyring,
    *,
    now: int | datetime,
    permissions: Permission | int,
    options: PolicyOptions = DEFAULT_OPTIONS,
    revocations: Revocations | None = None,
    columns: Iterable[str] | None = None,
    keep: bool = False,
    names: bool = False,
    prefix: str = "",
    progress: Callable[[int], object] | None = None,
    threads: int | None = None,
) -> Stream[Any]:
    """Map batches of a route to their results, one at a time and in order; memory holds one batch.

    With `keep`, a result is the batch with the answers beside its columns, as `frames.process` returns it; else `RouteResults`.
    `progress` is called after each batch with the number of rows that are done. The arguments are checked at the call; an
    invalid batch raises when its result is requested.
    """
    decide = partial(
        process_route,
        keyring=keyring,
        now=now,
        permissions=permissions,
        options=options,
        revocations=revocations,
        columns=tables.read_once(columns),
        threads=threads,
    )
    empty = decide(NO_ROWS)
    tables.check_naming(names, prefix)
    if not instance("keep", keep, bool):
        return in_batches(decide, batches, empty, progress)
    answer = partial(
        tables.answered, ask=lambda batch, _: decide(tables.columns(batch)), empty=empty, names=names, prefix=prefix
    )
    return in_batches(answer, batches, empty, progress)


class RouteResults(RouteColumns):
    """The decisions of a route, one row per row; can be exported as Arrow any number of times.

    Columns: decision int8, reason int16, missing int32 (bit set of `Need`), unverified bool, unreadable string (the column
    and value of reason 1005, else null), session_until timestamp[us, UTC], authorization_code, secure_command_code,
    reading_key_code int16. `names()` has names in place of numbers, `requests()` the command requests to make; `ignored_columns`
    are the names of unknown columns.
    """

    __slots__ = ("_options",)

    _options: PolicyOptions

    def __new__(cls, columns: RouteColumns, options: PolicyOptions = DEFAULT_OPTIONS) -> Self:
        """Return the results with the columns that the extension's `process_route` returned."""
        self = super().__new__(cls, columns)
        self._options = options_given(options)
        return self

    @overload
    def __getitem__(self, key: str, /) -> Column: ...
    @overload
    def __getitem__(self, key: slice, /) -> Self: ...
    def __getitem__(self, key: str | slice, /) -> Column | Self:
        """Return a column by its name; with a slice, these rows as results of the same kind, without a copy."""
        found = super().__getitem__(key)
        return type(self)(found, self._options) if isinstance(found, RouteColumns) else found

    def __reduce__(self) -> tuple[object, ...]:
        """Return what pickle makes the same results from."""
        return _restored, (*self._state(), self._options)

    def summary(self) -> dict[str, Any]:
        """Return the number of rows: `rows`, and by name under `decision`, `reason` and `security_level`."""
        return super().summary() | {"security_level": self._levels()}

    def explain(self, row: int) -> str:
        """Return one row in sentences: the decision, why, what is missing and what to request."""
        return explain(Row(**self._row(row)), self._options)


def _restored(table: object, answered: Any, options: PolicyOptions) -> RouteResults:
    """Return the results that were pickled."""
    return RouteResults(RouteColumns._restore(table, answered, _policy(options)), options)  # noqa: SLF001  # its own half
