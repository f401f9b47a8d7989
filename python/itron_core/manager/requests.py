"""Requests of officers, as the manager's store keeps them: who may ask, who must approve, the cap on critical material."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

from itron_core.errors import InputError, RequestRefused
from itron_core.manager.batches import add_lots, close_open
from itron_core.manager.eligibility import actions_of, is_critical, lacking
from itron_core.manager.people import officer_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from itron_core.enums import Permission
    from itron_core.stores.protocol import Transaction

__all__ = [
    "ALLOTTED",
    "APPROVED",
    "DEFAULT_LIMITS",
    "REJECTED",
    "STATES",
    "WAITING",
    "Asked",
    "Limits",
    "Request",
    "RequestRecord",
    "Wanted",
    "add_request",
    "answered",
    "asked_of",
    "check_cap",
    "check_key",
    "check_permitted",
    "check_still_permitted",
    "content_of_request",
    "first_state",
    "keep_answer",
    "last_request",
    "shorten",
    "to_decide",
    "withdraw_open",
]

DAY = 86_400
LONGEST_KEY = 200
STATES = WAITING, APPROVED, ALLOTTED, REJECTED = "waiting", "approved", "allotted", "rejected"


class Limits(NamedTuple):
    """What stands against misuse: `alone` critical rows by one officer and `critical` in all, within `window` seconds."""

    alone: int = 10
    critical: int = 5_000
    window: int = DAY


DEFAULT_LIMITS = Limits()


class Request(NamedTuple):
    """What became of a request; `refused` holds each device that gets nothing, with the name of the reason.

    The reasons are `device_unknown` (to the officer's unit), `device_retired`, `named_twice`, or those of the policy in lower case. `warnings`
    are sentences about what is allowed and unusual.
    """

    id: int
    state: str
    rows: int
    refused: list[tuple[str, str]]
    warnings: tuple[str, ...] = ()


class RequestRecord(NamedTuple):
    """A request as it stands: `state` is waiting, approved, allotted (issued, or being issued) or rejected."""

    id: int
    officer: str
    approver: str | None
    unit: str
    token_type: str
    actions: int
    argument: str
    size: int
    state: str
    requested_at: int


class Wanted(NamedTuple):
    """What a request asks for each of its devices."""

    token_type: str
    actions: int
    argument: str
    session_seconds: int | None
    lifetime: int
    subject: str | None


class Asked(NamedTuple):
    """A request as far as its issuing goes; `allotted_at` is the issue time of all its tokens."""

    request: int
    unit: str
    officer: str
    allotted_at: int
    wanted: Wanted


def asked_of(t: Transaction, request: int) -> Asked:
    """Return a request that there is; before it is allotted, its issue time is 0."""
    ((unit, officer, allotted_at, *wanted),) = t.rows(
        f"SELECT unit, officer, allotted_at, {', '.join(Wanted._fields)} FROM manager_request WHERE id = ?",  # noqa: S608
        (request,),
    )
    return Asked(request, unit, officer, allotted_at or 0, Wanted(*wanted))


def to_decide(t: Transaction, number: int, officer: str, states: set[str]) -> RequestRecord:
    """Return a request of one of these states that this officer may decide; raises RequestRefused."""
    unit, permissions = officer_of(t, officer)
    columns = ", ".join(RequestRecord._fields)
    rows = t.rows(f"SELECT {columns} FROM manager_request WHERE id = ?", (number,))  # noqa: S608
    found = [RequestRecord(*row) for row in rows]
    if not found or found[0].state not in states:
        stands = f"is {found[0].state}" if found else "is none"
        raise RequestRefused("not_waiting", f"request {number} {stands}; wanted one that is {' or '.join(states)}")
    (asked,) = found
    missing = lacking(asked.token_type, actions_of(asked.actions), permissions)
    if missing or asked.unit != unit:
        what = missing or f"the unit {asked.unit!r}"
        raise RequestRefused("permission_denied", f"{officer!r} may not decide request {number}: it wants {what}")
    return asked


def check_still_permitted(t: Transaction, asked: Asked, people: Iterable[str | None]) -> None:
    """Raise RequestRefused where one who asked or approved could not do so any more."""
    for person in filter(None, people):
        unit, permissions = officer_of(t, person)
        if unit != asked.unit:
            raise RequestRefused(
                "permission_denied",
                f"{person!r} is of {unit!r} now, request {asked.request} of {asked.unit!r}: reject it",
            )
        check_permitted(person, asked.wanted, permissions)


def first_state(
    t: Transaction, limits: Limits, officer: str, size: int, now: int, *, alone_allowed: bool = True
) -> str:
    """Return the state of a new critical request: one for many devices waits for a second person. Raises RequestRefused.

    Each waits where nothing is `alone_allowed`. What a clock that was ahead has dated after the window to come counts no
    more.
    """
    if size > limits.critical:
        raise RequestRefused(
            "critical_cap",
            f"{size} critical rows at once, and {limits.critical} may be issued in {limits.window} s: ask in parts",
        )
    alone = _count(
        t,
        "SELECT sum(size) FROM manager_request WHERE officer = ? AND critical = 1 AND approver IS NULL"
        " AND state IN (?, ?) AND requested_at > ? AND requested_at < ?",
        *(officer, APPROVED, ALLOTTED, now - limits.window, now + limits.window),
    )
    return APPROVED if alone_allowed and alone + size <= limits.alone else WAITING


def check_cap(t: Transaction, limits: Limits, number: int, size: int, now: int) -> None:
    """Raise RequestRefused (`critical_cap`) where the sliding cap leaves no room, with the time when there is."""
    window, most = limits.window, limits.critical
    spent = t.rows(
        "SELECT allotted_at, size FROM manager_request WHERE critical = 1 AND state = ? AND allotted_at > ?"
        " AND allotted_at < ? ORDER BY allotted_at",
        (ALLOTTED, now - window, now + window),
    )
    left = most - sum(count for _, count in spent)
    if size <= left:
        return
    when = "never at once: reject it and ask in parts"
    for allotted_at, count in spent:
        left += count
        if size <= left:
            when = f"possible from {allotted_at + window} on"
            break
    raise RequestRefused(
        "critical_cap", f"request {number} of {size} is beyond {most} critical rows in {window} s; it is {when}"
    )


def check_key(key: object) -> None:
    """Raise InputError for the key of a request that is none."""
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= LONGEST_KEY and key.isprintable()):
        raise InputError(f"a key of a request that is {key!r:.100}; wanted 1 to {LONGEST_KEY} printable characters")


def content_of_request(wanted: Wanted, devices: Sequence[str]) -> bytes:
    """Return what tells a request from another under its key; not when it was made."""
    return hashlib.sha256(json.dumps([wanted, list(devices)], default=repr).encode()).digest()


def answered(t: Transaction, officer: str, key: str | None, content: bytes) -> Request | None:
    """Return what the request under this key was answered, None for a new one; raises RequestRefused where it was another."""
    found = t.rows("SELECT content, answer FROM manager_request_key WHERE officer = ? AND name = ?", (officer, key))
    if not found:
        return None
    ((known, answer),) = found
    if bytes(known) != content:
        raise RequestRefused(
            "key_reused", f"{officer!r} made another request under the key {key!r}: a new request takes a new key"
        )
    number, state, rows, refused, warnings = json.loads(answer)
    return Request(number, state, rows, [(device, reason) for device, reason in refused], tuple(warnings))


def add_request(
    t: Transaction,
    officer: str,
    unit: str,
    wanted: Wanted,
    *,
    taken: Sequence[str],
    state: str,
    now: int,
    least: int = 1,
) -> int:
    """Keep a new request for these devices; returns its number, `least` or more."""
    number = max(last_request(t) + 1, least)
    t.run(
        "INSERT INTO manager_request (id, officer, unit, token_type, actions, argument, session_seconds, lifetime, subject,"
        " critical, size, state, requested_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (number, officer, unit, *wanted, int(is_critical(wanted.actions)), len(taken), state, now),
    )
    add_lots(t, number, taken)
    return number


def keep_answer(t: Transaction, officer: str, key: str | None, content: bytes, answer: Request) -> None:
    """Keep what is answered when the request comes again under its key."""
    if key is not None:
        said = json.dumps(answer, default=repr)
        t.run(
            "INSERT INTO manager_request_key (officer, name, content, answer) VALUES (?, ?, ?, ?)",
            (officer, key, content, said),
        )


def last_request(t: Transaction) -> int:
    """Return the number of the newest request, 0 where there is none."""
    return _count(t, "SELECT max(id) FROM manager_request")


def shorten(t: Transaction, number: int, lifetime: int) -> None:
    """Let the tokens of a request live no longer than this, in seconds."""
    t.run("UPDATE manager_request SET lifetime = ? WHERE id = ? AND lifetime > ?", (lifetime, number, lifetime))


def withdraw_open(t: Transaction) -> list[int]:
    """Withdraw what waits or is approved, and issue no more of what is being issued; returns the requests."""
    found = t.rows(
        "SELECT id FROM manager_request r WHERE state IN (?, ?) OR (state = ? AND EXISTS"
        " (SELECT 1 FROM manager_lot WHERE request = r.id AND tokens IS NULL)) ORDER BY id",
        (WAITING, APPROVED, ALLOTTED),
    )
    t.run("UPDATE manager_request SET state = ? WHERE state IN (?, ?)", (REJECTED, WAITING, APPROVED))
    close_open(t)
    return [number for (number,) in found]


def check_permitted(officer: str, wanted: Wanted, permissions: Permission) -> None:
    """Raise RequestRefused (`permission_denied`) where the officer's role lacks something."""
    if missing := lacking(wanted.token_type, actions_of(wanted.actions), permissions):
        raise RequestRefused("permission_denied", f"officer {officer!r} lacks {missing}: the role must have it")


def _count(t: Transaction, sql: str, *parameters: object) -> int:
    ((value,),) = t.rows(sql, parameters)
    return int(value or 0)
