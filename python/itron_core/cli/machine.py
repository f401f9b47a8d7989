"""The abilities of this machine and this installation."""

from __future__ import annotations

import importlib.util
import os
import platform
from typing import Annotated

from itron_core._rust import cpu_features
from itron_core.cli.options import JSON
from itron_core.cli.output import show


def doctor(as_json: Annotated[bool, JSON] = False) -> None:
    """Show the processor features, kernels and extras in use."""
    from itron_core import __version__

    features = cpu_features()
    rows = [
        ["itron_core", __version__],
        ["python", f"{platform.python_version()} ({platform.machine()})"],
        ["cores", str(os.cpu_count())],
        ["processor has", ", ".join(features["detected"]) or "-"],
        *([f"kernel of {operation}", kernel] for operation, kernel in features["kernels"].items()),
        *([module, _installed(module, extra)] for module, extra in (("cryptography", ""), ("pyarrow", "io"))),
    ]
    show(["what", "is"], rows, as_json=as_json)


def _installed(module: str, extra: str) -> str:
    from importlib.metadata import version

    if importlib.util.find_spec(module) is not None:
        return version(module)
    return f"not installed (pip install 'itron-core[{extra}]')" if extra else "not installed"
