"""How everything here is measured: ours and its peers in turn, round by round, in one process.

A bench hands `beside` one callable of ours and its peers. Each round times every peer once, then ours once; what is
reported is the median of each and the ratio of the medians, so that a slow minute of the machine slows both.
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
    """A callable and how many items (tokens, rows, keys) one call of it does."""

    call: Callable[[], object]
    items: int


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    return 7 if request.config.getoption("--scale") == "ci" else 15


@pytest.fixture
def beside(benchmark: Any, rounds: int) -> Callable[..., None]:
    """Time ours beside its peers; the first peer is the one whose ratio counts."""

    def run(what: str, unit: str, ours: Work, **peers: Work) -> None:
        times: dict[str, list[float]] = {name: [] for name in peers}

        def peers_once() -> None:
            for name, peer in peers.items():
                started = time.perf_counter()
                peer.call()
                times[name].append((time.perf_counter() - started) / peer.items)

        ours.call()
        benchmark.pedantic(ours.call, setup=peers_once, rounds=rounds, iterations=1)
        seconds = statistics.median(benchmark.stats.stats.data) / ours.items
        medians = {name: statistics.median(measured) for name, measured in times.items()}
        benchmark.extra_info |= {
            "what": what,
            "unit": unit,
            "per_second": 1 / seconds,
            "peers_per_second": {name: 1 / median for name, median in medians.items()},
            "ratios": {name: median / seconds for name, median in medians.items()},
        }

    return run
