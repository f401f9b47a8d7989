"""`import itron_core`: no third-party module, nothing of the system that costs, and the public names of the page."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import itron_core

pytestmark = pytest.mark.kernels

HERE = Path(__file__).parent
PUBLIC = """
verify_signatures SignatureResults PublicKey Keyring KeyringEntry Revocations verify_tokens TokenResults verify_token Token
TokenRefused Code verify_stream check_sessions SessionResults check_windows MasterKey derive_keys DerivedKeys derive_key
cpu_features DeviceClass Mode SecurityLevel ActionGroup Action Decision Reason Need Permission PolicyOptions needs
policy_table process_route RouteResults process_batches issue_tokens issue_delegation issue_revocations Signer LocalSigner
ItronCoreError
""".split()  # noqa: SIM905  # a list of names reads better as one


def run(script, *arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def modules_after(statement):
    """Return the modules that a statement brings, beside those that Python starts with."""
    script = (
        "import json, sys; before = set(sys.modules)\n"
        f"{statement}\n"
        "more = {name: getattr(sys.modules[name], '__file__', None) for name in set(sys.modules) - before}\n"
        "print(json.dumps(more))"
    )
    done = run(script)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_third_party_module_is_imported():
    """What comes is the package itself and the standard library."""
    modules = modules_after("import itron_core")
    tops = {name.partition(".")[0] for name in modules} - {"itron_core"}
    assert tops <= sys.stdlib_module_names
    assert "itron_core._rust" in modules


def test_no_file_of_site_packages_is_read():
    for name, file in modules_after("import itron_core").items():
        if not name.startswith("itron_core"):
            assert "site-packages" not in (file or "")


def test_the_package_stays_within_itself():
    """Only modules of its own that the public names need: no command line, no testing."""
    own = {name for name in modules_after("import itron_core") if name.startswith("itron_core")}
    assert not own & {"itron_core.cli", "itron_core.testing", "itron_core.cli.files"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    ["dataclasses", "asyncio", "logging", "subprocess", "concurrent.futures", "http", "email", "decimal", "ssl"],
)
def test_slow_modules_of_the_library_are_not_imported(module):
    assert module not in modules_after("import itron_core")


def test_the_core_works_where_nothing_else_is_installed():
    """Verification, sessions, derivation and a route in a Python that cannot see site-packages."""
    script = """
import sys
sys.path[:0] = [{package!r}]
import itron_core as ic
key = ic.PublicKey.from_raw("Ed25519", bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"))
ring = ic.Keyring([key])
print(ic.verify_tokens([bytes(100)], ring, now=1_795_000_000)["code"].to_pylist())
print(ic.check_sessions([1_794_999_996], [9], now=1_795_000_000).to_pydict())
print(ic.derive_key(ic.MasterKey.generate(), "ert:1", utility="U").__len__())
route = {{"device": ["ert:1"], "device_class": ["basic"], "security_level": [3], "action": ["read_endpoint"]}}
print(ic.process_route(route, ring, now=1_795_000_000, permissions=31).summary()["decision"])
print(sorted({{name.partition(".")[0] for name in sys.modules}} - sys.stdlib_module_names - {{"itron_core"}}))
"""
    done = run(script.format(package=str(Path(itron_core.__file__).parent.parent)), "-I", "-S")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == ["[110]", "{'state': [0], 'remaining': [5]}", "16", "{'allowed': 1}"]
    assert lines[4] in {"[]", "['__main__']"}


def test_importing_prints_nothing_and_warns_of_nothing():
    done = run("import itron_core", "-W", "error", "-X", "dev")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", PUBLIC)
def test_the_page_s_names_are_public(name):
    assert name in itron_core.__all__
    assert getattr(itron_core, name).__doc__


def test_all_is_sorted_and_whole():
    assert list(itron_core.__all__) == sorted(itron_core.__all__, key=str)
    assert len(set(itron_core.__all__)) == len(itron_core.__all__)
    for name in itron_core.__all__:
        assert hasattr(itron_core, name)


def test_the_version_is_the_distribution_s():
    from importlib.metadata import version

    assert itron_core.__version__ == version("itron-core")


@pytest.mark.slow
def test_kernels_are_chosen_by_environment():
    """portable forces them, auto is the default, and any other value raises at import."""
    script = "import itron_core; print(itron_core.cpu_features())"
    portable = run(script, ITRON_CORE_KERNELS="portable")
    assert set(eval(portable.stdout)["kernels"].values()) == {"portable"}
    chosen = [eval(run(script, **way).stdout) for way in ({"ITRON_CORE_KERNELS": "auto"}, {})]
    assert set(chosen[0]) == {"detected", "kernels"}
    assert eval(portable.stdout)["detected"] == chosen[0]["detected"]
    for wrong in ("", "PORTABLE", "avx2", "none"):
        done = run(script, ITRON_CORE_KERNELS=wrong)
        assert done.returncode != 0
        assert "ITRON_CORE_KERNELS" in done.stderr
        assert "panicked" not in done.stderr


AFFINITIES = """
import os, threading
from itron_core import MasterKey, derive_keys

seen, ended = set(), threading.Event()

def sample():
    while not ended.is_set():
        for task in os.listdir("/proc/self/task"):
            seen.add(frozenset(os.sched_getaffinity(int(task))))

sampler = threading.Thread(target=sample)
sampler.start()
master, devices = MasterKey.generate(), [bytes(8)] * 4_000
for _ in range(500):
    derive_keys(master, devices, utility="UTIL", threads=2)
    if len(seen) > 1:
        break
ended.set()
sampler.join()
print(len(seen))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="affinities are changed on Linux only")
def test_no_affinity_changes_when_placement_is_off():
    """While bulk calls run, a waiting thread is kept off the caller's core, unless the variable says off."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("on one core no thread is kept off it")
    assert run(AFFINITIES, ITRON_CORE_PLACEMENT="auto").stdout == "2\n"
    assert run(AFFINITIES, ITRON_CORE_PLACEMENT="off").stdout == "1\n"


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["", "OFF", "0", "none"])
def test_a_meaningless_placement_raises_at_import(wrong):
    done = run("import itron_core._rust", ITRON_CORE_PLACEMENT=wrong)
    assert f"InputError: ITRON_CORE_PLACEMENT: got {wrong}, expected auto or off" in done.stderr


def test_cpu_features_list_the_kernels_in_use():
    features = itron_core.cpu_features()
    assert isinstance(features["detected"], list)
    assert all(isinstance(name, str) for name in features["detected"])
    assert {"ed25519", "esp256", "derivation", "readings"} <= set(features["kernels"])
    for kernel in features["kernels"].values():
        assert kernel == "portable" or kernel in features["detected"]


def test_typed_for_others():
    package = Path(itron_core.__file__).parent
    assert (package / "py.typed").exists()
    assert (package / "_rust.pyi").exists()
