"""Command requests from options or a file: device, type of material and action."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from itron_core.cli.columns import WANTED_COLUMNS, check_columns, place_of
from itron_core.cli.failures import UnreadableError, UsageError
from itron_core.cli.files import format_of, read_rows
from itron_core.cli.inputs import actions_of, devices_of, member_or_none
from itron_core.cli.options import FileFormat
from itron_core.enums import DEVICE_TOKEN_TYPES, Action

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["RequestGroup", "planned_rows", "request_groups"]


class RequestGroup(NamedTuple):
    """The devices of one request, with the same type of material and the same actions."""

    token_type: str
    actions: list[Action]
    devices: list[str]


def request_groups(
    devices: list[str] | None, route: str | None, file: str | None, token_type: str | None, actions: str | None
) -> list[RequestGroup]:
    """Return the requests: one type and action for all named devices, or one per row of a file."""
    if file is None:
        if token_type is None or actions is None:
            raise UsageError("--type and --action are missing", "give both, or --file with a row for each request")
        return [RequestGroup(token_type, actions_of(actions), devices_of(devices, route))]
    if devices or route or token_type or actions:
        raise UsageError("--file: not allowed with DEVICE, --route, --type or --action")
    groups: dict[tuple[str, Action], dict[str, None]] = {}
    for place, row in _rows(file, ("device", "token_type", "action")):
        kind, action = str(row["token_type"]), member_or_none(Action, str(row["action"]))
        if kind not in DEVICE_TOKEN_TYPES:
            known = ", ".join(DEVICE_TOKEN_TYPES)
            raise UnreadableError(f'{place}, column "token_type": got {kind!r}, expected {known}')
        if action is None:
            raise UnreadableError(f'{place}, column "action": unknown action {row["action"]!r}')
        groups.setdefault((kind, action), {})[str(row["device"])] = None
    if not groups:
        raise UsageError(f"{file} has no rows", "create it with: itron-core preflight ROUTE --requests FILE")
    return [RequestGroup(kind, [action], list(names)) for (kind, action), names in groups.items()]


def planned_rows(file: str) -> list[tuple[str, Action]]:
    """Return the rows of a planned route, from its columns device and action."""
    rows = []
    for place, row in _rows(file, ("device", "action")):
        action = member_or_none(Action, str(row["action"]))
        if action is None:
            raise UnreadableError(f'{place}, column "action": unknown action {row["action"]!r}')
        rows.append((str(row["device"]), action))
    return rows


def _rows(file: str, needed: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    place, rows = place_of(has_header=format_of(file, None, "--format") is FileFormat.CSV), 0
    for batch in read_rows(file, None, WANTED_COLUMNS):
        check_columns(file, batch, needed)
        for row in batch.select(needed).to_pylist():
            where = f"{file}: {place(rows)}"
            empty = [name for name in needed if row[name] is None]
            if empty:
                raise UnreadableError(f'{where}, column "{empty[0]}": the cell is empty')
            rows += 1
            yield where, row
