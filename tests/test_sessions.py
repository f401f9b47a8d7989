"""Sessions and windows: half-open, exact in every unit, to the ends of int64, against plain integers of Python."""

import datetime as dt
import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import KEYRING, decide
from itron_core import InputError, ItronCoreError, check_sessions, check_windows, process_route

pytestmark = pytest.mark.kernels

T = int(dt.datetime(2027, 6, 1, 12, tzinfo=dt.UTC).timestamp())
OPEN, NOT_STARTED, EXPIRED, CLOSED, NONE = range(5)
UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
I64_MIN, I64_MAX = -(2**63), 2**63 - 1
# The first and the last moment that a call may name.
MOMENTS = (1_577_836_800, 4_102_444_800)


# The same in plain integers, in nanoseconds.


def plain_session(opened, seconds, closed, now):
    if opened is None or seconds is None:
        return NONE, 0
    ends = opened + seconds * 10**9
    if now < opened:
        return NOT_STARTED, 0
    if closed is not None and closed <= now:
        return CLOSED, 0
    if now >= ends:
        return EXPIRED, 0
    return OPEN, min(-(-(ends - now) // 10**9), 2**31 - 1)


def plain_window(before, after, now, skew):
    if before is None or after is None:
        return None
    return before - skew * 10**9 <= now < after + skew * 10**9


def answers(results):
    columns = results.to_pydict()
    return list(zip(columns["state"], columns["remaining"], strict=True))


def times(values, unit):
    """Return a column of ticks: integers where the unit is None, in seconds."""
    return pa.array(values, pa.int64() if unit is None else pa.timestamp(unit, "UTC"))


def in_nanos(value, unit):
    return None if value is None else value * UNITS[unit or "s"]


# By hand.


@pytest.mark.parametrize(
    "now,answer",
    [
        (T - 1, (NOT_STARTED, 0)),
        (T, (OPEN, 3_600)),
        (T + 1, (OPEN, 3_599)),
        (T + 3_599, (OPEN, 1)),
        (T + 3_600, (EXPIRED, 0)),
        (T + 3_601, (EXPIRED, 0)),
        (1_577_836_800, (NOT_STARTED, 0)),
        (4_102_444_800, (EXPIRED, 0)),
    ],
)
def test_a_session_is_half_open(now, answer):
    assert answers(check_sessions([T], [3_600], now=now)) == [answer]
    assert answers(check_sessions([T], [3_600], now=dt.datetime.fromtimestamp(now, dt.UTC))) == [answer]


def test_states_are_checked_in_the_page_s_order():
    """None, not started, closed, expired, open."""
    rows = [
        ((None, 60, T), NONE),
        ((T, None, T), NONE),
        ((T + 1, 60, T - 5), NOT_STARTED),
        ((T + 1, -60, None), NOT_STARTED),
        ((T - 60, 60, T), CLOSED),
        ((T - 60, 61, T), CLOSED),
        ((T - 60, 60, T + 1), EXPIRED),
        ((T - 60, 60, None), EXPIRED),
        ((T - 60, 61, T + 1), OPEN),
        ((T, 0, None), EXPIRED),
        ((T, -1, None), EXPIRED),
    ]
    opened, seconds, closed = zip(*(row for row, _ in rows), strict=True)
    results = check_sessions(list(opened), list(seconds), now=T, closed_at=list(closed))
    assert results["state"].to_pylist() == [state for _, state in rows]
    assert results["remaining"].to_pylist() == [1 if state == OPEN else 0 for _, state in rows]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_timestamps_are_compared_exactly(unit):
    """One tick before, at, and after each end; the remaining seconds are rounded up."""
    ticks = 10**9 // UNITS[unit]
    base = T * ticks
    opened = [base - 1, base, base + 1, base - 60 * ticks + 1, base - 60 * ticks, base - 59 * ticks]
    wanted = [(OPEN, 60), (OPEN, 60), (NOT_STARTED, 0), (OPEN, 1), (EXPIRED, 0), (OPEN, 1)]
    assert answers(check_sessions(times(opened, unit), [60] * 6, now=T)) == wanted
    before = [base, base + 1, base, base]
    after = [base + 1, base + 2, base, base + 1]
    assert check_windows(times(before, unit), times(after, unit), now=T).to_pylist() == [True, False, False, True]


def test_now_as_a_datetime_is_exact_to_its_microseconds():
    half = dt.datetime.fromtimestamp(T, dt.UTC) + dt.timedelta(microseconds=500_000)
    opened = times([T * 10**6 + 499_999, T * 10**6 + 500_000, T * 10**6 + 500_001], "us")
    assert check_sessions(opened, [1] * 3, now=half)["state"].to_pylist() == [OPEN, OPEN, NOT_STARTED]
    assert check_windows([T, T + 1], [T + 1, T + 2], now=half).to_pylist() == [True, False]


@pytest.mark.parametrize("hours", [-11, 0, 5.75, 14])
def test_now_in_another_zone_is_the_same_moment(hours):
    zone = dt.timezone(dt.timedelta(hours=hours))
    now = dt.datetime.fromtimestamp(T, zone)
    assert answers(check_sessions([T], [60], now=now)) == [(OPEN, 60)]
    assert answers(check_sessions([T + 1], [60], now=now)) == [(NOT_STARTED, 0)]


def test_a_column_s_zone_is_only_for_display():
    column = pa.array([T], pa.timestamp("s", "America/Los_Angeles"))
    assert answers(check_sessions(column, [60], now=T)) == [(OPEN, 60)]


def test_the_columns_have_the_types_of_the_page():
    results = check_sessions([T], [60], now=T)
    assert pa.record_batch(results).schema == pa.schema({"state": pa.int8(), "remaining": pa.int32()})
    assert pa.array(check_windows([T], [T], now=T)).type == pa.bool_()


# The ends of int64.

EXTREMES = [I64_MIN, I64_MIN + 1, -(2**62), -(2**33), -1, 0, 1, T, 2**33, 2**62, I64_MAX - 1, I64_MAX]


@pytest.mark.parametrize("unit", [None, *UNITS])
@pytest.mark.parametrize("now", [1_577_836_800, T, 4_102_444_800])
def test_nothing_wraps_at_the_ends_of_int64(unit, now):
    """Every pair of extreme openings and lengths, and of extreme ends of windows, in every unit."""
    pairs = [(a, b) for a in EXTREMES for b in EXTREMES]
    opened, seconds = zip(*pairs, strict=True)
    wanted = [plain_session(in_nanos(a, unit), b, None, now * 10**9) for a, b in pairs]
    assert answers(check_sessions(times(opened, unit), pa.array(seconds), now=now)) == wanted
    for skew in (0, 1, 600, 2**62, I64_MAX):
        windows = check_windows(times(opened, unit), times(seconds, unit), now=now, skew=skew)
        expected = [plain_window(in_nanos(a, unit), in_nanos(b, unit), now * 10**9, skew) for a, b in pairs]
        assert windows.to_pylist() == expected


@pytest.mark.parametrize("dtype", [pa.uint64(), pa.uint32(), pa.uint8(), pa.int8(), pa.int16(), pa.int32()])
def test_lengths_of_any_integer_width(dtype):
    results = check_sessions(pa.array([T] * 3), pa.array([0, 60, 100], dtype), now=T + 60)
    assert results["state"].to_pylist() == [EXPIRED, EXPIRED, OPEN]


def test_a_route_s_session_ends_where_the_session_does():
    """`session_until` in microseconds, held at the end of its range instead of wrapping."""
    route = {
        "device": ["ert:1"] * 4,
        "device_class": ["enhanced"] * 4,
        "security_level": ["command"] * 4,
        "action": ["program_endpoint"] * 4,
        "session_opened_at": pa.array([T, T, T, T - 60]),
        "session_seconds": pa.array([3_600, 2**40, I64_MAX, 60]),
    }
    results = pa.record_batch(process_route(route, KEYRING, now=T, permissions=31))
    until = results["session_until"].cast(pa.int64()).to_pylist()
    assert until == [(T + 3_600) * 10**6, (T + 2**40) * 10**6, I64_MAX, None]
    assert results["decision"].to_pylist() == [0, 0, 0, 2]


def test_a_session_that_ends_after_year_9999_is_one_row():
    """One absurd length must not take the answers of the other rows with it."""
    route = {
        "device": ["ert:1", "ert:2"],
        "device_class": ["enhanced"] * 2,
        "security_level": ["command"] * 2,
        "action": ["program_endpoint"] * 2,
        "session_opened_at": [T, T],
        "session_seconds": [3_600, 2**40],
    }
    results = process_route(route, KEYRING, now=T, permissions=31)
    assert results.to_pydict()["decision"] == [0, 0]
    assert results.explain(0)
    assert results.explain(1)
    assert results.summary()["rows"] == 2


# Against plain integers.

OPTIONAL_TICKS = st.none() | st.integers(I64_MIN, I64_MAX) | st.integers(T - 100, T + 100) | st.integers(0, 2**34)
UNIT = st.sampled_from([None, *UNITS])


def near(unit, value):
    """Bring small numbers to the unit's ticks, so that they lie around T in it."""
    ticks = 10**9 // UNITS[unit or "s"]
    if value is None or abs(value - T) > 200 or abs(value * ticks) > 2**63:
        return value
    return value * ticks


@pytest.mark.slow
@given(st.data(), st.integers(0, 40), UNIT, UNIT, st.integers(T - 200, T + 200) | st.integers(*MOMENTS))
def test_sessions_are_those_of_plain_integers(data, count, opened_unit, closed_unit, now):
    def column(values):
        return data.draw(st.lists(values, min_size=count, max_size=count))

    opened = [near(opened_unit, value) for value in column(OPTIONAL_TICKS)]
    closed = [near(closed_unit, value) for value in column(OPTIONAL_TICKS)]
    seconds = column(st.none() | st.integers(I64_MIN, I64_MAX) | st.integers(-5, 400))
    results = check_sessions(
        times(opened, opened_unit), pa.array(seconds, pa.int64()), now=now, closed_at=times(closed, closed_unit)
    )
    wanted = [
        plain_session(in_nanos(a, opened_unit), b, in_nanos(c, closed_unit), now * 10**9)
        for a, b, c in zip(opened, seconds, closed, strict=True)
    ]
    assert answers(results) == wanted


@pytest.mark.slow
@given(
    st.lists(st.tuples(OPTIONAL_TICKS, OPTIONAL_TICKS), max_size=80),
    UNIT,
    UNIT,
    st.integers(T - 200, T + 200) | st.integers(*MOMENTS),
    st.integers(0, 700) | st.integers(0, I64_MAX),
)
def test_windows_are_those_of_plain_integers(rows, before_unit, after_unit, now, skew):
    before = [near(before_unit, row[0]) for row in rows]
    after = [near(after_unit, row[1]) for row in rows]
    results = check_windows(times(before, before_unit), times(after, after_unit), now=now, skew=skew)
    assert results.to_pylist() == [
        plain_window(in_nanos(a, before_unit), in_nanos(b, after_unit), now * 10**9, skew)
        for a, b in zip(before, after, strict=True)
    ]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 63, 64, 65, 511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049])
@pytest.mark.parametrize("nulls", [False, True])
def test_windows_of_every_length_and_at_every_offset(count, nulls):
    """Sliced, chunked, turned, with and without nulls, as a buffer: the answer of each row alone."""
    rng = np.random.default_rng(count)
    before = rng.integers(T - 50, T + 50, count).tolist()
    after = rng.integers(T - 50, T + 50, count).tolist()
    if nulls:
        before = [None if n % 5 == 2 else value for n, value in enumerate(before)]
        after = [None if n % 7 == 3 else value for n, value in enumerate(after)]
    wanted = [
        plain_window(in_nanos(a, None), in_nanos(b, None), T * 10**9, 3) for a, b in zip(before, after, strict=True)
    ]

    def asked(a, b):
        return check_windows(a, b, now=T, skew=3).to_pylist()

    columns = [pa.array(values, pa.int64()) for values in (before, after)]
    assert asked(*columns) == wanted
    assert asked(before, after) == wanted
    assert asked(pa.array(before[::-1], pa.int64()), pa.array(after[::-1], pa.int64())) == wanted[::-1]
    for offset in (1, 3, 8, 13):
        assert asked(columns[0][offset:], columns[1][offset:]) == wanted[offset:]
    cuts = sorted({0, count // 3, count // 2, count})
    chunks = [pa.chunked_array([column[a:b] for a, b in itertools.pairwise(cuts)], pa.int64()) for column in columns]
    assert asked(*chunks) == wanted
    if not nulls:
        assert asked(np.array(before, np.int64), np.array(after, np.int64)) == wanted


def test_lists_of_datetimes_are_times():
    moment = dt.datetime.fromtimestamp(T, dt.UTC)
    assert answers(check_sessions([moment, None], [60, 60], now=T)) == [(OPEN, 60), (NONE, 0)]


# Wrong calls.

NAIVE = dt.datetime.fromtimestamp(T, dt.UTC).replace(tzinfo=None)


@pytest.mark.parametrize("now", [-1, 1.0, float(T), True, None, "2027-06-01", NAIVE, NAIVE.date()])
def test_an_invalid_now_raises(now):
    for call in (
        lambda: check_sessions([T], [60], now=now),
        lambda: check_windows([T], [T], now=now),
    ):
        with pytest.raises(ItronCoreError, match="now"):
            call()


def test_a_now_is_required_and_named():
    with pytest.raises(TypeError):
        check_sessions([T], [60])
    with pytest.raises(TypeError):
        check_windows([T], [T])
    with pytest.raises(TypeError):
        check_sessions([T], [60], T)


def test_columns_of_different_lengths_raise():
    with pytest.raises(InputError, match="seconds"):
        check_sessions([T, T], [60], now=T)
    with pytest.raises(InputError, match="closed_at"):
        check_sessions([T], [60], now=T, closed_at=[])
    with pytest.raises(InputError, match="not_after"):
        check_windows([T], [], now=T)


@pytest.mark.parametrize("skew", [-1, 2**64, True, 1.0, None])
def test_a_skew_that_is_none_raises(skew):
    with pytest.raises(InputError, match="skew: got"):
        check_windows([T], [T], now=T, skew=skew)


def test_a_route_reads_sessions_as_check_sessions_does():
    for opened, seconds in ((T, 60), (T - 60, 60), (T + 1, 60), (None, 60), (T, None)):
        (state,) = check_sessions([opened], [seconds], now=T)["state"].to_pylist()
        row = {"device": "ert:1", "device_class": 1, "security_level": 1, "action": "program_endpoint"}
        reason = decide(**row, session_opened_at=opened, session_seconds=seconds)["reason"]
        assert reason == {OPEN: 0, NOT_STARTED: 1012, EXPIRED: 1011, NONE: 1010}[state]
