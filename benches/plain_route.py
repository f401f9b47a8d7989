"""The peer of `process_route`: a plain Python loop with cbor2, `cryptography` and the same policy.

It is what a careful program without `itron_core` would be: one pass, keys and policy loaded once, dictionaries instead of
objects. It reads less strictly (cbor2 takes what the profile refuses) and answers less (decision and reason only). The bench
checks both, row for row, before it times either.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cbor2
import pyarrow as pa

import peers
from itron_core import Action, Decision, Need, Permission, PolicyOptions, Reason, policy_table

SKEW = 120
LIMIT = 2
TYPES = {
    "authorization": "application/x.mtr-auth+cwt",
    "secure_command": "application/x.mtr-cmd+cwt",
    "reading_key": "application/x.mtr-rkey+cwt",
}
ALGORITHMS = {"Ed25519": -19, "ESP256": -9}
# The codes of docs/format.md that this reader tells apart; all faults of form are one to it.
GOOD, MALFORMED, FOREIGN, FORGED, IN_FUTURE, EARLY, EXPIRED, AUDIENCE, SCOPE = 0, 102, 230, 302, 500, 501, 502, 700, 701
CONNECTING = {Action.CONNECT_SERVICE, Action.EXERCISE_VALVE, Action.CONNECT_OVERRIDE, Action.ARM_SERVICE}
COUNTED = {Action.CONNECT_SERVICE, Action.DISCONNECT_SERVICE}
GROUP_PERMISSIONS = {
    0: Permission.READ_ENDPOINTS,
    1: Permission.PROGRAM_ENDPOINTS,
    3: Permission.PROGRAM_ENDPOINTS,
    4: Permission.SIGNED_AUTHORIZATION,
}


class Judged(NamedTuple):
    """The decision and the first reason of a row; `MALFORMED` stands for every fault of form."""

    decision: int
    reason: int


class Lack(NamedTuple):
    """Something missing: its place in the order of reasons, and the reason to give."""

    place: int
    reason: int


def permission_of(action: Action) -> Permission:
    if action // 8 == 2:
        return Permission.REMOTE_CONNECT if action in CONNECTING else Permission.REMOTE_DISCONNECT
    return GROUP_PERMISSIONS[action // 8]


def load_policy() -> dict[tuple[str, str, str, str], tuple[int, int]]:
    """Look every combination up once: its needs, and why it is never allowed (0: it may be)."""
    rows = pa.table(policy_table(PolicyOptions())).to_pylist()
    keys = ("device_class", "mode", "security_level", "action")
    return {tuple(row[key] for key in keys): (row["needs"], row["reason"]) for row in rows}


class PlainRoute:
    """Judges the rows of a route one by one."""

    def __init__(self, public_keys: list[Any], now: int, permissions: Permission) -> None:
        self.keys = {key.kid: (ALGORITHMS[key.algorithm], peers.pyca_verifier(key)) for key in public_keys}
        self.now = now
        self.permissions = int(permissions)
        self.policy = load_policy()
        self.actions = {action.name.lower(): (int(action), int(permission_of(action))) for action in Action}

    def judge_all(self, rows: list[dict[str, Any]]) -> list[Judged]:
        """Judge every row."""
        return [self.judge(row) for row in rows]

    def judge(self, row: dict[str, Any]) -> Judged:
        """Decide one row: what it needs and has not, in the order of the reasons."""
        action, permission = self.actions[row["action"]]
        need, never = self.policy[row["device_class"], row["mode"], row["security_level"], row["action"]]
        network = row["device_class"] == "multi_mode" and row["mode"] == "network"
        opener = self.opener(row, need, action, network=network)
        codes = self.codes_of(row, need, action, opener)
        granted = self.permissions if row["permissions"] is None else row["permissions"]
        if granted & permission != permission:
            return Judged(Decision.REFUSED, Reason.PERMISSION_DENIED)
        if row["device_class"] == "multi_mode" and row["mode"] == "unknown":
            return Judged(Decision.UNDETERMINED, Reason.MODE_UNKNOWN)
        if never:
            return Judged(Decision.REFUSED, never)
        lacks = self.lacks_of(row, need, action, opener, codes)
        if lacks:
            return Judged(Decision.REFUSED, min(lacks).reason)
        return Judged(Decision.ALLOWED if opener is None else Decision.ALLOWED_AFTER_OPEN, 0)

    def opener(self, row: dict[str, Any], need: int, action: int, *, network: bool) -> str | None:
        """Name the material that would open a session that is needed and not open; "" where nothing can."""
        if not need & Need.OPEN_SESSION or self.session_reason(row) == 0:
            return None
        if action == Action.CLOSE_SESSION:
            return ""
        return "authorization" if network else "secure_command"

    def session_reason(self, row: dict[str, Any]) -> int:
        opened_at, seconds = row["session_opened_at"], row["session_seconds"]
        if opened_at is None or seconds is None:
            return Reason.SESSION_REQUIRED
        if self.now < opened_at:
            return Reason.SESSION_NOT_STARTED
        return 0 if self.now < opened_at + seconds else Reason.SESSION_EXPIRED

    def lacks_of(
        self, row: dict[str, Any], need: int, action: int, opener: str | None, codes: dict[str, int | None]
    ) -> list[Lack]:
        lacks = []
        if opener is not None:
            place = self.session_reason(row)
            lacks += self.lack_of(row, opener, place, codes) if opener else [Lack(place, place)]
        for bit, column, absent in (
            (Need.SECURE_COMMAND, "secure_command", Reason.SECURE_COMMAND_MISSING),
            (Need.READING_KEY, "reading_key", Reason.READING_KEY_MISSING),
            (Need.AUTHORIZATION, "authorization", Reason.AUTHORIZATION_MISSING),
        ):
            if need & bit:
                lacks += self.lack_of(row, column, absent, codes)
        if need & Need.KEY_EXCHANGE and not row["key_exchange"]:
            lacks.append(Lack(Reason.KEY_EXCHANGE_MISSING, Reason.KEY_EXCHANGE_MISSING))
        spends_command = need & Need.SECURE_COMMAND and action in COUNTED
        spends_authorization = need & Need.AUTHORIZATION or opener == "authorization"
        if (spends_command and row["commands_used"] >= LIMIT) or (
            spends_authorization and row["authorizations_used"] >= LIMIT
        ):
            lacks.append(Lack(Reason.RESYNC_REQUIRED, Reason.RESYNC_REQUIRED))
        return lacks

    def lack_of(self, row: dict[str, Any], column: str, absent: int, codes: dict[str, int | None]) -> list[Lack]:
        code = codes[column]
        if code is None:
            return [Lack(absent, absent)]
        if code != GOOD:
            return [Lack(absent, code)]
        return [Lack(Reason.REPLAY, Reason.REPLAY)] if row.get(f"{column}_used") else []

    def codes_of(self, row: dict[str, Any], need: int, action: int, opener: str | None) -> dict[str, int | None]:
        """Verify what the row holds, each token for the action that it is wanted for."""
        command = action if need & Need.SECURE_COMMAND else Action.OPEN_SESSION if opener == "secure_command" else None
        wanted = need & Need.AUTHORIZATION or opener == "authorization"
        asked = {
            "authorization": action if wanted else None,
            "secure_command": command,
            "reading_key": action if need & Need.READING_KEY else None,
        }
        return {
            column: None if row[column] is None else self.code_of(row[column], column, row["device"], asked[column])
            for column in TYPES
        }

    def code_of(self, token: bytes, token_type: str, device: str, action: int | None) -> int:
        """Read and verify one token with cbor2 and `cryptography`, checks in the order of docs/format.md."""
        try:
            envelope = cbor2.loads(token)
            protected, unprotected, payload, signature = envelope.value
            header = cbor2.loads(protected)
            key = self.keys.get(header[4])
            if envelope.tag != 18 or unprotected or header[16] != TYPES[token_type]:
                return MALFORMED
            if key is None:
                return FOREIGN
            algorithm, verify = key
            if header[1] != algorithm:
                return MALFORMED
            if not verify(cbor2.dumps(["Signature1", protected, b"", payload]), signature):
                return FORGED
            return self.code_of_claims(cbor2.loads(payload), device, action)
        except (cbor2.CBORDecodeError, AttributeError, IndexError, KeyError, TypeError, ValueError):
            return MALFORMED

    def code_of_claims(self, claims: dict[int, Any], device: str, action: int | None) -> int:
        issued_at = claims[6]
        if self.now < issued_at - SKEW:
            return IN_FUTURE
        if self.now < claims.get(5, issued_at) - SKEW:
            return EARLY
        if self.now >= claims[4] + SKEW:
            return EXPIRED
        if claims[3] != device:
            return AUDIENCE
        if action is not None and not any(
            group == action // 8 + 1 and bits >> action % 8 & 1 for group, bits in cbor2.loads(claims[9])
        ):
            return SCOPE
        return GOOD
