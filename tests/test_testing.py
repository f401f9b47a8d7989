"""What `itron_core.testing` makes is what it says: the same every time, and wrong exactly where it is said to be."""

from collections import Counter

import pyarrow as pa
import pytest

from itron_core import Action, DeviceClass, Mode, SecurityLevel, process_route, verify_tokens
from itron_core.testing import TOKEN_COLUMNS, Kind, make_route, make_signer, make_tokens

pytestmark = pytest.mark.kernels

NOW = 1_795_000_000
ROWS = 6_000
CODES = {
    Kind.GOOD: {0},
    Kind.EXPIRED: {502},
    Kind.NOT_YET_VALID: {501},
    Kind.FOREIGN: {230},
    Kind.FORGED: {301, 302},
    Kind.REPLAYED: {0},
    Kind.WRONG_DEVICE: {700},
    Kind.WRONG_SCOPE: {0, 701},
    Kind.MALFORMED: set(range(100, 230)) | {2, 300},
}


@pytest.fixture(scope="module")
def route():
    return make_route(ROWS, now=NOW, seed=5)


@pytest.fixture(scope="module")
def results(route):
    return process_route(route.table, route.keyring, now=NOW, permissions=route.permissions)


@pytest.mark.slow
def test_the_same_seed_makes_the_same_bytes():
    assert make_route(300, now=NOW, seed=1).route == make_route(300, now=NOW, seed=1).route
    assert make_route(300, now=NOW, seed=1).route != make_route(300, now=NOW, seed=2).route
    first, second = (make_tokens(50, now=NOW, algorithm="ESP256", issuers=3) for _ in range(2))
    assert first.tokens == second.tokens


@pytest.mark.slow
def test_every_row_has_its_recorded_fault(route, results):
    decided = pa.record_batch(results)
    codes = {column: decided[f"{column}_code"].to_pylist() for column in TOKEN_COLUMNS}
    seen = Counter()
    for row, (kind, column) in enumerate(zip(route.kinds, route.main_columns, strict=True)):
        if column is None:
            assert kind is Kind.NONE
            continue
        assert codes[column][row] in CODES[kind], (row, kind, column, codes[column][row])
        seen[kind] += 1
    assert set(seen) == set(CODES)


def test_good_rows_can_be_allowed_and_faulty_rows_cannot(route, results):
    decisions = pa.record_batch(results)["decision"].to_pylist()
    by_kind = {kind: Counter() for kind in Kind}
    for kind, column, decision in zip(route.kinds, route.main_columns, decisions, strict=True):
        if column is not None:
            by_kind[kind][decision] += 1
    assert by_kind[Kind.GOOD][0] > by_kind[Kind.GOOD][2]
    for kind in set(CODES) - {Kind.GOOD}:
        assert by_kind[kind][0] == 0, kind
        assert by_kind[kind][1] == 0, kind


def test_all_classes_modes_levels_and_actions_occur(route):
    for column, enumeration in (
        ("device_class", DeviceClass),
        ("mode", Mode),
        ("security_level", SecurityLevel),
        ("action", Action),
    ):
        assert set(route.route[column]) == {member.name.lower() for member in enumeration}


@pytest.mark.slow
def test_lists_and_arrow_give_the_same_answer(route, results):
    from_lists = process_route(route.route, route.keyring, now=NOW, permissions=route.permissions)
    assert pa.record_batch(from_lists).equals(pa.record_batch(results))


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["Ed25519", "ESP256"])
@pytest.mark.parametrize("issuers", [1, 3])
def test_exactly_the_recorded_tokens_are_refused(algorithm, issuers):
    made = make_tokens(2_000, now=NOW, algorithm=algorithm, issuers=issuers)
    codes = pa.record_batch(verify_tokens(made.tokens, made.keyring, now=NOW, audience=made.devices))["code"]
    assert [row for row, code in enumerate(codes.to_pylist()) if code] == made.refused
    assert len(made.refused) == 2
    assert {len(token) for token in made.tokens} <= set(range(175, 190))


def test_an_empty_route_is_a_route():
    route = make_route(0, now=NOW)
    for none in (route.route, []):  # as columns, and as rows of JSON
        assert len(process_route(none, route.keyring, now=NOW, permissions=route.permissions)) == 0


def test_a_signer_follows_from_its_seed():
    assert make_signer(seed=1).public_key.kid == make_signer(seed=1).public_key.kid
    assert make_signer(seed=1).public_key.kid != make_signer(seed=2).public_key.kid
    with pytest.raises(ValueError, match="RSA"):
        make_signer("RSA")
