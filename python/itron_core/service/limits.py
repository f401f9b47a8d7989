"""Limits of requests and connections; docs/service.md has the table."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ConnectionLimits", "ServiceLimits"]


class ServiceLimits(NamedTuple):
    """Limits of requests: bytes and rows of a body, seconds, and how many are served at once.

    `body_seconds` is the longest time for sending a body, and `answer_seconds` for reading an answer, which holds its work
    slot. `bearer_lifetime` is the longest lifetime of a bearer token, in seconds.
    """

    body: int = 64 * 2**20
    rows: int = 100_000
    body_seconds: float = 60.0
    answer_seconds: float = 120.0
    at_once: int = 8
    bearer_lifetime: int = 86_400


class ConnectionLimits(NamedTuple):
    """Limits of connections: how many may be open, in all and per address, and for how long one may be silent.

    `head_seconds` is the longest time from accepting a connection, or from the previous request, to the end of the headers.
    `answer_seconds` is the longest time for reading an answer. Further connections get 503, unless one that has sent no
    headers for `grace_seconds` can be closed.
    """

    connections: int = 512
    by_address: int = 256
    head_seconds: float = 10.0
    answer_seconds: float = 120.0
    grace_seconds: float = 1.0
