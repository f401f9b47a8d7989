"""Checks of a tools server's answers before anything of them is stored: types, order, and relation to the request."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeVar

from itron_core._arguments import EARLIEST, LATEST
from itron_core.enums import DEVICE_TOKEN_TYPES, Code, DeviceClass, Mode, Permission, SecurityLevel
from itron_core.errors import ExchangeError, InputError, ItronCoreError, KeyRefused, TokenRefused
from itron_core.exchange.identity import device_id
from itron_core.exchange.material import Material, Page
from itron_core.exchange.records import MOST_DELEGATIONS, VERDICTS, DeviceRecord, OutcomeReport, SignIn
from itron_core.exchange.snapshots import Snapshot, snapshot_after
from itron_core.exchange.verification import judge

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from itron_core._rust import Keyring
    from itron_core.field_tool.state import State

__all__ = ["SignedIn", "check_codes", "check_material", "check_page", "check_records", "check_sign_in", "check_taken"]

LARGEST = 2**63 - 1
LARGEST_TOKEN = 65_536
# The highest number that a server may claim, so that numbers after it remain.
MOST_NUMBERS = 2**62
# A token or delegation may not be valid yet or have expired, but everything else about it must be right.
TIMELY_LATER = frozenset({Code.OK, Code.IAT_IN_FUTURE, Code.NOT_YET_VALID, Code.EXPIRED})
EVERY_PERMISSION = int(~Permission(0))

_T = TypeVar("_T")


def check_codes(codes: object, outcomes: Sequence[OutcomeReport]) -> list[int]:
    """Return the codes of a report, one per outcome."""
    found = _all(int, codes, "codes of a report")
    if len(found) != len(outcomes) or not VERDICTS.issuperset(found):
        _refuse(
            f"{len(found)} codes {sorted(set(found))[:5]} for {len(outcomes)} outcomes; expected one per outcome: 0, 800 or 801"
        )
    return found


def check_taken(taken: object, last: int) -> None:
    """Raise unless the server accepted every command request sent."""
    if taken != last or not _is_number(taken):
        raise ExchangeError(
            f"The server knows {taken!r} of this tool's {last} requests. Was it restored from a backup?"
            " Sync again; see docs/restore.md"
        )


class SignedIn(NamedTuple):
    """A checked sign-in, with the revocations to hold and the tool's time after it.

    `moment` is the server's time if the sign-in proves it, else the latest time that the tool has seen; `in_force` is
    whether the revocations are in force at that time.
    """

    sign_in: SignIn
    revocations: Snapshot
    moment: int
    in_force: bool


def check_sign_in(
    answer: object, user: str, state: State, keyring: Keyring, delegations: Sequence[bytes], *, seen: int
) -> SignedIn:
    """Return the checked sign-in of this user. Raises ExchangeError for an invalid one.

    `delegations` are those held so far; `seen` is the latest time that the tool has seen. The server's time in the answer
    replaces it if the newest genuine revocation snapshot is in force then; without any snapshot, only an earlier time
    does. Revocations that have expired, or are older than those held, do not fail the sign-in: the newer ones are held,
    and nothing is used until others arrive.
    """
    sign_in = _typed(answer, user, state)
    said = sign_in.answered_at
    if said and not EARLIEST <= said <= LATEST:
        _refuse(f"with the time {said}; expected seconds since 1970, from 2020 to 2100")
    ended: Snapshot | None = None
    if said:
        # An answer that is invalid at the server's own time is checked again below, at the tool's time.
        with suppress(ExchangeError):
            found, in_force = _revocations(sign_in, state, keyring, delegations, said)
            if in_force:
                return SignedIn(sign_in, found, min(said, seen) if found.token is None else said, in_force=True)
            ended = found
    try:
        found, in_force = _revocations(sign_in, state, keyring, delegations, seen)
    except ExchangeError:
        if ended is None:
            raise
        found, in_force = ended, False  # valid at the server's time, which this tool's clock has not reached
    return SignedIn(sign_in, found, seen, in_force and ended is None)


def _revocations(
    sign_in: SignIn, state: State, keyring: Keyring, delegations: Sequence[bytes], moment: int
) -> tuple[Snapshot, bool]:
    """Return the revocations to hold after a sign-in, as of a moment, and whether they are in force."""
    offered = _all(bytes, sign_in.delegations, "delegations")
    _check_delegations(offered, keyring, moment)
    if not isinstance(sign_in.revocations, bytes | None):
        _refuse(f"with revocations of type {type(sign_in.revocations).__name__}; expected bytes or None")
    held = Snapshot(state.revocations, state.revocations_version, state.accepted_at)
    try:
        found = snapshot_after(held, sign_in.revocations, keyring, delegations=(delegations, offered), moment=moment)
    except ItronCoreError as error:
        raise ExchangeError(f"the server sent invalid revocations: {error}") from error
    return found, found.is_in_force(keyring, [*delegations, *offered], moment)


def _typed(answer: object, user: str, state: State) -> SignIn:
    if not isinstance(answer, SignIn) or not _are_texts(*answer[:2], answer.incarnation):
        _refuse(f"a sign-in with {type(answer).__name__}; expected a SignIn with fields of its types")
    numbers = (answer.permissions, answer.command_limit, answer.authorization_limit, answer.answered_at)
    if not all(_is_number(number) and number <= MOST_NUMBERS for number in (answer.reported, answer.wanted)):
        _refuse("a sign-in with invalid counts of outcomes or command requests; expected whole numbers from 0")
    if not all(_is_number(number) for number in numbers) or answer.permissions & ~EVERY_PERMISSION:
        _refuse("a sign-in with invalid permissions or limits; expected whole numbers from 0, and known bits")
    if answer.user != user or not answer.unit or (state.unit and answer.unit != state.unit):
        _refuse(
            f"with a sign-in of user {answer.user!r}, unit {answer.unit!r}; expected user {user!r}, unit {state.unit!r}"
        )
    return answer


def _check_delegations(tokens: Sequence[bytes], keyring: Keyring, moment: int) -> None:
    if len(tokens) > MOST_DELEGATIONS:
        _refuse(f"with {len(tokens)} delegations; expected at most {MOST_DELEGATIONS}")
    for place, token in enumerate(tokens):
        try:
            keyring.with_delegations([token], now=moment)
        except KeyRefused:
            continue  # a key of the tool's own keyring needs no delegation
        except TokenRefused as refused:
            if refused.code not in TIMELY_LATER:
                raise ExchangeError(f"the server sent an invalid delegation ({place}): {refused}") from refused


def check_page(page: object, after: int, limit: int) -> Page:
    """Return a page after checking that its serials rise from the cursor to its end."""
    if not isinstance(page, Page) or not _is_number(page.next) or not isinstance(page.more, bool):
        _refuse(f"with {type(page).__name__}; expected a Page with a cursor and a flag")
    rows = _all(tuple, page.rows, "rows of a page")
    if len(rows) > limit or not all(len(row) == 2 and _is_number(row[0]) for row in rows):  # noqa: PLR2004  # serial, row
        _refuse(f"with a page of {len(rows)} rows; expected at most {limit}, each with its serial")
    serials = [after, *(serial for serial, _ in rows)]
    if any(later <= earlier for earlier, later in pairwise(serials)) or page.next < serials[-1]:
        _refuse(f"with a page out of order; its serials must rise from {after} to {page.next}")
    if page.more and not rows:
        _refuse("with an empty page before the last one")
    return page


def check_material(page: Page, unit: str, keyring: Keyring, moment: int) -> list[Material]:
    """Return the material of a page after verifying each token for its device, and its columns against it."""
    rows = [row for _, row in page.rows]
    for row in rows:
        _check_row(row, unit)
    for (serial, row), code in zip(page.rows, judge(rows, keyring, now=moment), strict=True):
        if code not in TIMELY_LATER:
            raise ExchangeError(
                f"the server sent invalid material ({serial}) for {row.device!r}: {Code(code).name.lower()} ({code})"
            )
    return rows


def _check_row(row: object, unit: str) -> None:
    if not isinstance(row, Material):
        _refuse(f"with a row of type {type(row).__name__}; expected Material")
    numbers = (row.actions, row.sequence, row.epoch, row.issued_at, row.expires_at)
    optional = [number for number in (row.not_before, row.session_seconds) if number is not None]
    if not all(_is_number(number) for number in (*numbers, *optional)):
        _refuse("with material that has an invalid column; expected whole numbers from 0")
    _all(bytes, [row.kid, row.token], "key ids and tokens")
    if len(row.token) > LARGEST_TOKEN:
        _refuse(f"with material of {len(row.token)} bytes; expected at most {LARGEST_TOKEN}")
    if row.unit != unit or not _are_texts(row.device) or row.token_type not in DEVICE_TOKEN_TYPES:
        _refuse(
            f"with material of unit {row.unit!r}, type {row.token_type!r}; expected {unit!r}, one of {', '.join(DEVICE_TOKEN_TYPES)}"
        )


def check_records(records: object, asked: Collection[str], unit: str) -> list[DeviceRecord]:
    """Return device records after checking that each device was requested, and occurs once."""
    found = _all(DeviceRecord, records, "records of devices")
    names = [record.device for record in found]
    if not _are_texts(*names):
        _refuse("with a device record without a name")
    if len(set(names)) != len(names) or not set(names) <= set(asked):
        _refuse("with device records that were not requested, or occur twice")
    for record in found:
        _check_record(record, unit)
    return found


def _check_record(record: DeviceRecord, unit: str) -> None:
    numbers = (record.device_class, record.mode, record.security_level, record.epoch)
    # A set would have to hash whatever the server answered.
    if record.unit != unit or not all(map(_is_number, numbers)) or record.level_verified not in (0, 1):
        _refuse(f"with an invalid record of {record.device}; expected unit {unit!r} and values of its types")
    known = (
        record.device_class in DeviceClass._value2member_map_
        and record.mode in Mode._value2member_map_
        and record.security_level in SecurityLevel._value2member_map_
    )
    if not known:
        _refuse(f"with a record of {record.device} that has an unknown class, mode or level")
    try:
        device_id(record.device)
    except InputError as error:
        raise ExchangeError(str(error)) from error


def _all(kind: type[_T], values: object, what: str) -> list[_T]:
    if not isinstance(values, list | tuple) or not all(
        isinstance(value, kind) and not isinstance(value, bool) for value in values
    ):
        _refuse(f"with invalid {what}; expected a list of {kind.__name__}")
    return list(values)


def _are_texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _refuse(what: str) -> NoReturn:
    raise ExchangeError(f"the server answered {what}")
