"""The docs site: `make docs` builds it into build/docs, and fails on any warning."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent / "scripts")]

import dist  # noqa: E402  # the version and the repository's address stand there

project = "itron_core"
author = copyright = "The authors of itron_core"
version = release = dist.version()
extensions = ["myst_parser", "reference_pages", "outside"]
exclude_patterns = ["_ext", "notebooks/__marimo__"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
html_theme = "furo"
html_title = f"itron_core {version}"
html_copy_source = False
html_show_sphinx = False
# Nothing is loaded from outside: a utility reads the docs behind its own doors.
html_theme_options = {
    "source_repository": dist.project()["urls"]["Repository"],
    "source_branch": "main",
    "source_directory": "docs/",
}
repository = dist.project()["urls"]["Repository"]
highlight_language = "none"
nitpicky = True
# Blocks that tests read have names of their own, such as `token`; others are shortened by `...`.
suppress_warnings = ["misc.highlighting_failure"]
