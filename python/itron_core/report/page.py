"""The page of a report: one HTML file without a link to anything outside, which prints well.

Its script and style are those of this package, named by hash in a Content-Security-Policy: nothing else can run or load, whatever
a file of a route holds. Values reach the page escaped, or as JSON that the script shows as text.
"""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from itron_core._printable import printable
from itron_core.enums import Code, Reason
from itron_core.explain import because
from itron_core.report.charts import decisions_chart, readings_chart, refusals_chart, spans_chart
from itron_core.report.figures import planned_range
from itron_core.report.rows import DEVICE, LONGEST_TEXT, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo

    from itron_core.report.rows import Rows

__all__ = ["page_of"]

# What a decision is called on the page, and the sign that tells it without a colour.
DECISIONS: Final = {
    "allowed": ("Can be done", "\N{CHECK MARK}"),
    "allowed_after_open": ("After opening a session", "\N{BLACK RIGHT-POINTING TRIANGLE}"),
    "undetermined": ("Ask the device first", "?"),
    "refused": ("Cannot be done", "\N{MULTIPLICATION X}"),
}
# Safe inside a script element: no markup can begin or end it.
IN_SCRIPT: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def page_of(figures: dict[str, Any], rows: Rows, zone: tzinfo | None) -> str:
    """Return the page of a report."""
    style, script = _asset("page.css"), _asset("page.js")
    policy = f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; base-uri 'none'; form-action 'none'"
    shown = datetime.fromtimestamp(rows.at, zone or UTC)
    sections = [
        _decisions(figures),
        _refusals(figures),
        _spans(figures),
        _readings(figures.get("readings")),
        _requests(figures),
        _table(rows),
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{_text(figures['title'])}: route report</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            f"<header><h1>{_text(figures['title'])}</h1>",
            f'<p class="when">{_counted(figures["rows"], "stop")}, decided for {shown:%A, %d %B %Y, %H:%M} ({_zone(shown)}){_range(rows, zone)}.</p></header>',
            "<main>",
            *(section for section in sections if section),
            "</main>",
            "<footer>Made by itron_core. Nothing was sent to a device, and nothing was used up. This page loads nothing from outside.</footer>",
            f'<script type="application/json" id="data">{_data(rows, shown)}</script>',
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _asset(name: str) -> str:
    return (files("itron_core.report") / name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def _text(value: object) -> str:
    return escape(printable(str(value), LONGEST_TEXT))


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _zone(moment: datetime) -> str:
    return escape(moment.tzname() or f"{moment:%z}")


def _range(rows: Rows, zone: tzinfo | None) -> str:
    if not rows.planned:
        return ""
    first, last = (datetime.fromtimestamp(one, zone or UTC) for one in planned_range(rows))
    return f"; planned from {first:%d %B %Y %H:%M} to {last:%d %B %Y %H:%M}"


def _figure(title: str, *content: str) -> str:
    return f'<section class="figure"><h2>{title}</h2>{"".join(content)}</section>'


def _numbers(titles: Sequence[str], cells: Iterable[Sequence[object]], *, shut: bool = True) -> str:
    """Return a table of names and counts; the last column is a number."""
    *names, number = titles
    head = "".join(f"<th>{title}</th>" for title in names) + f'<th class="number">{number}</th>'
    body = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row[:-1]) + f'<td class="number">{row[-1]:,}</td></tr>'
        for row in cells
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<details class="numbers"><summary>The same as a table</summary>{table}</details>' if shut else table


def _decisions(figures: dict[str, Any]) -> str:
    total = max(figures["rows"], 1)
    tiles = "".join(
        f'<li class="{name}"><span class="share">{_share(figures["decisions"][name], total)}</span>'
        f"<b>{figures['decisions'][name]:,}</b>"
        f'<span class="sign" aria-hidden="true">{sign}</span>{label}</li>'
        for name, (label, sign) in DECISIONS.items()
    )
    return _figure("What can be done", decisions_chart(figures["decisions"]), f'<ul class="tiles">{tiles}</ul>')


def _share(count: int, total: int) -> str:
    share = 100 * count / total
    return f"{share:.0f} %" if share >= 1 or not count else "&lt; 1 %"


def _refusals(figures: dict[str, Any]) -> str:
    refusals = figures["refusals"]
    title = "Why not: reasons by security level"
    if not refusals:
        return _figure(title, f"<p>{'Every row is allowed' if figures['rows'] else 'The route has no rows'}.</p>")
    totals: dict[str, int] = {}
    for cell in refusals:
        totals[cell["reason"]] = totals.get(cell["reason"], 0) + cell["rows"]
    reasons = sorted(totals.items(), key=lambda one: (-one[1], one[0]))
    sentences = [(f"<code>{reason}</code>", escape(_sentence(reason)), count) for reason, count in reasons]
    return _figure(
        title,
        refusals_chart(refusals),
        _numbers(
            ("reason", "level", "rows"),
            ((f"<code>{cell['reason']}</code>", _words(cell["security_level"]), cell["rows"]) for cell in refusals),
        ),
        "<h3>What the reasons mean</h3>",
        _numbers(("reason", "meaning", "rows"), sentences, shut=False),
    )


def _sentence(reason: str) -> str:
    enumeration = Reason if reason.upper() in Reason.__members__ else Code
    return because(int(enumeration[reason.upper()]))


def _requests(figures: dict[str, Any]) -> str:
    requests = figures["requests"]
    title = "What to request"
    if not requests:
        return _figure(title, "<p>Nothing is missing that could be requested.</p>")
    total = sum(one["rows"] for one in requests)
    return _figure(
        title,
        f"<p>Missing: {_counted(total, 'piece')} of material. The list has one line per piece, as "
        "<code>itron-core field request --file</code> reads it.</p>",
        '<p><button type="button" id="download">Download requests.csv</button></p>',
        _numbers(
            ("material", "action", "devices"),
            ((_words(one["token_type"]), f"<code>{one['action']}</code>", one["rows"]) for one in requests),
            shut=False,
        ),
    )


def _spans(figures: dict[str, Any]) -> str:
    parts = []
    for name, label, none in (
        ("session_left", "Open sessions", "No session is open."),
        ("material_left", "Material, by the token that ends first", "No valid token is held."),
    ):
        spans = figures[name]
        drawn = spans_chart(spans, label) if any(spans.values()) else f"<p>{none}</p>"
        parts.append(f"<div><h3>{label}</h3>{drawn}</div>")
    return _figure("Time left at the stop", f'<div class="two">{"".join(parts)}</div>')


def _readings(readings: list[dict[str, Any]] | None) -> str:
    if readings is None:
        return ""
    if not readings:
        return _figure("Readings", "<p>No readings.</p>")
    cells = (
        (f"<code>{one['code']}</code>", "" if one["assurance"] is None else f"{one['assurance']} bits", one["rows"])
        for one in readings
    )
    return _figure(
        "Readings by code and assurance",
        readings_chart(readings),
        _numbers(("code", "assurance", "readings"), cells),
    )


def _table(rows: Rows) -> str:
    planned = [("planned", "stop")] if rows.planned else []
    headers = [
        ("row", "row"),
        *planned,
        ("device", "device"),
        ("action", "action"),
        ("decision", "decision"),
        ("reason", "reason"),
        ("missing", "missing"),
        ("security_level", "class, level, mode"),
        ("session", "session left"),
        ("material", "material left"),
    ]
    numbers = {"row", "planned", "session", "material"}
    head = "".join(
        f'<th data-column="{column}"{" class=number" if column in numbers else ""}><button type="button">{label}</button></th>'
        for column, label in headers
    )
    reasons = sorted({kind.reason for kind in rows.kinds} - {"ok"})
    return (
        "<section><h2>Every stop</h2><noscript><p>The table needs JavaScript; everything above does not.</p></noscript>"
        '<div class="controls">'
        '<label>Device, action, reason ...<input id="text" type="search" autocomplete="off" spellcheck="false"></label>'
        f"<label>Decision{_select('decision', DECISIONS)}</label>"
        f"<label>Reason{_select('reason', reasons)}</label></div>"
        f'<div class="scroll"><table id="rows"><thead><tr>{head}<th></th></tr></thead><tbody></tbody></table></div>'
        '<div class="pages"><button type="button" id="previous">Previous</button>'
        '<button type="button" id="next">Next</button><span id="shown" role="status"></span></div></section>'
    )


def _select(name: str, options: Iterable[str]) -> str:
    listed = "".join(f'<option value="{one}">{_words(one)}</option>' for one in options)
    return f'<select id="{name}"><option value="">all</option>{listed}</select>'


def _data(rows: Rows, shown: datetime) -> str:
    """Return the rows as JSON that is safe inside a script element."""
    types = sorted({token_type for _, token_type, _ in rows.requests})
    actions = sorted({action for _, _, action in rows.requests})
    offset = shown.utcoffset()
    data = {
        "columns": Kind._fields,
        "kinds": rows.kinds,
        "kind": rows.kind,
        "device": rows.device,
        "session": rows.session_left,
        "material": rows.material_left,
        "planned": rows.planned,
        "offset": 0 if offset is None else int(offset.total_seconds()),
        "placeholder": DEVICE,
        "signs": {name: sign for name, (_, sign) in DECISIONS.items()},
        "types": types,
        "actions": actions,
        "requests": [
            (device, types.index(token_type), actions.index(action)) for device, token_type, action in rows.requests
        ],
    }
    return json.dumps(data, separators=(",", ":")).translate(IN_SCRIPT)
