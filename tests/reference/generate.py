"""Seeded random tokens, each with the options of the call: good ones, and ones with a fault at any step of the checks.

`cases` yields what `reference.token.verify` and `itron_core.verify_tokens` must agree on. A fault in the claims or in the
protected header is signed after it was made, so that the later checks are reached.
"""

import itertools
import random
from bisect import bisect_left
from typing import NamedTuple

from reference import cbor
from reference.build import Parts, cose_key, envelope, header, token_id
from reference.cbor import write
from reference.claims import (
    AUTHORIZATION,
    BITS_OF_GROUP,
    DELEGATION,
    EARLIEST,
    FOR_ONE_DEVICE,
    LATEST,
    OPTIONAL,
    READING_KEY,
    REQUIRED,
    REVOCATION,
    SECURE_COMMAND,
    TYPS,
    device_id,
)
from reference.mutate import ODD_ITEMS, broken
from reference.signatures import ED25519, P256_N, L
from reference.token import LIFETIMES
from reference.world import DAY, DEVICES, NOW, REVOKED_SEQUENCE

U64 = 2**64 - 1
ACTIONS = [(group - 1) * 8 + bit for group, bits in BITS_OF_GROUP.items() for bit in range(bits)]
TIME_BOUNDS = [0, EARLIEST - 1, EARLIEST, LATEST, LATEST + 1, 2**32, 2**63, U64]


class Case(NamedTuple):
    """A token, the type and the moment it is asked for, and the other options of `verify` (`revocations` is a bool)."""

    label: str
    token: bytes | None
    now: int
    token_type: str
    options: dict


def cases(world, seed, count):
    """Yield `count` cases."""
    rng = random.Random(seed)
    makers, weights = zip(*MAKERS, strict=True)
    for _ in range(count):
        yield rng.choices(makers, weights)[0](world, rng)


# Good claims.


def good_claims(world, rng, token_type):
    """Return claims that pass step 11, as a dict by key."""
    issued = NOW - rng.choice([0, 60, 3600, DAY, 2 * DAY, rng.randrange(3 * DAY)])
    longest = LIFETIMES[token_type]
    lifetime = rng.choice([1, 3600, longest, longest, longest, rng.randrange(1, longest + 1)])
    claims = {4: issued + lifetime, 6: issued}
    if token_type != REVOCATION and rng.random() < 0.3:
        claims[5] = issued + rng.choice([0, -1, -DAY, -400 * DAY, lifetime - 1, rng.randrange(lifetime)])
    if token_type in FOR_ONE_DEVICE:
        return claims | _claims_for_one_device(rng, token_type)
    claims[1] = rng.choice(["i", "an issuer", "é" * 32, "x" * 64])
    return claims | (_delegation_claims if token_type == DELEGATION else _revocation_claims)(world, rng)


def _claims_for_one_device(rng, token_type):
    device = rng.choice(DEVICES)
    sequence = rng.choice([0, 1, REVOKED_SEQUENCE, 99, 100, 2**63 - 1, rng.randrange(2**63)])
    claims = {
        3: device,
        7: token_id(device_id(device), sequence),
        9: write(good_scope(rng, one=token_type == SECURE_COMMAND)),
        -65537: rng.choice([0, 2, 3, 4, 2**32 - 1]),
    }
    if rng.random() < 0.3:
        claims[2] = rng.choice(["worker 7", "x", "ü" * 32])
    if rng.random() < 0.2:
        claims[8] = rng.choice([{3: rng.randbytes(8)}, {1: {1: 1, -1: 6, -2: rng.randbytes(32)}}, P256_CNF])
    opens = token_type == SECURE_COMMAND and claims[9] == write([[4, 1]])
    if token_type == AUTHORIZATION or opens:
        claims[40] = rng.choice([60, 3600, 28_800])
    if token_type == SECURE_COMMAND:
        claims[-65538] = rng.randbytes(rng.choice([1, 16, 256]))
    if token_type == READING_KEY:
        claims[-65539] = [rng.randrange(1, 5), rng.choice([0, 1, U64]), rng.randbytes(4)]
    return claims


P256_CNF = {1: {1: 2, -1: 1, -2: bytes(32), -3: bytes(32)}}


def good_scope(rng, *, one=False):
    if one:
        action = rng.choice([24, 24, *ACTIONS, 7, 38, 70])
        return [[action // 8 + 1, 1 << action % 8]]
    groups = sorted(rng.sample(range(1, 6), rng.randrange(1, 6)))
    odd = rng.choice([[], [], [], [0], [6], [U64], [0, 6, 7, 100, 256, 2**32, U64]])
    scope = [
        [group, rng.choice([1, 2, 3, 31, 127, 255, 2**32 - 1, rng.randrange(1, 256)])] for group in {*groups, *odd}
    ]
    return sorted(scope)


def _delegation_claims(world, rng):
    claims = {
        7: rng.choice([rng.randbytes(16), b"\xff" * 16]),
        8: {1: cose_key(rng.choice([*world.strangers, *world.children]))},
        9: write(good_scope(rng)),
        -65540: rng.sample(list(TYPS.values()), rng.randrange(1, 6)),
    }
    if rng.random() < 0.5:
        claims[3] = rng.choice(["ert:", "ert:1", "ert:10", "e", "eui64:", "x" * 64, "ert:2"])
    return claims


def _revocation_claims(_world, rng):
    devices = rng.sample(DEVICES, rng.randrange(len(DEVICES)))
    issuers = rng.choice([*range(4), *range(4), 100, 8000])
    return {
        -65541: rng.choice([0, 1, 7, 2**32]),
        -65542: sorted({rng.randbytes(8) for _ in range(issuers)}),
        -65543: [[device, *(rng.choice([0, 5, NOW, 2**40]) for _ in range(3))] for device in sorted(devices)],
        -65544: sorted(
            [rng.choice([b"\x00" * 8, rng.randbytes(8)]), rng.randbytes(16)] for _ in range(rng.randrange(4))
        ),
    }


# Values at and behind the bounds of each claim. A function gets (rng, claims); a list is chosen from.

TEXTS = ["", "x", "x" * 64, "x" * 65, "é" * 32, "é" * 33, "x" * 63 + "é", "😀" * 16, "😀" * 16 + "x"]
BAD_DEVICES = [
    "ert:",
    "ert:00",
    "ert:01",
    "ert:-1",
    "ert:+1",
    "ert:1 ",
    " ert:1",
    "ert:1\n",
    "ert:0x1",
    "ert:1_0",
    "ert:\u0661",
    "Ert:1",
    "ert",
    "1",
    "ert:281474976710656",
    "ert:999999999999999",
    "ert:1000000000000000",
    "ert:18446744073709551616",
    "eui64:0000ffffffffffff",
    "eui64:0000000000000000",
    "eui64:00078100AABBCCDD",
    "eui64:00078100aabbccd",
    "eui64:00078100aabbccdde",
    "eui64:00078100aabbccdg",
    "EUI64:00078100aabbccdd",
    "eui64:",
]


def _other_scope(rng, _claims):
    bad = [
        [],
        {},
        0,
        [1, 31],
        [[]],
        [[1]],
        [[1, 1, 1]],
        [[1, -1]],
        [[-1, 1]],
        [["1", 1]],
        [[1, b"1"]],
        [[1, 1], 2],
        [{1: 1}],
        [[1, 0]],
        [[0, 0]],
        [[9, 0]],
        [[1, 2**32 - 1]],
        [[1, 2**32]],
        [[1, U64]],
        [[U64, 1]],
        [[2, 1], [1, 1]],
        [[1, 1], [1, 2]],
        [[1, 1], [2, 1]],
        [[1, 3]],
        [[4, 1]],
        [[4, 2]],
        [[4, 3]],
        [[4, 1], [5, 1]],
        [[group, 1] for group in range(16)],
        [[group, 1] for group in range(17)],
        [[group, 0] for group in range(17)],
        [[[1, 1]]],
        [[1, [1]]],
    ]
    return write(rng.choice(bad))


def _broken_scope(rng, claims):
    try:
        cbor.read(claims[9])
    except (KeyError, TypeError, cbor.FaultError):
        return broken(write([[1, 31]]), rng)
    return broken(claims[9], rng)


def _other_id(rng, claims):
    device = device_id(claims[3]) if isinstance(claims.get(3), str) else None
    device = device or 0
    return rng.choice(
        [
            token_id(device, 2**63 - 1),
            token_id(device, 2**63),
            token_id(device, U64),
            token_id(device + 1, 1),
            token_id(device ^ 2**63, 1),
            b"",
            bytes(15),
            bytes(17),
            bytes(16),
        ]
    )


def _other_cnf(rng, _claims):
    point = rng.randbytes(32)
    return rng.choice(
        [
            {},
            {2: b""},
            {3: bytes(8), 4: b""},
            {1: {1: 1, -1: 6, -2: point}, 3: bytes(8)},
            {3: bytes(7)},
            {3: bytes(9)},
            {3: "12345678"},
            {3: 1},
            {3: bytes(8)},
            {"a": bytes(8)},
            {-2: bytes(8)},
            {1: bytes(8)},
            {1: []},
            {1: {}},
            {1: {1: 1, -1: 6, -2: point}},
            {1: {1: 1, -1: 6, -2: point[1:]}},
            {1: {1: 1, -1: 6, -2: point + b"x"}},
            {1: {1: 1, -1: 7, -2: point}},
            {1: {1: 3, -1: 6, -2: point}},
            {1: {1: 1, -1: 6}},
            {1: {1: 1, -2: point}},
            {1: {-1: 6, -2: point}},
            {1: {1: 1, 2: b"kid", -1: 6, -2: point}},
            {1: {1: 1, 3: -19, -1: 6, -2: point}},
            {1: {1: 1, -1: 6, -2: point, -4: point}},
            {1: {1: "OKP", -1: 6, -2: point}},
            {1: {1: 1, -1: "Ed25519", -2: point}},
            {1: {1: 1, -1: 6, -2: "x" * 32}},
            {1: {1: 1, -1: 6, -2: point, "x": 1}},
            {1: {1: 2, -1: 1, -2: point, -3: point}},
            {1: {1: 2, -1: 1, -2: point}},
            {1: {1: 2, -1: 1, -2: point, -3: True}},
            {1: {1: 2, -1: 1, -2: point, -3: point[:31]}},
            {1: {1: 2, -1: 2, -2: point, -3: point}},
            {1: {1: 2, -1: 1, -2: point, -3: point, -4: point}},
            {1: {1: 1, -1: 6, -2: point, -3: point}},
            {1: {1: 7, 3: -48, -1: bytes(1312)}},
            {1: {1: 7, 3: -48, -1: bytes(1311)}},
            {1: {1: 7, 3: -48, -1: bytes(1952)}},
            {1: {1: 7, 3: -49, -1: bytes(1952)}},
            {1: {1: 7, 3: -49, -1: bytes(1953)}},
            {1: {1: 7, 3: -50, -1: bytes(1952)}},
            {1: {1: 7, 3: -19, -1: point}},
            {1: {1: 7, 3: 48, -1: bytes(1312)}},
            {1: {1: 7, -1: bytes(1312)}},
            {1: {1: 7, 3: -48}},
            {1: {1: 7, 3: "ML-DSA-44", -1: bytes(1312)}},
            {1: {1: 7, 3: -48, -1: "x" * 1312}},
            {1: {1: 7, 3: -48, -1: bytes(1312), -2: point}},
            {1: {1: 1, 3: -48, -1: bytes(1312)}},
            {1: {1: 1, -1: 6, -2: cbor.Tagged(2, point)}},
            {1: cbor.Tagged(1, {})},
        ]
    )


def _other_time(rng, claims):
    near = [claims[key] for key in (4, 5, 6) if isinstance(claims.get(key), int)] or [NOW]
    return _uint(rng.choice([*TIME_BOUNDS, *near]) + rng.choice([-1, 0, 1]))


def _uint(value):
    return max(0, min(value, U64))


def _other_types(rng, _claims):
    names = list(TYPS.values())
    return rng.choice(
        [
            [],
            names,
            [*names, "x"],
            [*names, names[0]],
            names[:1] * 2,
            ["application/cwt"],
            [""],
            [names[0], 1],
            [b"x"],
            names[0],
            [names[3]],
            [names[0].upper()],
            ["x"] * 6,
        ]
    )


def _other_rkey(rng, _claims):
    kcv = rng.randbytes(4)
    return rng.choice(
        [
            [0, 1, kcv],
            [1, 0, kcv],
            [4, U64, kcv],
            [5, 1, kcv],
            [1, 1, kcv[:3]],
            [1, 1, kcv + b"x"],
            [1, 1],
            [],
            [1, 1, kcv, 1],
            [-1, 1, kcv],
            [1, -1, kcv],
            [1, 1, "abcd"],
            [b"", 1, kcv],
            {1: 1},
            [5, 1, 1],
        ]
    )


def _other_devices(rng, _claims):
    return rng.choice(
        [
            [],
            [[]],
            [["ert:1", 0, 0]],
            [["ert:1", 0, 0, 0, 0]],
            [["ert:1", 0, 0, 0]],
            [["ert:1", U64, U64, U64]],
            [["ert:1", -1, 0, 0]],
            [["ert:1", 0, "0", 0]],
            [[b"ert:1", 0, 0, 0]],
            [[rng.choice(BAD_DEVICES), 0, 0, 0]],
            [["", 0, 0, 0]],
            [["x" * 65, 0, 0, 0]],
            [["ert:1", 0, 0, 0], ["ert:1", 1, 0, 0]],
            [["ert:2", 0, 0, 0], ["ert:10", 0, 0, 0]],
            [["ert:10", 0, 0, 0], ["ert:2", 0, 0, 0]],
            [["eui64:0001000000000000", 0, 0, 0], ["ert:1", 0, 0, 0]],
            ["ert:1", 0, 0, 0],
            {"ert:1": [0, 0, 0]},
        ]
    )


def _other_tokens(rng, _claims):
    a, b, kid = bytes(16), b"\x01" * 16, bytes(8)
    return rng.choice(
        [
            [],
            [[kid]],
            [[kid, a, a]],
            [[kid, a]],
            [[kid, a], [kid, b]],
            [[kid, b], [kid, a]],
            [[kid, a], [kid, a]],
            [[b"\x01" * 8, a], [kid, b]],
            [[kid[:7], a]],
            [[kid, a[:15]]],
            [[kid, a + b"x"]],
            [[1, a]],
            [["12345678", a]],
            [kid, a],
        ]
    )


def _other_issuers(rng, _claims):
    low, high = bytes(8), b"\x01" * 8
    return rng.choice(
        [[], [low], [low, high], [high, low], [low, low], [low[:7]], [low + b"x"], ["12345678"], [1], {}, [[low]], low]
    )


def _other_audience(rng, _claims):
    return rng.choice([*BAD_DEVICES, *DEVICES, *TEXTS, "ert:1", "eui64:0001000000000001"])


BOUNDS = {
    1: TEXTS,
    2: TEXTS,
    3: _other_audience,
    4: _other_time,
    5: _other_time,
    6: _other_time,
    7: _other_id,
    8: _other_cnf,
    9: _other_scope,
    40: [0, 59, 60, 61, 28_799, 28_800, 28_801, 2**32, U64],
    -65537: [0, 1, 2**32 - 1, 2**32, U64],
    -65538: [b"", b"x", b"x" * 255, b"x" * 256, b"x" * 257],
    -65539: _other_rkey,
    -65540: _other_types,
    -65541: [0, 1, 2**32, 2**63, U64],
    -65542: _other_issuers,
    -65543: _other_devices,
    -65544: _other_tokens,
}


# Faults in the claims.


def _claim_at_bounds(claims, rng, token_type):
    key = rng.choice(sorted(REQUIRED[token_type] | OPTIONAL[token_type]))
    bounds = BOUNDS[key]
    claims[key] = bounds(rng, claims) if callable(bounds) else rng.choice(bounds)


def _claim_of_odd_type(claims, rng, token_type):
    claims[rng.choice(sorted({*claims, *OPTIONAL[token_type]}, key=repr))] = rng.choice(ODD_ITEMS)


def _claim_missing(claims, rng, _token_type):
    if claims:
        del claims[rng.choice(sorted(claims, key=repr))]


def _claim_of_another_type(claims, rng, token_type):
    others = sorted(BOUNDS.keys() - REQUIRED[token_type] - OPTIONAL[token_type])
    if others:
        bounds = BOUNDS[rng.choice(others)]
        claims[rng.choice(others)] = bounds(rng, claims) if callable(bounds) else rng.choice(bounds)


def _claim_unknown(claims, rng, _token_type):
    key = rng.choice([0, 10, 38, 39, 41, 2**32, U64, -1, -2, -65536, -65545, -(2**64), "iss", b"x"])
    claims[key] = rng.choice([0, "x", b"", [], rng.choice(ODD_ITEMS)])


def _many_claims(claims, rng, _token_type):
    claims |= {100 + n: 0 for n in range(rng.choice([14, 15, 16, 17]) - len(claims))}


def _scope_broken(claims, rng, token_type):
    if 9 in REQUIRED[token_type]:
        claims[9] = _broken_scope(rng, claims)


def _session_length_moved(claims, rng, _token_type):
    if claims.pop(40, None) is None:
        claims[40] = rng.choice([60, 59, 3600, "x"])


def _command_and_session(claims, rng, token_type):
    if token_type == SECURE_COMMAND:
        claims[9] = write(rng.choice([[[4, 1]], [[4, 2]], [[4, 3]], [[4, 1], [5, 1]], [[3, 1]]]))
        claims.pop(40, None)
        if rng.random() < 0.7:
            claims[40] = rng.choice([60, 3600, 59, b"", 28_801])


def _times_at_odds(claims, rng, token_type):
    issued = claims.get(6) if isinstance(claims.get(6), int) else NOW
    limit = rng.choice([LIFETIMES[token_type], 31 * DAY, 7 * DAY, DAY])
    claims[4] = _uint(issued + rng.choice([-1, 0, 1, limit - 1, limit, limit + 1, 2 * limit]))
    if rng.random() < 0.5 and token_type != REVOCATION:
        claims[5] = _uint(rng.choice([claims[4], claims[4] - 1, claims[4] + 1, issued]))


CLAIM_FAULTS = [
    (_claim_at_bounds, 12),
    (_claim_of_odd_type, 6),
    (_claim_missing, 3),
    (_claim_of_another_type, 2),
    (_claim_unknown, 2),
    (_many_claims, 1),
    (_scope_broken, 3),
    (_session_length_moved, 1),
    (_command_and_session, 2),
    (_times_at_odds, 3),
]


def _spoil_claims(claims, rng, token_type):
    """Put one fault into the claims, sometimes two or three, so that it shows which comes first."""
    faults, weights = zip(*CLAIM_FAULTS, strict=True)
    for fault in rng.choices(faults, weights, k=rng.choice([1, 1, 1, 2, 3])):
        fault(claims, rng, token_type)
    return claims


# Options of the call.


def options_for(rng, claims, token_type):
    """Return (now, options) where the answer turns."""
    skew = rng.choice([0, 1, 120, 120, 120, 600])
    if token_type == REVOCATION:
        skew = 120
    now, longest = _moment(rng, claims, skew), 7 * DAY if token_type == REVOCATION else 31 * DAY
    options = {"skew": skew} if token_type != REVOCATION else {}
    if rng.random() < 0.2:
        longest = 400 * DAY if token_type == DELEGATION else longest
        lifetime = _integer(claims, 4, NOW) - _integer(claims, 6, NOW) + rng.choice([-1, 0, 1])
        options["max_lifetime"] = min(max(rng.choice([lifetime, lifetime, DAY, longest]), 1), longest)
    if token_type == REVOCATION:
        return now, options
    options |= {"revocations": rng.random() < 0.4, "legacy_algorithms": rng.random() < 0.1}
    if rng.random() < 0.5:
        options["audience"] = _asked_audience(rng, claims)
    if rng.random() < 0.5:
        options["action"] = rng.choice(ACTIONS)
    if rng.random() < 0.3 and token_type in FOR_ONE_DEVICE:
        options["epoch"] = max(0, min(_integer(claims, -65537, 0), 2**32) + rng.choice([-1, 0, 1]))
    return now, options


def _moment(rng, claims, skew):
    if rng.random() < 0.5:
        return NOW
    issued, ends = _integer(claims, 6, NOW), _integer(claims, 4, NOW)
    begins = _integer(claims, 5, issued)
    stale = NOW + 3 * DAY
    if rng.random() < 0.02:
        return rng.choice([EARLIEST, EARLIEST + 1, 2**31, LATEST - 1, LATEST])
    edge = rng.choice([issued - skew, begins - skew, ends + skew, issued, ends, stale])
    return max(EARLIEST, min(edge + rng.choice([-1, 0, 1]), LATEST))  # no call takes another `now`


def _integer(claims, key, default):
    value = claims.get(key)
    return value if isinstance(value, int) else default


def _asked_audience(rng, claims):
    own = claims.get(3)
    if isinstance(own, str) and rng.random() < 0.6:
        if device_id(own) is not None:
            return own
        return next((device for device in DEVICES if device.startswith(own)), DEVICES[0])
    return rng.choice(DEVICES)


# Makers of cases.

TOKEN_TYPES = [AUTHORIZATION] * 4 + [SECURE_COMMAND] * 3 + [READING_KEY] * 2 + [DELEGATION] * 2 + [REVOCATION]


def _start(world, rng):
    """Return a type, a signer that mostly may sign it, and claims that mostly lie below its ceilings."""
    token_type = rng.choice(TOKEN_TYPES)
    may_sign = [entry for entry in world.keyring.entries if token_type in entry.token_types]
    entry = rng.choice(may_sign if rng.random() < 0.9 else world.keyring.entries)
    claims = good_claims(world, rng, token_type)
    if rng.random() < 0.7:
        _lower_claims(claims, entry, rng)
    return token_type, world.signers[world.keyring.find(entry.kid)], claims


def _lower_claims(claims, entry, rng):
    """Keep an audience and a scope below the ceilings of an entry, where that can be."""
    if 3 in claims and 7 in claims and device_id(claims[3]) is not None:
        fitting = [device for device in DEVICES if device.startswith(entry.audience_prefix)]
        claims[3] = rng.choice(fitting)
        claims[7] = token_id(device_id(claims[3]), int.from_bytes(claims[7][8:], "big"))
    elif 9 in claims and entry.audience_prefix:
        claims[3] = entry.audience_prefix + rng.choice(["", "", "1", "7"])
    if 9 not in claims or -65538 in claims:
        return
    allowed = [[group, entry.actions >> (group - 1) * 8 & (1 << bits) - 1] for group, bits in BITS_OF_GROUP.items()]
    claims[9] = write([pair for pair in allowed if pair[1]])


def _case(label, token, claims, token_type, rng):
    now, options = options_for(rng, claims, token_type)
    return Case(label, token, now, token_type, options)


def good_case(world, rng):
    """A well-made token, which the options may refuse."""
    token_type, signer, claims = _start(world, rng)
    token = Parts(write(header(signer, token_type)), write(claims), signer).token()
    return _case("good", token, claims, token_type, rng)


def claims_case(world, rng):
    """Faults in the claims, signed."""
    token_type, signer, claims = _start(world, rng)
    _spoil_claims(claims, rng, token_type)
    token = Parts(write(header(signer, token_type)), write(claims), signer).token()
    return _case("claims", token, claims, token_type, rng)


def payload_case(world, rng):
    """Faults in the bytes of the payload, signed."""
    token_type, signer, claims = _start(world, rng)
    payload = broken(write(claims), rng)
    token = Parts(write(header(signer, token_type)), payload, signer).token()
    return _case("payload", token, claims, token_type, rng)


def header_case(world, rng):
    """Faults in the protected header, signed."""
    token_type, signer, claims = _start(world, rng)
    if rng.random() < 0.4:
        protected = broken(write(header(signer, token_type)), rng)
    else:
        protected = write(_spoiled_header(header(signer, token_type), world, rng))
    token = Parts(protected, write(claims), signer).token()
    return _case("header", token, claims, token_type, rng)


def _spoiled_header(fields, world, rng):
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        label, value = rng.choice(
            [
                (1, rng.choice([-19, -9, -8, -7, -48, -49, -35, -257, 0, 1, 19, -(2**64), U64, "EdDSA", b"", None])),
                (1, rng.choice([-8, -7, -19, -9])),
                (4, rng.choice([b"", bytes(7), bytes(8), bytes(9), "12345678", 1, *(s.kid for s in world.signers)])),
                (16, rng.choice([*TYPS.values(), "", "application/cwt", 61, b"x", "APPLICATION/X.MTR-AUTH+CWT"])),
                (2, rng.choice([[], [1], [16], 1, "x"])),
                (rng.choice([0, 3, 5, 6, 15, 17, -1, 33, U64, "alg", "x", b"x"]), rng.choice([0, b"", "x", []])),
                (rng.choice([1, 4, 16]), rng.choice(ODD_ITEMS)),
            ]
        )
        fields[label] = value
        if rng.random() < 0.15:
            del fields[rng.choice(list(fields))]
    return fields


def envelope_case(world, rng):
    """Faults in the envelope, behind the signature."""
    token_type, signer, claims = _start(world, rng)
    parts = Parts(write(header(signer, token_type)), write(claims), signer)
    if rng.random() < 0.5:
        token = broken(parts.token(), rng)
    else:
        items = [parts.protected, {}, parts.payload, parts.signature()]
        if rng.random() < 0.15:
            items[2] = None
        for _ in range(rng.choice([0, 1, 1, 2])):
            _spoil_items(items, rng)
        tag = rng.choice([18] * 8 + [17, 98, 61, 55799])
        token = write(cbor.Tagged(tag, items)) if rng.random() < 0.95 else write(items)
    return _case("envelope", token, claims, token_type, rng)


def _spoil_items(items, rng):
    other = rng.choice(
        [None, {}, {1: -19}, {4: b"kid"}, [], 0, "x", b"", bytes(200), bytes(800), rng.choice(ODD_ITEMS), write(0)]
    )
    action = rng.choice(["replace", "replace", "replace", "append", "remove"])
    if action == "append":
        items.append(other)
    elif action == "remove" and items:
        items.pop(rng.randrange(len(items)))
    elif items:
        items[rng.randrange(len(items))] = other


def signature_case(world, rng):
    """A good token with another signature."""
    token_type, signer, claims = _start(world, rng)
    parts = Parts(write(header(signer, token_type)), write(claims), signer)
    signature = parts.signature()
    pool = ED25519_SIGNATURES if signer.algorithm == ED25519 else P256_SIGNATURES
    token = envelope(parts.protected, parts.payload, rng.choice(pool)(signature, rng))
    return _case("signature", token, claims, token_type, rng)


def _halves(signature, order):
    return int.from_bytes(signature[:32], order), int.from_bytes(signature[32:], order)


def _ed25519_with(r=None, s=None):
    """Replace R (bytes) or S (a function of the old one)."""

    def change(signature, rng):
        old = int.from_bytes(signature[32:], "little")
        new = signature[32:] if s is None else (s(old) % 2**256).to_bytes(32, "little")
        return (signature[:32] if r is None else rng.choice(r)) + new

    return change


def _p256_with(change_r, change_s):
    def change(signature, _rng):
        r, s = _halves(signature, "big")
        return (change_r(r) % 2**256).to_bytes(32, "big") + (change_s(s) % 2**256).to_bytes(32, "big")

    return change


def _y(value, sign=0):
    return (value % 2**255 | sign << 255).to_bytes(32, "little")


P = 2**255 - 19
SMALL_ORDER_Y = [
    0,
    1,
    P - 1,
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
]
EDGES_OF_R = [
    *(_y(y, sign) for y in SMALL_ORDER_Y for sign in (0, 1)),
    *(_y(P + offset, sign) for offset in range(19) for sign in (0, 1)),
    *(_y(y) for y in (2, 3, 4, 5, 6, 7, 8, 9)),
    bytes(32),
    b"\xff" * 32,
]


def _random_bytes(signature, rng):
    return rng.randbytes(len(signature))


def _other_length(signature, rng):
    return (signature + bytes(100))[: rng.choice([0, 1, 32, 63, 65, 72, 96, 128])]


def _flip(signature, rng):
    at = rng.randrange(len(signature))
    return signature[:at] + bytes([signature[at] ^ 1 << rng.randrange(8)]) + signature[at + 1 :]


def _same(value):
    return value


ANY_SIGNATURES = [_random_bytes, _other_length, _flip]
ED25519_SIGNATURES = [
    *ANY_SIGNATURES,
    _ed25519_with(s=lambda s: s + L),
    _ed25519_with(s=lambda s: s + 2 * L),
    _ed25519_with(s=lambda _: L),
    _ed25519_with(s=lambda _: L - 1),
    _ed25519_with(s=lambda _: 0),
    _ed25519_with(r=EDGES_OF_R),
    _ed25519_with(r=EDGES_OF_R),
    _ed25519_with(r=EDGES_OF_R, s=lambda _: 0),
    _ed25519_with(r=EDGES_OF_R, s=lambda _: L),
]
P256_SIGNATURES = [
    *ANY_SIGNATURES,
    _p256_with(_same, lambda s: P256_N - s),  # as valid as the first
    _p256_with(_same, lambda s: s + P256_N),
    _p256_with(lambda r: r + P256_N, _same),
    _p256_with(lambda _: 0, _same),
    _p256_with(_same, lambda _: 0),
    _p256_with(lambda _: P256_N, _same),
    _p256_with(_same, lambda _: P256_N),
    _p256_with(lambda _: P256_N - 1, lambda _: P256_N - 1),
    _p256_with(lambda _: 1, lambda _: 1),
    _p256_with(lambda _: 2**256 - 1, lambda _: 2**256 - 1),
]


def damage_case(world, rng):
    """A good token with bits flipped, bytes lost or added, wherever."""
    token_type, signer, claims = _start(world, rng)
    token = Parts(write(header(signer, token_type)), write(claims), signer).token()
    at = rng.randrange(len(token))
    token = rng.choice(
        [
            _flip(token, rng),
            token[:at],
            token[:at] + token[at + 1 :],
            token[:at] + rng.randbytes(1) + token[at:],
            token + rng.randbytes(1),
            rng.randbytes(rng.choice([96, 200, 1024, 4096])),
            None,
            b"",
        ]
    )
    return _case("damage", token, claims, token_type, rng)


def size_case(world, rng):
    """A document at its limit, or one byte from it."""
    token_type, signer, claims = _start(world, rng)
    maker = rng.choice([_sized_token, _sized_token, _sized_payload, _sized_header])
    return _case("size", maker(signer, token_type, claims, rng), claims, token_type, rng)


def _sized_token(signer, token_type, claims, rng):
    """A token of a chosen size, which its signature gives it."""
    size = rng.choice([94, 95, 96, 97, 1024, 1025, 4095, 4096, 4097, 6143, 6144, 6145])
    payload = write({}) if size < 100 else write(claims)
    parts = Parts(write(header(signer, token_type)), payload, signer)
    signature = parts.signature()
    padded = signature + bytes(size)
    token = _shortest(size, lambda length: envelope(parts.protected, parts.payload, padded[:length]))
    return token if len(token) == size else b"\xd2\x84".ljust(size, b"\x00")


def _sized_payload(signer, token_type, claims, rng):
    """A payload of a chosen size: in one claim that is not known, in one known claim that is too long, or with zeros behind."""
    size = rng.choice([639, 640, 641, 642, 2687, 2688, 2689])
    key = rng.choice([-70000, -65538, None])
    payload = write(claims)
    if key is None:
        return Parts(write(header(signer, token_type)), payload.ljust(size, b"\x00"), signer).token()
    payload = _shortest(size, lambda length: write(claims | {key: bytes(length)}))
    return Parts(write(header(signer, token_type)), payload, signer).token()


def _sized_header(signer, token_type, claims, rng):
    size = rng.choice([127, 128, 129, 130])
    fields = header(signer, token_type)
    label = rng.choice([16, 17])
    protected = _shortest(size, lambda length: write(fields | {label: "x" * length}))
    return Parts(protected, write(claims), signer).token()


def _shortest(size, encoded):
    """Return the shortest of what `encoded` makes of a length that is no shorter than `size`: it grows with the length."""
    return encoded(bisect_left(range(size), size, key=lambda length: len(encoded(length))))


def mixed_case(world, rng):
    """A token asked for as another type, signed by a key that may not, or by one that nobody knows."""
    token_type, signer, claims = _start(world, rng)
    named, asked, real = token_type, token_type, signer
    what = rng.choice(["type", "typ", "key", "stranger", "kid", "alg"])
    if what == "type":
        asked = rng.choice(TOKEN_TYPES)
    elif what == "typ":
        named = asked = rng.choice(TOKEN_TYPES)
    elif what == "stranger":
        signer = real = rng.choice(world.strangers)
    elif what in {"key", "kid"}:
        real = rng.choice(world.signers)
    fields = header(signer, named)
    if what == "alg":
        fields[1] = rng.choice([-7, -8, -9, -19, -48, -49, -50])
    token = Parts(write(fields), write(claims), real).token()
    return _case("mixed", token, claims, asked, rng)


MAKERS = [
    (good_case, 50),
    (claims_case, 40),
    (payload_case, 18),
    (header_case, 12),
    (envelope_case, 12),
    (signature_case, 10),
    (damage_case, 10),
    (size_case, 4),
    (mixed_case, 8),
]


def each_pair_of_options(world, seed):
    """Yield a good token of every type from every signer, so that a short run meets all of them."""
    rng = random.Random(seed)
    for token_type, signer in itertools.product(TYPS, [*world.signers, *world.strangers]):
        claims = good_claims(world, rng, token_type)
        token = Parts(write(header(signer, token_type)), write(claims), signer).token()
        yield _case("each", token, claims, token_type, rng)
