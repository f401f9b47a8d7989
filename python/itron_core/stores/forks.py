"""What must not be carried into a forked child: connections, and locks that another thread held."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["leave_in_parent", "renewed_in_child"]


class Forked(Protocol):
    """What a child makes anew."""

    def renew_in_child(self) -> None:
        """Forget what belongs to the parent, and take new locks; nothing else runs yet."""


_objects: WeakSet[Forked] = WeakSet()
# Closing a connection of the parent's would end it for the parent as well, so that a child keeps it as it is.
_left: list[object] = []


def renewed_in_child(one: Forked) -> None:
    """Have an object renewed in each child that is forked from now on.

    A process number tells nothing: a child in another namespace may have its parent's.
    """
    _objects.add(one)


def leave_in_parent(connection: object) -> None:
    """Never close a connection that was opened before the fork."""
    _left.append(connection)


def _in_child() -> None:
    for one in list(_objects):
        one.renew_in_child()


os.register_at_fork(after_in_child=_in_child)
