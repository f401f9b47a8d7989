"""The other data that parties exchange: device records, command requests, outcomes, sign-ins. Pure data."""

from __future__ import annotations

from typing import NamedTuple

from itron_core._arguments import instance, member, text, whole
from itron_core.enums import Code, DeviceClass, Mode, Permission, SecurityLevel
from itron_core.exchange.identity import EPOCHS, device_id

__all__ = [
    "LONGEST_ANSWER",
    "MOST_DELEGATIONS",
    "VERDICTS",
    "CommandRequest",
    "DeviceRecord",
    "OutcomeReport",
    "SignIn",
    "record_row",
]

# The most delegations in force at a time: the server sends no more, and no tool accepts more.
MOST_DELEGATIONS = 256
# The most bytes of a device's answer in a report.
LONGEST_ANSWER = 65_536
# The codes with which a tools server answers an outcome.
VERDICTS = frozenset({Code.OK, Code.REPLAY_IDENTICAL, Code.REPLAY_CONFLICT})


class CommandRequest(NamedTuple):
    """A command request; for each tool, `number` starts at 1 and rises by one."""

    number: int
    device: str
    token_type: str
    action: int


class OutcomeReport(NamedTuple):
    """The outcome of one message to a device: `state` is SENT, USED, REPLAYED or REFUSED, with the device's reason.

    For each tool, `number` starts at 1 and rises by one; `kid`, `cti` and `content` are empty if no token was used.
    """

    number: int
    device: str
    action: int
    kid: bytes
    cti: bytes
    content: bytes
    state: int
    reason: int
    answer: bytes
    at: int


class DeviceRecord(NamedTuple):
    """The record of a device; `level_verified` is false if the level is known only from an import.

    `installation` rises when another meter, whose epoch starts anew, takes this one's place. Only such a record may lower
    the epoch that a field tool knows.
    """

    device: str
    unit: str
    device_class: int = DeviceClass.ENHANCED
    mode: int = Mode.UNKNOWN
    security_level: int = SecurityLevel.UNKNOWN
    level_verified: bool = False
    epoch: int = 0
    installation: int = 0


class SignIn(NamedTuple):
    """The server's answer to a sign-in: the user's permissions, the revocations and the delegations.

    `reported` and `wanted` are the highest numbers of outcomes and command requests that the server has of this tool: a
    tool that never sent as many works with an old copy of its store. `answered_at` is the server's time, or 0.
    `incarnation` identifies the server's store, and changes when it is restored from a backup.
    """

    user: str
    unit: str
    permissions: int = Permission(0)
    revocations: bytes | None = None
    delegations: tuple[bytes, ...] = ()
    command_limit: int = 2
    authorization_limit: int = 2
    reported: int = 0
    wanted: int = 0
    answered_at: int = 0
    incarnation: str = ""


def record_row(record: DeviceRecord) -> tuple[str, str, int, int, int, int, int, int]:
    """Return a record as a row of a store. Raises InputError for an invalid record."""
    device = instance("records", record, DeviceRecord).device
    device_id(device)
    text(f"unit of {device}", record.unit)
    verified: object = record.level_verified
    numbers = (
        int(member(f"device_class of {device}", record.device_class, DeviceClass)),
        int(member(f"mode of {device}", record.mode, Mode)),
        int(member(f"security_level of {device}", record.security_level, SecurityLevel)),
    )
    flag = whole(f"level_verified of {device}", int(verified) if isinstance(verified, bool) else verified, 0, 1)
    epoch = whole(f"epoch of {device}", record.epoch, 0, EPOCHS - 1)
    installation = whole(f"installation of {device}", record.installation)
    return device, record.unit, *numbers, flag, epoch, installation
