"""Links of a page to files outside docs/ lead to the repository."""

import re
from os.path import relpath
from pathlib import Path

LINK = re.compile(r"\]\((\.\./[^)#]+)(#[^)]*)?\)")


def absolute(app, name, source):
    """Replace relative links that leave docs/; raise for those to files that do not exist."""
    docs = Path(app.srcdir)

    def link(found):
        path = (docs / name).parent / found[1]
        if path.resolve().is_relative_to(docs.resolve()):
            return found[0]
        if not path.exists():
            raise FileNotFoundError(f"docs/{name}: {found[1]} does not exist")
        return f"]({app.config.repository}/blob/main/{relpath(path, docs.parent)}{found[2] or ''})"

    source[0] = LINK.sub(link, source[0])


def setup(app):
    """Register with Sphinx."""
    app.add_config_value("repository", "", "html")
    app.connect("source-read", absolute)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
