"""The examples of the pages are true: the very bytes that stand in docs/format.md are read, verified and derived."""

import hashlib
import re
from pathlib import Path

import pytest

from itron_core import Action, Code, Keyring, KeyringEntry, MasterKey, PublicKey, derive_key, verify_token

pytestmark = pytest.mark.kernels

FORMAT = (Path(__file__).parent.parent / "docs" / "format.md").read_text()
CODES = FORMAT[FORMAT.index("## Reason codes") : FORMAT.index("## Key derivation")]
NOW = 1_795_000_100


def block(kind: str) -> str:
    return re.search(rf"```{kind}\n(.*?)```", FORMAT, re.DOTALL).group(1)


def example_token() -> bytes:
    return bytes.fromhex("".join(line.partition("#")[0] for line in block("token").splitlines()))


def test_the_example_token_verifies_with_the_page_s_claims():
    token = example_token()
    assert (len(token), hashlib.sha256(token).hexdigest()) == (179, re.search(r"SHA-256 is ([0-9a-f]{64})", FORMAT)[1])
    key = PublicKey.from_raw("Ed25519", bytes.fromhex(re.search(r"^public +([0-9a-f]{64})$", FORMAT, re.MULTILINE)[1]))
    assert key.kid.hex() == "866eefbd6718c884"
    read = verify_token(token, Keyring([KeyringEntry(key, issuer="example")]), now=NOW)
    assert (read.audience, read.sequence, read.epoch, read.session_seconds) == ("ert:100000001", 7, 4, 3_600)
    assert read.actions == {action for action in Action if action < 5}


@pytest.mark.parametrize("length", [16, 32])
def test_the_example_derivation_gives_the_keys_on_the_page(length):
    expected = bytes.fromhex(re.search(rf"^{length} bytes +([0-9a-f]+)$", FORMAT, re.MULTILINE)[1])
    master = MasterKey.from_bytes(bytes(range(32)))
    assert derive_key(master, "ert:100000001", utility="UTIL0001", key_version=4, length=length) == expected


def test_the_page_lists_every_code():
    listed = {int(number): name for number, name in re.findall(r"\| (\d{1,3}) \| ([a-z_]+) ?(?=\|)", CODES)}
    assert {code.value: code.name.lower() for code in Code} == listed
