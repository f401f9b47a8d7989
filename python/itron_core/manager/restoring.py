"""Repairs a security manager whose store was restored from a backup: no number is used twice, losses are reported.

The audit log, if it still exists, shows what happened since the backup. Sequence numbers continue beyond every number
that may have been used. Open requests are withdrawn, since they may have been issued meanwhile.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from itron_core.audit import audit_entry
from itron_core.errors import InputError, RequestRefused
from itron_core.manager import batches, people, requests
from itron_core.manager.issuing_keys import list_revoked, raise_version
from itron_core.stores.incarnation import clear_restored, incarnation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from itron_core.stores.protocol import Transaction

__all__ = ["Restored", "go_on", "is_lost", "next_request", "restored_within", "sequence_floor", "source_of"]

# Sequence numbers reserved per second: no manager uses as many, so the ranges of two restores never overlap.
SEQUENCES_PER_SECOND = 1 << 20


class Restored(NamedTuple):
    """The result of continuing after a restore.

    New sequence numbers start after `sequence`; `withdrawn` lists the requests to make again. `from_log` is the number of
    audit entries since the backup, and `issued` the number of tokens among them, which this store does not have.
    """

    sequence: int
    withdrawn: list[int]
    from_log: int
    issued: int


def go_on(t: Transaction, entries: Sequence[bytes], *, now: int) -> tuple[Restored, list[bytes]]:
    """Prepare a restored store to continue; return the result, and the entries for the journal.

    `entries` are those that only the audit log has.
    """
    facts = [fact for fact in map(_facts, entries) if fact]
    known = max(batches.last_sequence(t), sequence_floor(t))
    beyond = max([known, now * SEQUENCES_PER_SECOND, *_numbers(facts, "allotted", "sequence")])
    last_request = max([requests.last_request(t), next_request(t) - 1, *_numbers(facts, "requested", "request")])
    withdrawn = requests.withdraw_open(t)
    for fact in facts:
        _do_again(t, fact)
    raise_version(t, max([now, *_numbers(facts, "snapshot", "version")]))
    number = 1 + sum(count for (count,) in t.rows("SELECT count(*) FROM manager_restore"))
    t.run(
        "INSERT INTO manager_restore (number, incarnation, restored_at, known, beyond, request) VALUES (?, ?, ?, ?, ?, ?)",
        (number, incarnation(t), now, known, beyond, last_request),
    )
    clear_restored(t)
    issued = sum(fact["kind"] == "issued" for fact in facts)
    found = Restored(beyond, withdrawn, len(entries), issued)
    entry = audit_entry(
        "restored", now, sequence=beyond, withdrawn=len(withdrawn), from_log=len(entries), issued=issued, number=number
    )
    return found, [entry]


def sequence_floor(t: Transaction) -> int:
    """Return the number after which new sequence numbers start, whatever the batches hold."""
    return _highest(t, "beyond")


def next_request(t: Transaction) -> int:
    """Return the least number that a new request may have."""
    return _highest(t, "request") + 1


def is_lost(t: Transaction, sequence: int) -> bool:
    """Return whether a token of this number may have been issued between a backup and its restore."""
    is_number = sequence <= batches.LAST_SEQUENCE  # a report may hold any number
    return is_number and bool(
        t.rows("SELECT 1 FROM manager_restore WHERE known < ? AND ? <= beyond", (sequence, sequence))
    )


def restored_within(t: Transaction, since: int) -> bool:
    """Return whether the store was restored after this moment; tokens issued shortly before are then unknown."""
    return _highest(t, "restored_at") > since


def source_of(t: Transaction, source: str) -> str:
    """Return the source name for deliveries: a new one after each restore, so that no serial is used twice."""
    found = t.rows("SELECT incarnation FROM manager_restore ORDER BY number DESC LIMIT 1")
    return f"{source}-{found[0][0][:12]}" if found else source


def _highest(t: Transaction, column: str) -> int:
    ((value,),) = t.rows(f"SELECT max({column}) FROM manager_restore")  # noqa: S608  # a column's name of this file
    return int(value or 0)


def _facts(entry: bytes) -> dict[str, Any]:
    try:
        said = json.loads(entry)
    except ValueError:
        return {}
    return said if isinstance(said, dict) and isinstance(said.get("kind"), str) else {}


def _numbers(facts: Sequence[dict[str, Any]], kind: str, name: str) -> list[int]:
    return [fact[name] for fact in facts if fact["kind"] == kind and isinstance(fact.get(name), int)]


def _do_again(t: Transaction, fact: dict[str, Any]) -> None:
    """Repeat a change of rights or a revocation, if the entry holds all of it."""
    try:
        match fact:
            case {"kind": "role_set", "role": role, "permissions": permissions, "officer": officer}:
                people.set_role(t, role, permissions, officer=bool(officer))
            case {"kind": "role_removed", "role": role}:
                people.remove_role(t, role)
            case {"kind": "user_set", "user": user, "role": role, "unit": unit}:
                people.set_user(t, user, role, unit)
            case {"kind": "user_removed", "user": user}:
                people.remove_user(t, user)
            case {"kind": "device_retired", "device": device, "sequence": sequence}:
                list_revoked(t, devices={device: (sequence, 0, 0)})
                people.retire(t, [device])
            case {"kind": "revoked_key", "kid": kid}:
                list_revoked(t, issuers=[bytes.fromhex(kid)])
            case {"kind": "revoked_token", "kid": kid, "cti": cti}:
                list_revoked(t, tokens=[(bytes.fromhex(kid), bytes.fromhex(cti))])
            case {
                "kind": "revoked_device",
                "device": device,
                "sequence": sequence,
                "issued_at": issued_at,
                "epoch": epoch,
            }:
                list_revoked(t, devices={device: (sequence, issued_at, epoch)})
            case _:
                pass
    except (InputError, RequestRefused):
        return  # cannot be repeated here, such as a user with an unknown role
