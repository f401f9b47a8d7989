"""The numbers of a report: counts of its rows. `report.json` holds them, and the page shows no others."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from itron_core.enums import Code, Decision, ReadingCode, SecurityLevel
from itron_core.report.rows import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from itron_core.report.rows import Rows

__all__ = ["LEVELS", "MATERIAL_SPANS", "SESSION_SPANS", "figures_of", "iso", "planned_range", "reading_counts"]

LEVELS: Final = (*(level.name.lower() for level in SecurityLevel), UNREADABLE)
UNKNOWN = "unknown"
HOUR, DAY = 60, 1_440
# Spans of minutes from the planned stop, each up to its bound.
SESSION_SPANS: Final = (
    ("ended before the stop", 0),
    ("under 15 min", 15),
    ("15 to 30 min", 30),
    ("30 to 60 min", HOUR),
    ("1 to 4 h", 4 * HOUR),
    ("over 4 h", None),
)
MATERIAL_SPANS: Final = (
    ("ended before the stop", 0),
    ("under 1 h", HOUR),
    ("1 to 8 h", 8 * HOUR),
    ("8 to 24 h", DAY),
    ("1 to 3 days", 3 * DAY),
    ("over 3 days", None),
)


def figures_of(rows: Rows, title: str, readings: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Return the numbers of a route's report; `readings` are those of `reading_counts`."""
    of_kind = Counter(rows.kind)
    decisions: Counter[str] = Counter()
    refusals: Counter[tuple[str, str]] = Counter()
    for number, count in of_kind.items():
        kind = rows.kinds[number]
        decisions[kind.decision] += count
        if kind.reason != "ok":
            refusals[kind.reason, kind.security_level] += count
    requests = Counter((token_type, action) for _, token_type, action in rows.requests)
    first, last = planned_range(rows)
    figures = {
        "title": title,
        "decided_for": iso(rows.at),
        "planned_from": iso(first),
        "planned_to": iso(last),
        "rows": len(rows),
        "decisions": {decision.name.lower(): decisions[decision.name.lower()] for decision in Decision},
        "refusals": [
            {"reason": reason, "security_level": level, "rows": count}
            for (reason, level), count in sorted(refusals.items(), key=lambda one: (-one[1], one[0]))
        ],
        "requests": [
            {"token_type": token_type, "action": action, "rows": count}
            for (token_type, action), count in sorted(requests.items(), key=lambda one: (-one[1], one[0]))
        ],
        "session_left": _spans(rows.session_left, SESSION_SPANS),
        "material_left": _spans(rows.material_left, MATERIAL_SPANS),
    }
    return figures if readings is None else figures | {"readings": readings}


def planned_range(rows: Rows) -> tuple[int, int]:
    """Return the times of the first and of the last stop in seconds; a stop without one is at the time of the decisions."""
    stops = [rows.at if stop is None else stop for stop in rows.planned or [None]]
    return min(stops), max(stops)


def reading_counts(readings: Any) -> list[dict[str, Any]]:
    """Return how many readings have each code and assurance, from results or a table with these two columns."""
    import pyarrow as pa

    table = pa.table(readings) if not isinstance(readings, pa.Table) else readings
    pairs = Counter(zip(table["code"].to_pylist(), table["assurance"].to_pylist(), strict=True))
    named = [(_reading_code(code), assurance, count) for (code, assurance), count in pairs.items()]
    return [
        {"code": code, "assurance": assurance, "rows": count}
        for code, assurance, count in sorted(named, key=lambda one: (-one[2], one[0], one[1] or 0))
    ]


def _reading_code(code: int | str | None) -> str:
    """Return the name of a code, from itself or its number; a text of a file that is neither is not shown."""
    known = {int(one): one.name.lower() for one in (*Code, *ReadingCode)}
    if isinstance(code, str) and code in known.values():
        return code
    number = int(code) if isinstance(code, str) and code.isdecimal() and code.isascii() else code
    return known.get(number, UNKNOWN) if isinstance(number, int) else UNKNOWN


def iso(seconds: int) -> str:
    """Return a time in ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _spans(minutes: Iterable[int | None], spans: tuple[tuple[str, int | None], ...]) -> dict[str, int]:
    """Return how many rows end in each span."""
    counts = dict.fromkeys((name for name, _ in spans), 0)
    for left in minutes:
        if left is not None:
            counts[next(name for name, bound in spans if bound is None or left < bound)] += 1
    return counts
