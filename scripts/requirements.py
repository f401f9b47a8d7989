"""Print what the development environment is made of: the requirements of the project and of all its extras.

With `--tools`, print those of the tools for docs and releases instead.
"""

import sys
import tomllib
from pathlib import Path

settings = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
project = settings["project"]
extras = project["optional-dependencies"].values()
tools = [name for group in settings["dependency-groups"].values() for name in group]
print("\n".join(tools if sys.argv[1:] == ["--tools"] else [*project["dependencies"], *(n for e in extras for n in e)]))
