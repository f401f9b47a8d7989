"""What one request, and what one connection, may cost; docs/service.md has the table."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ConnectionLimits", "ServiceLimits"]


class ServiceLimits(NamedTuple):
    """What one request may cost: bytes of a body, rows, seconds, how many are worked on at once.

    `body_seconds` bounds how long a body may take to come, `answer_seconds` how long an answer may take to be read: its
    place is given back only then. `bearer_lifetime` bounds, in seconds, for how long a bearer token may be in force.
    """

    body: int = 64 * 2**20
    rows: int = 100_000
    body_seconds: float = 60.0
    answer_seconds: float = 120.0
    at_once: int = 8
    bearer_lifetime: int = 86_400


class ConnectionLimits(NamedTuple):
    """How many connections may be open, in all and from one address, and for how long one may be silent.

    `head_seconds` is the time from accepting a connection to the end of its headers, and the same for each later request.
    `answer_seconds` is the time to take an answer. Beyond the numbers 503 is answered, unless a connection that has sent
    no headers for `grace_seconds` can make place.
    """

    connections: int = 512
    by_address: int = 256
    head_seconds: float = 10.0
    answer_seconds: float = 120.0
    grace_seconds: float = 1.0
