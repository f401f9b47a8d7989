"""A device's refusal as a sentence for the field worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from itron_core.enums import Code
from itron_core.explain import because, reason_name

if TYPE_CHECKING:
    from itron_core.exchange.messages import Answer, Message
    from itron_core.field_tool.planning import Held

__all__ = ["refused_by_device"]

NOUNS = {"secure_command": "command", "authorization": "authorization", "reading_key": "reading key"}
# Sentences for codes from a device, where the code's usual sentence mentions keyrings and columns.
AT_A_DEVICE = {
    Code.KEY_UNKNOWN: "it does not trust key {kid}",
    Code.KEY_NOT_FOR_TYPE: "it does not trust key {kid} for this",
    Code.ISSUER_REVOKED: "key {kid}, or the key which delegated it, is revoked",
    Code.AUDIENCE_MISMATCH: "it is another device",
    Code.EPOCH_STALE: "its keys were exchanged after the token was issued",
    Code.SNAPSHOT_STALE: "its revocation snapshot has ended; bring it a newer one",
}


def refused_by_device(answer: Answer, message: Message, spent: Held | None, reading_key: Held | None) -> str:
    """Return what the device refused and why, with the reason's name and number."""
    piece = spent or reading_key
    what = f"{message.action.name.lower()}" if piece is None else f"the {NOUNS[piece.token_type]}"
    kid = "" if piece is None else piece.kid.hex()
    reason = int(answer.reason)
    try:
        name, why = reason_name(reason), AT_A_DEVICE.get(Code(reason)) if reason in set(Code) else None
    except ValueError:  # a device may answer with a code that this version does not know
        return f"The meter refused {what}, with unknown reason {reason}."
    return f"The meter refused {what}: {(why or because(reason)).format(kid=kid)} ({name}, {reason})."
