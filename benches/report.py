"""From pytest-benchmark's JSON to what people read: a table, a picture, and the ratios that CI compares."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Row(NamedTuple):
    """One bench: what it did, how fast, and the ratios to its peers; the first peer's counts, and is at least `at_least`."""

    what: str
    unit: str
    per_second: float
    peers: dict[str, float]
    ratios: dict[str, float]
    at_least: float = 0.0

    @property
    def first(self) -> tuple[str, float] | None:
        """The peer that counts, and the ratio to it; None for a bench without one."""
        return next(iter(self.ratios.items()), None)


def rows_of(measured: dict[str, Any]) -> list[Row]:
    """Take the rows out of pytest-benchmark's JSON."""
    infos = [bench["extra_info"] for bench in measured["benchmarks"]]
    return [
        Row(i["what"], i["unit"], i["per_second"], i["peers_per_second"], i["ratios"], i.get("at_least", 0.0))
        for i in infos
    ]


def machine_of(measured: dict[str, Any]) -> str:
    """Name the machine in one line."""
    info = measured["machine_info"]
    cpu, kernels = info["cpu"], info["itron_core"]["kernels"]
    used = ", ".join(f"{operation}: {kernel}" for operation, kernel in kernels.items())
    return (
        f"{cpu.get('brand_raw', info['machine'])}, {cpu['count']} cores, Python {info['python_version']}, "
        f"{measured['datetime'][:10]}; kernels {used}"
    )


def kernels_of(measured: dict[str, Any]) -> str:
    """Name the set of kernels: ratios are compared only between runs of the same set."""
    return str(measured["machine_info"]["itron_core"]["kernels"]["ed25519"])


HOW_TO_READ = (
    "Rates and ratios are medians over the rounds, each for itself: a ratio may differ a little from the rates' own.\n"
)


def table_of(rows: Iterable[Row], again: Iterable[Row] = (), doubted: Iterable[str] = ()) -> str:
    """Write the rows as a Markdown table; a doubted row is followed by what its second measurement found."""
    second = {row.what: row for row in again}
    shown: list[Row] = []
    for row in rows:
        shown.append(row)
        if row.what in set(doubted) and row.what in second:
            shown.append(second[row.what]._replace(what=f"{row.what}, measured again"))
    lines = ["| what | per second | compared with (its rate) |", "|---|---:|---|"]
    for row in shown:
        peers = "; ".join(
            f"**{row.ratios[name]:.{2 if row.ratios[name] < 10 else 0}f}x** {name.replace('_', ' ')} ({short(speed)})"
            for name, speed in row.peers.items()
        )
        lines.append(f"| {row.what} | {short(row.per_second)} {row.unit} | {peers} |")
    return "\n".join(lines) + "\n"


def short(number: float) -> str:
    """Three digits and a unit: 1.23 M."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        # 999,600 is 1 M in three digits, and no 1e+03 k.
        if number >= limit * 0.9995:
            return f"{number / limit:.3g}{unit}" if number < 1000 * limit else f"{number / limit:,.0f}{unit}"
    return f"{number:.3g}"


def fallen(now: Iterable[Row], recorded: dict[str, float], share: float) -> list[str]:
    """Name the rows whose ratio to pyca is below the recorded one by more than `share`, and those that are missing."""
    measured = ratios_to_pyca(now)
    complaints = [
        f"{what}: {measured[what]:.2f}x, recorded {ratio:.2f}x"
        for what, ratio in recorded.items()
        if what in measured and measured[what] < ratio * (1 - share)
    ]
    return complaints + [f"{what}: was not measured" for what in recorded if what not in measured]


def missed(rows: Iterable[Row]) -> list[str]:
    """Name the rows whose ratio to their first peer is below what is asked of them."""
    return [
        f"{row.what}: {row.first[1]:.2f}x, asked for {row.at_least:.2f}x"
        for row in rows
        if row.first is not None and row.first[1] < row.at_least
    ]


def ratios_to_pyca(rows: Iterable[Row]) -> dict[str, float]:
    return {row.what: row.ratios["pyca"] for row in rows if "pyca" in row.ratios}


# --- The picture ---

WIDTH, LABEL, BAR, GAP = 860, 380, 18, 8
FONT = 'font-family="sans-serif" font-size="12"'
BLUE, GREY, INK = "#2f6f9f", "#b9c3cb", "#22303a"


def picture_of(rows: list[Row], title: str) -> str:
    """Draw the ratios to the first peer as bars on a logarithmic scale (SVG, no script, no font of its own)."""
    shown = [(row.what, *row.first) for row in rows if row.first is not None and row.first[1] > 0]
    top = max(10.0, *(ratio for _, _, ratio in shown))
    height = 70 + len(shown) * (BAR + GAP)
    decades = range(math.ceil(math.log10(top)) + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {FONT} fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="10" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for decade in decades:
        x = _x(10.0**decade, top)
        parts.append(f'<line x1="{x:.1f}" y1="36" x2="{x:.1f}" y2="{height - 22}" stroke="{GREY}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle">{10**decade:,}x</text>')
    for number, (what, peer, ratio) in enumerate(shown):
        y = 40 + number * (BAR + GAP)
        right = _x(max(ratio, 1.0), top)
        parts.append(f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(what)}</text>')
        parts.append(
            f'<rect x="{LABEL}" y="{y}" width="{max(right - LABEL, 1):.1f}" height="{BAR}" rx="2" fill="{BLUE}"/>'
        )
        parts.append(f'<text x="{right + 5:.1f}" y="{y + 13}">{ratio:.3g}x {escape(peer.replace("_", " "))}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(ratio: float, top: float) -> float:
    room = WIDTH - LABEL - 150
    return LABEL + room * math.log10(ratio) / math.ceil(math.log10(top))
