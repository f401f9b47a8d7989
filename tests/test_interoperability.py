"""Both ways with python-cwt: what is issued here is decoded there, and what is issued there verifies here."""

import cbor2
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cwt import COSE, COSEKey, VerifyError

from itron_core import Keyring, KeyringEntry, LocalSigner, issue_tokens, verify_token, verify_tokens

NOW = 1_795_000_000
ALGORITHMS = {"Ed25519": -19, "ESP256": -9}
TYPES = {
    "authorization": "application/x.mtr-auth+cwt",
    "secure_command": "application/x.mtr-cmd+cwt",
    "reading_key": "application/x.mtr-rkey+cwt",
}
EXTRA = {
    "authorization": {},
    "secure_command": {"command": [b"\1"]},
    "reading_key": {"kdf": [1], "key_version": [1], "check_value": [b"kcv!"]},
}
CLAIMS = {
    "authorization": {40: 3_600},
    "secure_command": {-65538: b"\1"},
    "reading_key": {-65539: [1, 1, b"kcv!"]},
}


@pytest.fixture(params=ALGORITHMS)
def key(request):
    ed = request.param == "Ed25519"
    return ed25519.Ed25519PrivateKey.generate() if ed else ec.generate_private_key(ec.SECP256R1())


def cwt_keys(key) -> tuple[COSEKey, COSEKey]:
    signer = LocalSigner(key)
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    options = {"kid": signer.public_key.kid, "alg": signer.public_key.algorithm}
    return COSEKey.from_pem(private, **options), COSEKey.from_pem(public, **options)


@pytest.mark.parametrize("token_type", TYPES)
def test_python_cwt_reads_what_is_issued_here(key, token_type):
    signer = LocalSigner(key)
    request = {"device": ["ert:100000001"], "actions": [1], "sequence": [9], "epoch": [4]} | EXTRA[token_type]
    (token,) = issue_tokens(request, signer, now=NOW, token_type=token_type).to_pylist()
    _, public = cwt_keys(key)
    protected, unprotected, payload = COSE.new().decode_with_headers(token, public)
    algorithm = ALGORITHMS[signer.public_key.algorithm]
    assert (protected, unprotected) == ({1: algorithm, 4: signer.public_key.kid, 16: TYPES[token_type]}, {})
    claims = cbor2.loads(payload)
    assert (claims[3], claims[6], claims[9], claims[-65537]) == ("ert:100000001", NOW, cbor2.dumps([[1, 1]]), 4)
    with pytest.raises(VerifyError):
        COSE.new().decode(token[:-1] + bytes([token[-1] ^ 1]), public)


@pytest.mark.parametrize("token_type", TYPES)
def test_what_python_cwt_issues_under_the_profile_verifies_here(key, token_type):
    public_key = LocalSigner(key).public_key
    claims = {
        3: "ert:100000001",
        4: NOW + 600,
        6: NOW,
        7: (100_000_001).to_bytes(8) + (9).to_bytes(8),
        9: cbor2.dumps([[1, 1]]),
        -65537: 4,
    } | CLAIMS[token_type]
    header = {1: ALGORITHMS[public_key.algorithm], 4: public_key.kid, 16: TYPES[token_type]}
    private, _ = cwt_keys(key)
    token = COSE.new().encode(cbor2.dumps(claims, canonical=True), private, protected=header)
    keyring = Keyring([KeyringEntry(public_key, issuer="python-cwt")])
    read = verify_token(token, keyring, now=NOW, token_type=token_type, audience="ert:100000001")
    assert (read.issuer, read.sequence, read.epoch) == ("python-cwt", 9, 4)
    results = pa.record_batch(verify_tokens([token], keyring, now=NOW, token_type=token_type))
    assert results["code"].to_pylist() == [0]
