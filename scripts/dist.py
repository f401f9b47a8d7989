"""Build what a release consists of, into dist/: an abi3 wheel and an sdist, each twice from the last commit, and compare the hashes.

`python scripts/dist.py` needs maturin, abi3audit and, on Linux, auditwheel (the group `dist`; `make dist` installs them).
`python scripts/dist.py --stage FOLDER` writes the tree that is built, and `python scripts/dist.py FOLDER` finishes and
checks files that maturin built from it.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from base64 import urlsafe_b64encode
from email.message import Message
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(!?\[[^\]]*\]\()(?!https?:|#|mailto:)([^)]+)\)")
LICENCE = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|UNLICENSE)", re.IGNORECASE)
# A crate of this project in an SBOM: `file:` and the path of the build, then the crate's own path.
BUILD_FOLDER = re.compile(rb"(file://)[^\"#?]*?(/rust/)")
# The licence texts of crates in the extension; the glob of `license-files` takes it along.
THIRD_PARTY = "LICENSES-THIRD-PARTY.txt"
MOST_BYTES = 5_000_000


def project() -> dict:
    """Return the project's table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def version() -> str:
    """Return the version, which the workspace's Cargo.toml has."""
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def absolute_links(text: str, repository: str, tag: str) -> str:
    """Return a page with absolute links: an index shows it without the files beside it."""

    def absolute(link: re.Match[str]) -> str:
        kind = "raw" if link[1].startswith("!") else "blob"
        return f"{link[1]}{repository}/{kind}/{tag}/{link[2]})"

    return LINK.sub(absolute, text)


def third_party_licences(root: Path) -> str:
    """Return the licence texts of all crates that are linked into the extension."""
    command = [
        "cargo",
        "tree",
        "--locked",
        "-p",
        "itron-core-py",
        "-e",
        "normal",
        "--target",
        "all",
        "--prefix",
        "none",
    ]
    linked = set(_output([*command, "--format", "{p}"], root).replace(" (*)", "").splitlines())
    packages = json.loads(_output(["cargo", "metadata", "--locked", "--format-version", "1"], root))["packages"]
    crates_of: dict[str, list[str]] = {}
    for package in sorted(packages, key=lambda one: (one["name"], one["version"])):
        if package["source"] is not None and f"{package['name']} v{package['version']}" in _without_notes(linked):
            files = sorted(one for one in Path(package["manifest_path"]).parent.iterdir() if LICENCE.match(one.name))
            texts = [one.read_text("utf-8", "replace").strip() for one in files if one.is_file()]
            for text in texts or ["(The crate has no text of its licence.)"]:
                crates_of.setdefault(text, []).append(f"{package['name']} {package['version']} ({package['license']})")
    head = "The extension of itron_core contains these crates, under their own licences. Each text applies to the crates before it."
    return (
        "\n\n".join(
            [head, *("=" * 100 + "\n" + ", ".join(crates) + "\n\n" + text for text, crates in crates_of.items())]
        )
        + "\n"
    )


def _without_notes(linked: set[str]) -> set[str]:
    """Return names and versions without notes such as `(proc-macro)`."""
    return {" ".join(line.split()[:2]) for line in linked}


def stage(tree: Path, commit: str = "HEAD") -> None:
    """Write a commit into a folder, with absolute links in the README and the licences of crates."""
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "-x"], cwd=tree, input=packed, check=True)
    readme = tree / "README.md"
    readme.write_text(absolute_links(readme.read_text(), project()["urls"]["Repository"], f"v{version()}"))
    (tree / THIRD_PARTY).write_text(third_party_licences(tree))


def build(tree: Path, out: Path) -> list[Path]:
    """Build wheel and sdist of a staged tree, and return them. Nothing of the machine's paths or of the day is in them."""
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(tree.parent / f"{tree.name}-target"),
        "SOURCE_DATE_EPOCH": _output(["git", "log", "-1", "--format=%ct"], ROOT).strip(),
        "RUSTFLAGS": f"--remap-path-prefix={home}=cargo --remap-path-prefix={tree}=.",
    }
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "maturin", "build", "--release", "--locked", "--sdist", "--out", str(out)]
    subprocess.run([*command, "--interpreter", sys.executable], cwd=tree, env=environment, check=True)
    for wheel in out.glob("*.whl"):
        without_paths(wheel)
    return sorted(out.iterdir())


def without_paths(wheel: Path) -> None:
    """Rewrite a wheel whose SBOM names the folder of the build: that folder is random, and nobody's business."""
    with zipfile.ZipFile(wheel) as before:
        infos = before.infolist()
        data = {info.filename: before.read(info) for info in infos}
    record = next(name for name in data if name.endswith(".dist-info/RECORD"))
    for name in [name for name in data if name.endswith(".cyclonedx.json")]:
        old, new = data[name], BUILD_FOLDER.sub(rb"\1\2", data[name])
        data[name] = new
        data[record] = data[record].replace(
            f"{name},sha256={_digest(old)},{len(old)}".encode(), f"{name},sha256={_digest(new)},{len(new)}".encode()
        )
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as after:
        for info in infos:
            after.writestr(info, data[info.filename], zipfile.ZIP_DEFLATED, 9)


def _digest(data: bytes) -> str:
    """Return a hash as RECORD has it."""
    return urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def contents(path: Path) -> tuple[list[str], Message, dict[str, bytes]]:
    """Return the names in a wheel or an sdist, its metadata, and its SBOMs."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            names = wheel.namelist()
            read = {name: wheel.read(name) for name in names if name.endswith(("/METADATA", ".cyclonedx.json"))}
    else:
        with tarfile.open(path) as sdist:
            names = sdist.getnames()
            read = {name: sdist.extractfile(name).read() for name in names if re.fullmatch(r"[^/]+/PKG-INFO", name)}
    (metadata,) = (data for name, data in read.items() if name.endswith(("/METADATA", "/PKG-INFO")))
    sboms = {name: data for name, data in read.items() if name.endswith(".cyclonedx.json")}
    return names, Parser().parsestr(metadata.decode()), sboms


def faults(path: Path) -> list[str]:
    """Return what is wrong with a wheel or an sdist, in sentences."""
    names, metadata, sboms = contents(path)
    found = []
    if path.stat().st_size > MOST_BYTES:
        found.append(f"{path.stat().st_size:,} bytes, more than {MOST_BYTES:,}")
    urls = {line.partition(",")[0] for line in metadata.get_all("Project-URL", [])}
    if missing := {"Repository", "Documentation", "Changelog", "Issues"} - urls:
        found.append(f"no project URL {', '.join(sorted(missing))}")
    if relative := [link[2] for link in LINK.finditer(str(metadata.get_payload()))]:
        found.append(f"relative links in the description: {', '.join(relative)}")
    wanted = ["LICENSE", "LICENSE-APACHE", "LICENSE-MIT", THIRD_PARTY]
    wanted += ["py.typed", "page.css", "page.js"] + ([] if path.suffix == ".whl" else ["Cargo.lock", "pyproject.toml"])
    found += [f"no {name}" for name in wanted if not any(one.endswith(f"/{name}") for one in names)]
    if path.suffix == ".whl":
        if "-abi3-" not in path.name:
            found.append("not an abi3 wheel")
        crates = {part["name"] for text in sboms.values() for part in json.loads(text).get("components", [])}
        if not {"pyo3", "p256", "ml-dsa"} <= crates:
            found.append("no SBOM (CycloneDX) with its crates")
        if any(BUILD_FOLDER.sub(rb"\1\2", text) != text for text in sboms.values()):
            found.append("a folder of the build in the SBOM")
    # Not in a package: tests of this repository, keys, and what a build leaves.
    found += [
        f"{name} should not be there" for name in names if re.search(r"(\.pem|\.jwks|__pycache__|/target/)", name)
    ]
    return found


def check(dist: Path) -> None:
    """Exit unless all files in a folder are as they should be; on Linux, print which glibc a wheel needs."""
    for path in sorted(one for one in dist.iterdir() if one.suffix in {".whl", ".gz"}):
        if some := faults(path):
            raise SystemExit(f"{path.name}: {'; '.join(some)}")
        print(f"{path.name}: {path.stat().st_size:,} bytes")
        if path.suffix == ".whl":
            subprocess.run([sys.executable, "-m", "abi3audit", "--strict", "--summary", str(path)], check=True)
            if sys.platform == "linux":
                subprocess.run([sys.executable, "-m", "auditwheel", "show", str(path)], check=True)


def main() -> None:
    """Build twice, compare, check, and leave the files with their hashes in dist/."""
    if sys.argv[1:2] == ["--stage"]:
        stage(Path(sys.argv[2]).absolute())
        return
    if sys.argv[1:]:
        for wheel in Path(sys.argv[1]).glob("*.whl"):
            without_paths(wheel)
        check(Path(sys.argv[1]))
        return
    work, dist, hashes = ROOT / "build" / "dist", ROOT / "dist", []
    commit = _output(["git", "rev-parse", "HEAD"], ROOT).strip()
    for each in ("first", "second"):
        stage(work / each, commit)
        made = build(work / each, work / f"{each}-out")
        hashes.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made})
    if hashes[0] != hashes[1]:
        raise SystemExit(f"two builds of one commit differ: {hashes}")
    print("Two builds have one hash each.")
    shutil.rmtree(dist, ignore_errors=True)
    shutil.copytree(work / "first-out", dist)
    check(dist)
    (dist / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(hashes[0].items())))


def _output(command: list[str], cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
