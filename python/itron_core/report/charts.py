"""The charts of a report as inline SVG, drawn at build time: the page needs no library, and every chart prints.

Every number stands in its chart as text, so that no chart depends on colours. Colours are those of the page, light or dark:
placeholders in the drawings, which `_themed` turns into the page's variables. Charts hold names of this package and counts,
never text of a file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from itron_core.enums import Decision
from itron_core.report.figures import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["decisions_chart", "readings_chart", "refusals_chart", "spans_chart"]

WIDTH: Final = 900
# Placeholders: a colour in the drawing, and the variable of the page that replaces it.
COLOURS: Final = {
    "#0a0001": "ink",
    "#0a0003": "line",
    "#0a0004": "heat",
    "#0a0005": "paper",
    "#0a0010": "allowed",
    "#0a0011": "allowed-after-open",
    "#0a0012": "refused",
    "#0a0013": "undetermined",
    "#0a0014": "on-bar",
}
INK, LINE, HEAT, PAPER = "#0a0001", "#0a0003", "#0a0004", "#0a0005"
OF_DECISION: Final = {
    "allowed": "#0a0010",
    "allowed_after_open": "#0a0011",
    "undetermined": "#0a0013",
    "refused": "#0a0012",
}
ON_BAR: Final = "#0a0014"
FONT: Final = "system-ui, sans-serif"
# Pixels of a letter: the page's font is not that of the drawing, so labels get the room of a wide one.
WIDEST_LETTER: Final = 8
# The share of the bar from which a count fits into its segment.
NARROWEST: Final = 0.06


def decisions_chart(decisions: Mapping[str, int]) -> str:
    """Return one bar: what can be done, and what cannot, with counts."""
    import altair as alt

    total = sum(decisions.values())
    cells, before = [], 0
    for name in OF_DECISION:
        count = decisions.get(name, 0)
        if count:
            label = f"{count:,}" if count >= NARROWEST * total else ""
            cells.append(
                {"name": name, "from": before, "to": before + count, "middle": before + count / 2, "label": label}
            )
            before += count
    base = alt.Chart(alt.InlineData(cells))
    scale = alt.Scale(domain=[0, max(total, 1)], nice=False)
    bar = base.mark_bar(height=54, stroke=ON_BAR, strokeWidth=2).encode(
        x=alt.X("from:Q", scale=scale, axis=None),
        x2="to:Q",
        color=alt.Color(
            "name:N",
            scale=alt.Scale(domain=list(OF_DECISION), range=list(OF_DECISION.values())),
            legend=None,
        ),
    )
    text = base.mark_text(color=ON_BAR, fontSize=20, fontWeight=700).encode(
        x=alt.X("middle:Q", scale=scale, axis=None), text="label:N"
    )
    return _svg(alt.layer(bar, text).properties(width=WIDTH, height=58), "What can be done, as one bar")


def refusals_chart(refusals: Sequence[Mapping[str, Any]]) -> str:
    """Return a heat map: reasons of rows that are not allowed, by security level, with counts."""
    order = list(dict.fromkeys(cell["reason"] for cell in refusals))
    totals = {reason: sum(cell["rows"] for cell in refusals if cell["reason"] == reason) for reason in order}
    order.sort(key=lambda reason: (-totals[reason], reason))
    levels = [level for level in LEVELS if any(cell["security_level"] == level for cell in refusals)]
    cells = [
        {"row": _words(cell["reason"]), "column": _words(cell["security_level"]), "rows": cell["rows"]}
        for cell in refusals
    ]
    reasons = [_words(reason) for reason in order]
    return _heat_map(cells, reasons, [_words(level) for level in levels], "Refusals by reason and security level")


def readings_chart(readings: Sequence[Mapping[str, Any]]) -> str:
    """Return a heat map: readings by code and assurance, with counts."""
    order = [_words(code) for code in dict.fromkeys(cell["code"] for cell in readings)]
    bits = sorted({cell["assurance"] for cell in readings if cell["assurance"] is not None})
    columns = [f"{one} bits" for one in bits]
    if any(cell["assurance"] is None for cell in readings):
        columns.append("no check")
    cells = [
        {
            "row": _words(cell["code"]),
            "column": "no check" if cell["assurance"] is None else f"{cell['assurance']} bits",
            "rows": cell["rows"],
        }
        for cell in readings
    ]
    return _heat_map(cells, order, columns, "Readings by code and assurance")


def spans_chart(spans: Mapping[str, int], label: str) -> str:
    """Return bars: how many rows end in each span of time after the stop, with counts."""
    import altair as alt

    cells = [{"span": span, "rows": count, "label": f"{count:,}"} for span, count in spans.items()]
    base = alt.Chart(alt.InlineData(cells)).encode(
        y=alt.Y(
            "span:N",
            sort=list(spans),
            title=None,
            axis=alt.Axis(
                domain=False,
                ticks=False,
                labelFontSize=14,
                labelColor=INK,
                labelPadding=8,
                labelLimit=400,
                minExtent=170,
            ),
        )
    )
    most = max([*spans.values(), 1])
    x = alt.X("rows:Q", axis=None, scale=alt.Scale(domain=[0, most * 1.25], nice=False))
    ended = next(iter(spans))
    bars = base.mark_bar(height=18, cornerRadiusEnd=2).encode(
        x=x,
        color=alt.condition(
            alt.datum.span == ended, alt.value(OF_DECISION["refused"]), alt.value(OF_DECISION["allowed"])
        ),
    )
    text = base.mark_text(align="left", dx=6, fontSize=14, color=INK).encode(x=x, text="label:N")
    return _svg(alt.layer(bars, text).properties(width=250, height=alt.Step(28)), label)


def _heat_map(cells: list[dict[str, Any]], rows: list[str], columns: list[str], label: str) -> str:
    import altair as alt

    label_width = 20 + WIDEST_LETTER * max(map(len, rows))
    shown = [cell | {"label": f"{cell['rows']:,}"} for cell in cells]
    axis: dict[str, Any] = {"domain": False, "ticks": False, "labelFontSize": 14, "labelColor": INK, "labelLimit": 400}
    base = alt.Chart(alt.InlineData(shown)).encode(
        x=alt.X(
            "column:N",
            sort=columns,
            scale=alt.Scale(domain=columns),
            title=None,
            axis=alt.Axis(orient="top", labelAngle=0, labelPadding=8, **axis),
        ),
        y=alt.Y(
            "row:N",
            sort=rows,
            scale=alt.Scale(domain=rows),
            title=None,
            axis=alt.Axis(labelPadding=10, grid=True, gridColor=LINE, zindex=0, minExtent=label_width, **axis),
        ),
    )
    # Under the squares, which are translucent: the lines of the grid would cross the counts.
    ground = base.mark_rect(fill=PAPER)
    squares = base.mark_rect(fill=HEAT, stroke=HEAT, strokeWidth=1, cornerRadius=3).encode(
        fillOpacity=alt.FillOpacity("rows:Q", scale=alt.Scale(type="sqrt", range=[0.08, 0.6], zero=True), legend=None)
    )
    text = base.mark_text(color=INK, fontSize=15, fontWeight=600).encode(text="label:N")
    step = min(150, (WIDTH - label_width) // max(len(columns), 1))
    return _svg(alt.layer(ground, squares, text).properties(width=step * len(columns), height=alt.Step(30)), label)


def _svg(chart: Any, label: str) -> str:
    """Return a chart as an inline SVG element that scales with the page and has a label."""
    import vl_convert

    configured = chart.configure(font=FONT, background="transparent", padding=2).configure_view(stroke=None)
    drawn = vl_convert.vegalite_to_svg(configured.to_dict())
    return _themed(drawn).replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def _themed(drawn: str) -> str:
    """Return a drawing in the colours of the page."""
    for colour, variable in COLOURS.items():
        drawn = drawn.replace(f'"{colour}"', f'"var(--{variable})"')
    if found := re.search(r"#0a00\d\d|style=|<script|href=", drawn):
        raise AssertionError(f"the drawing has {found[0]}, which the page would not show")
    return drawn


def _words(name: str) -> str:
    return name.replace("_", " ")


assert set(OF_DECISION) == {decision.name.lower() for decision in Decision}  # noqa: S101  # a new decision needs a colour
