"""Print what the development environment is made of: the requirements of the project and of its extras, but not of Spark.

With `--tools`, print those of the tools for docs and releases instead. Spark is 400 MB: constraints-spark.txt has it.
"""

import sys
import tomllib
from pathlib import Path

settings = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
project = settings["project"]
extras = [needed for extra, needed in project["optional-dependencies"].items() if extra != "spark"]
tools = [name for group in settings["dependency-groups"].values() for name in group]
print("\n".join(tools if sys.argv[1:] == ["--tools"] else [*project["dependencies"], *(n for e in extras for n in e)]))
