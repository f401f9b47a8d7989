"""docs/files.md lists the columns that the commands take, and every name and number; ITRON_CORE_TRANSCRIPTS=write renews."""

import os
import re
from pathlib import Path

import pytest

from itron_core import enums
from itron_core.cli import columns
from itron_core.cli.columns import Kind

PAGE = Path(__file__).parents[2] / "docs" / "files.md"
ENUMERATIONS = ["DeviceClass", "Mode", "SecurityLevel", "Action", "Permission", "Decision", "Need", "Reason"]
TABLES = {
    "Of a route": columns.ROUTE_COLUMNS,
    "Of a request for tokens": columns.REQUEST_COLUMNS,
    "Of devices": columns.DEVICE_COLUMNS,
    "Of what is requested": columns.WANTED_COLUMNS,
}
HOLDS = {
    columns.TEXT: "text",
    columns.INTEGERS: "whole number",
    columns.FLAG: "yes or no",
    columns.TIME: "time",
    columns.DEVICE_ID: "device id",
    columns.BYTES: "bytes",
    columns.TOKEN: "token",
    columns.ACTIONS: "Action, several",
    columns.PERMISSIONS: "Permission, several",
}


def section(title: str) -> str:
    return re.search(rf"^### {title}\n(.*?)(?=^##|\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)[1]


def holds(name: str, kind: Kind) -> str:
    named = {"device_class": "DeviceClass", "mode": "Mode", "security_level": "SecurityLevel", "action": "Action"}
    return HOLDS[kind] if kind in HOLDS else named[name]


def rows_of(enumeration) -> str:
    return "".join(f"| {member.value} | {member.name.lower()} |\n" for member in enumeration)


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_the_page_lists_every_name_and_number(name):
    wanted = "| number | name |\n|---:|---|\n" + rows_of(getattr(enums, name))
    if os.environ.get("ITRON_CORE_TRANSCRIPTS") == "write":
        old = re.search(r"\| number \| name \|\n(?:\|.*\n)+", section(name))[0]
        heading, rest = PAGE.read_text().split(f"### {name}\n", 1)
        PAGE.write_text(heading + f"### {name}\n" + rest.replace(old, wanted, 1))
    assert section(name).endswith((wanted, wanted + "\n"))


@pytest.mark.parametrize("title", TABLES)
def test_the_page_lists_every_column_and_its_values(title):
    rows = re.findall(r"^\| (\w+) \| ([\w, ]+) \| [^|]+ \|$", section(title), re.MULTILINE)[1:]
    assert rows == [(name, holds(name, kind)) for name, kind in TABLES[title].items()]
