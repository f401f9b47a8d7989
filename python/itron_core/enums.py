"""The enumerations of the policy and the format, with the numbers used in columns; none is ever renumbered."""

from enum import IntEnum, IntFlag
from typing import NamedTuple, TypeVar

__all__ = [
    "DEVICE_TOKEN_TYPES",
    "PHRASES",
    "TOKEN_TYPES",
    "Action",
    "ActionGroup",
    "Code",
    "Decision",
    "DeviceClass",
    "Mode",
    "Need",
    "Permission",
    "Protection",
    "ReadingCode",
    "ReadingKey",
    "Reason",
    "SecurityLevel",
    "named",
]


# The token types, by the names used in calls; tokens of the first three are for one device each.
DEVICE_TOKEN_TYPES = ("authorization", "secure_command", "reading_key")
TOKEN_TYPES = (*DEVICE_TOKEN_TYPES, "delegation", "revocation")


class DeviceClass(IntEnum):
    """The capability of a device."""

    BASIC = 0
    ENHANCED = 1
    MULTI_MODE = 2


class Mode(IntEnum):
    """The current mode of a multi-mode device: Mobile Mode is SCM+; Network Mode is COSEM and always secure."""

    MOBILE = 0
    NETWORK = 1
    UNKNOWN = 2


class SecurityLevel(IntEnum):
    """The security level of an enhanced device, or of a multi-mode device in Mobile Mode."""

    READY_TO_SECURE = 0
    COMMAND = 1
    FULL = 2
    UNKNOWN = 3


# Other spellings of members, from the field manual. Like all names they are compared without case; space, hyphen and
# underscore are equal.
PHRASES: dict[type[IntEnum], dict[str, int]] = {
    DeviceClass: {
        "basic security": DeviceClass.BASIC,
        "enhanced security capable": DeviceClass.ENHANCED,
        "multi-mode capable": DeviceClass.MULTI_MODE,
    },
    Mode: {"mobile mode": Mode.MOBILE, "network mode": Mode.NETWORK},
    SecurityLevel: {"command security": SecurityLevel.COMMAND, "full security": SecurityLevel.FULL},
}


class ActionGroup(IntEnum):
    """The groups of a scope (RFC 9237)."""

    READ = 1
    CONFIGURE = 2
    SERVICE = 3
    SESSION = 4
    SECURITY = 5


class Action(IntEnum):
    """The actions; a set of actions is the 64-bit set of their numbers."""

    # (group - 1) * 8 + bit
    READ_ENDPOINT = 0
    CHECK_ENDPOINT = 1
    READ_INTERVAL_DATA = 2
    GET_SERVICE_STATUS = 3
    READ_ON_DEMAND = 4

    PROGRAM_ENDPOINT = 8
    PROGRAM_WITH_GDT = 9
    CHANGE_MODE = 10
    RESET_ENDPOINT = 11
    ENABLE_RIGHTSIZING = 12
    GEOMODE = 13

    CONNECT_SERVICE = 16
    DISCONNECT_SERVICE = 17
    RESTRICT_SERVICE = 18
    EXERCISE_VALVE = 19
    CONNECT_OVERRIDE = 20
    DISCONNECT_OVERRIDE = 21
    ARM_SERVICE = 22

    OPEN_SESSION = 24
    CLOSE_SESSION = 25

    EXCHANGE_KEYS = 32
    SWITCH_TO_NETWORK_MODE = 33
    SWITCH_TO_MOBILE_MODE = 34
    SET_SECURITY_LEVEL = 35

    @property
    def group(self) -> ActionGroup:
        """The group of a scope that the action belongs to."""
        return ActionGroup(self // 8 + 1)

    @property
    def bit(self) -> int:
        """The action's bit in its group, from 0."""
        return self % 8


PHRASES[Action] = {
    "connect": Action.CONNECT_SERVICE,
    "disconnect": Action.DISCONNECT_SERVICE,
    "restrict": Action.RESTRICT_SERVICE,
}

_E = TypeVar("_E", bound=IntEnum)
_ONE_SEPARATOR = str.maketrans(" -", "__")


def named(enumeration: type[_E], text: str) -> _E | None:
    """Return the member with this name or spelling; None if there is none."""
    phrases = PHRASES.get(enumeration, {}).items()
    known = [(member.name, member) for member in enumeration] + [
        (phrase, enumeration(number)) for phrase, number in phrases
    ]
    written = text.translate(_ONE_SEPARATOR).lower()
    return next((member for name, member in known if name.translate(_ONE_SEPARATOR).lower() == written), None)


class Decision(IntEnum):
    """The answer for one row of a route."""

    ALLOWED = 0
    ALLOWED_AFTER_OPEN = 1
    REFUSED = 2
    UNDETERMINED = 3


class Reason(IntEnum):
    """Why the policy does not allow a row; if a token was refused, the token's `Code` takes its place."""

    OK = 0
    PERMISSION_DENIED = 1000
    NOT_ON_MENU = 1001
    SERVICE_UNAVAILABLE_UNSECURED = 1002
    MODE_UNKNOWN = 1003
    SECURITY_STATE_UNKNOWN = 1004
    ROW_UNREADABLE = 1005
    SESSION_REQUIRED = 1010
    SESSION_EXPIRED = 1011
    SESSION_NOT_STARTED = 1012
    SECURE_COMMAND_MISSING = 1020
    READING_KEY_MISSING = 1021
    AUTHORIZATION_MISSING = 1022
    KEY_EXCHANGE_MISSING = 1023
    RESYNC_REQUIRED = 1030
    REPLAY = 1031


class Need(IntFlag):
    """A need of an action; NEVER means that no material makes it possible."""

    PERMISSION = 1
    ON_MENU = 2
    READING_KEY = 4
    OPEN_SESSION = 8
    SECURE_COMMAND = 16
    AUTHORIZATION = 32
    KEY_EXCHANGE = 64
    RESYNC = 128
    NEVER = 256


class Permission(IntFlag):
    """A permission of a user; a role is a set of permissions."""

    READ_ENDPOINTS = 1
    PROGRAM_ENDPOINTS = 2
    REMOTE_CONNECT = 4
    REMOTE_DISCONNECT = 8
    SIGNED_AUTHORIZATION = 16


class ReadingKey(NamedTuple):
    """The key in a reading-key grant: kdf 1 to 4, the version of the key, and its check value of 4 bytes."""

    kdf: int
    key_version: int
    check_value: bytes


class Code(IntEnum):
    """The answer for one token: OK, or the first check that failed; numbered in the order of the checks."""

    OK = 0
    NO_TOKEN = 1
    TEXT_UNREADABLE = 2
    TOO_LARGE = 100
    TOO_SMALL = 101
    CBOR_MALFORMED = 102
    CBOR_NOT_DETERMINISTIC = 103
    CBOR_DUPLICATE_KEY = 104
    CBOR_TRAILING = 105
    CBOR_DEPTH = 106
    ENVELOPE_TAG = 110
    ENVELOPE_SHAPE = 111
    PAYLOAD_DETACHED = 112
    UNPROTECTED_NOT_EMPTY = 113
    HEADER_UNKNOWN = 200
    HEADER_MISSING = 201
    HEADER_TYPE = 202
    CRIT_UNSUPPORTED = 203
    TYP_MISMATCH = 210
    ALG_UNSUPPORTED = 220
    ALG_NOT_ALLOWED = 221
    KEY_UNKNOWN = 230
    KEY_MISMATCH = 231
    KEY_NOT_FOR_TYPE = 232
    SIGNATURE_LENGTH = 300
    SIGNATURE_ENCODING = 301
    SIGNATURE_INVALID = 302
    CLAIMS_MALFORMED = 400
    CLAIM_MISSING = 401
    CLAIM_TYPE = 402
    CLAIM_UNKNOWN = 403
    CLAIM_RANGE = 404
    LIFETIME_TOO_LONG = 405
    WINDOW_INVERTED = 406
    CLAIM_INCONSISTENT = 407
    CEILING_EXCEEDED = 410
    ISSUER_WINDOW = 411
    IAT_IN_FUTURE = 500
    NOT_YET_VALID = 501
    EXPIRED = 502
    SNAPSHOT_STALE = 600
    ISSUER_REVOKED = 601
    DEVICE_REVOKED = 602
    EPOCH_STALE = 603
    TOKEN_REVOKED = 604
    AUDIENCE_MISMATCH = 700
    SCOPE_DENIED = 701
    REPLAY_IDENTICAL = 800
    REPLAY_CONFLICT = 801
    SEQUENCE_OLD = 802
    INTERNAL = 900

    def explain(self) -> str:
        """Return the code as a plain sentence."""
        return _SENTENCES[self]


class ReadingCode(IntEnum):
    """The answer for one protected reading: OK, or the first check that failed; numbered in the order of the checks."""

    OK = 0
    INTERNAL = 900
    NULL_TELEGRAM = 1100
    TELEGRAM_MALFORMED = 1101
    FRAME_CHECKSUM = 1102
    PROTECTION_UNSUPPORTED = 1103
    NOT_PROTECTED = 1104
    NO_KEY = 1105
    KEY_LENGTH = 1106
    TITLE_MISSING = 1107
    AUTHENTICATION_KEY_MISSING = 1108
    TOO_WEAK = 1109
    CHECK_FAILED = 1110
    KEY_MISMATCH = 1111
    TAG_INVALID = 1112
    COUNTER_NOT_ABOVE = 1113

    def explain(self) -> str:
        """Return the code as a plain sentence."""
        return _READING_SENTENCES[self]


class Protection(IntEnum):
    """The protection of a reading, according to its header."""

    NONE = 0
    MODE_5 = 5
    MODE_7 = 7
    MODE_10 = 10
    ELL_CTR = 32
    DLMS_ENCRYPTED = 64
    DLMS_AUTHENTICATED = 65
    DLMS_BOTH = 66
    COSE = 96
    UNSUPPORTED = 127


_READING_SENTENCES = {
    ReadingCode.OK: "The telegram was opened.",
    ReadingCode.INTERNAL: "The check failed because of an internal error, so the telegram is refused.",
    ReadingCode.NULL_TELEGRAM: "There is no telegram in this row.",
    ReadingCode.TELEGRAM_MALFORMED: "The telegram has a wrong structure or length.",
    ReadingCode.FRAME_CHECKSUM: "A checksum of the link layer is wrong: the telegram was damaged on its way.",
    ReadingCode.PROTECTION_UNSUPPORTED: "The telegram is protected in a way that is not supported.",
    ReadingCode.NOT_PROTECTED: "The telegram is plain: never encrypted, or decrypted by somebody before.",
    ReadingCode.NO_KEY: "There is no key for this device.",
    ReadingCode.KEY_LENGTH: "A key has another length than this protection takes.",
    ReadingCode.TITLE_MISSING: "The telegram carries no system title, and the call gave none of 8 bytes.",
    ReadingCode.AUTHENTICATION_KEY_MISSING: "The telegram has a tag, but there is no authentication key to check it.",
    ReadingCode.TOO_WEAK: "The check of this telegram has fewer bits than the call asks for.",
    ReadingCode.CHECK_FAILED: "The check of 16 bits failed: a wrong key or a damaged telegram, which cannot be told apart.",
    ReadingCode.KEY_MISMATCH: "The telegram was made under another key: its key check value differs.",
    ReadingCode.TAG_INVALID: "The tag is wrong: a wrong key, or a telegram that was changed.",
    ReadingCode.COUNTER_NOT_ABOVE: "The telegram is genuine, but its counter was reached before: it was sent again.",
}


_SENTENCES = {
    Code.OK: "The token is genuine and in force.",
    Code.NO_TOKEN: "There is no token: it is null or empty.",
    Code.TEXT_UNREADABLE: "The token is text, but neither base64 (from 0oR on) nor hexadecimal (from d284 on).",
    Code.TOO_LARGE: "The token, its protected header or its payload is larger than its limit.",
    Code.TOO_SMALL: "The token is shorter than any token can be.",
    Code.CBOR_MALFORMED: "The bytes are not well-formed CBOR, or end too early.",
    Code.CBOR_NOT_DETERMINISTIC: "The CBOR is well-formed, but not in its one deterministic encoding.",
    Code.CBOR_DUPLICATE_KEY: "A map has a duplicate key.",
    Code.CBOR_TRAILING: "Bytes are left over after the end.",
    Code.CBOR_DEPTH: "The CBOR is nested deeper than four levels.",
    Code.ENVELOPE_TAG: "The token does not begin with the tag of COSE_Sign1.",
    Code.ENVELOPE_SHAPE: "The envelope is not the four items of a COSE_Sign1.",
    Code.PAYLOAD_DETACHED: "The token has no payload; detached payloads are not accepted.",
    Code.UNPROTECTED_NOT_EMPTY: "The unprotected header is not empty.",
    Code.HEADER_UNKNOWN: "The protected header has a label that this profile does not know.",
    Code.HEADER_MISSING: "The protected header lacks its algorithm, its key id or its type.",
    Code.HEADER_TYPE: "A value of the protected header has a wrong type or size.",
    Code.CRIT_UNSUPPORTED: "The protected header demands critical extensions; none is supported.",
    Code.TYP_MISMATCH: "The token is not of the type that was asked for.",
    Code.ALG_UNSUPPORTED: "The token is signed with an algorithm that is not supported.",
    Code.ALG_NOT_ALLOWED: "The token names its algorithm in a deprecated way, which is not allowed here.",
    Code.KEY_UNKNOWN: "No key of the keyring has the token's key id.",
    Code.KEY_MISMATCH: "The key that the token names is for another algorithm.",
    Code.KEY_NOT_FOR_TYPE: "The key that the token names may not sign tokens of this type.",
    Code.SIGNATURE_LENGTH: "The signature has a wrong length.",
    Code.SIGNATURE_ENCODING: "The signature is not encoded in the one allowed way.",
    Code.SIGNATURE_INVALID: "The signature does not match the token and its key.",
    Code.CLAIMS_MALFORMED: "The claims are not a map of at most 16 entries with integer keys.",
    Code.CLAIM_MISSING: "A claim that the token must have is missing.",
    Code.CLAIM_TYPE: "A claim has a wrong type.",
    Code.CLAIM_UNKNOWN: "The token has a claim that its type must not have.",
    Code.CLAIM_RANGE: "A claim has a wrong length, size or value.",
    Code.LIFETIME_TOO_LONG: "The token is in force for longer than allowed.",
    Code.WINDOW_INVERTED: "The token expires before it begins.",
    Code.CLAIM_INCONSISTENT: "Two claims of the token contradict each other.",
    Code.CEILING_EXCEEDED: "The token grants more than its issuer may grant.",
    Code.ISSUER_WINDOW: "The token was issued when its issuer was not in force.",
    Code.IAT_IN_FUTURE: "The token was issued in the future: a clock is wrong.",
    Code.NOT_YET_VALID: "The token is not in force yet.",
    Code.EXPIRED: "The token has expired.",
    Code.SNAPSHOT_STALE: "The revocation snapshot has expired, so no token is accepted.",
    Code.ISSUER_REVOKED: "The key that signed the token, or the key which delegated it, is revoked.",
    Code.DEVICE_REVOKED: "The token is older than what is accepted for its device.",
    Code.EPOCH_STALE: "The token was made before the device's last key exchange.",
    Code.TOKEN_REVOKED: "The token, or the delegation of its key, is revoked.",
    Code.AUDIENCE_MISMATCH: "The token is for another device.",
    Code.SCOPE_DENIED: "The token does not grant the action asked for.",
    Code.REPLAY_IDENTICAL: "The token was used before; the first answer stands.",
    Code.REPLAY_CONFLICT: "Another token of the same identity was used before.",
    Code.SEQUENCE_OLD: "A later token of this device was used before.",
    Code.INTERNAL: "An internal error occurred, so the token is refused.",
}
