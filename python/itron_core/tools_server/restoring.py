"""A tools server restored from a backup: what was taken away since is taken away again, as far as the audit log shows it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from itron_core.tools_server import access, granting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from itron_core.stores.protocol import Transaction

__all__ = ["go_on"]


def go_on(t: Transaction, entries: Iterable[bytes]) -> None:
    """Refuse again the bearer tokens that were revoked since the backup, and the field tools that were removed.

    `entries` are those that only the audit log had.
    """
    for entry in entries:
        try:
            fact = json.loads(entry)
        except ValueError:
            continue  # to the log entries are bytes
        match fact:
            case {"kind": "bearer_revoked", "bearer": str(name), "at": int(at)}:
                access.refuse(t, ids=[name], tools=[], now=at)
            case {"kind": "bearers_revoked", "tool": str(tool), "at": int(at)}:
                access.refuse(t, ids=[], tools=[tool], now=at)
            case {"kind": "tool_removed", "tool": str(tool), "at": int(at)}:
                access.refuse(t, ids=[], tools=[tool], now=at)
                access.keep_removed(t, tool, at)
                granting.end_tool(t, tool)
            case _:
                pass
