"""Turns a planned route into the columns of `process_route`: device states, and the material to use."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from itron_core._rust import verify_tokens
from itron_core.enums import Action, Code, Decision, DeviceClass, Mode, Need, Permission, SecurityLevel
from itron_core.exchange.material import SPENT, MaterialState
from itron_core.field_tool.state import moment_of
from itron_core.policy import PolicyOptions, entry, permission_for_scope
from itron_core.routes import RouteResults, process_route
from itron_core.stores.incarnation import restored
from itron_core.stores.protocol import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from itron_core._rust import RouteColumns
    from itron_core.field_tool.state import State, Trust
    from itron_core.stores.protocol import Transaction

__all__ = [
    "Choice",
    "Held",
    "Known",
    "Plan",
    "codes_of",
    "decided",
    "held_by_user",
    "later_time",
    "limits_of",
    "missing_requests",
    "spent_by",
    "uses_of",
]

# A difference of clocks up to this many seconds is not reported (docs/format.md: the default skew).
CLOCKS_DIFFER = 120
UNUSED = frozenset({MaterialState.HELD, MaterialState.SENT})
KNOWN = (
    "device, device_class, mode, security_level, level_verified, epoch,"
    " session_opened_at, session_seconds, session_actions, opened_by"
)
HELD = (
    "kid, cti, device, token_type, actions, sequence, epoch, not_before, expires_at, session_seconds,"
    " content, token, state, sent_at, counted"
)
HELD_BY_USER = (
    f"SELECT {HELD} FROM tool_material m WHERE EXISTS (SELECT 1 FROM tool_holder h"  # noqa: S608
    " WHERE h.user_name = ? AND h.kid = m.kid AND h.cti = m.cti) AND device IN ({values})"
)


class Known(NamedTuple):
    """The known state of a device; a class of None means that no server has sent its record yet."""

    device: str
    device_class: int | None = None
    mode: int | None = None
    security_level: int | None = None
    level_verified: int | None = None
    epoch: int | None = None
    session_opened_at: int | None = None
    session_seconds: int | None = None
    session_actions: int | None = None
    opened_by: str | None = None
    is_ours: bool = True

    def session_for(self, action: Action) -> tuple[int | None, int | None]:
        """Return when the session opened and its length in seconds; None for both if it does not allow the action.

        A session opened by another user may only be closed.
        """
        allows = self.is_ours and self.session_actions is not None and self.session_actions >> action & 1
        return (
            (self.session_opened_at, self.session_seconds) if allows or action is Action.CLOSE_SESSION else (None, None)
        )

    def has_session_for(self, action: Action, moment: int) -> bool:
        """Return whether a session that allows the action is open."""
        opened_at, seconds = self.session_for(action)
        return opened_at is not None and seconds is not None and opened_at <= moment < opened_at + seconds


class Held(NamedTuple):
    """One stored piece of material; `sent_at` and `counted` belong to its first sending."""

    kid: bytes
    cti: bytes
    device: str
    token_type: str
    actions: int
    sequence: int
    epoch: int
    not_before: int | None
    expires_at: int
    session_seconds: int | None
    content: bytes
    token: bytes
    state: int
    sent_at: int | None
    counted: int | None

    def covers(self, action: Action) -> bool:
        """Return whether its scope has the action; an authorization always opens a session."""
        if self.token_type == "secure_command":
            return self.actions == 1 << action
        opens = self.token_type == "authorization" and action is Action.OPEN_SESSION
        return opens or bool(self.actions >> action & 1)


class Slots(NamedTuple):
    """The action that each kind of material must cover for a row; None if the row needs none."""

    secure_command: Action | None = None
    authorization: Action | None = None
    reading_key: Action | None = None


class Choice(NamedTuple):
    """The material that a row would use."""

    secure_command: Held | None
    authorization: Held | None
    reading_key: Held | None


class _Uses(NamedTuple):
    """Counted uses by device and type of material; uses by outcomes up to `counted_from` do not count."""

    counts: dict[tuple[str, str], int]
    counted_from: int

    def beside(self, row: Known, token_type: str, piece: Held | None) -> int:
        """Return the uses without that of a piece that was counted at its first sending: it counts once."""
        is_counted = piece is not None and piece.counted is not None and piece.counted > self.counted_from
        return self.counts.get((row.device, token_type), 0) - is_counted


class PlanResults(RouteResults):
    """The decisions of a plan; a refused row also reports a later time that the tool has seen."""

    __slots__ = ("_remark",)

    _remark: str

    def __new__(cls, columns: RouteColumns, options: PolicyOptions, remark: str = "") -> Self:
        """Take the columns of a decided route."""
        self = super().__new__(cls, columns, options)
        self._remark = remark
        return self

    def explain(self, row: int) -> str:
        """Return one row in sentences: the decision, why, what is missing and how to get it."""
        said = super().explain(row)
        is_refused = self._remark and self["decision"][row] not in {Decision.ALLOWED, Decision.ALLOWED_AFTER_OPEN}
        return f"{said}\n{self._remark}" if is_refused else said


def later_time(state: State, moment: int, now: int) -> str:
    """Return a sentence if the tool has seen a later time than its clock shows; an empty text otherwise."""
    if moment - now <= CLOCKS_DIFFER:
        return ""
    shown = datetime.fromtimestamp(state.seen, UTC)
    return (
        f"This tool has seen a later time, {shown:%Y-%m-%d %H:%M:%S} UTC, and uses it; if that clock was wrong,"
        " the next sync corrects it."
    )


class Plan(NamedTuple):
    """A route with the material held for each row, and its decisions."""

    known: list[Known]
    choices: list[Choice]
    results: RouteResults


def decided(
    t: Transaction,
    plan: Sequence[tuple[str, Action]],
    state: State,
    trust: Trust,
    *,
    now: int,
    options: PolicyOptions,
    key_exchange: bool,
    opened: int | None = None,
) -> Plan:
    """Decide a plan by the user's material; `opened` are the actions of a session just opened by a device's answer."""
    moment = moment_of(state, now)
    devices = list(dict.fromkeys(device for device, _ in plan))
    known = [row._replace(is_ours=row.opened_by == state.user_name) for row in known_of(t, plan)]
    if opened is not None:
        known = [
            row._replace(session_opened_at=moment, session_seconds=1, session_actions=opened, is_ours=True)
            for row in known
        ]
    limited = limits_of(options, state)
    slots = _all_slots(known, plan, moment, limited)
    choices = _choose(_candidates(t, devices, state), known, slots, trust, moment)
    uses = uses_of(t, devices, state)
    if restored(t):  # the uses since the backup are unknown: all count as used until a complete sync
        uses |= {(device, kind): limit for device in devices for kind, limit in _limits(limited).items()}
    results = process_route(
        _columns(plan, known, choices, _Uses(uses, state.counted_from), key_exchange=key_exchange),
        trust.keyring,
        now=moment,
        permissions=state.permissions,
        options=limited,
        revocations=trust.revocations,
    )
    return Plan(known, choices, PlanResults(results, limited, later_time(state, moment, now)))


def _limits(options: PolicyOptions) -> dict[str, int]:
    return {"secure_command": options.command_limit, "authorization": options.authorization_limit}


def limits_of(options: PolicyOptions, state: State) -> PolicyOptions:
    """Return the options with the lower of the tool's and the server's limits of uses."""
    return options.lowered_to(command_limit=state.command_limit, authorization_limit=state.authorization_limit)


def uses_of(t: Transaction, devices: Sequence[str], state: State) -> dict[tuple[str, str], int]:
    """Return the counted uses since the last complete sync, by device and type of material."""
    return {
        (device, token_type): count
        for device, token_type, count in rows_of(
            t,
            "SELECT device, token_type, count(*) FROM tool_material"
            " WHERE counted > ? AND device IN ({values}) GROUP BY device, token_type",
            devices,
            (state.counted_from,),
        )
    }


def codes_of(rows: Sequence[Held], epochs: Sequence[int | None], trust: Trust, moment: int) -> list[int]:
    """Return one `Code` per piece at a given time, for its device and that device's epoch, without an action."""
    codes = [0] * len(rows)
    for token_type in {row.token_type for row in rows}:
        places = [place for place, row in enumerate(rows) if row.token_type == token_type]
        results = verify_tokens(
            [rows[place].token for place in places],
            trust.keyring,
            now=moment,
            token_type=token_type,
            audience=[rows[place].device for place in places],
            epoch=[epochs[place] for place in places],
            revocations=trust.revocations,
        )
        for place, code in zip(places, results["code"].to_pylist(), strict=True):
            codes[place] = code
    return codes


def missing_requests(
    plan: Sequence[tuple[str, Action]], missing: Sequence[int], known: Sequence[Known], options: PolicyOptions
) -> list[tuple[str, str, Action]]:
    """Return the command requests for a route's `missing` column: device, type of material, action."""
    requests: list[tuple[str, str, Action]] = []
    for (device, action), bits, row in zip(plan, missing, known, strict=True):
        if not bits:
            continue
        lacks = Need(bits)
        if Need.READING_KEY in lacks:
            requests.append((device, "reading_key", action))
        if Need.AUTHORIZATION in lacks:
            requests.append((device, "authorization", action))
        if Need.SECURE_COMMAND in lacks:
            commanded = Need.SECURE_COMMAND in _row_policy(row, action, options).needs
            requests.append((device, "secure_command", action if commanded else Action.OPEN_SESSION))
    return requests


def spent_by(known: Known, choice: Choice, action: Action, options: PolicyOptions, *, opens: bool) -> Held | None:
    """Return the piece that an allowed row uses: the one that opens its session first, or the action's own."""
    needs, opener, _ = _row_policy(known, action, options)
    spent = opener if opens else needs
    if Need.SECURE_COMMAND in spent:
        return choice.secure_command
    return choice.authorization if Need.AUTHORIZATION in spent else None


def known_of(t: Transaction, plan: Sequence[tuple[str, Action]]) -> list[Known]:
    """Return the known state of each row's device."""
    devices = list(dict.fromkeys(device for device, _ in plan))
    rows = rows_of(t, f"SELECT {KNOWN} FROM tool_device WHERE device IN ({{values}})", devices)  # noqa: S608
    known = {row[0]: Known(*row) for row in rows}
    return [known.get(device) or Known(device) for device, _ in plan]


def held_by_user(t: Transaction, devices: Sequence[str], state: State) -> list[Held]:
    """Return the signed-in user's material: granted to the user, and covered by the user's current permissions."""
    return [
        piece
        for piece in (Held(*row) for row in rows_of(t, HELD_BY_USER, devices, (state.user_name,)))
        if permission_for_scope(piece.token_type, piece.actions) in Permission(state.permissions)
    ]


def _candidates(t: Transaction, devices: Sequence[str], state: State) -> dict[tuple[str, str], list[Held]]:
    found: dict[tuple[str, str], list[Held]] = defaultdict(list)
    for held in held_by_user(t, devices, state):
        if held.state != MaterialState.REFUSED:
            found[held.device, held.token_type].append(held)
    return found


class RowPolicy(NamedTuple):
    """A row of the policy's table: the material needed, the session opener, and the counted uses."""

    needs: Need = Need(0)
    opener: Need = Need(0)
    counted: Need = Need(0)


def _row_policy(row: Known, action: Action, options: PolicyOptions) -> RowPolicy:
    if row.device_class is None or row.mode is None or row.security_level is None:  # no server has sent its record yet
        return RowPolicy()
    try:
        device_class, mode, level = DeviceClass(row.device_class), Mode(row.mode), SecurityLevel(row.security_level)
    except ValueError:  # an unknown number: the row is unreadable
        return RowPolicy()
    line = entry(device_class, mode, level, action, options)
    return RowPolicy(line.needs, line.opener, line.counted)


def _all_slots(
    known: Sequence[Known], plan: Sequence[tuple[str, Action]], moment: int, options: PolicyOptions
) -> list[Slots]:
    # Most rows of a route are similar.
    found: dict[tuple[int | None, int | None, int | None, Action, bool], Slots] = {}
    slots = []
    for row, (_, action) in zip(known, plan, strict=True):
        has_session = row.has_session_for(action, moment)
        key = row.device_class, row.mode, row.security_level, action, has_session
        if key not in found:
            found[key] = _slots(row, action, options, has_session=has_session)
        slots.append(found[key])
    return slots


def _slots(row: Known, action: Action, options: PolicyOptions, *, has_session: bool) -> Slots:
    needs, opener, _ = _row_policy(row, action, options)
    opener = Need(0) if has_session else opener
    opens_by_command = Action.OPEN_SESSION if Need.SECURE_COMMAND in opener else None
    return Slots(
        action if Need.SECURE_COMMAND in needs else opens_by_command,
        action if Need.AUTHORIZATION in needs | opener else None,
        action if Need.READING_KEY in needs else None,
    )


def _choose(
    held: dict[tuple[str, str], list[Held]],
    known: Sequence[Known],
    slots: Sequence[Slots],
    trust: Trust,
    moment: int,
) -> list[Choice]:
    offers = [
        [
            _offered(held, row, token_type, action, moment)
            for token_type, action in zip(Slots._fields, needed, strict=True)
        ]
        for row, needed in zip(known, slots, strict=True)
    ]
    # A single piece is kept even if it is invalid: the route reports why.
    doubtful = [
        (piece, row.epoch)
        for row, offer in zip(known, offers, strict=True)
        for pieces in offer
        if len(pieces) > 1
        for piece in pieces
    ]
    codes = codes_of([piece for piece, _ in doubtful], [epoch for _, epoch in doubtful], trust, moment)
    bad = {(piece.kid, piece.cti) for (piece, _), code in zip(doubtful, codes, strict=True) if code != Code.OK}
    return [Choice(*(_first_good(pieces, bad) for pieces in offer)) for offer in offers]


def _offered(
    held: dict[tuple[str, str], list[Held]], row: Known, token_type: str, action: Action | None, moment: int
) -> list[Held]:
    """Return the usable pieces for an action, best first: unused before used, sent before unsent, then by sequence.

    A piece sent without an answer is safe to send again, which shows whether it was used.
    """
    if action is None:
        return []
    pieces = [piece for piece in held.get((row.device, token_type), ()) if piece.covers(action)]
    if len(pieces) <= 1:
        return pieces
    return sorted(
        pieces,
        key=lambda piece: (
            piece.state not in UNUSED,
            not (piece.not_before or 0) <= moment < piece.expires_at or piece.epoch < (row.epoch or 0),
            piece.state != MaterialState.SENT,
            piece.sequence,
        ),
    )


def _first_good(pieces: Sequence[Held], bad: set[tuple[bytes, bytes]]) -> Held | None:
    if len(pieces) <= 1:
        return pieces[0] if pieces else None
    unused = [piece for piece in pieces if piece.state in UNUSED]
    good = [piece for piece in unused if (piece.kid, piece.cti) not in bad]
    return next(iter([*good, *unused, *pieces]), None)


def _columns(
    plan: Sequence[tuple[str, Action]],
    known: Sequence[Known],
    choices: Sequence[Choice],
    uses: _Uses,
    *,
    key_exchange: bool,
) -> dict[str, list[Any]]:
    both = list(zip(known, choices, strict=True))
    sessions = [row.session_for(action) for row, (_, action) in zip(known, plan, strict=True)]
    return {
        "device": [device for device, _ in plan],
        "device_class": [row.device_class for row in known],
        "security_level": [row.security_level for row in known],
        "mode": [row.mode for row in known],
        "action": [int(action) for _, action in plan],
        "epoch": [row.epoch for row in known],
        "level_verified": [row.level_verified == 1 for row in known],
        "session_opened_at": [opened_at for opened_at, _ in sessions],
        "session_seconds": [seconds for _, seconds in sessions],
        "secure_command": _tokens(choice.secure_command for choice in choices),
        "authorization": _tokens(choice.authorization for choice in choices),
        "reading_key": _tokens(choice.reading_key for choice in choices),
        "secure_command_used": _used(choice.secure_command for choice in choices),
        "authorization_used": _used(choice.authorization for choice in choices),
        "commands_used": [uses.beside(row, "secure_command", choice.secure_command) for row, choice in both],
        "authorizations_used": [uses.beside(row, "authorization", choice.authorization) for row, choice in both],
        "key_exchange": [key_exchange] * len(plan),
    }


def _tokens(pieces: Iterable[Held | None]) -> list[bytes | None]:
    return [None if piece is None else piece.token for piece in pieces]


def _used(pieces: Iterable[Held | None]) -> list[bool]:
    return [piece is not None and piece.state in SPENT for piece in pieces]
