"""How everything here is measured: ours and its peers in turn, round by round, in one process.

A bench hands `beside` one callable of ours and its peers. Each round times every peer once, then ours once; what is
reported is the median of each, and the median of the rounds' ratios, so that a slow moment of the machine slows both.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from itron_core import cpu_features

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_795_000_000
# The tables of a key grow with its use; what is timed is the state that they reach.
WARM_ITEMS = 50_000


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--scale", choices=["ci", "full"], default="ci", help="ci: under two minutes; full: every size")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--scale") == "ci":
        skip = pytest.mark.skip(reason="only with --scale=full")
        for item in items:
            if item.get_closest_marker("full"):
                item.add_marker(skip)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: too long for `make bench-ci`")


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    machine_info["itron_core"] = cpu_features()


@dataclass(frozen=True)
class Work:
    """A callable and how many items (tokens, rows, keys) one call of it does; `before` is called first, untimed."""

    call: Callable[[], object]
    items: int
    before: Callable[[], object] = tuple


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    return 9 if request.config.getoption("--scale") == "ci" else 15


@pytest.fixture
def beside(benchmark: Any, rounds: int) -> Callable[..., None]:
    """Time ours beside its peers; the first peer is the one whose ratio counts, and should be at least `at_least`.

    `rounds` are fewer where one is long.
    """

    def run(what: str, unit: str, ours: Work, *, rounds: int = rounds, at_least: float = 0.0, **peers: Work) -> None:
        times: dict[str, list[float]] = {name: [] for name in peers}

        def peers_once() -> None:
            for name, peer in peers.items():
                peer.before()
                started = time.perf_counter()
                peer.call()
                times[name].append((time.perf_counter() - started) / peer.items)
            ours.before()

        for _ in range(max(1, min(50, WARM_ITEMS // ours.items))):
            ours.before()
            ours.call()
        benchmark.pedantic(ours.call, setup=peers_once, rounds=rounds, iterations=1)
        own = [seconds / ours.items for seconds in benchmark.stats.stats.data]
        pairs = {name: list(zip(measured, own, strict=True)) for name, measured in times.items()}
        benchmark.extra_info |= {
            "what": what,
            "unit": unit,
            "at_least": at_least,
            "per_second": 1 / statistics.median(own),
            "peers_per_second": {name: 1 / statistics.median(measured) for name, measured in times.items()},
            "ratios": {name: statistics.median(theirs / ours for theirs, ours in pairs[name]) for name in pairs},
        }

    return run
