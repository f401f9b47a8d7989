"""Field tools' outcome reports: the ledger decides each use once, and the security manager reads them by cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from itron_core._arguments import instance, moment, whole
from itron_core.audit import audit_entry
from itron_core.enums import Action, Code
from itron_core.errors import InputError, RequestRefused
from itron_core.exchange.identity import device_id
from itron_core.exchange.material import SPENT, MaterialState
from itron_core.exchange.pages import MOST_NUMBER, ROW_BYTES, page_length
from itron_core.exchange.protocols import OutcomePage
from itron_core.exchange.records import LONGEST_ANSWER, OutcomeReport
from itron_core.stores.protocol import rows_of
from itron_core.tools_server.granting import granted
from itron_core.tools_server.ledger import Use
from itron_core.tools_server.receiving import mark_used
from itron_core.tools_server.tools import number_in, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from itron_core.stores.protocol import Transaction
    from itron_core.tools_server.ledger import Ledger
    from itron_core.tools_server.tools import Tool

__all__ = ["bytes_of", "check_outcome", "codes_given", "decided", "differing_outcomes", "entry_of", "keep", "page_of"]

OUTCOME = "number, device, action, kid, cti, content, state, reason, answer, happened_at"
LONGEST_ID = 64


def check_outcome(outcome: OutcomeReport) -> None:
    """Raise InputError for an outcome that no field tool can report."""
    instance("outcomes", outcome, OutcomeReport)
    number = whole("number of an outcome", outcome.number, 1, MOST_NUMBER)
    if outcome.state not in MaterialState._value2member_map_ or outcome.action not in Action._value2member_map_:
        raise InputError(
            f"outcome {number}: got state {outcome.state!r:.80}, action {outcome.action!r:.80}, expected numbers of the enums"
        )
    device_id(outcome.device)
    whole(f"reason of outcome {number}", outcome.reason)
    moment(f"at of outcome {number}", outcome.at)
    for name, most in (("kid", LONGEST_ID), ("cti", LONGEST_ID), ("content", LONGEST_ID), ("answer", LONGEST_ANSWER)):
        if len(instance(f"{name} of outcome {number}", getattr(outcome, name), bytes)) > most:
            raise InputError(f"{name} of outcome {number}: got more than {most} bytes, expected at most {most}")


def bytes_of(outcomes: Sequence[OutcomeReport]) -> int:
    """Return the bytes that outcomes count against a tool's quota."""
    return sum(len(outcome.answer) + ROW_BYTES for outcome in outcomes)


def differing_outcomes(t: Transaction, tool: str, outcomes: Sequence[OutcomeReport]) -> list[int]:
    """Return the numbers that were already used for a different outcome."""
    given = {outcome.number: outcome for outcome in outcomes}
    # Row by row: stored answers may be far larger than the reported ones.
    found = rows_of(
        t,
        f"SELECT {OUTCOME} FROM server_outcome WHERE tool = ? AND number IN ({{values}})",  # noqa: S608
        list(given),
        (tool,),
    )
    return [row[0] for row in found if OutcomeReport(*plain(row)) != given[row[0]]]


def codes_given(t: Transaction, tool: str, numbers: Sequence[int]) -> dict[int, int]:
    """Return the codes with which earlier outcomes were answered, by number."""
    return dict(
        rows_of(t, "SELECT number, code FROM server_outcome WHERE tool = ? AND number IN ({values})", numbers, (tool,))
    )


def decided(t: Transaction, ledger: Ledger, tool: str, outcomes: Sequence[OutcomeReport]) -> list[int]:
    """Return one code per outcome; using material never granted to this tool, or with other content, is a conflict."""
    spent = [outcome for outcome in outcomes if outcome.state in SPENT and outcome.kid]
    known = granted(t, tool, [outcome.cti for outcome in spent])
    honest = [
        outcome for outcome in spent if known.get((outcome.kid, outcome.cti)) == (outcome.content, outcome.device)
    ]
    uses = [Use(outcome.kid, outcome.cti, outcome.content, outcome.answer, outcome.at) for outcome in honest]
    verdicts = ledger.decide(uses, t)
    mark_used(t, [(use.kid, use.cti) for use in uses])
    codes = {outcome.number: int(Code.REPLAY_CONFLICT) for outcome in spent}
    codes |= {outcome.number: int(verdict.code) for outcome, verdict in zip(honest, verdicts, strict=True)}
    return [codes.get(outcome.number, int(Code.OK)) for outcome in outcomes]


def keep(t: Transaction, tool: str, outcomes: Sequence[OutcomeReport], codes: Sequence[int]) -> None:
    """Store new outcomes with their codes."""
    start = number_in(t, "SELECT max(serial) FROM server_outcome") + 1
    t.run_many(
        f"INSERT INTO server_outcome (serial, tool, code, {OUTCOME}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        [
            (serial, tool, code, *outcome)
            for serial, (outcome, code) in enumerate(zip(outcomes, codes, strict=True), start)
        ],
    )


def page_of(t: Transaction, after: int, limit: int, incarnation: str) -> OutcomePage:
    """Return outcomes after a cursor. Raises RequestRefused `cursor_unknown` for a cursor beyond the last serial."""
    last = number_in(t, "SELECT max(serial) FROM server_outcome")
    if after > last:
        raise RequestRefused("cursor_unknown", f"cursor {after} lies beyond the last outcome, {last}: start from 0")
    sizes = t.rows(
        "SELECT serial, length(answer) FROM server_outcome WHERE serial > ? ORDER BY serial LIMIT ?", (after, limit + 1)
    )
    count = page_length((size for _, size in sizes), limit)
    end = sizes[count - 1][0] if count else after
    found = t.rows(
        f"SELECT serial, tool, code, {OUTCOME} FROM server_outcome WHERE serial > ? AND serial <= ? ORDER BY serial",  # noqa: S608
        (after, end),
    )
    rows = [(serial, tool, OutcomeReport(*plain(rest)), code) for serial, tool, code, *rest in found]
    return OutcomePage(rows, end, count < len(sizes), incarnation)


def entry_of(known: Tool, outcome: OutcomeReport, code: int, now: int) -> bytes:
    """Return the audit entry of an outcome; a conflict is an alarm."""
    return audit_entry(
        "alarm" if code == Code.REPLAY_CONFLICT else "outcome",
        now,
        tool=known.tool,
        user=known.name,
        number=outcome.number,
        device=outcome.device,
        action=Action(outcome.action).name.lower(),
        state=MaterialState(outcome.state).name.lower(),
        reason=outcome.reason,
        code=code,
        kid=outcome.kid,
        cti=outcome.cti,
        happened_at=outcome.at,
    )
