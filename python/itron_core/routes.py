"""Whole routes: whether an action is allowed on every device of a route, and if not, why and what to fetch.

One call of Rust verifies and decides; the needs are a table made by `policy`.
"""

from __future__ import annotations

from functools import lru_cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from itron_core._rust import Keyring, Policy, PolicyTable, Revocations, RouteColumns
from itron_core._rust import process_route as decided_columns
from itron_core.explain import Row, explain
from itron_core.policy import PolicyOptions, compiled_table, options_given
from itron_core.streams import in_batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from itron_core.enums import Permission

__all__ = ["RouteResults", "policy_table", "process_batches", "process_route"]

DEFAULT_OPTIONS = PolicyOptions()


# An empty route: deciding it checks only the other arguments.
_NO_ROWS: Mapping[str, tuple[str, ...]] = MappingProxyType(
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
    threads: int | None = None,
) -> RouteResults:
    """Decide every row of a route: an Arrow table, or a mapping of columns with the names of docs/routes.md.

    `now` is in seconds since 1970, or an aware datetime; `permissions` are the user's, for rows without their own. Nothing
    is written or used. An unreadable row is refused with reason 1005. Raises InputError for a column of a wrong type or
    length.
    """
    columns = decided_columns(
        route,
        keyring,
        now=now,
        permissions=permissions,
        policy=_policy(options),
        revocations=revocations,
        threads=threads,
    )
    return RouteResults(columns, options)


def process_batches(
    batches: Iterable[object],
    keyring: Keyring,
    *,
    now: int | datetime,
    permissions: Permission | int,
    options: PolicyOptions = DEFAULT_OPTIONS,
    revocations: Revocations | None = None,
    threads: int | None = None,
) -> Iterator[RouteResults]:
    """Map batches of a route to their results, one at a time and in order; memory holds one batch.

    The arguments are checked at the call; an invalid batch raises when its result is requested.
    """
    decide = partial(
        process_route,
        keyring=keyring,
        now=now,
        permissions=permissions,
        options=options,
        revocations=revocations,
        threads=threads,
    )
    decide(_NO_ROWS)
    return in_batches(decide, batches)


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

    def summary(self) -> dict[str, Any]:
        """Return the number of rows: `rows`, and by name under `decision`, `reason` and `security_level`."""
        return super().summary() | {"security_level": self._levels()}

    def explain(self, row: int) -> str:
        """Return one row in sentences: the decision, why, what is missing and what to request."""
        return explain(Row(**self._row(row)), self._options)
