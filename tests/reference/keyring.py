"""The keys that may sign, each with its ceilings, and the delegations that add keys."""

from dataclasses import dataclass, field

from reference import signatures
from reference.claims import DELEGATION, REVOCATION, TYPS
from reference.signatures import KeyRefusedError
from reference.token import verify

LARGEST = 4_096
EVERY_ACTION = 2**64 - 1


class DelegationRefusedError(Exception):
    """A delegation that adds no key, with its code."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Entry:
    """A public key (Ed25519: 32 bytes, ESP256: 65, ML-DSA: 1,312 or 1,952), what it may sign, and the delegation that brought it."""

    algorithm: str
    raw: bytes
    issuer: str | None = None
    # Who may sign delegations and snapshots is named in its entry.
    token_types: frozenset = frozenset(TYPS) - {DELEGATION, REVOCATION}
    actions: int = EVERY_ACTION
    audience_prefix: str = ""
    valid_from: int | None = None
    valid_until: int | None = None
    parent_kid: bytes | None = None
    delegation_cti: bytes | None = None
    kid: bytes = field(init=False)

    def __post_init__(self):
        signatures.check_key(self.algorithm, self.raw)
        object.__setattr__(self, "kid", signatures.thumbprint(self.algorithm, self.raw)[:8])

    def is_valid_at(self, time):
        return (self.valid_from is None or self.valid_from <= time) and (
            self.valid_until is None or time < self.valid_until
        )

    def covers_window(self, begins, ends):
        return (self.valid_from is None or self.valid_from <= begins) and (
            self.valid_until is None or ends <= self.valid_until
        )


class Keyring:
    """Entries in their order; no two with one kid."""

    def __init__(self, entries):
        self.entries = tuple(entries)
        self._index = {entry.kid: index for index, entry in enumerate(self.entries)}
        if len(self._index) < len(self.entries):
            raise KeyRefusedError("two keys with one kid")
        if len(self.entries) > LARGEST:
            raise KeyRefusedError("too many keys")

    def find(self, kid):
        """Return the index of the key with this kid, or None."""
        return self._index.get(kid)

    def with_delegations(self, tokens, now):
        """Return a keyring with one key more a delegation, behind those there."""
        return Keyring([*self.entries, *(self._child(token, now) for token in tokens)])

    def _child(self, token, now):
        code, index, claims = verify(token, self, now, DELEGATION)
        if code:
            raise DelegationRefusedError(code)
        parent = self.entries[index]
        algorithm, raw = claims["key"]
        return Entry(
            algorithm,
            raw,
            issuer=claims["issuer"],
            # A chain has depth 2: whatever the delegation names, its key delegates nothing.
            token_types=frozenset(name for name, typ in TYPS.items() if typ in claims["types"]) - {DELEGATION},
            actions=claims["actions"],
            audience_prefix=parent.audience_prefix if claims["audience"] is None else claims["audience"],
            valid_from=claims["not_before"],
            valid_until=claims["expires_at"],
            parent_kid=parent.kid,
            delegation_cti=claims["cti"],
        )
