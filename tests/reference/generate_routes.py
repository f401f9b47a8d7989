"""Seeded random routes: rows over all classes, modes, levels, actions, materials, sessions, counts and permissions."""

import random
from typing import NamedTuple

from itron_core.enums import Action, DeviceClass, Mode, Permission, SecurityLevel
from itron_core.policy import PolicyOptions, permission_for
from reference.build import sign, token_id
from reference.cbor import write
from reference.claims import AUTHORIZATION, READING_KEY, SECURE_COMMAND, device_id
from reference.world import DAY, DEVICES, NOW, REVOKED_SEQUENCE

MATERIALS = (AUTHORIZATION, SECURE_COMMAND, READING_KEY)
REQUIRED_COLUMNS = {"device", "device_class", "security_level", "action"}
ENUMERATIONS = {"device_class": DeviceClass, "mode": Mode, "security_level": SecurityLevel, "action": Action}
EVERY_PERMISSION = int(~Permission(0))
UNKNOWN_NAMES = [
    "",
    "basics",
    "basic ",
    " full",
    "ready to  secure",
    "Ready To Secure",
    "full security",
    "ready__to_secure",
    "ünknown",
    "0",
    "read",
]
UNKNOWN_NUMBERS = [-1, 4, 5, 6, 7, 14, 23, 26, 36, 99]


class Route(NamedTuple):
    """Rows as dicts by column (None is null, a column that no row has is absent), and what holds for all of them."""

    rows: list
    now: int
    permissions: int
    options: PolicyOptions
    with_revocations: bool


def routes(world, seed, count, rows):
    """Yield `count` routes of up to `rows` rows. In one route an enumeration's column is of names or of numbers."""
    rng = random.Random(seed)
    for _ in range(count):
        options = _options(rng)
        names = {column: rng.random() < 0.5 for column in ENUMERATIONS}
        made = [_row(world, rng, names) for _ in range(rng.randrange(rows + 1))]
        absent = [
            column for column in (made[0] if made else ()) if column not in REQUIRED_COLUMNS and rng.random() < 0.1
        ]
        made = [{column: value for column, value in row.items() if column not in absent} for row in made]
        permissions = rng.choice([EVERY_PERMISSION, 31, 31, rng.randrange(32)])
        yield Route(made, NOW + rng.choice([0, 0, 0, 2 * DAY]), permissions, options, rng.random() < 0.3)


def _options(rng):
    if rng.random() < 0.4:
        return PolicyOptions()
    return PolicyOptions(
        allow_service_on_basic=rng.random() < 0.5,
        reads_without_session=rng.random() < 0.5,
        status_without_key=rng.random() < 0.5,
        service_needs_command_in_network_mode=rng.random() < 0.5,
        command_limit=rng.choice([0, 1, 2, 3]),
        authorization_limit=rng.choice([0, 1, 2, 3]),
    )


def _row(world, rng, names):
    device = rng.choice(DEVICES)
    action = rng.choice(list(Action))
    members = {
        "device_class": rng.choice([DeviceClass.BASIC, *[DeviceClass.ENHANCED, DeviceClass.MULTI_MODE] * 3]),
        "mode": rng.choice([*[Mode.MOBILE, Mode.NETWORK] * 2, Mode.UNKNOWN]),
        "security_level": rng.choice(list(SecurityLevel)),
        "action": action,
    }
    row = {"device": device} | {column: _choice(rng, member, names[column]) for column, member in members.items()}
    row |= {name: _material(world, rng, name, device, action) for name in MATERIALS}
    row |= {
        "session_opened_at": rng.choice([None, None, NOW, NOW - 1, NOW + 1, NOW - 3599, NOW - 3600, NOW - 60]),
        "session_seconds": rng.choice([None, 3600, 3600, 3600, 60, 61, 28_800, 0, -1, 2**40]),
        "commands_used": rng.choice([*[None, 0, 0, 0, 1, 2, 3, 2**40] * 4, -1]),
        "authorizations_used": rng.choice([*[None, 0, 0, 0, 1, 2, 3, 2**40] * 4, -1]),
        "secure_command_used": rng.choice([None, False, False, True]),
        "authorization_used": rng.choice([None, False, False, True]),
        "on_menu": rng.choice([None, *[True] * 9, False]),
        "level_verified": rng.choice([None, True, True, False]),
        "key_exchange": rng.choice([None, True, False]),
        "permissions": rng.choice(
            [None, None, *[EVERY_PERMISSION, int(permission_for(action))] * 4, rng.randrange(32)]
        ),
        "epoch": rng.choice([*[None, None, None, 0, 2, 3, 4] * 4, -1]),
    }
    if rng.random() < 0.02:
        row["device"] = rng.choice([None, "", "ert:", "ert:01", "ert:281474976710656", "eui64:0000000000000001", "x"])
    return row


def _choice(rng, member, by_name):
    """Write a member as its column wants it, now and then wrong or null."""
    chance = rng.random()
    if chance < 0.004:
        return None
    if not by_name:
        return rng.choice(UNKNOWN_NUMBERS) if chance < 0.008 else int(member)
    if chance < 0.008:
        return rng.choice(UNKNOWN_NAMES)
    name = rng.choice([member.name, member.name.lower(), member.name.title()])
    return name.replace("_", "-") if rng.random() < 0.3 else name


def _material(world, rng, name, device, action):
    """Return a token of the row, good or in one way not, or None."""
    flaw = rng.choice([None] * 7 + ["absent"] * 4 + list(FLAWS))
    if flaw == "absent":
        return None
    claims = _claims(rng, name, device, action)
    if flaw is not None:
        FLAWS[flaw](claims, rng)
    entry = rng.choice([entry for entry in world.keyring.entries if name in entry.token_types])
    signer = world.signers[world.keyring.find(entry.kid)]
    if rng.random() < 0.8:
        signer = world.signers[0]
    token = sign(signer, name, claims)
    return _damaged(token, rng) if rng.random() < 0.06 else token


def _claims(rng, name, device, action):
    sequence = rng.choice([1, 200, 200, REVOKED_SEQUENCE])
    claims = {
        3: device,
        4: NOW + DAY,
        6: NOW - 600,
        7: token_id(device_id(device), sequence),
        9: write(_scope(rng, name, action)),
        -65537: 3,
    }
    if name == AUTHORIZATION or claims[9] == write([[4, 1]]):
        claims[40] = 3600
    if name == SECURE_COMMAND:
        claims[-65538] = b"command"
    if name == READING_KEY:
        claims.pop(40, None)
        claims[-65539] = [1, 4, b"kcv."]
    return claims


def _scope(rng, name, action):
    if name == SECURE_COMMAND:
        action = rng.choice([action, action, Action.OPEN_SESSION, Action.OPEN_SESSION, rng.choice(list(Action))])
        return [[int(action.group), 1 << action.bit]]
    own = [[int(action.group), 1 << action.bit]]
    return rng.choice([own, own, [[1, 31], [2, 63], [3, 127], [4, 3], [5, 15]], [[1, 31]], [[9, 1]]])


def _for_another_device(claims, rng):
    claims[3] = rng.choice(DEVICES)
    claims[7] = token_id(device_id(claims[3]), 200)


def _expired(claims, _rng):
    claims[4] = NOW - 500


def _not_yet(claims, _rng):
    claims[5] = NOW + 500


def _of_an_older_epoch(claims, _rng):
    claims[-65537] = 2


def _with_a_fault(claims, rng):
    claims[rng.choice([2, 3, 4, 6, 9])] = rng.choice([0, b"x", "x", []])


FLAWS = {
    "device": _for_another_device,
    "expired": _expired,
    "not yet": _not_yet,
    "epoch": _of_an_older_epoch,
    "fault": _with_a_fault,
}


def _damaged(token, rng):
    at = rng.randrange(len(token))
    return rng.choice([b"", token[:at], token[:at] + bytes([token[at] ^ 1]) + token[at + 1 :], rng.randbytes(150)])
