"""OpenTelemetry metrics of bulk calls: tokens by code, decisions by reason, durations (extra `metrics`).

An attribute is a name of this project or of the caller, never a device id, a token or a user: the number of series stays small,
and nothing of a batch leaves the process.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

from itron_core.enums import DEVICE_TOKEN_TYPES, Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Meter

__all__ = ["CallMetrics"]

R = TypeVar("R")


class CallMetrics:
    """Instruments of bulk calls, on the given meter or on that of the global provider.

    Counters `itron_core.tokens` (by `code`), `itron_core.decisions` (by `decision`) and `itron_core.reasons` (by `reason`), and
    the histogram `itron_core.call.duration` in seconds; each has the attribute `call`, the name that `measure` got.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        if meter is None:
            from opentelemetry.metrics import get_meter

            meter = get_meter("itron_core")
        self._tokens = meter.create_counter("itron_core.tokens", unit="{token}", description="Verified tokens by code")
        self._decisions = meter.create_counter("itron_core.decisions", unit="{row}", description="Decided rows")
        self._reasons = meter.create_counter("itron_core.reasons", unit="{row}", description="Decided rows by reason")
        self._duration = meter.create_histogram("itron_core.call.duration", unit="s", description="Bulk calls")

    def measure(self, name: str, call: Callable[[], R]) -> R:
        """Return `call()`, and record its duration and the codes of its results; a raised error by its type alone."""
        started = time.perf_counter()
        try:
            found = call()
        except Exception as error:
            self._duration.record(time.perf_counter() - started, {"call": name, "error.type": type(error).__name__})
            raise
        self._duration.record(time.perf_counter() - started, {"call": name})
        self._count(name, found)
        return found

    def _count(self, name: str, found: Any) -> None:
        names = getattr(found, "column_names", ())
        if "decision" in names:
            summary = found.summary()
            for what, counter in (("decision", self._decisions), ("reason", self._reasons)):
                for value, count in summary[what].items():
                    counter.add(count, {"call": name, what: value})
            for token_type in DEVICE_TOKEN_TYPES:
                codes = Counter(found[f"{token_type}_code"])
                del codes[None]  # no token was given
                for code, count in codes.items():
                    self._tokens.add(count, {"call": name, "code": Code(code).name.lower(), "token_type": token_type})
        elif "code" in names:
            for code_name, count in found.summary()["code"].items():
                self._tokens.add(count, {"call": name, "code": code_name})
