"""Print what the development environment is made of: the requirements of the project and of all its extras."""

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"].values()
print("\n".join([*project["dependencies"], *(name for extra in extras for name in extra)]))
