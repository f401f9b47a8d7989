"""The claims of a token: steps 10 and 11 of the order of checks, from the payload's bytes to plain values."""

import itertools
import re

from reference import cbor
from reference.cbor import ARRAY, BYTES, MAP, TEXT, UINT

MALFORMED, MISSING, WRONG_TYPE, UNKNOWN, RANGE, LIFETIME, INVERTED, INCONSISTENT = range(400, 408)

AUTHORIZATION, SECURE_COMMAND, READING_KEY = "authorization", "secure_command", "reading_key"
DELEGATION, REVOCATION = "delegation", "revocation"
FOR_ONE_DEVICE = (AUTHORIZATION, SECURE_COMMAND, READING_KEY)

TYPS = {
    AUTHORIZATION: "application/x.mtr-auth+cwt",
    SECURE_COMMAND: "application/x.mtr-cmd+cwt",
    READING_KEY: "application/x.mtr-rkey+cwt",
    DELEGATION: "application/x.mtr-dlg+cwt",
    REVOCATION: "application/x.mtr-rev+cwt",
}

ISS, SUB, AUD, EXP, NBF, IAT, CTI, CNF, SCOPE, EXI = 1, 2, 3, 4, 5, 6, 7, 8, 9, 40
EPOCH, COMMAND, RKEY, TYPES = -65537, -65538, -65539, -65540
VERSION, REVOKED_ISSUERS, REVOKED_DEVICES, REVOKED_TOKENS = -65541, -65542, -65543, -65544

REQUIRED = {
    AUTHORIZATION: {AUD, EXP, IAT, CTI, SCOPE, EXI, EPOCH},
    SECURE_COMMAND: {AUD, EXP, IAT, CTI, SCOPE, EPOCH, COMMAND},
    READING_KEY: {AUD, EXP, IAT, CTI, SCOPE, EPOCH, RKEY},
    DELEGATION: {ISS, EXP, IAT, CTI, CNF, SCOPE, TYPES},
    REVOCATION: {ISS, EXP, IAT, VERSION, REVOKED_ISSUERS, REVOKED_DEVICES, REVOKED_TOKENS},
}
OPTIONAL = {
    AUTHORIZATION: {SUB, NBF, CNF},
    SECURE_COMMAND: {SUB, NBF, CNF, EXI},
    READING_KEY: {SUB, NBF, CNF},
    DELEGATION: {AUD, NBF},
    REVOCATION: set(),
}

EARLIEST, LATEST = 1_577_836_800, 4_102_444_800
UINT32_MAX = 2**32 - 1
FIRST_EUI64 = 2**48
OPEN_SESSION = [(4, 1)]
BITS_OF_GROUP = {1: 5, 2: 6, 3: 7, 4: 2, 5: 4}


class RefusedError(Exception):
    """Claims that are refused, with their code."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


def read_claims(payload, token_type):
    """Return the claims as a dict of plain values by name; raises `cbor.FaultError`, or `RefusedError` 400 to 404."""
    given = _entries(cbor.read(payload))
    _read_scope(given, token_type)
    allowed = REQUIRED[token_type] | OPTIONAL[token_type]
    _check_presence(given, token_type)
    for key in allowed & given.keys():
        CHECKS[key][0](given[key], token_type)
    if given.keys() - allowed:
        raise RefusedError(UNKNOWN)
    for key in allowed & given.keys():
        CHECKS[key][1](given[key], token_type)
    return _plain(given)


def check_claims(claims, token_type, max_lifetime):
    """Raise `RefusedError` 405 to 407 for claims that do not go together."""
    _check_times(claims, max_lifetime)
    _check_consistency(claims, token_type)


def _entries(item):
    """Step 10, behind the bytes: a map of up to 16 entries with integer keys."""
    if item.kind != MAP or len(item.value) > 16 or not all(key.is_integer for key, _ in item.value):
        raise RefusedError(MALFORMED)
    return {key.value: value for key, value in item.value}


def _read_scope(given, token_type):
    """Read the scope's own document, where the type has one; what it says is judged later."""
    scope = given.get(SCOPE)
    if scope and scope.kind == BYTES and SCOPE in REQUIRED[token_type]:
        cbor.read(scope.value)


def _check_presence(given, token_type):
    if REQUIRED[token_type] - given.keys():
        raise RefusedError(MISSING)
    opens = token_type == SECURE_COMMAND and _pairs_or_none(given[SCOPE]) == OPEN_SESSION
    if opens and EXI not in given:
        raise RefusedError(MISSING)


def _pairs_or_none(scope):
    """Return the scope as pairs, None when it is none."""
    if scope.kind != BYTES:
        return None
    item = cbor.read(scope.value)
    if item.kind != ARRAY or not all(_is_pair(pair) for pair in item.value):
        return None
    return [(group.value, bits.value) for group, bits in (pair.value for pair in item.value)]


def _is_pair(item):
    return item.kind == ARRAY and len(item.value) == 2 and all(number.kind == UINT for number in item.value)


# Step 11, 402: the type of each claim, and of what it is made of.


def _require(condition, code):
    if not condition:
        raise RefusedError(code)


def _of_kind(kind):
    return lambda item, _: _require(item.kind == kind, WRONG_TYPE)


def _type_of_cnf(item, token_type):
    _require(item.kind == MAP and len(item.value) == 1, WRONG_TYPE)
    ((key, value),) = item.value
    _require(key.is_integer and key.value in ({1} if token_type == DELEGATION else {1, 3}), WRONG_TYPE)
    _require(value.kind == (MAP if key.value == 1 else BYTES), WRONG_TYPE)


def _type_of_scope(item, _):
    _require(_pairs_or_none(item) is not None, WRONG_TYPE)


def _type_of_rkey(item, _):
    _require(item.kind == ARRAY and [part.kind for part in item.value] == [UINT, UINT, BYTES], WRONG_TYPE)


def _array_of(*kinds):
    """A check for an array of one kind, or of rows of these kinds."""

    def check(item, _):
        _require(item.kind == ARRAY, WRONG_TYPE)
        for row in item.value:
            if len(kinds) == 1:
                _require(row.kind == kinds[0], WRONG_TYPE)
            else:
                _require(row.kind == ARRAY and [part.kind for part in row.value] == list(kinds), WRONG_TYPE)

    return check


# Step 11, 404: length, size and value.


def _text(item, _):
    _require(1 <= len(item.value.encode()) <= 64, RANGE)


def _audience(item, token_type):
    _text(item, token_type)
    _require(token_type == DELEGATION or device_id(item.value) is not None, RANGE)


def _time(item, _):
    _require(EARLIEST <= item.value <= LATEST, RANGE)


def _token_id(item, token_type):
    _require(len(item.value) == 16, RANGE)
    _require(token_type == DELEGATION or item.value[8] < 0x80, RANGE)


def _confirmation(item, _):
    ((key, value),) = item.value
    _require(is_cose_key(value) if key.value == 1 else len(value.value) == 8, RANGE)


def _scope(item, token_type):
    pairs = _pairs_or_none(item)
    groups = [group for group, _ in pairs]
    _require(1 <= len(pairs) <= 16 and all(a < b for a, b in itertools.pairwise(groups)), RANGE)
    _require(all(1 <= bits <= UINT32_MAX for _, bits in pairs), RANGE)
    if token_type == SECURE_COMMAND:
        _require(len(pairs) == 1 and pairs[0][1].bit_count() == 1, RANGE)


def _between(low, high):
    return lambda item, _: _require(low <= item.value <= high, RANGE)


def _command(item, _):
    _require(1 <= len(item.value) <= 256, RANGE)


def _reading_key(item, _):
    kdf, _, check_value = (part.value for part in item.value)
    _require(1 <= kdf <= 4 and len(check_value) == 4, RANGE)


def _types(item, _):
    names = [part.value for part in item.value]
    _require(1 <= len(names) <= 5 and len(set(names)) == len(names) and set(names) <= set(TYPS.values()), RANGE)


def _rising(rows):
    _require(all(a < b for a, b in itertools.pairwise(rows)), RANGE)


def _issuers(item, _):
    kids = [kid.value for kid in item.value]
    _require(all(len(kid) == 8 for kid in kids), RANGE)
    _rising(kids)


def _devices(item, _):
    names = [row.value[0].value for row in item.value]
    _require(all(device_id(name) is not None for name in names), RANGE)
    _rising([name.encode() for name in names])


def _tokens(item, _):
    rows = [tuple(part.value for part in row.value) for row in item.value]
    _require(all((len(kid), len(cti)) == (8, 16) for kid, cti in rows), RANGE)
    _rising(rows)


def _anything(_item, _type):
    """A uint of any value."""


CHECKS = {
    ISS: (_of_kind(TEXT), _text),
    SUB: (_of_kind(TEXT), _text),
    AUD: (_of_kind(TEXT), _audience),
    EXP: (_of_kind(UINT), _time),
    NBF: (_of_kind(UINT), _time),
    IAT: (_of_kind(UINT), _time),
    CTI: (_of_kind(BYTES), _token_id),
    CNF: (_type_of_cnf, _confirmation),
    SCOPE: (_type_of_scope, _scope),
    EXI: (_of_kind(UINT), _between(60, 28_800)),
    EPOCH: (_of_kind(UINT), _between(0, UINT32_MAX)),
    COMMAND: (_of_kind(BYTES), _command),
    RKEY: (_type_of_rkey, _reading_key),
    TYPES: (_array_of(TEXT), _types),
    VERSION: (_of_kind(UINT), _anything),
    REVOKED_ISSUERS: (_array_of(BYTES), _issuers),
    REVOKED_DEVICES: (_array_of(TEXT, UINT, UINT, UINT), _devices),
    REVOKED_TOKENS: (_array_of(BYTES, BYTES), _tokens),
}


def device_id(audience):
    """Return the 64-bit id of a device's name, None when it names none."""
    if re.fullmatch(r"ert:(0|[1-9][0-9]{0,14})", audience, re.ASCII):
        number = int(audience[4:])
        return number if number < FIRST_EUI64 else None
    if re.fullmatch(r"eui64:[0-9a-f]{16}", audience, re.ASCII):
        number = int(audience[6:], 16)
        return number if number >= FIRST_EUI64 else None
    return None


def cose_key(item):
    """Return (algorithm, raw) of a COSE_Key that has the thumbprint's members and no other, else None."""
    if not all(key.is_integer for key, _ in item.value):
        return None
    members = {key.value: value for key, value in item.value}
    shape = {key: value.value if value.is_integer else (value.kind, _size(value)) for key, value in members.items()}
    if shape == {1: 1, -1: 6, -2: (BYTES, 32)}:
        return "Ed25519", members[-2].value
    if shape == {1: 2, -1: 1, -2: (BYTES, 32), -3: (BYTES, 32)}:
        return "ESP256", b"\x04" + members[-2].value + members[-3].value
    if shape == {1: 7, 3: -48, -1: (BYTES, 1312)}:
        return "ML-DSA-44", members[-1].value
    if shape == {1: 7, 3: -49, -1: (BYTES, 1952)}:
        return "ML-DSA-65", members[-1].value
    return None


def _size(item):
    return len(item.value) if item.kind == BYTES else None


def is_cose_key(item):
    return cose_key(item) is not None


def actions_of(pairs):
    """Return the actions that exist among a scope's bits, as a set of their numbers."""
    return sum(
        1 << ((group - 1) * 8 + bit)
        for group, bits in pairs
        for bit in range(BITS_OF_GROUP.get(group, 0))
        if bits >> bit & 1
    )


# What the checks above let through, as plain values.


def _plain(given):
    value = {key: item.value for key, item in given.items()}
    claims = {
        "issuer": value.get(ISS),
        "subject": value.get(SUB),
        "audience": value.get(AUD),
        "issued_at": value[IAT],
        "not_before": value.get(NBF, value[IAT]),
        "expires_at": value[EXP],
        "cti": value.get(CTI),
        "session_seconds": value.get(EXI),
        "epoch": value.get(EPOCH),
        "command": value.get(COMMAND),
        "version": value.get(VERSION),
        "scope": _pairs_or_none(given[SCOPE]) if SCOPE in given else None,
        "actions": actions_of(_pairs_or_none(given[SCOPE])) if SCOPE in given else None,
        "reading_key": tuple(part.value for part in value[RKEY]) if RKEY in value else None,
        "types": [part.value for part in value[TYPES]] if TYPES in value else None,
        "sequence": int.from_bytes(value[CTI][8:], "big") if EPOCH in value else None,
        "key": None,
    }
    if CNF in value and value[CNF][0][0].value == 1:
        claims["key"] = cose_key(value[CNF][0][1])
    for name, key in (("issuers", REVOKED_ISSUERS), ("devices", REVOKED_DEVICES), ("tokens", REVOKED_TOKENS)):
        rows = value.get(key, ())
        claims[name] = [tuple(part.value for part in row.value) if row.kind == ARRAY else row.value for row in rows]
    return claims


def _check_times(claims, max_lifetime):
    issued, begins, ends = claims["issued_at"], claims["not_before"], claims["expires_at"]
    _require(ends - issued <= max_lifetime, LIFETIME)
    _require(ends > begins and ends > issued, INVERTED)


def _check_consistency(claims, token_type):
    if token_type not in FOR_ONE_DEVICE:
        return
    _require(claims["cti"][:8] == device_id(claims["audience"]).to_bytes(8, "big"), INCONSISTENT)
    if token_type == SECURE_COMMAND and claims["session_seconds"] is not None:
        _require(claims["scope"] == OPEN_SESSION, INCONSISTENT)
