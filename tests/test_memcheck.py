"""No branch and no address depends on a secret byte: memcheck is told to take a master key for undefined, and complains of none."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "target" / "debug" / "itron-core-memcheck"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="valgrind is spoken to as x86-64 speaks"),
    pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed"),
    pytest.mark.skipif(not shutil.which("cargo"), reason="cargo is not installed"),
]


@pytest.fixture(scope="module")
def run():
    # Beside the extension: its crates are compiled already, with the same settings.
    command = ["cargo", "build", "--locked", "--quiet", "--manifest-path", "tests/memcheck/Cargo.toml"]
    subprocess.run([*command, "--target-dir", "target"], cwd=ROOT, check=True)

    def under_memcheck(what, kernels="auto"):
        return subprocess.run(
            ["valgrind", "--quiet", "--error-exitcode=9", PROGRAM, what],
            env={**os.environ, "ITRON_CORE_KERNELS": kernels},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return under_memcheck


@pytest.mark.parametrize("kernels", ["auto", "portable"])
@pytest.mark.parametrize("what,said", [("derive", "derived\n"), ("compare", "compared\n"), ("read", "read\n")])
def test_nothing_depends_on_a_secret(run, what, said, kernels):
    done = run(what, kernels)
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_a_leak_would_be_seen(run):
    done = run("leak")
    assert done.returncode == 9
    assert "uninitialised" in done.stderr
