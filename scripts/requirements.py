"""Print what the development environment is made of: the requirements of the project and of its extras, but not of Spark.

With `--tools`, print those of the tools for docs and releases instead; with `--engines`, those of Spark and Daft, which are
650 MB. Each has a file of its own: constraints-tools.txt, constraints-engines.txt.
"""

import sys
import tomllib
from pathlib import Path

settings = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
project, groups = settings["project"], settings["dependency-groups"]
extras = project["optional-dependencies"]
spark = extras.pop("spark")
asked = {
    "--tools": [*groups["dist"], *groups["docs"]],
    "--engines": [*spark, *groups["engines"]],
    "": [*project["dependencies"], *(name for extra in extras.values() for name in extra)],
}
print("\n".join(asked["".join(sys.argv[1:])]))
