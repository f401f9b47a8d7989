"""Issuing: what is written is read, what would be refused is not signed, and a wrong signature does not leave."""

import copy
import pickle

import pyarrow as pa
import pytest

from itron_core import (
    Code,
    InputError,
    ItronCoreError,
    Keyring,
    KeyringEntry,
    LocalSigner,
    Permission,
    Revocations,
    Signer,
    issue_delegation,
    issue_revocations,
    issue_tokens,
    verify_signatures,
    verify_token,
    verify_tokens,
)
from itron_core.enums import TOKEN_TYPES
from itron_core.testing import make_signer

pytestmark = pytest.mark.kernels

NOW = 1_795_000_000
ALGORITHMS = ("Ed25519", "ESP256", "ML-DSA-44", "ML-DSA-65")
REQUEST = {"device": ["ert:100000001", "ert:100000002"], "actions": [["read_endpoint"], ["geomode"]]}
REQUEST |= {"sequence": [7, 8], "epoch": [4, 0]}
COMMAND = {"device": ["ert:100000001"], "actions": [1 << 17], "sequence": [1], "epoch": [4], "command": [b"off"]}


@pytest.fixture(params=ALGORITHMS)
def signer(request):
    return make_signer(request.param)


def ring(*signers: LocalSigner) -> Keyring:
    return Keyring(
        [
            KeyringEntry(signer.public_key, issuer=f"issuer {i}", token_types=TOKEN_TYPES)
            for i, signer in enumerate(signers)
        ]
    )


def test_issued_tokens_verify_and_hold_the_requested_claims(signer):
    column = issue_tokens(REQUEST, signer, now=NOW)
    results = pa.record_batch(verify_tokens(column, ring(signer), now=NOW, audience=REQUEST["device"]))
    assert results["code"].to_pylist() == [0, 0]
    assert results["actions"].to_pylist() == [1, 1 << 13]
    assert results["sequence"].to_pylist() == [7, 8]
    assert results["epoch"].to_pylist() == [4, 0]
    assert results["session_seconds"].to_pylist() == [3_600, 3_600]
    week = {time.timestamp() for time in results["expires_at"].to_pylist()}
    assert week == {NOW + 7 * 86_400}


def test_optional_columns_are_claims():
    signer = make_signer()
    more = REQUEST | {
        "expires_at": [NOW + 60, NOW + 90],
        "not_before": [NOW - 5, NOW - 6],
        "session_seconds": [60, 28_800],
        "subject": ["worker 7", None],
    }
    tokens = issue_tokens(more, signer, now=NOW).to_pylist()
    first, second = (verify_token(token, ring(signer), now=NOW) for token in tokens)
    assert (first.subject, second.subject) == ("worker 7", None)
    assert (first.session_seconds, second.session_seconds) == (60, 28_800)
    assert (first.not_before.timestamp(), second.expires_at.timestamp()) == (NOW - 5, NOW + 90)


def test_a_command_carries_its_bytes(signer):
    (token,) = issue_tokens(COMMAND, signer, now=NOW, token_type="secure_command").to_pylist()
    read = verify_token(token, ring(signer), now=NOW, token_type="secure_command")
    assert (read.command, read.session_seconds) == (b"off", None)


def test_a_reading_key_names_kdf_version_and_check_value(signer):
    request = {"device": ["eui64:0013500100000001"], "actions": [31], "sequence": [1], "epoch": [4]}
    request |= {"kdf": [1], "key_version": [3], "check_value": [b"\1\2\3\4"]}
    (token,) = issue_tokens(request, signer, now=NOW, token_type="reading_key").to_pylist()
    read = verify_token(token, ring(signer), now=NOW, token_type="reading_key").reading_key
    assert (read.kdf, read.key_version, read.check_value) == (1, 3, b"\1\2\3\4")


@pytest.mark.parametrize(
    "column,values,said",
    [
        ("device", ["ert:1", "ert:01"], "ert:01"),
        ("actions", [["read_endpoint"], ["fly"]], "fly"),
        ("actions", [1, 1 << 5], "with unknown bits"),
        ("actions", [1, 0], "row 1"),
        ("sequence", [1, -1], "sequence"),
        ("epoch", [1, 1 << 32], "epoch"),
        ("session_seconds", [60, 59], "row 1"),
        ("expires_at", [NOW + 60, NOW], "window_inverted"),
        ("expires_at", [NOW + 60, NOW + 8 * 86_400], "lifetime_too_long"),
        ("subject", ["a", "x" * 65], "claim_range"),
    ],
)
def test_issuing_what_a_verifier_would_refuse_raises_and_names_the_row(column, values, said):
    with pytest.raises(ItronCoreError, match=r"row 1") as raised:
        issue_tokens(REQUEST | {column: values}, make_signer(), now=NOW)
    assert said in str(raised.value)


def test_nothing_is_issued_for_no_rows():
    empty = {"device": [], "actions": pa.array([], pa.int64()), "sequence": [], "epoch": []}
    assert len(issue_tokens(empty, make_signer(), now=NOW)) == 0


class Impostor(LocalSigner):
    """Names one key and signs with another."""

    __slots__ = ()

    @property
    def public_key(self):
        return make_signer("Ed25519", seed="the key it names").public_key


def test_a_signature_of_another_key_does_not_leave():
    with pytest.raises(ItronCoreError, match="row 0"):
        issue_tokens(REQUEST, Impostor.generate("Ed25519"), now=NOW)


def test_a_delegation_makes_its_key_an_issuer(signer):
    child = make_signer("Ed25519", seed="child")
    entry = KeyringEntry(child.public_key, issuer="district 7", actions=31, audience_prefix="ert:1")
    delegation = issue_delegation(entry, signer, now=NOW, expires_at=NOW + 86_400)
    keyring = ring(signer).with_delegations([delegation], now=NOW)
    tokens = issue_tokens(REQUEST, child, now=NOW)
    assert pa.record_batch(verify_tokens(tokens, keyring, now=NOW))["code"].to_pylist() == [0, Code.CEILING_EXCEEDED]
    assert verify_token(tokens.to_pylist()[0], keyring, now=NOW).issuer == "district 7"


def test_a_snapshot_of_revocations_is_read_as_it_was_written(signer):
    revocations = Revocations(devices={"ert:100000001": (8, 0, 0)}, version=3, expires_at=NOW + 3_600)
    snapshot = issue_revocations(revocations, signer, issuer="issuer 0", now=NOW)
    read = Revocations.from_token(snapshot, ring(signer), now=NOW)
    assert (read.version, read.expires_at) == (3, NOW + 3_600)
    tokens = issue_tokens(REQUEST, signer, now=NOW)
    results = pa.record_batch(verify_tokens(tokens, ring(signer), now=NOW, revocations=read))
    assert results["code"].to_pylist() == [Code.DEVICE_REVOKED, Code.OK]


# --- The signer ---


# ML-DSA is hedged: no two of its signatures are the same.
@pytest.mark.parametrize("signer", ["Ed25519", "ESP256"], indirect=True)
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 500])
def test_many_signatures_are_each_the_one_that_a_single_call_gives(signer, count):
    messages = [b"message %d" % row for row in range(count)]
    signatures = signer.sign_many(messages)
    assert bytes(signatures) == b"".join(signer.sign(message) for message in messages)
    if count:
        assert signatures.shape == (count, 64)
        codes = pa.record_batch(
            verify_signatures(signer.public_key, messages, [bytes(row) for row in chunks(signatures)])
        )["code"]
        assert set(codes.to_pylist()) == {0}


def chunks(signatures: memoryview) -> list[memoryview]:
    flat = signatures.cast("B")
    return [flat[start : start + 64] for start in range(0, len(flat), 64)]


def test_a_local_signer_is_a_signer():
    assert isinstance(make_signer(), Signer)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("password", [None, b"secret"])
def test_a_signer_comes_from_pem(algorithm, password):
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    key = ed25519.Ed25519PrivateKey.generate() if algorithm == "Ed25519" else ec.generate_private_key(ec.SECP256R1())
    encryption = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, encryption)
    assert LocalSigner.from_pem(pem, password).public_key.kid == LocalSigner(key).public_key.kid
    if password:
        with pytest.raises(InputError, match="got no readable private key"):
            LocalSigner.from_pem(pem, b"wrong")


def test_other_keys_are_refused_by_name():
    from cryptography.hazmat.primitives.asymmetric import ec, x25519

    with pytest.raises(InputError, match="secp384r1"):
        LocalSigner(ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(InputError, match="X25519"):
        LocalSigner(x25519.X25519PrivateKey.generate())
    with pytest.raises(InputError, match="RSA"):
        LocalSigner.generate("RSA")


def test_a_signer_shows_copies_and_pickles_nothing(signer):
    assert signer.public_key.kid.hex() in repr(signer)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="private key"):
            leak(signer)


def test_permissions_are_no_actions():
    """A permission's number is not taken for an action's name."""
    with pytest.raises(ItronCoreError):
        issue_tokens(
            REQUEST | {"actions": [["read_endpoint"], [Permission.READ_ENDPOINTS.name]]}, make_signer(), now=NOW
        )
