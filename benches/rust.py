"""The Rust libraries: their program is built, run, and read. What cannot be built here is left out, with the reason."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from cpuinfo import get_cpu_info

CRATE = Path(__file__).parent / "rust_peers"
TARGET = CRATE.parents[1] / "target"
# ed25519-dalek chooses its backend when it is compiled.
AVX512_BACKEND = '--cfg curve25519_dalek_backend="avx512"'
LIBRARIES = ("aes", "aws-lc-rs", "cmac", "curve25519-dalek", "ed25519-dalek", "hmac", "p256", "ring", "sha2")


class MissingError(Exception):
    """What cannot be measured here, and why."""


class Built(NamedTuple):
    """The program, the same with dalek's AVX-512 backend, and what was left out."""

    program: Path
    dalek_avx512: Path | None
    left_out: dict[str, str]


def measure() -> dict[str, Any]:
    """Run every contest and return what was found; the text goes to the terminal. Raise `MissingError` when none can be built."""
    built = build_all()
    target = TARGET / "peers" / "report.json"
    command: list[str | Path] = [built.program, "--json", target]
    if built.dalek_avx512:
        command += ["--dalek-avx512", built.dalek_avx512]
    subprocess.run(command, check=True)
    rustc = subprocess.check_output(["rustc", "--version"], text=True).strip()
    machine = f"{get_cpu_info().get('brand_raw', 'unknown')}, {os.cpu_count()} cores"
    measured: dict[str, Any] = json.loads(target.read_text())
    return {"machine": machine, "rustc": rustc, "versions": versions(), "left_out": built.left_out} | measured


def build_all() -> Built:
    if not shutil.which("cargo"):
        raise MissingError("there is no cargo")
    left_out = {}
    try:
        program = build("peers")
    except MissingError as reason:
        left_out["aws-lc-rs, ring"] = str(reason)
        program = build("peers", "--no-default-features")
    dalek = None
    if "avx512ifma" in get_cpu_info().get("flags", []):
        try:
            dalek = build("peers-avx512", "--no-default-features", flags=AVX512_BACKEND)
        except MissingError as reason:
            left_out["ed25519-dalek, AVX-512"] = str(reason)
    else:
        left_out["ed25519-dalek, AVX-512"] = "the processor has no AVX-512 IFMA"
    return Built(program, dalek, left_out)


def build(folder: str, *arguments: str, flags: str = "") -> Path:
    """Build the program in a folder of its own: other flags would build everything anew."""
    target = TARGET / folder
    command: list[str | Path] = [
        "cargo",
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--target-dir",
        target,
        *arguments,
    ]
    flags = f"{os.environ.get('RUSTFLAGS', '')} {flags}".strip()
    print("Building the Rust peers:", *(arguments or ["all"]), flags, flush=True)
    done = subprocess.run(
        command, cwd=CRATE, env={**os.environ, "RUSTFLAGS": flags}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or ["cargo failed"]
        raise MissingError(errors[0].strip())
    return target / "release" / "peers"


def versions() -> dict[str, str]:
    """Say which versions were measured."""
    packages = tomllib.loads((CRATE / "Cargo.lock").read_text())["package"]
    return {package["name"]: package["version"] for package in packages if package["name"] in LIBRARIES}


def section_of(report: dict[str, Any]) -> str:
    """Write the report as Markdown."""
    lines = ["| what | ns a row | times ours |", "|---|---:|---:|"]
    for contest in report["contests"]:
        lines.append(f"| **{contest['what']}**, {contest['rows']:,} rows | | |")
        for one in contest["contestants"]:
            digits = 0 if one["ns_a_row"] >= 1_000 else 1
            lines.append(f"| {one['name']} | {one['ns_a_row']:,.{digits}f} | {one['times_ours']:.2f} |")
    of = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    left_out = "".join(f"\nLeft out: {what}: {reason}.\n" for what, reason in report["left_out"].items())
    return (
        "\n".join(lines) + f"\n\n{report['machine']}; {report['rustc']}; kernels {report['kernels']}; {of}.\n{left_out}"
    )
