"""Import the package here and in a second interpreter of this process, and print what the second import raises."""

import sys
from importlib import import_module

import itron_core

CODE = f"""
import sys
sys.path[:] = {sys.path!r}
try:
    import itron_core
    print("imported", flush=True)
except ImportError as error:
    print("ImportError", error, flush=True)
"""

if __name__ == "__main__":
    assert itron_core.cpu_features()
    try:
        interpreters = import_module("_xxsubinterpreters")
    except ImportError:
        sys.exit(77)
    interpreters.run_string(interpreters.create(isolated=False), CODE)
