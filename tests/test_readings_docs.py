"""docs/readings.md is true: its example runs as printed, and its tables have every code and protection."""

import contextlib
import io
import re
from pathlib import Path

from itron_core import Protection, ReadingCode

PAGE = (Path(__file__).parents[1] / "docs" / "readings.md").read_text()


def section(title):
    return PAGE[PAGE.index(f"## {title}") :].split("\n## ")[0]


def test_the_first_telegram_prints_the_page_s_output():
    program, shown = re.search(r"```python\n(.*?)```\n\n```output\n(.*?)```", PAGE, re.DOTALL).groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(program, {})  # the page's own program
    assert printed.getvalue() == shown


def test_the_page_lists_every_code_by_number_and_name():
    listed = {
        (int(number), name) for number, name in re.findall(r"^\| (\d+) \| (\w+) \|", section("Codes"), re.MULTILINE)
    }
    assert listed == {(int(code), code.name.lower()) for code in ReadingCode}


def test_the_page_lists_what_each_protection_proves():
    rows = [row.split("|") for row in section("What each protection proves").splitlines() if row.startswith("| ")][1:]
    numbers = [int(number) for row in rows for number in row[2].split(",")]
    names = [name.split(" ")[0] for row in rows for name in re.findall(r"\w+(?: \([^)]*\))?", row[1])]
    assert numbers == [int(protection) for protection in Protection]
    assert names == [protection.name.lower() for protection in Protection]


def test_the_figure_of_wrong_keys_is_that_of_16_bits():
    assert "about 153" in PAGE
    assert round(10_000_000 / 2**16) == 153
