"""One token through the order of checks: steps 1 to 16, the first failure is the answer."""

from reference import cbor, signatures
from reference.cbor import ARRAY, BYTES, MAP, TAG, TEXT
from reference.claims import (
    AUTHORIZATION,
    DELEGATION,
    FOR_ONE_DEVICE,
    READING_KEY,
    REVOCATION,
    SECURE_COMMAND,
    TYPS,
    RefusedError,
    check_claims,
    read_claims,
)
from reference.signatures import ED25519, ESP256, ML_DSA_44, ML_DSA_65

SMALLEST, LARGEST_HEADER = 96, 128
# The largest token and payload of each type that has its own; then of all others.
LARGEST = {DELEGATION: (6_144, 2_688), REVOCATION: (64 * 1024 * 1024, 64 * 1024 * 1024)}
LARGEST_OF_OTHERS = 4_096, 640
DAY = 86_400
LIFETIMES = {
    AUTHORIZATION: 7 * DAY,
    SECURE_COMMAND: 7 * DAY,
    READING_KEY: 7 * DAY,
    DELEGATION: 400 * DAY,
    REVOCATION: DAY,
}

ALG, CRIT, KID, TYP = 1, 2, 4, 16
ALGORITHMS = {-19: ED25519, -9: ESP256, -48: ML_DSA_44, -49: ML_DSA_65}
LEGACY_ALGORITHMS = {-8: ED25519, -7: ESP256}

OPEN_SESSION = 24


def verify(
    token,
    keyring,
    now,
    token_type,
    *,
    audience=None,
    action=None,
    epoch=None,
    revocations=None,
    skew=120,
    max_lifetime=None,
    legacy_algorithms=False,
):
    """Return (code, index of the key or None, claims or None).

    The key is told once the protected header is read, the claims once all of them were read behind a good signature.
    `audience` is a str, `action` a number, `now` whole seconds.
    """
    run = _Run(keyring, now, token_type, legacy_algorithms)
    try:
        run.genuine(token, LIFETIMES[token_type] if max_lifetime is None else max_lifetime)
        run.in_force(skew, revocations, epoch)
        run.asked(audience, action)
    except (cbor.FaultError, RefusedError) as refusal:
        return refusal.code, run.index, run.claims
    return 0, run.index, run.claims


def _refuse(condition, code):
    if condition:
        raise RefusedError(code)


class _Run:
    """What is known of a token so far."""

    def __init__(self, keyring, now, token_type, legacy_algorithms):
        self.keyring = keyring
        self.now = now
        self.token_type = token_type
        self.legacy = legacy_algorithms
        self.index = None
        self.claims = None

    @property
    def entry(self):
        return self.keyring.entries[self.index]

    def genuine(self, token, max_lifetime):
        """Steps 1 to 11."""
        check_size(token, self.token_type)
        protected, payload, signature = read_envelope(token, self.token_type)
        header = read_header(protected)
        self.index = self.keyring.find(header[KID])
        _refuse(header[TYP] != TYPS[self.token_type], 210)
        algorithm = self._algorithm(header[ALG])
        _refuse(self.index is None, 230)
        _refuse(self.entry.algorithm != algorithm, 231)
        _refuse(self.token_type not in self.entry.token_types, 232)
        signed = cbor.write(["Signature1", protected, b"", payload])
        code = signatures.verify(algorithm, self.entry.raw, signed, signature)
        _refuse(code, code)
        self.claims = read_claims(payload, self.token_type)
        check_claims(self.claims, self.token_type, max_lifetime)

    def _algorithm(self, alg):
        _refuse(alg in LEGACY_ALGORITHMS and not self.legacy, 221)
        algorithm = (ALGORITHMS | LEGACY_ALGORITHMS).get(alg)
        _refuse(algorithm is None, 220)
        return algorithm

    def in_force(self, skew, revocations, epoch):
        """Steps 12 to 14."""
        issued = self.claims["issued_at"]
        _refuse(self._exceeds_ceilings(), 410)
        _refuse(not self.entry.is_valid_at(issued), 411)
        _refuse(self.now < issued - skew, 500)
        _refuse(self.now < self.claims["not_before"] - skew, 501)
        _refuse(self.now >= self.claims["expires_at"] + skew, 502)
        self._check_revoked(revocations, epoch)

    def _exceeds_ceilings(self):
        entry, claims = self.entry, self.claims
        if self.token_type == REVOCATION:
            return entry.audience_prefix != ""
        if claims["actions"] & ~entry.actions:
            return True
        if not self._audience().startswith(entry.audience_prefix):
            return True
        return self.token_type == DELEGATION and not (
            entry.covers_window(claims["not_before"], claims["expires_at"])
            and {TYPS[name] for name in entry.token_types} >= set(claims["types"])
        )

    def _audience(self):
        """The device, or the prefix of a delegation, which is its parent's when it names none."""
        audience = self.claims["audience"]
        return self.entry.audience_prefix if audience is None else audience

    def _check_revoked(self, revocations, epoch):
        entry, claims = self.entry, self.claims
        one_device = self.token_type in FOR_ONE_DEVICE
        if revocations is not None:
            # An expired snapshot refuses everything but its own successor.
            _refuse(self.token_type != REVOCATION and self.now >= revocations.expires_at, 600)
            _refuse({entry.kid, entry.parent_kid} & revocations.issuers, 601)
            _refuse(one_device and revocations.is_device_revoked(claims), 602)
        _refuse(one_device and epoch is not None and claims["epoch"] < epoch, 603)
        if revocations is not None:
            identities = {(entry.kid, claims.get("cti")), (entry.parent_kid, entry.delegation_cti)}
            _refuse(identities & revocations.tokens, 604)

    def asked(self, audience, action):
        """Steps 15 and 16."""
        if self.token_type == REVOCATION:
            return
        if audience is not None:
            fits = (
                audience.startswith(self._audience()) if self.token_type == DELEGATION else audience == self._audience()
            )
            _refuse(not fits, 700)
        if action is not None:
            by_type = self.token_type == AUTHORIZATION and action == OPEN_SESSION
            _refuse(not by_type and not self.claims["actions"] >> action & 1, 701)


def check_size(token, token_type):
    """Step 1."""
    _refuse(not token, 1)
    _refuse(len(token) > LARGEST.get(token_type, LARGEST_OF_OTHERS)[0], 100)
    _refuse(len(token) < SMALLEST, 101)


def read_envelope(token, token_type):
    """Step 2: return the protected header, the payload and the signature as bytes."""
    head = cbor.read_head(token, 0)
    _refuse((head.kind, head.argument) != (TAG, 18), 110)
    head = cbor.read_head(token, head.end)
    _refuse((head.kind, head.argument) != (ARRAY, 4), 111)
    protected, at = _read_document(token, head.end, LARGEST_HEADER)
    head = cbor.read_head(token, at)
    _refuse(head.kind != MAP, 111)
    _refuse(head.argument != 0, 113)
    _refuse(token[head.end : head.end + 1] == b"\xf6", 112)
    payload, at = _read_document(token, head.end, LARGEST.get(token_type, LARGEST_OF_OTHERS)[1])
    signature, at = _read_string(token, at)
    _refuse(at != len(token), cbor.TRAILING)
    return protected, payload, signature


def _read_string(token, at):
    head = cbor.read_head(token, at)
    _refuse(head.kind != BYTES, 111)
    return cbor.read_string(token, head)


def _read_document(token, at, limit):
    """Read a string that is a document: what its length says against it is known before what is in it."""
    document, end = _read_string(token, at)
    _refuse(len(document) > limit, 100)
    _refuse(not document, cbor.MALFORMED)
    return document, end


def read_header(protected):
    """Step 3: return the values of alg, kid and typ."""
    item = cbor.read(protected)
    _refuse(item.kind != MAP, 202)
    header = {key.value: value for key, value in item.value if key.is_integer}
    _refuse(len(header) < len(item.value) or header.keys() - {ALG, CRIT, KID, TYP}, 200)
    _refuse({ALG, KID, TYP} - header.keys(), 201)
    alg, kid, typ = header[ALG], header[KID], header[TYP]
    _refuse(not alg.is_integer or kid.kind != BYTES or len(kid.value) != 8 or typ.kind != TEXT, 202)
    _refuse(CRIT in header, 203)
    return {ALG: alg.value, KID: kid.value, TYP: typ.value}
