"""The arrows of ARCHITECTURE.md, held where no compiler holds them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rust_arrows import arrows, circle, upward

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "python" / "itron_core"
TOP = sorted(path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.joinpath("__init__.py").exists())
TOP.remove("__init__")
# Every module, by the name that imports it.
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py"
)
CORE = ROOT / "rust" / "core" / "src"
BOUNDARY = ROOT / "rust" / "py" / "src"


def test_the_page_prints_the_contract_that_the_linter_checks():
    """`make check` runs import-linter; ARCHITECTURE.md shows its layers word for word."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = settings["contracts"]
    page = (ROOT / "ARCHITECTURE.md").read_text()
    assert "```\n" + "\n".join(contract["layers"]) + "\n```" in page


def test_every_module_stands_in_a_layer():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = {name.strip() for layer in settings["contracts"][0]["layers"] for name in layer.split("|")}
    assert layers == {name for name in TOP if not name.startswith("__")}


@pytest.mark.slow
def test_the_package_imports_only_down_its_layers():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_top_level_stays_small():
    assert len(TOP) <= 30


@pytest.mark.slow
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
        allowed = path.is_relative_to(ROOT / "rust" / "kernels") or path.is_relative_to(BOUNDARY / "columns")
        assert allowed or not re.search(r"\bunsafe\s*(\{|fn|impl|extern)", code_of(path)), path
    assert "#![forbid(unsafe_code)]" in (CORE / "lib.rs").read_text()


def rust_layers() -> dict[str, list[str]]:
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["metadata"]["layers"]


def test_the_page_prints_the_layers_of_rust():
    """Cargo.toml has them; ARCHITECTURE.md shows them word for word."""
    page = (ROOT / "ARCHITECTURE.md").read_text()
    for crate, layers in rust_layers().items():
        assert f"```\n{crate}:\n" + "\n".join(layers) + "\n```" in page


@pytest.mark.parametrize("crate", rust_layers())
def test_rust_modules_name_only_lower_layers(crate):
    layers, source = rust_layers()[crate], ROOT / "rust" / crate / "src"
    names = {path.stem if path.is_file() else path.name for path in source.iterdir()} - {"lib"}
    assert {name.strip() for layer in layers for name in layer.split("|")} == names
    assert upward(arrows(source), layers) == []


@pytest.mark.slow
@pytest.mark.parametrize("crate", ["kernels", "core", "py"])
def test_rust_modules_do_not_name_each_other_in_circles(crate):
    assert circle(arrows(ROOT / "rust" / crate / "src")) == []


@pytest.mark.parametrize(
    "line",
    [
        "use crate::token::{self, keyring::{Entry, Keyring}};",
        "use crate::{\n    code::Code,\n    token::keyring::Keyring,\n};",
        "use super::super::token::keyring;",
        "fn of(keyring: &crate::token::keyring::Keyring) {}",
    ],
)
def test_an_upward_arrow_in_rust_is_found(tmp_path, line):
    for name, text in {
        "format/cbor": line,
        "token/mod": "",
        "token/keyring": "use crate::format::cbor;",
        "code": "",
    }.items():
        path = tmp_path / f"{name}.rs"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    found = arrows(tmp_path)
    assert {text.split(" names ")[0] for text in upward(found, ["token", "format", "code"])} == {"format::cbor"}
    assert {"format::cbor", "token::keyring"} <= set(circle(found))


def test_the_crates_of_ours_check_themselves_in_the_rust_tests():
    """`_rust` has no Rust tests; what is shared under another name has a manifest of its own."""
    settings = tomllib.loads((ROOT / "Cargo.toml").read_text())
    folders = [*settings["workspace"]["members"], *settings["workspace"]["exclude"]]
    manifests = [tomllib.loads((ROOT / folder / "Cargo.toml").read_text()) for folder in folders]
    tested = {one["package"]["name"] for one in manifests} - {"itron-core-py"}
    profiles = settings["profile"]["test"]["package"]
    assert tested <= profiles.keys()
    assert all(profiles[name]["debug-assertions"] and profiles[name]["overflow-checks"] for name in tested)


def test_the_memcheck_crate_is_compiled_as_the_extension_is():
    ours, theirs = (tomllib.loads((ROOT / path).read_text()) for path in ("Cargo.toml", "tests/memcheck/Cargo.toml"))
    assert theirs["profile"] == {"dev": ours["profile"]["dev"]}


def test_the_boundary_names_each_thing_once():
    for path in rust_files(BOUNDARY):
        code = code_of(path)
        if not path.is_relative_to(BOUNDARY / "columns"):
            assert "arrow_array" not in code, path
            assert "__arrow_c_" not in code or "#[pymethods]" in code, path
        if path.name != "errors.rs":
            assert "create_exception!" not in code, path


def test_only_the_command_line_reads_the_clock():
    clock = re.compile(r"\b(?:time\.time(?:_ns)?|datetime\.(?:now|utcnow|today)|date\.today)\(")
    readers = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py") if clock.search(path.read_text())}
    assert readers == {"cli"}
