"""The report of a route: one HTML file that works offline and prints well, and its numbers as JSON (extra `report`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from itron_core.policy import DEFAULT_OPTIONS, PolicyOptions

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from itron_core._rust import Keyring, Revocations
    from itron_core.enums import Permission

__all__ = ["Report", "route_report"]


class Report(NamedTuple):
    """A report: the page, and the same numbers as JSON; both are texts."""

    html: str
    json: str


def route_report(
    route: Any,
    keyring: Keyring,
    *,
    now: int | datetime,
    permissions: Permission | int,
    options: PolicyOptions = DEFAULT_OPTIONS,
    revocations: Revocations | None = None,
    planned: object = None,
    readings: Any = None,
    title: str = "Route",
    zone: tzinfo | None = None,
    threads: int | None = None,
) -> Report:
    """Return the report of a route, decided at `now` as `process_route` does; nothing is used up.

    `route` is an Arrow table with the columns of a route. `planned` is a column of timestamps, the planned time of each stop
    (null or absent: `now`): the remaining time of sessions and material is counted from it. `readings` are results of
    `open_readings`, or a table with their columns code and assurance. Times are shown in `zone` (UTC).
    Raises InputError as `process_route`.
    """
    import json

    from itron_core.report.figures import figures_of, reading_counts
    from itron_core.report.page import page_of
    from itron_core.report.rows import decided_rows

    rows = decided_rows(
        route,
        keyring,
        now=now,
        permissions=permissions,
        options=options,
        revocations=revocations,
        planned=planned,
        threads=threads,
    )
    figures = figures_of(rows, title, None if readings is None else reading_counts(readings))
    return Report(page_of(figures, rows, zone), json.dumps(figures, indent=1))
