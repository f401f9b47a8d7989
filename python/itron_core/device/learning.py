"""Trust updates of a device: delegations of its roots and revocation snapshots that a field tool brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from itron_core._arguments import EARLIEST
from itron_core._rust import Keyring, Revocations, accepted_revocations, verify_tokens
from itron_core.device.rules import Refusal
from itron_core.device.state import DELEGATIONS_KEPT, LONGEST_SNAPSHOT, DeviceState
from itron_core.enums import Code
from itron_core.errors import ItronCoreError, KeyRefused, TokenRefused
from itron_core.exchange.messages import Answer, Outcome, TrustUpdate
from itron_core.exchange.snapshots import Snapshot, snapshot_after
from itron_core.exchange.verification import ring_at

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["keys_known", "learned", "revocations_of", "trusted_keys"]

# A delegation may not be valid yet or have expired, but everything else about it must be right.
TIMELY_LATER = frozenset({Code.OK, Code.IAT_IN_FUTURE, Code.NOT_YET_VALID, Code.EXPIRED})


def trusted_keys(state: DeviceState, roots: Keyring, moment: int) -> Keyring:
    """Return the keys that the device trusts at a given time, which its clock says."""
    tokens = _delegations(state)
    return ring_at(roots, tokens, moment) if tokens else roots


def keys_known(state: DeviceState, roots: Keyring, moment: int = EARLIEST) -> Keyring:
    """Return the keys that the device knows, without those whose delegation ended before a moment of the past.

    A device without a clock verifies a token at the token's own issue time, and a repeat is verified at the time of the
    first use. A delegation that was signed again since then, by a rotation or by another root, counts from its start.
    """
    chosen: dict[bytes, tuple[int, int, bytes]] = {}
    for token in _delegations(state):
        at = max(moment, _begin(roots, token))
        try:
            entry = roots.with_delegations([token], now=at).entries[-1]
        except (TokenRefused, KeyRefused):
            continue
        until = entry.valid_until or 0
        if until >= chosen.get(entry.key.kid, (0,))[0]:
            chosen[entry.key.kid] = until, at, token
    ring = roots
    for _, at, token in chosen.values():
        ring = ring.with_delegations([token], now=at)
    return ring


def revocations_of(state: DeviceState, made_with: Revocations | None) -> Revocations | None:
    """Return the newer of the revocations that the device was built with and those that it received."""
    if state.snapshot is None:
        return made_with
    found = accepted_revocations(bytes.fromhex(state.snapshot))
    return found if made_with is None or found.version > made_with.version else made_with


def learned(
    state: DeviceState, update: TrustUpdate, roots: Keyring, made_with: Revocations | None, now: int | None
) -> tuple[Answer, DeviceState]:
    """Return the answer to an update and the state after it. Raises Refusal for an older or invalid update.

    Delegations are older if the newest of them was issued before the device's newest; snapshots compare by version.
    """
    moment = state.watermark if now is None else max(now, state.watermark)
    tokens = list(dict.fromkeys(update.delegations))
    if len(tokens) > DELEGATIONS_KEPT or len(update.revocations or b"") > LONGEST_SNAPSHOT:
        raise Refusal(Code.TOO_LARGE)
    issued = _issue_times(roots, tokens, moment)
    newest = max(_issue_times(roots, _delegations(state), moment), default=0)
    if issued and max(issued) < newest:
        raise Refusal(Code.SEQUENCE_OLD)
    kept = tokens or _delegations(state)
    after = _snapshot_after(state, update.revocations, ring_of=(roots, kept), made_with=made_with, now=now)
    delegations = tuple(token.hex() for token in kept)
    state = state._replace(delegations=delegations, snapshot=None if after.token is None else after.token.hex())
    state = state._replace(snapshot_at=after.accepted_at)
    found = revocations_of(state, made_with)
    version = 0 if found is None else found.version
    return Answer(Outcome.DONE, 0, {"delegations": len(kept), "revocations_version": version}), state


def _held(state: DeviceState) -> Snapshot:
    if state.snapshot is None:
        return Snapshot(None, 0, 0)
    token = bytes.fromhex(state.snapshot)
    return Snapshot(token, accepted_revocations(token).version, state.snapshot_at)


def _snapshot_after(
    state: DeviceState,
    token: bytes | None,
    *,
    ring_of: tuple[Keyring, Sequence[bytes]],
    made_with: Revocations | None,
    now: int | None,
) -> Snapshot:
    roots, kept = ring_of
    held = _held(state)
    if token is None:
        return held
    try:
        ends = accepted_revocations(token).expires_at
        # Without a clock, verify at the snapshot's last second; one that ended before the watermark has expired.
        moment = max(ends - 1 if now is None else now, state.watermark)
        if moment >= ends:
            raise Refusal(Code.EXPIRED)
        if made_with is not None and accepted_revocations(token).version < made_with.version:
            raise Refusal(Code.SEQUENCE_OLD)
        Revocations.from_token(token, ring_at(roots, kept, moment), now=moment, revocations=made_with)
        after = snapshot_after(held, token, roots, delegations=(_delegations(state), kept), moment=moment)
    except TokenRefused as refused:
        raise Refusal(refused.code) from None
    except ItronCoreError:  # differs from the held snapshot of this version
        raise Refusal(Code.REPLAY_CONFLICT) from None
    if after.token != token:
        raise Refusal(Code.SEQUENCE_OLD)
    return after


def _issue_times(roots: Keyring, tokens: Sequence[bytes], moment: int) -> list[int]:
    """Return the issue time of each delegation. Raises Refusal if one is not signed by its root."""
    if not tokens:
        return []
    results = verify_tokens(list(tokens), roots, now=moment, token_type="delegation")
    times = []
    for code, issued_at in zip(results["code"].to_pylist(), results["issued_at"].to_pylist(), strict=True):
        if code not in TIMELY_LATER or issued_at is None:
            raise Refusal(code)
        times.append(int(issued_at.timestamp()))
    return times


def _begin(roots: Keyring, token: bytes) -> int:
    results = verify_tokens([token], roots, now=EARLIEST, token_type="delegation")
    begins = [results[name].to_pylist()[0] for name in ("issued_at", "not_before")]
    return max([EARLIEST, *(int(begin.timestamp()) for begin in begins if begin is not None)])


def _delegations(state: DeviceState) -> list[bytes]:
    return [bytes.fromhex(token) for token in state.delegations]
