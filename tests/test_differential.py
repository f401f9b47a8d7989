"""Two readings of the same pages, asked the same questions: the extension and the plain Python of `reference`.

`ITRON_CORE_CASES` says how many tokens; routes have a tenth as many rows.
"""

import datetime as dt
import itertools
import os
from collections import defaultdict

import pyarrow as pa
import pytest

from helpers import COLUMNS
from itron_core import (
    Keyring,
    KeyringEntry,
    PublicKey,
    Revocations,
    TokenRefused,
    process_route,
    verify_token,
    verify_tokens,
)
from reference.claims import READING_KEY, REVOCATION
from reference.compare import different_batches, different_rows, different_tokens
from reference.generate import cases, each_pair_of_options
from reference.generate_routes import routes
from reference.route import process_row
from reference.token import verify
from reference.world import World

pytestmark = [pytest.mark.kernels, pytest.mark.slow]

CASES = int(os.environ.get("ITRON_CORE_CASES", "10000"))
ROWS = 60
WORLD = World(int(os.environ.get("ITRON_CORE_SEED", "11")))
UTC_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def our_keyring() -> Keyring:
    entries = [
        KeyringEntry(PublicKey.from_raw(signer.algorithm, signer.raw), **ceilings) for signer, ceilings in WORLD.roots
    ]
    return Keyring(entries).with_delegations(WORLD.delegations, now=1_795_000_000)


OURS = our_keyring()
SNAPSHOT = Revocations(
    version=WORLD.revocations.version,
    expires_at=WORLD.revocations.expires_at,
    issuers=WORLD.revocations.issuers,
    devices=WORLD.revocations.devices,
    tokens=WORLD.revocations.tokens,
)


def their_options(options):
    return options | {"revocations": WORLD.revocations if options.get("revocations") else None}


def our_options(options):
    return options | {"revocations": SNAPSHOT if options.get("revocations") else None}


def said(label, token, answers):
    ours, theirs = answers
    shown = token.hex() if token else token
    return f"{label}: ours {ours}, theirs {theirs}: {shown}"


@pytest.fixture(scope="module")
def questions():
    """Cases with the reference's answers: (case, code, index, claims)."""
    asked = list(itertools.chain(each_pair_of_options(WORLD, 1), cases(WORLD, WORLD.seed, CASES)))
    return [
        (case, *verify(case.token, WORLD.keyring, case.now, case.token_type, **their_options(case.options)))
        if case.token_type != REVOCATION
        else (case, *verify(case.token, WORLD.keyring, case.now, case.token_type, **case.options))
        for case in asked
    ]


def moment(seconds):
    return UTC_EPOCH + dt.timedelta(seconds=seconds)


def expected_row(code, index, claims, token_type):
    """Return the columns that the reference's answer makes, but for the kid."""
    if claims is None:
        return (code, index, *[None] * 7)
    one_device = token_type != "delegation"
    return (
        code,
        index,
        moment(claims["issued_at"]),
        moment(claims["not_before"]),
        moment(claims["expires_at"]),
        claims.get("session_seconds"),
        claims["actions"],
        claims["sequence"] if one_device else None,
        claims["epoch"] if one_device else None,
    )


def test_the_columns_are_those_of_the_second_reading(questions):
    """Every token, alone in a call: the code, the key and each claim are those that the plain reading gives."""
    differ = []
    for case, code, index, claims in questions:
        if case.token_type == REVOCATION:
            continue
        results = verify_tokens(
            [case.token], OURS, now=case.now, token_type=case.token_type, **our_options(case.options)
        )
        columns = results.to_pydict()
        assert tuple(columns) == COLUMNS
        *ours, kid, device = (values[0] for values in columns.values())
        assert device == (claims or {}).get("audience")
        theirs = expected_row(code, index, claims, case.token_type)
        if tuple(ours) != theirs:
            differ.append(said(f"{case.label} {case.token_type} {case.now} {case.options}", case.token, (ours, theirs)))
        if index is not None:
            assert kid == OURS.entries[index].key.kid
    assert not differ, "\n".join(differ[:20])


def test_the_call_for_one_token_is_the_bulk_call_s_twin(questions):
    """`verify_token` raises exactly the code that the plain reading gives, and returns its claims otherwise."""
    differ = []
    for case, code, index, claims in questions:
        if case.token_type == REVOCATION:
            continue
        try:
            token = verify_token(
                case.token, OURS, now=case.now, token_type=case.token_type, **our_options(case.options)
            )
        except TokenRefused as refused:
            ours = int(refused.code)
        else:
            ours = 0
            assert token.token_type == case.token_type
            assert token.kid == OURS.entries[index].key.kid
            assert token.issuer == OURS.entries[index].issuer
            assert token.audience == claims["audience"]
            assert token.cti == claims["cti"]
            assert {int(action) for action in token.actions} == {n for n in range(64) if claims["actions"] >> n & 1}
            assert (token.issued_at, token.not_before, token.expires_at) == (
                moment(claims["issued_at"]),
                moment(claims["not_before"]),
                moment(claims["expires_at"]),
            )
            assert (token.reading_key is not None) == (case.token_type == READING_KEY)
        if ours != code:
            differ.append(said(f"{case.label} {case.token_type} {case.now} {case.options}", case.token, (ours, code)))
    assert not differ, "\n".join(differ[:20])


def test_batches_are_answered_as_single_calls(questions):
    """Tokens that are asked for in the same way, in one call: each has the code that it has alone."""
    batches = defaultdict(list)
    for case, code, _, _ in questions:
        if case.token_type != REVOCATION:
            options = {name: value for name, value in case.options.items() if name not in {"audience", "epoch"}}
            batches[case.token_type, case.now, tuple(sorted(options.items()))].append((case, code))
    largest = sorted(batches.items(), key=lambda item: -len(item[1]))
    assert len(largest[0][1]) > 8
    for (token_type, now, options), batch in largest:
        asked = [case for case, _ in batch]
        results = verify_tokens(
            [case.token for case in asked],
            OURS,
            now=now,
            token_type=token_type,
            audience=[case.options.get("audience") for case in asked],
            epoch=[case.options.get("epoch") for case in asked],
            **our_options(dict(options)),
        )
        assert results["code"].to_pylist() == [code for _, code in batch]


def test_snapshots_are_read_alike(questions):
    """`Revocations.from_token` refuses with the code of the plain reading, or has its lists."""
    differ, codes = [], set()
    for case, code, _, claims in questions:
        if case.token_type != REVOCATION or case.token is None:
            continue
        codes.add(code)
        try:
            read = Revocations.from_token(case.token, OURS, now=case.now, **case.options)
        except TokenRefused as refused:
            ours = int(refused.code)
        else:
            ours = 0
            assert (read.version, read.expires_at) == (claims["version"], claims["expires_at"])
            assert set(read.issuers) == set(claims["issuers"])
            assert read.devices == {device: tuple(marks) for device, *marks in claims["devices"]}
            assert set(read.tokens) == set(claims["tokens"])
        if ours != code:
            differ.append(said(f"{case.label} {case.now} {case.options}", case.token, (ours, code)))
    assert not differ, "\n".join(differ[:20])
    assert 0 in codes


def test_the_questions_reach_most_codes(questions):
    """The comparison above is one of many different refusals."""
    codes = {code for _, code, _, _ in questions}
    assert len(codes) > 35
    assert sum(code == 0 for _, code, _, _ in questions) > len(questions) // 20


# Routes.


def column_of(rows, name):
    return [row.get(name) for row in rows]


def test_rows_of_routes_are_decided_as_the_second_reading_decides():
    """Every column of every row of seeded routes, over all classes, modes, levels, actions, materials and options."""
    differ, reasons, decided = [], set(), 0
    for number, route in enumerate(routes(WORLD, WORLD.seed, max(1, CASES // 10 // ROWS * 2), ROWS)):
        if not route.rows:
            continue
        table = {name: column_of(route.rows, name) for name in route.rows[0]}
        results = process_route(
            table,
            OURS,
            now=route.now,
            permissions=route.permissions,
            options=route.options,
            revocations=SNAPSHOT if route.with_revocations else None,
        )
        columns = pa.record_batch(results)
        columns = columns.set_column(
            columns.schema.get_field_index("session_until"), "session_until", columns["session_until"].cast(pa.int64())
        ).to_pydict()
        for row, given in enumerate(route.rows):
            theirs = process_row(
                given,
                WORLD.keyring,
                now=route.now,
                permissions=route.permissions,
                options=route.options,
                revocations=WORLD.revocations if route.with_revocations else None,
            )
            ours = {name: values[row] for name, values in columns.items()}
            until = theirs["session_until"]
            theirs = theirs | {"session_until": None if until is None else until * 1_000_000}
            reasons.add(theirs["reason"])
            decided += 1
            if ours != theirs:
                wrong = {name: (ours[name], theirs[name]) for name in theirs if ours.get(name) != theirs[name]}
                differ.append(f"route {number} row {row}: (ours, theirs) {wrong}: {given} {route.options}")
    assert not differ, "\n".join(differ[:20])
    assert decided > CASES // 20
    assert len(reasons) > 15


# The program `python -m reference.compare`, on worlds of its own.


@pytest.mark.parametrize("seed", [1, 2])
def test_the_program_that_compares_finds_no_difference(seed):
    world = World(seed)
    assert list(different_tokens(world, seed, 300)) == []
    assert list(different_batches(world, seed, 300)) == []
    assert list(different_rows(world, seed, 4)) == []
