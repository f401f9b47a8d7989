"""Officers' requests in the manager's store: who may request, who must approve, and the cap on critical material."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

from itron_core.errors import InputError, RequestRefused
from itron_core.manager.batches import add_batches, close_open
from itron_core.manager.eligibility import actions_of, is_critical, missing_permissions
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
    "Limits",
    "Request",
    "RequestRecord",
    "RequestToIssue",
    "Terms",
    "add_request",
    "answered",
    "check_cap",
    "check_key",
    "check_permitted",
    "check_still_permitted",
    "content_of_request",
    "first_state",
    "keep_answer",
    "last_request",
    "request_to_issue",
    "shorten",
    "to_decide",
    "withdraw_open",
]

DAY = 86_400
LONGEST_KEY = 200
STATES = WAITING, APPROVED, ALLOTTED, REJECTED = "waiting", "approved", "allotted", "rejected"


class Limits(NamedTuple):
    """Limits against misuse: per `window` seconds, `alone` critical rows per officer without approval, `critical` in all."""

    alone: int = 10
    critical: int = 5_000
    window: int = DAY


DEFAULT_LIMITS = Limits()


class Request(NamedTuple):
    """The answer to a request; `refused` has each device that gets nothing, with the name of the reason.

    The reasons are `device_unknown` (in the officer's unit), `device_retired`, `named_twice`, or a reason of the policy in
    lower case. `warnings` are sentences about what is allowed but unusual.
    """

    id: int
    state: str
    rows: int
    refused: list[tuple[str, str]]
    warnings: tuple[str, ...] = ()


class RequestRecord(NamedTuple):
    """A stored request; `state` is waiting, approved, allotted (issued, or being issued) or rejected."""

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


class Terms(NamedTuple):
    """The terms of a request: what each of its devices gets."""

    token_type: str
    actions: int
    argument: str
    session_seconds: int | None
    lifetime: int
    subject: str | None


class RequestToIssue(NamedTuple):
    """A request with all that issuing needs; `allotted_at` is the issue time of all its tokens."""

    request: int
    unit: str
    officer: str
    allotted_at: int
    terms: Terms


def request_to_issue(t: Transaction, request: int) -> RequestToIssue:
    """Return an existing request; its issue time is 0 until it is allotted."""
    ((unit, officer, allotted_at, *terms),) = t.rows(
        f"SELECT unit, officer, allotted_at, {', '.join(Terms._fields)} FROM manager_request WHERE id = ?",  # noqa: S608
        (request,),
    )
    return RequestToIssue(request, unit, officer, allotted_at or 0, Terms(*terms))


def to_decide(t: Transaction, number: int, officer: str, states: set[str]) -> RequestRecord:
    """Return a request in one of these states that this officer may decide. Raises RequestRefused otherwise."""
    unit, permissions = officer_of(t, officer)
    columns = ", ".join(RequestRecord._fields)
    rows = t.rows(f"SELECT {columns} FROM manager_request WHERE id = ?", (number,))  # noqa: S608
    found = [RequestRecord(*row) for row in rows]
    if not found or found[0].state not in states:
        fault = f"is {found[0].state}, expected {' or '.join(sorted(states))}" if found else "is unknown"
        raise RequestRefused("not_waiting", f"request {number} {fault}")
    (asked,) = found
    missing = missing_permissions(asked.token_type, actions_of(asked.actions), permissions)
    if missing or asked.unit != unit:
        why = f"the permission {missing} is missing" if missing else f"it belongs to unit {asked.unit!r}"
        raise RequestRefused("permission_denied", f"{officer!r} cannot decide request {number}: {why}")
    return asked


def check_still_permitted(t: Transaction, asked: RequestToIssue, people: Iterable[str | None]) -> None:
    """Raise RequestRefused if the person who requested or approved may no longer do so."""
    for person in filter(None, people):
        unit, permissions = officer_of(t, person)
        if unit != asked.unit:
            raise RequestRefused(
                "permission_denied",
                f"{person!r} has moved to unit {unit!r}, but request {asked.request} belongs to {asked.unit!r}: reject it",
            )
        check_permitted(person, asked.terms, permissions)


def first_state(
    t: Transaction, limits: Limits, officer: str, size: int, now: int, *, alone_allowed: bool = True
) -> str:
    """Return the state of a new critical request: one for many devices waits for a second officer. Raises RequestRefused.

    Every one waits unless `alone_allowed`. Requests dated later than one window from now, by a clock that was ahead,
    are not counted.
    """
    if size > limits.critical:
        raise RequestRefused(
            "critical_cap",
            f"{size} critical rows exceed the limit of {limits.critical} in {limits.window} s: make smaller requests",
        )
    alone = _count(
        t,
        "SELECT sum(size) FROM manager_request WHERE officer = ? AND critical = 1 AND approver IS NULL"
        " AND state IN (?, ?) AND requested_at > ? AND requested_at < ?",
        *(officer, APPROVED, ALLOTTED, now - limits.window, now + limits.window),
    )
    return APPROVED if alone_allowed and alone + size <= limits.alone else WAITING


def check_cap(t: Transaction, limits: Limits, number: int, size: int, now: int) -> None:
    """Raise RequestRefused (`critical_cap`) if the sliding cap leaves no room; the text names the time when it will."""
    window, most = limits.window, limits.critical
    spent = t.rows(
        "SELECT allotted_at, size FROM manager_request WHERE critical = 1 AND state = ? AND allotted_at > ?"
        " AND allotted_at < ? ORDER BY allotted_at",
        (ALLOTTED, now - window, now + window),
    )
    left = most - sum(count for _, count in spent)
    if size <= left:
        return
    when = "reject it and make smaller requests"
    for allotted_at, count in spent:
        left += count
        if size <= left:
            when = f"issue it at {allotted_at + window} or later"
            break
    raise RequestRefused(
        "critical_cap",
        f"request {number} of {size} rows exceeds the limit of {most} critical rows in {window} s: {when}",
    )


def check_key(key: object) -> None:
    """Raise InputError for an invalid idempotency key."""
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= LONGEST_KEY and key.isprintable()):
        raise InputError(f"key: got {key!r:.100}, expected 1 to {LONGEST_KEY} printable characters")


def content_of_request(terms: Terms, devices: Sequence[str]) -> bytes:
    """Return a digest of the request's content, excluding its time."""
    return hashlib.sha256(json.dumps([terms, list(devices)], default=repr).encode()).digest()


def answered(t: Transaction, officer: str, key: str | None, content: bytes) -> Request | None:
    """Return the earlier answer to the request under this key, or None. Raises RequestRefused if its content differed."""
    found = t.rows("SELECT content, answer FROM manager_request_key WHERE officer = ? AND name = ?", (officer, key))
    if not found:
        return None
    ((known, answer),) = found
    if bytes(known) != content:
        raise RequestRefused(
            "key_reused", f"{officer!r} has already used the key {key!r} for another request: choose a new key"
        )
    number, state, rows, refused, warnings = json.loads(answer)
    return Request(number, state, rows, [(device, reason) for device, reason in refused], tuple(warnings))


def add_request(
    t: Transaction,
    officer: str,
    unit: str,
    terms: Terms,
    *,
    taken: Sequence[str],
    state: str,
    now: int,
    least: int = 1,
) -> int:
    """Store a new request for these devices and return its number, which is `least` or more."""
    number = max(last_request(t) + 1, least)
    t.run(
        "INSERT INTO manager_request (id, officer, unit, token_type, actions, argument, session_seconds, lifetime, subject,"
        " critical, size, state, requested_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (number, officer, unit, *terms, int(is_critical(terms.actions)), len(taken), state, now),
    )
    add_batches(t, number, taken)
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
    """Limit the lifetime of a request's tokens, in seconds."""
    t.run("UPDATE manager_request SET lifetime = ? WHERE id = ? AND lifetime > ?", (lifetime, number, lifetime))


def withdraw_open(t: Transaction) -> list[int]:
    """Withdraw waiting and approved requests, stop those being issued, and return the numbers of all of them."""
    found = t.rows(
        "SELECT id FROM manager_request r WHERE state IN (?, ?) OR (state = ? AND EXISTS"
        " (SELECT 1 FROM manager_lot WHERE request = r.id AND tokens IS NULL)) ORDER BY id",
        (WAITING, APPROVED, ALLOTTED),
    )
    t.run("UPDATE manager_request SET state = ? WHERE state IN (?, ?)", (REJECTED, WAITING, APPROVED))
    close_open(t)
    return [number for (number,) in found]


def check_permitted(officer: str, terms: Terms, permissions: Permission) -> None:
    """Raise RequestRefused (`permission_denied`) if the officer's role lacks a permission."""
    if missing := missing_permissions(terms.token_type, actions_of(terms.actions), permissions):
        raise RequestRefused(
            "permission_denied", f"officer {officer!r} lacks the permission {missing}: add it to the role"
        )


def _count(t: Transaction, sql: str, *parameters: object) -> int:
    ((value,),) = t.rows(sql, parameters)
    return int(value or 0)
