"""Seeded routes, tokens and keys: for the project's tests and benches, and for users' own tests.

Everything follows from the seed and `now`: the same call makes the same bytes on every machine. The tokens are genuine,
made by `issue_tokens`; faults are added on purpose and recorded in `kinds`.

Anybody can make these keys from their seed. Never trust them outside a test.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import defaultdict
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from itron_core._rust import Keyring, KeyringEntry
from itron_core.enums import DEVICE_TOKEN_TYPES, Action, DeviceClass, Mode, Need, Permission, SecurityLevel
from itron_core.errors import InputError
from itron_core.issuing import issue_tokens
from itron_core.policy import needs
from itron_core.signing import LocalSigner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Kind", "Route", "Tokens", "make_route", "make_signer", "make_tokens"]

HOUR: Final = 3_600
DAY: Final = 24 * HOUR
# The order of P-256's base point (SP 800-186 section 3.2.1.3).
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# The route's column of a token has the name of the token's type.
TOKEN_COLUMNS: Final = DEVICE_TOKEN_TYPES


class Kind(StrEnum):
    """The fault of a row's main token; `NONE` means that the row has no token."""

    GOOD = "good"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    FOREIGN = "foreign"
    FORGED = "forged"
    REPLAYED = "replayed"
    WRONG_DEVICE = "wrong_device"
    WRONG_SCOPE = "wrong_scope"
    MALFORMED = "malformed"
    NONE = "none"


KIND_SHARES = {
    Kind.GOOD: 900,
    Kind.NONE: 40,
    Kind.EXPIRED: 15,
    Kind.NOT_YET_VALID: 5,
    Kind.FOREIGN: 5,
    Kind.FORGED: 5,
    Kind.REPLAYED: 10,
    Kind.WRONG_DEVICE: 10,
    Kind.WRONG_SCOPE: 5,
    Kind.MALFORMED: 5,
}
CLASS_SHARES = {DeviceClass.BASIC: 30, DeviceClass.ENHANCED: 45, DeviceClass.MULTI_MODE: 25}
MODE_SHARES = {
    DeviceClass.BASIC: {Mode.MOBILE: 1},
    DeviceClass.ENHANCED: {Mode.MOBILE: 1},
    DeviceClass.MULTI_MODE: {Mode.MOBILE: 40, Mode.NETWORK: 55, Mode.UNKNOWN: 5},
}
LEVEL_SHARES = {
    SecurityLevel.READY_TO_SECURE: 15,
    SecurityLevel.COMMAND: 45,
    SecurityLevel.FULL: 37,
    SecurityLevel.UNKNOWN: 3,
}
RARE_ACTION_SHARE = 9
ACTION_SHARES = dict.fromkeys(Action, RARE_ACTION_SHARE) | {
    Action.READ_ENDPOINT: 300,
    Action.CHECK_ENDPOINT: 60,
    Action.READ_INTERVAL_DATA: 120,
    Action.GET_SERVICE_STATUS: 60,
    Action.READ_ON_DEMAND: 60,
    Action.PROGRAM_ENDPOINT: 80,
    Action.CONNECT_SERVICE: 60,
    Action.DISCONNECT_SERVICE: 80,
    Action.OPEN_SESSION: 30,
    Action.CLOSE_SESSION: 20,
}
# Two keys of the keyring and one outside it, and how often a tool holds material of each.
ISSUERS = (("Ed25519", "security manager"), ("ESP256", "security manager"), ("Ed25519", "foreign"))
FOREIGN_ISSUER = 2
ESP256_SHARE = 0.3
ALL_PERMISSIONS = ~Permission(0)
FEW_PERMISSIONS = Permission.READ_ENDPOINTS


@dataclass(frozen=True)
class Tokens:
    """Authorizations for one device each, and the keyring that verifies them.

    `refused` are the rows with a forged signature, in rising order; `signers` are those of the keyring, in its order.
    """

    tokens: list[bytes]
    devices: list[str]
    keyring: Keyring
    now: int
    refused: list[int]
    signers: list[LocalSigner]

    @cached_property
    def table(self) -> Any:
        """The columns token and device as a `pyarrow.Table` (extra `io`)."""
        import pyarrow as pa

        return pa.table({"token": pa.array(self.tokens, pa.binary()), "device": self.devices})

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"<Tokens: {len(self)} authorizations, {len(self.refused)} forged, {len(self.signers)} issuers>"


@dataclass(frozen=True)
class Route:
    """A route with the arguments to decide it: `process_route(r.route, r.keyring, now=r.now, permissions=r.permissions)`.

    `route` has the columns as lists. A row of `kinds` is the fault of the row's main token, and the same row of
    `main_columns` is that token's column (None: the row has none).
    """

    route: dict[str, list[Any]]
    keyring: Keyring
    permissions: Permission
    now: int
    kinds: list[Kind]
    main_columns: list[str | None]

    @cached_property
    def table(self) -> Any:
        """The same columns as a `pyarrow.Table` (extra `io`)."""
        import pyarrow as pa

        binary = dict.fromkeys(TOKEN_COLUMNS, pa.binary())
        return pa.table({name: pa.array(values, binary.get(name)) for name, values in self.route.items()})

    def __len__(self) -> int:
        return len(self.kinds)

    def __repr__(self) -> str:
        return f"<Route: {len(self)} rows; {', '.join(self.route)}>"


def make_signer(algorithm: str = "Ed25519", *, seed: int | str = 0) -> LocalSigner:
    """Return the signer whose private key follows from `seed`.

    `algorithm` is "Ed25519", "ESP256", "ML-DSA-44" or "ML-DSA-65".
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa

    secret = hashlib.sha256(f"itron_core.testing {algorithm} {seed}".encode()).digest()
    if algorithm == "Ed25519":
        return LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(secret))
    if algorithm == "ESP256":
        scalar = int.from_bytes(secret) % (P256_ORDER - 1) + 1
        return LocalSigner(ec.derive_private_key(scalar, ec.SECP256R1()))
    if algorithm == "ML-DSA-44":
        return LocalSigner(mldsa.MLDSA44PrivateKey.from_seed_bytes(secret))
    if algorithm == "ML-DSA-65":
        return LocalSigner(mldsa.MLDSA65PrivateKey.from_seed_bytes(secret))
    known = '"Ed25519", "ESP256", "ML-DSA-44" or "ML-DSA-65"'
    raise InputError(f"algorithm: got {algorithm!r}, expected {known}")


def make_tokens(
    count: int,
    *,
    now: int,
    algorithm: str = "Ed25519",
    seed: int = 0,
    issuers: int = 1,
    refused_share: float = 0.001,
) -> Tokens:
    """Return `count` authorizations of about 180 bytes, issued in turn by `issuers` keys.

    A share of them, rounded up, has one bit of its signature flipped.
    """
    rng = random.Random(seed)
    signers = [make_signer(algorithm, seed=f"{seed}/{issuer}") for issuer in range(issuers)]
    orders = [
        _Order(row, "authorization", f"ert:{100_000_001 + row}", Action.READ_ENDPOINT, row % issuers)
        for row in range(count)
    ]
    issued = _issue(orders, signers, now)
    tokens = [issued[row, "authorization"] for row in range(count)]
    refused = sorted(rng.sample(range(count), math.ceil(count * refused_share)))
    for row in refused:
        tokens[row] = _forged(tokens[row], rng)
    return Tokens(tokens, [order.device for order in orders], _keyring(signers), now, refused, signers)


def make_route(rows: int, *, now: int, seed: int = 0) -> Route:
    """Return a route of `rows` devices over all classes, modes, levels and actions, with the material a tool would hold.

    The keyring has two issuers, one per algorithm; a third, foreign one is not in it. About one in ten rows that need a
    token has a fault, recorded in `kinds`; some sessions have expired, and some permissions are missing.
    """
    rng = random.Random(seed)
    stops = [_draw_stop(row, rng, now) for row in range(rows)]
    signers = [make_signer(algorithm, seed=f"{seed}/{name}") for algorithm, name in ISSUERS]
    tokens = _issue([order for stop in stops for order in stop.orders], signers, now)
    for stop in stops:
        if stop.main is not None and (spoil := SPOILERS.get(stop.kind)):
            tokens[stop.main.key] = spoil(tokens[stop.main.key], rng)
    route = {name: [stop.columns.get(name) for stop in stops] for name in _column_names(stops)}
    for column in TOKEN_COLUMNS:
        route[column] = [tokens.get((row, column)) for row in range(rows)]
    mains = [stop.main.column if stop.main else None for stop in stops]
    kinds = [stop.kind for stop in stops]
    return Route(route, _keyring(signers[:FOREIGN_ISSUER]), ALL_PERMISSIONS, now, kinds, mains)


# --- The stops of a route ---


@dataclass(frozen=True, slots=True)
class _Order:
    """One token to issue: its row and column, its actions and its issuer; `when` is GOOD, or how it misses `now`."""

    row: int
    column: str
    device: str
    action: Action
    issuer: int
    when: Kind = Kind.GOOD

    @property
    def key(self) -> tuple[int, str]:
        return self.row, self.column

    @property
    def sequence(self) -> int:
        return self.row * len(TOKEN_COLUMNS) + TOKEN_COLUMNS.index(self.column) + 1


@dataclass(slots=True)
class _Stop:
    columns: dict[str, Any]
    kind: Kind = Kind.NONE
    orders: list[_Order] = field(default_factory=list)
    main: _Order | None = None


Choice = TypeVar("Choice")


def _draw(shares: dict[Choice, int], rng: random.Random) -> Choice:
    return rng.choices(list(shares), list(shares.values()))[0]


def _draw_stop(row: int, rng: random.Random, now: int) -> _Stop:
    device_class = _draw(CLASS_SHARES, rng)
    mode = _draw(MODE_SHARES[device_class], rng)
    level = SecurityLevel.READY_TO_SECURE if device_class is DeviceClass.BASIC else _draw(LEVEL_SHARES, rng)
    action = _draw(ACTION_SHARES, rng)
    needed = needs(device_class, mode, level, action)
    stop = _Stop(
        {
            "device": _device(row, device_class),
            "device_class": device_class.name.lower(),
            "mode": mode.name.lower(),
            "security_level": level.name.lower(),
            "action": action.name.lower(),
            "level_verified": rng.random() > 0.05,
            "key_exchange": Need.KEY_EXCHANGE in needed and rng.random() < 0.9,
            "permissions": int(FEW_PERMISSIONS) if rng.random() < 0.01 else None,
            "epoch": _epoch(row),
            "commands_used": _draw({0: 90, 1: 8, 2: 2}, rng),
            "authorizations_used": _draw({0: 90, 1: 8, 2: 2}, rng),
            **_session(needed, action, rng, now),
        }
    )
    _hand_out(stop, row, _material(stop, needed, mode, action, rng), rng)
    return stop


def _device(row: int, device_class: DeviceClass) -> str:
    if device_class is DeviceClass.MULTI_MODE and row % 2:
        return f"eui64:{0x0007_8100_0000_0000 + row:016x}"
    return f"ert:{100_000_001 + row}"


def _epoch(row: int) -> int:
    return 1 + row % 5


def _session(needed: Need, action: Action, rng: random.Random, now: int) -> dict[str, int]:
    """Return a session for one device in two; some have expired, or start later by the device's clock."""
    if Need.OPEN_SESSION not in needed or (action is not Action.CLOSE_SESSION and rng.random() < 0.5):
        return {}
    return {"session_opened_at": now - rng.randrange(-30, HOUR + HOUR // 20), "session_seconds": HOUR}


def _material(stop: _Stop, needed: Need, mode: Mode, action: Action, rng: random.Random) -> dict[str, Action]:
    """Return a tool's material for this row: token columns with the action to grant; the main one comes last."""
    if Need.NEVER in needed:
        return {"secure_command": action} if rng.random() < 0.3 else {}
    held: dict[str, Action] = {}
    if Need.READING_KEY in needed:
        held["reading_key"] = action
    if Need.SECURE_COMMAND in needed:
        held["secure_command"] = action
    if Need.AUTHORIZATION in needed:
        held["authorization"] = action
    if Need.OPEN_SESSION in needed and "session_opened_at" not in stop.columns:
        if mode is Mode.NETWORK:
            held.setdefault("authorization", action)
        else:
            held.setdefault("secure_command", Action.OPEN_SESSION)
    return held


def _hand_out(stop: _Stop, row: int, held: dict[str, Action], rng: random.Random) -> None:
    """Order the row's tokens, and choose the fault of the last one."""
    orders = [
        _Order(row, column, stop.columns["device"], action, int(rng.random() < ESP256_SHARE))
        for column, action in held.items()
    ]
    if not orders:
        return
    stop.kind = _draw(KIND_SHARES, rng)
    main = orders.pop()
    if stop.kind is Kind.REPLAYED:
        if main.column == "reading_key":  # a reading key is not used up
            stop.kind = Kind.GOOD
        else:
            stop.columns[f"{main.column}_used"] = True
    if stop.kind is not Kind.NONE:
        stop.main = _misordered(main, stop.kind)
        orders.append(stop.main)
    stop.orders = orders


def _misordered(order: _Order, kind: Kind) -> _Order:
    """Change the order if only an issuer can make the fault."""
    match kind:
        case Kind.EXPIRED | Kind.NOT_YET_VALID:
            return replace(order, when=kind)
        case Kind.FOREIGN:
            return replace(order, issuer=FOREIGN_ISSUER)
        case Kind.WRONG_DEVICE:
            return replace(order, device=f"ert:{200_000_001 + order.row}")
        case Kind.WRONG_SCOPE:
            other = (
                Action.EXERCISE_VALVE if _group(order.action) != _group(Action.EXERCISE_VALVE) else Action.READ_ENDPOINT
            )
            return replace(order, action=other)
    return order


# --- Issuing in bulk ---


def _issue(orders: Iterable[_Order], signers: Sequence[LocalSigner], now: int) -> dict[tuple[int, str], bytes]:
    """Issue all orders, one bulk call per kind, and return the tokens by row and column."""
    batches: dict[tuple[Any, ...], list[_Order]] = defaultdict(list)
    for order in orders:
        batches[order.column, order.issuer, order.when].append(order)
    issued: dict[tuple[int, str], bytes] = {}
    for (token_type, issuer, when), batch in batches.items():
        issue_now = now - 10 * DAY if when is Kind.EXPIRED else now - HOUR
        tokens = issue_tokens(_request(batch, now), signers[issuer], now=issue_now, token_type=token_type)
        issued.update(zip((order.key for order in batch), tokens.to_pylist(), strict=True))
    return issued


def _request(batch: Sequence[_Order], now: int) -> dict[str, list[Any]]:
    """Return the request of one batch, whose orders all have the column and the kind of the first."""
    request: dict[str, list[Any]] = {
        "device": [order.device for order in batch],
        "actions": [_granted(order) for order in batch],
        "sequence": [order.sequence for order in batch],
        "epoch": [_epoch(order.row) for order in batch],
    }
    if batch[0].when is Kind.NOT_YET_VALID:
        request["not_before"] = [now + DAY] * len(batch)
    if batch[0].column == "secure_command":
        request["command"] = [order.sequence.to_bytes(12) for order in batch]
    if batch[0].column == "reading_key":
        request["kdf"] = [1] * len(batch)
        request["key_version"] = [_epoch(order.row) for order in batch]
        request["check_value"] = [order.row.to_bytes(4) for order in batch]
    return request


def _granted(order: _Order) -> int:
    """Return the granted actions: exactly one for a command, the whole group for the other types."""
    if order.column == "secure_command":
        return 1 << order.action
    return sum(1 << action for action in Action if _group(action) == _group(order.action))


def _group(action: Action) -> int:
    return action // 8


def _keyring(signers: Sequence[LocalSigner]) -> Keyring:
    return Keyring([KeyringEntry(s.public_key, issuer=f"security-manager-{i}") for i, s in enumerate(signers)])


def _column_names(stops: Sequence[_Stop]) -> list[str]:
    seen = {name: None for stop in stops for name in stop.columns}
    return list(seen) or ["device", "device_class", "security_level", "action"]


# --- Faults that need no issuer ---


def _forged(token: bytes, rng: random.Random) -> bytes:
    """Flip one bit of the signature: the last 64 bytes of a token are in it, whatever its algorithm."""
    return _flipped(token, rng.randrange(8 * (len(token) - 64), 8 * len(token)))


def _flipped(token: bytes, bit: int) -> bytes:
    changed = bytearray(token)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _malformed(token: bytes, rng: random.Random) -> bytes:
    """Cut the token, lengthen it, break its first byte or replace it."""
    faults: list[Callable[[], bytes]] = [
        lambda: token[: rng.randrange(1, len(token))],
        lambda: token + b"\0",
        lambda: _flipped(token, rng.randrange(8)),
        lambda: rng.randbytes(len(token)),
    ]
    return rng.choice(faults)()


def _replayed(token: bytes, _rng: random.Random) -> bytes:
    """Return the other valid form of an ECDSA signature, r and n - s; an Ed25519 signature has no other form."""
    s = int.from_bytes(token[-32:])
    return token[:-32] + (P256_ORDER - s).to_bytes(32) if _is_esp256(token) else token


def _is_esp256(token: bytes) -> bool:
    # d2 84 58 <length> a3 01 <alg>: ESP256 is -9, in CBOR 28 (RFC 8949 section 3.1).
    return token[6] == 0x28


SPOILERS: Final[dict[Kind, Callable[[bytes, random.Random], bytes]]] = {
    Kind.FORGED: _forged,
    Kind.MALFORMED: _malformed,
    Kind.REPLAYED: _replayed,
}
