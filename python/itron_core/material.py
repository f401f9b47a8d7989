"""What the parties hand to each other: security material, wishes, outcomes, records of devices. Pure data."""

from __future__ import annotations

import hashlib
import re
from enum import IntEnum
from typing import NamedTuple

from itron_core.arguments import instance, text, whole
from itron_core.errors import InputError
from itron_core.levels import Code, DeviceClass, Mode, Permission, SecurityLevel

__all__ = [
    "LONGEST_LIFETIME",
    "SPENT",
    "VERDICTS",
    "DeviceRecord",
    "Material",
    "MaterialState",
    "Outcome",
    "Page",
    "Snapshot",
    "Want",
    "content_of",
    "cti_of",
    "device_id",
    "record_row",
]

SIGNATURE_BYTES = 64
# The longest that material is in force, in seconds: what routes and devices believe (docs/format.md, limits: the default).
# Who issues, passes on or holds it goes by the same: nothing may be held that is refused where it is used.
LONGEST_LIFETIME = 7 * 86_400
ERT_IDS = 2**48
EPOCHS = 2**32
ERT = re.compile(r"ert:(0|[1-9][0-9]{0,14})")
EUI64 = re.compile(r"eui64:([0-9a-f]{16})")


class MaterialState(IntEnum):
    """The life of one piece of material at a field tool; SENT is sent without an answer: neither used nor unused."""

    REQUESTED = 0
    HELD = 1
    SENT = 2
    USED = 3
    REPLAYED = 4
    EXPIRED = 5
    SUPERSEDED = 6
    REVOKED = 7
    REFUSED = 8


# The states in which a piece of material was used.
SPENT = frozenset({MaterialState.USED, MaterialState.REPLAYED})
# What a tools server answers to an outcome.
VERDICTS = frozenset({Code.OK, Code.REPLAY_IDENTICAL, Code.REPLAY_CONFLICT})


class Material(NamedTuple):
    """One issued token and what it says; times in seconds since 1970, `actions` the bit set of actions."""

    unit: str
    device: str
    token_type: str
    actions: int
    kid: bytes
    sequence: int
    epoch: int
    issued_at: int
    not_before: int | None
    expires_at: int
    session_seconds: int | None
    token: bytes

    @property
    def cti(self) -> bytes:
        """Its CWT id, 16 bytes."""
        return cti_of(self.device, self.sequence)

    @property
    def content(self) -> bytes:
        """What tells it from other content under one identity."""
        return content_of(self.token)


class Want(NamedTuple):
    """One wish of Request Commands; `number` rises by one from 1 up for each tool."""

    number: int
    device: str
    token_type: str
    action: int


class Outcome(NamedTuple):
    """What became of one message to a device: `state` SENT, USED, REPLAYED or REFUSED, with the device's reason.

    `number` rises by one from 1 up for each tool; `kid`, `cti` and `content` are empty where no token was spent.
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
    """What is known of a device; `level_verified` is false where it is known from an import only."""

    device: str
    unit: str
    device_class: int = DeviceClass.ENHANCED
    mode: int = Mode.UNKNOWN
    security_level: int = SecurityLevel.UNKNOWN
    level_verified: bool = False
    epoch: int = 0


class Snapshot(NamedTuple):
    """What a field tool takes along from a sync: what its user may do, what is revoked, whose keys are delegated.

    `reported` and `wanted` are the highest numbers of outcomes and wishes that the server has of this tool: a tool that never
    offered as many works with an old copy of its store.
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


class Page(NamedTuple):
    """Rows behind a cursor, each with its serial, rising; `next` is the cursor to go on from."""

    rows: list[tuple[int, Material]]
    next: int
    more: bool


def device_id(device: str) -> bytes:
    """Return the 8 bytes that stand for an `aud` (docs/format.md, claim 3); raises InputError for anything else."""
    if not isinstance(device, str):
        raise InputError(f"a device of type {type(device).__name__}; wanted its aud, a str")
    if match := ERT.fullmatch(device):
        number = int(match[1])
        if number < ERT_IDS:
            return number.to_bytes(8)
    elif match := EUI64.fullmatch(device):
        identity = bytes.fromhex(match[1])
        if int.from_bytes(identity) >= ERT_IDS:
            return identity
    raise InputError(f"{device!r} is no device; wanted ert: and a decimal below 2^48, or eui64: and 16 hex digits")


def record_row(record: DeviceRecord) -> tuple[str, str, int, int, int, int, int]:
    """Return a record as a row of a store; raises InputError for one that is none."""
    device = instance("a record of a device", record, DeviceRecord).device
    device_id(device)
    text(f"the unit of {device}", record.unit)
    verified: object = record.level_verified
    try:
        numbers = DeviceClass(record.device_class), Mode(record.mode), SecurityLevel(record.security_level)
    except ValueError as error:
        raise InputError(f"device {device}: {error}") from error
    flag = whole(f"level_verified of {device}", int(verified) if isinstance(verified, bool) else verified, 0, 1)
    epoch = whole(f"the epoch of {device}", record.epoch, 0, EPOCHS - 1)
    device_class, mode, level = map(int, numbers)
    return device, record.unit, device_class, mode, level, flag, epoch


def cti_of(device: str, sequence: int) -> bytes:
    """Return the CWT id of a device's token: its id, then the sequence, 8 bytes each."""
    return device_id(device) + sequence.to_bytes(8)


def content_of(token: bytes) -> bytes:
    """Return the SHA-256 of a genuine token without its signature: the signature is its last 64 bytes."""
    return hashlib.sha256(token[:-SIGNATURE_BYTES]).digest()
