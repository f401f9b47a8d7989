"""Keys that sign, and tokens put together part by part, so that any part can be wrong and the signature right."""

import hashlib
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from reference import cbor
from reference.claims import TYPS
from reference.signatures import ED25519, ESP256, ML_DSA_44, ML_DSA_65, P256_N, thumbprint

ALGS = {ED25519: -19, ESP256: -9, ML_DSA_44: -48, ML_DSA_65: -49}
ML_DSA = {ML_DSA_44: mldsa.MLDSA44PrivateKey, ML_DSA_65: mldsa.MLDSA65PrivateKey}


class Signer:
    """A private key made from a seed; signs the same way every time, but for ML-DSA, which is hedged."""

    def __init__(self, algorithm, seed):
        self.algorithm = algorithm
        secret = hashlib.sha256(f"{algorithm} {seed}".encode()).digest()
        if algorithm == ED25519:
            self.private = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
            self.raw = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        elif algorithm in ML_DSA:
            self.private = ML_DSA[algorithm].from_seed_bytes(secret)
            self.raw = self.private.public_key().public_bytes_raw()
        else:
            self.private = ec.derive_private_key(int.from_bytes(secret, "big") % (P256_N - 1) + 1, ec.SECP256R1())
            self.raw = self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.kid = thumbprint(algorithm, self.raw)[:8]

    @property
    def alg(self):
        return ALGS[self.algorithm]

    def sign(self, message):
        """Return the bytes of a COSE signature."""
        if self.algorithm != ESP256:
            return self.private.sign(message)
        der = self.private.sign(message, ec.ECDSA(SHA256(), deterministic_signing=True))
        r, s = utils.decode_dss_signature(der)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class Parts(NamedTuple):
    """The documents of a token as encoded, before the envelope."""

    protected: bytes
    payload: bytes
    signer: Signer

    def signature(self):
        return self.signer.sign(cbor.write(["Signature1", self.protected, b"", self.payload]))

    def token(self):
        return envelope(self.protected, self.payload, self.signature())


def envelope(protected, payload, signature):
    return cbor.write(cbor.Tagged(18, [protected, {}, payload, signature]))


def header(signer, token_type):
    """Return the protected header as a dict."""
    return {1: signer.alg, 4: signer.kid, 16: TYPS[token_type]}


def sign(signer, token_type, claims):
    """Return a well-formed token of these claims, a dict by key."""
    return Parts(cbor.write(header(signer, token_type)), cbor.write(claims), signer).token()


def cose_key(signer):
    if signer.algorithm == ED25519:
        return {1: 1, -1: 6, -2: signer.raw}
    if signer.algorithm in ML_DSA:
        return {1: 7, 3: signer.alg, -1: signer.raw}
    return {1: 2, -1: 1, -2: signer.raw[1:33], -3: signer.raw[33:]}


def token_id(device, sequence):
    """Return a cti from the two halves, whatever their values."""
    return (device % 2**64).to_bytes(8, "big") + (sequence % 2**64).to_bytes(8, "big")
