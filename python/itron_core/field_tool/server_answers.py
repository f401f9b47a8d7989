"""What a tools server may answer, checked before any of it is kept: types, order, and what was asked."""

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
# So that there are numbers left behind those that a server says it has.
MOST_NUMBERS = 2**62
# A token, or a delegation, may come early or late: what else it says must be right.
TIMELY_LATER = frozenset({Code.OK, Code.IAT_IN_FUTURE, Code.NOT_YET_VALID, Code.EXPIRED})
EVERY_PERMISSION = int(~Permission(0))

_T = TypeVar("_T")


def check_codes(codes: object, outcomes: Sequence[OutcomeReport]) -> list[int]:
    """Return the codes of a report, one for each outcome."""
    found = _all(int, codes, "codes of a report")
    if len(found) != len(outcomes) or not VERDICTS.issuperset(found):
        _refuse(
            f"{len(found)} codes {sorted(set(found))[:5]} for {len(outcomes)} outcomes; expected each 0, 800 or 801"
        )
    return found


def check_taken(taken: object, last: int) -> None:
    """Refuse an answer to command requests that is not the number of the last one sent."""
    if taken != last or not _is_number(taken):
        raise ExchangeError(
            f"The server knows {taken!r} of this tool's {last} requests. Was it restored from a backup?"
            " Sync again; see docs/restore.md"
        )


class SignedIn(NamedTuple):
    """A sign-in that was checked: the revocations to hold after it, and the moment that it leaves the tool with.

    `moment` is the server's time if the sign-in proves it, else the latest that the tool has seen; `in_force` says
    whether the revocations are in force at that moment.
    """

    sign_in: SignIn
    revocations: Snapshot
    moment: int
    in_force: bool


def check_sign_in(
    answer: object, user: str, state: State, keyring: Keyring, delegations: Sequence[bytes], *, seen: int
) -> SignedIn:
    """Return what to keep of a sign-in of this user; raises ExchangeError for one that is not to be believed.

    `delegations` are those held so far, `seen` is the latest moment that the tool has seen. A server proves another by
    its time in the answer, if the newest genuine revocation snapshot is in force then; if there is none at all, its
    time may only be earlier. Revocations that have ended, or that are older than those held, end no sign-in: the newer
    ones are held, and nothing is used until others come.
    """
    sign_in = _typed(answer, user, state)
    said = sign_in.answered_at
    if said and not EARLIEST <= said <= LATEST:
        _refuse(f"its time as {said}; expected seconds since 1970, from 2020 to 2100")
    ended: Snapshot | None = None
    if said:
        # What is not to be believed at the server's own time is judged below: its clock is wrong, or its answer.
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
        found, in_force = ended, False  # genuine at the server's time, which this tool's clock has not reached
    return SignedIn(sign_in, found, seen, in_force and ended is None)


def _revocations(
    sign_in: SignIn, state: State, keyring: Keyring, delegations: Sequence[bytes], moment: int
) -> tuple[Snapshot, bool]:
    """Return the revocations to hold after a sign-in, as of a moment, and whether they are in force."""
    offered = _all(bytes, sign_in.delegations, "delegations")
    _check_delegations(offered, keyring, moment)
    if not isinstance(sign_in.revocations, bytes | None):
        _refuse(f"revocations that are {type(sign_in.revocations).__name__}; expected bytes or none")
    held = Snapshot(state.revocations, state.revocations_version, state.accepted_at)
    try:
        found = snapshot_after(held, sign_in.revocations, keyring, delegations=(delegations, offered), moment=moment)
    except ItronCoreError as error:
        raise ExchangeError(f"the revocations of the sign-in are not to be believed: {error}") from error
    return found, found.is_in_force(keyring, [*delegations, *offered], moment)


def _typed(answer: object, user: str, state: State) -> SignIn:
    if not isinstance(answer, SignIn) or not _are_texts(*answer[:2], answer.incarnation):
        _refuse(f"a sign-in that is {type(answer).__name__}; expected a SignIn of its types")
    numbers = (answer.permissions, answer.command_limit, answer.authorization_limit, answer.answered_at)
    if not all(_is_number(number) and number <= MOST_NUMBERS for number in (answer.reported, answer.wanted)):
        _refuse("a sign-in whose counts of outcomes or command requests are not whole numbers from 0 up")
    if not all(_is_number(number) for number in numbers) or answer.permissions & ~EVERY_PERMISSION:
        _refuse("a sign-in with unknown permissions or limits; expected whole numbers from 0 up, and known bits")
    if answer.user != user or not answer.unit or (state.unit and answer.unit != state.unit):
        _refuse(f"a sign-in of {answer.user!r}, unit {answer.unit!r}; expected {user!r}, unit {state.unit!r}")
    return answer


def _check_delegations(tokens: Sequence[bytes], keyring: Keyring, moment: int) -> None:
    if len(tokens) > MOST_DELEGATIONS:
        _refuse(f"{len(tokens)} delegations; expected up to {MOST_DELEGATIONS}")
    for place, token in enumerate(tokens):
        try:
            keyring.with_delegations([token], now=moment)
        except KeyRefused:
            continue  # the key is one of the tool's own, which needs none
        except TokenRefused as refused:
            if refused.code not in TIMELY_LATER:
                raise ExchangeError(f"delegation {place} of the sign-in is not to be believed: {refused}") from refused


def check_page(page: object, after: int, limit: int) -> Page:
    """Return a page whose serials rise behind the cursor, up to its end."""
    if not isinstance(page, Page) or not _is_number(page.next) or not isinstance(page.more, bool):
        _refuse(f"a page that is {type(page).__name__}; expected a Page with a cursor and a flag")
    rows = _all(tuple, page.rows, "rows of a page")
    if len(rows) > limit or not all(len(row) == 2 and _is_number(row[0]) for row in rows):  # noqa: PLR2004  # serial, row
        _refuse(f"a page of {len(rows)} rows; expected up to {limit}, each with its serial")
    serials = [after, *(serial for serial, _ in rows)]
    if any(later <= earlier for earlier, later in pairwise(serials)) or page.next < serials[-1]:
        _refuse(f"a page whose serials do not rise from {after} to its end, {page.next}")
    if page.more and not rows:
        _refuse("a page that is empty, with more to come")
    return page


def check_material(page: Page, unit: str, keyring: Keyring, moment: int) -> list[Material]:
    """Return the material of a page, each verified for its device, each column what its token says."""
    rows = [row for _, row in page.rows]
    for row in rows:
        _check_row(row, unit)
    for (serial, row), code in zip(page.rows, judge(rows, keyring, now=moment), strict=True):
        if code not in TIMELY_LATER:
            raise ExchangeError(f"material {serial} for {row.device!r} is refused: {Code(code).name.lower()} ({code})")
    return rows


def _check_row(row: object, unit: str) -> None:
    if not isinstance(row, Material):
        _refuse(f"a row that is {type(row).__name__}; expected Material")
    numbers = (row.actions, row.sequence, row.epoch, row.issued_at, row.expires_at)
    optional = [number for number in (row.not_before, row.session_seconds) if number is not None]
    if not all(_is_number(number) for number in (*numbers, *optional)):
        _refuse("material with a column that is no whole number from 0 up")
    _all(bytes, [row.kid, row.token], "key ids and tokens")
    if len(row.token) > LARGEST_TOKEN:
        _refuse(f"material of {len(row.token)} bytes; expected up to {LARGEST_TOKEN}")
    if row.unit != unit or not _are_texts(row.device) or row.token_type not in DEVICE_TOKEN_TYPES:
        _refuse(
            f"material of unit {row.unit!r}, type {row.token_type!r}; expected {unit!r}, one of {', '.join(DEVICE_TOKEN_TYPES)}"
        )


def check_records(records: object, asked: Collection[str], unit: str) -> list[DeviceRecord]:
    """Return records of devices that were asked for, each once."""
    found = _all(DeviceRecord, records, "records of devices")
    names = [record.device for record in found]
    if not _are_texts(*names):
        _refuse("a record of a device without a name")
    if len(set(names)) != len(names) or not set(names) <= set(asked):
        _refuse("records of devices that were not asked for, or twice of one")
    for record in found:
        _check_record(record, unit)
    return found


def _check_record(record: DeviceRecord, unit: str) -> None:
    numbers = (record.device_class, record.mode, record.security_level, record.epoch)
    # A set would want to hash what a server may have answered.
    if record.unit != unit or not all(map(_is_number, numbers)) or record.level_verified not in (0, 1):
        _refuse(f"a record of {record.device} that is not of unit {unit!r}, or not of its types")
    known = (
        record.device_class in DeviceClass._value2member_map_
        and record.mode in Mode._value2member_map_
        and record.security_level in SecurityLevel._value2member_map_
    )
    if not known:
        _refuse(f"a record of {record.device} with a class, mode or level that is none")
    try:
        device_id(record.device)
    except InputError as error:
        raise ExchangeError(str(error)) from error


def _all(kind: type[_T], values: object, what: str) -> list[_T]:
    if not isinstance(values, list | tuple) or not all(
        isinstance(value, kind) and not isinstance(value, bool) for value in values
    ):
        _refuse(f"{what} that are no list of {kind.__name__}")
    return list(values)


def _are_texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _refuse(what: str) -> NoReturn:
    raise ExchangeError(f"the server answered {what}")
