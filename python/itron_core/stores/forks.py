"""Objects that a forked child must renew: connections, and locks that another thread held."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["leave_in_parent", "renewed_in_child"]


class Forked(Protocol):
    """An object that a forked child renews."""

    def renew_in_child(self) -> None:
        """Drop what belongs to the parent, and create new locks; no other code runs yet."""


_objects: WeakSet[Forked] = WeakSet()
# Closing the parent's connection would end it for the parent too, so a child keeps it open.
_left: list[object] = []


def renewed_in_child(one: Forked) -> None:
    """Renew an object in each child that is forked from now on.

    Process ids cannot detect a fork: a child in another namespace may have its parent's id.
    """
    _objects.add(one)


def leave_in_parent(connection: object) -> None:
    """Never close a connection that was opened before the fork."""
    _left.append(connection)


def _in_child() -> None:
    for one in list(_objects):
        one.renew_in_child()


os.register_at_fork(after_in_child=_in_child)
