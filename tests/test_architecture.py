"""The arrows of ARCHITECTURE.md, held where no compiler holds them."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "python" / "itron_core"
MODULES = sorted(
    path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.joinpath("__init__.py").exists()
)
MODULES.remove("__init__")
CORE = ROOT / "rust" / "core" / "src"
BOUNDARY = ROOT / "rust" / "py" / "src"

# What a module may import of the package; what is not listed may import nothing of it.
ARROWS = {
    "audit": {"_rust", "arguments", "errors", "issuing"},
    "authority": {"_rust", "arguments", "audit", "errors", "issuing", "journal", "store"},
    "cli": {
        *(
            "_files",
            "_rust",
            "audit",
            "bearers",
            "device",
            "errors",
            "explain",
            "field_tool",
            "issuing",
            "levels",
            "manager",
        ),
        *("material", "policy", "routes", "store", "testing", "tokens", "tools_server"),
        *("remote", "service"),
    }
    | {"__init__"},
    "arguments": {"errors"},
    "bearers": {"_rust", "errors", "issuing"},
    "confirmations": {
        *("audit", "errors", "journal", "levels", "lots", "material", "requests", "store", "tools_server"),
    },
    "eligibility": {"errors", "levels", "material", "policy"},
    "errors": {"levels"},
    "field_tool": {"_rust", "arguments", "audit", "device", "errors", "intake", "journal", "levels", "material"}
    | {"policy"}
    | {"routes", "store", "tools_server"},
    "hsm": {"_rust", "errors", "levels", "material"},
    "intake": {"_rust", "arguments", "errors", "levels", "material"},
    "issuance": {
        *("_rust", "audit", "eligibility", "errors", "issuing", "journal", "levels", "lots", "material"),
        *("requests", "store"),
    },
    "journal": {"audit", "packed", "store"},
    "ledger": {"levels", "store"},
    "lots": {"packed", "store"},
    "manager": {
        *(
            "_rust",
            "arguments",
            "audit",
            "authority",
            "confirmations",
            "eligibility",
            "errors",
            "issuance",
            "issuing",
            "journal",
        ),
        *("levels", "lots", "material", "requests", "store", "tools_server"),
    },
    "material": {"arguments", "errors", "levels"},
    "requests": {"eligibility", "errors", "levels", "lots", "store"},
    "remote": {"errors", "material", "tools_server", "wire"},
    "service": {"_rust", "bearers", "errors", "intake", "levels", "material", "tools_server", "wire"},
    "wire": {"errors", "material", "tools_server"},
    "postgres": {"errors", "store"},
    "store": {"errors", "postgres"},
    "tools_server": {
        "_rust",
        "arguments",
        "audit",
        "errors",
        "intake",
        "journal",
        "ledger",
        "levels",
        "material",
        "policy",
        "store",
    },
    "device": {"_rust", "errors", "levels", "material", "policy"},
    "explain": {"levels", "policy"},
    "issuing": {"_rust", "errors"},
    "packed": {"errors"},
    "policy": {"errors", "levels"},
    "routes": {"_rust", "errors", "explain", "levels", "policy", "tokens"},
    "testing": {"_rust", "errors", "issuing", "levels", "policy"},
    "tokens": {"_rust", "errors"},
}


def files_of(module: str) -> list[Path]:
    """Return the files of a module: one, or those of its folder."""
    return sorted((PACKAGE / module).glob("*.py")) or [PACKAGE / f"{module}.py"]


def imports_of(module: str) -> set[str]:
    """Return the modules of the package that a module imports anywhere; `__init__` for the public names."""
    found = set()
    for node in [node for path in files_of(module) for node in ast.walk(ast.parse(path.read_text()))]:
        if isinstance(node, ast.ImportFrom) and node.module == "itron_core":
            found |= {alias.name if alias.name in {*MODULES, "_rust"} else "__init__" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("itron_core."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("itron_core.")}
    return found - {module}


@pytest.mark.parametrize("module", MODULES)
def test_python_arrows_point_right(module):
    assert imports_of(module) <= ARROWS.get(module, set())


@pytest.mark.parametrize("module", MODULES)
def test_each_module_imports_alone(module):
    subprocess.run([sys.executable, "-c", f"import itron_core.{module}"], check=True)


def rust_files(folder: Path) -> list[Path]:
    files = sorted(folder.rglob("*.rs"))
    assert files, f"no Rust below {folder}"
    return files


def code_of(path: Path) -> str:
    """Return a Rust file without its comments."""
    return re.sub(r"//[^\n]*", "", path.read_text())


def test_unsafe_stays_in_its_two_places():
    for path in rust_files(ROOT / "rust"):
        allowed = path.is_relative_to(ROOT / "rust" / "kernels") or path.is_relative_to(BOUNDARY / "arrow")
        assert allowed or not re.search(r"\bunsafe\s*(\{|fn|impl|extern)", code_of(path)), path
    assert "#![forbid(unsafe_code)]" in (CORE / "lib.rs").read_text()


@pytest.mark.parametrize(
    "layer,forbidden",
    [("format", "crypto|token|route"), ("crypto", "format|token|route"), ("token", "route")],
)
def test_layers_of_core_point_one_way(layer, forbidden):
    for path in rust_files(CORE / layer):
        assert not re.search(rf"\b(?:crate|super)::(?:{forbidden})\b", code_of(path)), path


def test_the_boundary_names_each_thing_once():
    for path in rust_files(BOUNDARY):
        code = code_of(path)
        if not path.is_relative_to(BOUNDARY / "arrow"):
            assert "arrow_array" not in code, path
            assert "__arrow_c_" not in code or "#[pymethods]" in code, path
        if path.name != "errors.rs":
            assert "create_exception!" not in code, path


def test_only_the_command_line_reads_the_clock():
    clock = re.compile(r"\b(?:time\.time(?:_ns)?|datetime\.(?:now|utcnow|today)|date\.today)\(")
    readers = {module for module in MODULES if any(clock.search(path.read_text()) for path in files_of(module))}
    assert readers == {"cli"}
