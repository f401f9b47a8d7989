"""Print the complete policy table for the default options: `python scripts/golden_policy.py > tests/golden/policy.csv`."""

import csv
import sys
from collections.abc import Iterator

from itron_core.enums import Need
from itron_core.policy import entries

HEADER = ["device_class", "mode", "security_level", "action", "needs", "reason"]


def rows() -> Iterator[list[str]]:
    """Yield the 864 rows in the order of the table, names in lower case, needs joined by `|`."""
    for *names, needs, reason in entries():
        held = "|".join(need.name.lower() for need in Need if need & needs)
        yield [*(name.name.lower() for name in names), held, reason.name.lower()]


if __name__ == "__main__":
    csv.writer(sys.stdout, lineterminator="\n").writerows([HEADER, *rows()])
