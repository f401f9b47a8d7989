"""Rust's numbers and names of the enumerations are Python's."""

import re
from itertools import product
from pathlib import Path

import pytest

from itron_core import Action, Code, Decision, DeviceClass, Keyring, Mode, SecurityLevel, policy_table, process_route

CODE_RS = Path(__file__).parents[1] / "rust" / "core" / "src" / "code.rs"
ROW = {"device": "ert:1", "device_class": "basic", "security_level": "command", "mode": "mobile", "action": "geomode"}
ENUMERATIONS = {"device_class": DeviceClass, "mode": Mode, "security_level": SecurityLevel, "action": Action}


def decide(**given):
    """Return the row that `process_route` answers for one readable row with `given` in it."""
    route = {name: [value] for name, value in (ROW | given).items()}
    results = process_route(route, Keyring([]), now=1_795_000_000, permissions=31)
    return {name: values[0] for name, values in results.to_pydict().items()}


def test_the_codes_of_rust_are_those_of_python():
    """Every code has one number and one name on both sides."""
    in_rust = re.findall(r'^ +\w+ = (\d+) "(\w+)",$', CODE_RS.read_text(), re.MULTILINE)
    assert {(int(number), name) for number, name in in_rust} == {(int(code), code.name.lower()) for code in Code}


def test_the_policy_table_counts_as_the_enumerations_do():
    """The extension's names stand in the order of Python's members."""
    columns = policy_table().to_pydict()
    names = [columns[name] for name in ("device_class", "mode", "security_level", "action")]
    members = product(DeviceClass, Mode, SecurityLevel, Action)
    assert list(zip(*names, strict=True)) == [tuple(member.name.lower() for member in row) for row in members]


@pytest.mark.parametrize(
    "column, member", [(column, member) for column, members in ENUMERATIONS.items() for member in members]
)
def test_a_name_in_any_case_is_its_number(column, member):
    """A row says the same by the member, its number, and its name however it is written."""
    by_number = decide(**{column: int(member)})
    assert by_number["reason"] != 1005
    for name in (member.name, member.name.lower(), member.name.title().replace("_", "-")):
        assert decide(**{column: name}) == by_number


@pytest.mark.parametrize("column", ENUMERATIONS)
@pytest.mark.parametrize("value", ["", "x", "basic ", 7, -1, 255, 2**40])
def test_another_name_or_number_is_an_unreadable_row(column, value):
    """What no member is called makes the row unreadable, and nothing else."""
    if (column, value) == ("action", 7):
        value = 5  # a bit without an action
    row = decide(**{column: value})
    assert (row["decision"], row["reason"], row["missing"]) == (Decision.REFUSED, 1005, 0)
