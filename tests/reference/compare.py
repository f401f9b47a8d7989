"""Both readings of the pages on the same random tokens and routes: `python -m reference.compare SEED TOKENS ROUTES`."""

import itertools
import sys
from typing import NamedTuple

import itron_core
from itron_core import InputError, KeyringEntry, PublicKey, TokenRefused
from reference import world as reference_world
from reference.claims import AUTHORIZATION, DELEGATION, READING_KEY, REVOCATION, SECURE_COMMAND
from reference.generate import Case, cases, each_pair_of_options
from reference.generate_routes import MATERIALS, routes
from reference.keyring import DelegationRefusedError
from reference.revocation import Revocations, SnapshotRefusedError
from reference.route import process_row
from reference.signatures import KeyRefusedError
from reference.token import verify

ROUTE_COLUMNS = (
    "decision",
    "reason",
    "missing",
    "unverified",
    "unreadable",
    "session_until",
    *(f"{name}_code" for name in MATERIALS),
)
TOKEN_COLUMNS = (
    "key",
    "issued_at",
    "not_before",
    "expires_at",
    "session_seconds",
    "actions",
    "sequence",
    "epoch",
    "device",
)
CLAIM_OF = {"device": "audience"}


class Difference(NamedTuple):
    """What was asked, what this reading says, and what the extension says."""

    asked: object
    wanted: object
    got: object


class Extension:
    """A world as the extension knows it."""

    def __init__(self, world):
        self.world = world
        self.root_keyring = itron_core.Keyring(
            [KeyringEntry(_public_key(signer), **ceilings) for signer, ceilings in world.roots]
        )
        self.keyring = self.root_keyring.with_delegations(world.delegations, now=reference_world.NOW)
        snapshot = world.revocations
        self.revocations = itron_core.Revocations(
            issuers=snapshot.issuers,
            devices=snapshot.devices,
            tokens=snapshot.tokens,
            version=snapshot.version,
            expires_at=snapshot.expires_at,
        )

    def verify(self, case):
        """Return (code, then the columns of TOKEN_COLUMNS) of a token that is no snapshot."""
        options = dict(case.options)
        options["revocations"] = self.revocations if options["revocations"] else None
        if "action" in options:
            options["action"] = itron_core.Action(options["action"])
        results = itron_core.verify_tokens(
            [case.token], self.keyring, now=case.now, token_type=case.token_type, **options
        ).to_pydict()
        return (results["code"][0], *(_plain(results[name][0]) for name in TOKEN_COLUMNS))

    def read_snapshot(self, case):
        """Return the snapshot that a token brings, or the code."""
        try:
            read = itron_core.Revocations.from_token(case.token or b"", self.keyring, now=case.now, **_limits(case))
        except TokenRefused as refused:
            return int(refused.code)
        return read.version, read.expires_at, sorted(read.issuers), dict(read.devices), sorted(read.tokens)

    def delegate(self, case):
        """Return the entry that a token adds, or the code, or the name of what it raises."""
        try:
            entry = self.keyring.with_delegations([case.token], now=case.now).entries[-1]
        except TokenRefused as refused:
            return int(refused.code)
        except itron_core.KeyRefused:
            return "key refused"
        return (
            entry.issuer,
            entry.token_types,
            entry.actions,
            entry.audience_prefix,
            entry.valid_from,
            entry.valid_until,
            entry.key.raw,
        )

    def process(self, route):
        """Return the result columns, a tuple a row."""
        columns = {name: [row[name] for row in route.rows] for name in route.rows[0]}
        results = itron_core.process_route(
            _arrow(columns),
            self.keyring,
            now=route.now,
            permissions=route.permissions,
            options=route.options,
            revocations=self.revocations if route.with_revocations else None,
        )
        return list(zip(*(_numbers(results[name]) for name in ROUTE_COLUMNS), strict=True))


def _public_key(signer):
    return PublicKey.from_raw(signer.algorithm, signer.raw)


def _limits(case):
    return {name: value for name, value in case.options.items() if name == "max_lifetime"}


def _numbers(column):
    """Return a column as Python values, moments as whole seconds: a session may end behind the last year of `datetime`."""
    import pyarrow as pa

    column = pa.array(column)
    if not pa.types.is_timestamp(column.type):
        return column.to_pylist()
    return [None if moment is None else moment // 1_000_000 for moment in column.cast(pa.int64()).to_pylist()]


def _plain(value):
    """Return a moment as whole seconds."""
    return int(value.timestamp()) if hasattr(value, "timestamp") else value


def _arrow(columns):
    """Give null-only columns the type they would have."""
    import pyarrow as pa

    binary = dict.fromkeys(MATERIALS, pa.binary())
    flags = dict.fromkeys(
        ("secure_command_used", "authorization_used", "on_menu", "level_verified", "key_exchange"), pa.bool_()
    )
    types = binary | flags | {"device": pa.string()}

    def typed(name, values):
        if name in types:
            return pa.array(values, types[name])
        is_text = any(isinstance(value, str) for value in values)
        return pa.array(values, pa.string() if is_text else pa.int64())

    return pa.table({name: typed(name, values) for name, values in columns.items()})


def expected(world, case):
    """Return what `Extension.verify` should."""
    options = dict(case.options)
    options["revocations"] = world.revocations if options["revocations"] else None
    code, index, claims = verify(case.token, world.keyring, case.now, case.token_type, **options)
    return code, index, *((claims or {}).get(CLAIM_OF.get(name, name)) for name in TOKEN_COLUMNS[1:])


def expected_snapshot(world, case):
    try:
        read = Revocations.from_token(case.token, world.keyring, case.now, **_limits(case))
    except SnapshotRefusedError as refused:
        return refused.code
    return read.version, read.expires_at, sorted(read.issuers), read.devices, sorted(read.tokens)


def expected_delegation(world, case):
    try:
        entry = world.keyring.with_delegations([case.token], case.now).entries[-1]
    except DelegationRefusedError as refused:
        return refused.code
    except KeyRefusedError:
        return "key refused"
    return (
        entry.issuer,
        entry.token_types,
        entry.actions,
        entry.audience_prefix,
        entry.valid_from,
        entry.valid_until,
        entry.raw,
    )


def expected_route(world, route):
    revocations = world.revocations if route.with_revocations else None
    decided = (
        process_row(
            row,
            world.keyring,
            now=route.now,
            permissions=route.permissions,
            options=route.options,
            revocations=revocations,
        )
        for row in route.rows
    )
    return [tuple(columns[name] for name in ROUTE_COLUMNS) for columns in decided]


def different_tokens(world, seed, count):
    """Yield the differences on `count` random tokens and one of every kind."""
    extension = Extension(world)
    for case in [*each_pair_of_options(world, seed), *cases(world, seed, count)]:
        pairs = []
        if case.token_type == REVOCATION:
            pairs.append((expected_snapshot(world, case), extension.read_snapshot(case)))
        else:
            pairs.append((expected(world, case), extension.verify(case)))
        if case.token_type == DELEGATION and case.token is not None:
            pairs.append((expected_delegation(world, case), extension.delegate(case)))
        yield from (Difference(case, wanted, got) for wanted, got in pairs if wanted != got)


def different_batches(world, seed, count):
    """Yield the differences where `count` random tokens are asked in one call a type, good and bad in one batch."""
    extension = Extension(world)
    tokens = [case.token for case in cases(world, seed, count)]
    options = {"skew": 600, "revocations": True}
    for token_type in (AUTHORIZATION, SECURE_COMMAND, READING_KEY, DELEGATION):
        found = itron_core.verify_tokens(
            tokens,
            extension.keyring,
            now=reference_world.NOW,
            token_type=token_type,
            **options | {"revocations": extension.revocations},
        )["code"].to_pylist()
        asked = [Case("batch", token, reference_world.NOW, token_type, options) for token in tokens]
        wanted = [expected(world, case)[0] for case in asked]
        yield from (Difference(*three) for three in zip(asked, wanted, found, strict=True) if three[1] != three[2])


def different_rows(world, seed, count, rows=100):
    """Yield the differences on `count` random routes of up to `rows` rows."""
    extension = Extension(world)
    for route in routes(world, seed, count, rows):
        if not route.rows:
            continue
        try:
            got = extension.process(route)
        except InputError as error:
            yield Difference(route._replace(rows=[]), "a result", str(error))
            continue
        for row, wanted, found in zip(route.rows, expected_route(world, route), got, strict=True):
            if wanted != found:
                yield Difference((row, route._replace(rows=[])), wanted, found)


def _say(text):
    sys.stdout.write(text + "\n")


def main(seed, tokens, rows):
    world = reference_world.World(seed)
    count = 0
    for difference in itertools.chain(
        different_tokens(world, seed, tokens),
        different_batches(world, seed, tokens),
        different_rows(world, seed, rows),
    ):
        count += 1
        _say(f"{difference.asked}\n  wanted {difference.wanted}\n  got    {difference.got}")
    _say(f"{tokens} tokens, {rows} routes, {count} differences")
    return count > 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:4])))
