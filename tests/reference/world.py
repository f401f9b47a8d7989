"""What the random tokens are verified against: signers with different ceilings, delegated keys, revocations."""

from dataclasses import dataclass
from functools import cached_property

from reference.build import Signer, cose_key, sign, token_id
from reference.cbor import write
from reference.claims import (
    AUTHORIZATION,
    DELEGATION,
    READING_KEY,
    REVOCATION,
    SECURE_COMMAND,
    TYPS,
)
from reference.keyring import Entry, Keyring
from reference.revocation import Revocations
from reference.signatures import ED25519, ESP256, ML_DSA_44, ML_DSA_65

NOW = 1_795_000_000
DAY = 86_400

# Devices that tokens are made for; the last ones have watermarks.
DEVICES = (
    "ert:0",
    "ert:7",
    "ert:100000001",
    "ert:123456789",
    "ert:281474976710655",
    "eui64:0001000000000000",
    "eui64:ffffffffffffffff",
    "eui64:00078100aabbccdd",
    "ert:1500",
    "ert:1501",
    "ert:1502",
)
WATERMARKS = {"ert:1500": (100, 0, 0), "ert:1501": (0, NOW - 1000, 0), "ert:1502": (0, 0, 3)}
REVOKED_SEQUENCE = 13

READINGS = 0b11111
SERVICES = 0x7F0000


@dataclass(frozen=True)
class World:
    """A keyring with its signers, and a snapshot."""

    seed: int

    @cached_property
    def roots(self):
        """Signers and the ceilings of their entries, in the keyring's order."""
        types = frozenset(TYPS)
        return [
            (self._signer(ED25519, 0), {"issuer": "root", "token_types": types}),
            (self._signer(ESP256, 1), {"token_types": types}),
            (
                self._signer(ED25519, 2),
                {"audience_prefix": "ert:1", "actions": READINGS | SERVICES, "token_types": types - {READING_KEY}},
            ),
            (
                self._signer(ESP256, 3),
                {
                    "token_types": frozenset({READING_KEY, DELEGATION}),
                    "valid_from": NOW - 5 * DAY,
                    "valid_until": NOW + DAY,
                },
            ),
            (self._signer(ED25519, 4), {"token_types": frozenset({AUTHORIZATION, SECURE_COMMAND, REVOCATION})}),
            (self._signer(ED25519, 5), {"issuer": "revoked", "token_types": types}),
            (self._signer(ESP256, 6), {"issuer": "its delegation is revoked later", "token_types": types}),
            (self._signer(ML_DSA_44, 7), {"issuer": "post-quantum", "token_types": types}),
            (self._signer(ML_DSA_65, 8), {"audience_prefix": "ert:1", "token_types": types}),
        ]

    @cached_property
    def children(self):
        """Signers that only a delegation brings, in the order of `delegations`."""
        algorithms = (ESP256, ED25519, ML_DSA_65, ED25519)
        return [self._signer(algorithm, 10 + n) for n, algorithm in enumerate(algorithms)]

    @cached_property
    def strangers(self):
        """Signers that the keyring does not know."""
        return [self._signer(ED25519, 20), self._signer(ESP256, 21), self._signer(ML_DSA_44, 22)]

    @cached_property
    def delegations(self):
        """Delegations for `Keyring.with_delegations`, all good at NOW."""
        one_device = [TYPS[name] for name in (AUTHORIZATION, SECURE_COMMAND, READING_KEY)]
        plans = [
            (0, {3: "ert:"}, [[1, 31], [4, 1]], one_device),
            (1, {}, [[1, 31], [2, 63], [3, 127], [4, 3], [5, 15], [9, 7]], list(TYPS.values())),
            (5, {3: "eui64:"}, [[1, 31]], one_device),
            (6, {5: NOW - DAY}, [[1, 31], [3, 127]], [*one_device, TYPS[REVOCATION]]),
        ]
        return [
            self._delegation(self.roots[parent][0], child, extra, scope, types)
            for child, (parent, extra, scope, types) in zip(self.children, plans, strict=True)
        ]

    def _delegation(self, parent, child, extra, scope, types):
        claims = {
            1: "an issuer",
            4: NOW + 30 * DAY,
            6: NOW - 2 * DAY,
            7: self.delegation_id(child),
            8: {1: cose_key(child)},
            9: write(scope),
            -65540: types,
        }
        return sign(parent, DELEGATION, claims | extra)

    @staticmethod
    def delegation_id(child):
        return child.kid * 2

    @cached_property
    def root_keyring(self):
        return Keyring([Entry(signer.algorithm, signer.raw, **ceilings) for signer, ceilings in self.roots])

    @cached_property
    def keyring(self):
        """The roots, then the children."""
        return self.root_keyring.with_delegations(self.delegations, NOW)

    @cached_property
    def signers(self):
        """The keyring's signers in its order."""
        return [signer for signer, _ in self.roots] + self.children

    @cached_property
    def revocations(self):
        revoked_child = self.children[3]
        first = self.roots[0][0]
        return Revocations(
            version=7,
            expires_at=NOW + 3 * DAY,
            issuers=frozenset({self.roots[5][0].kid}),
            devices=WATERMARKS,
            tokens=frozenset(
                {
                    (self.roots[6][0].kid, self.delegation_id(revoked_child)),
                    (first.kid, token_id(7, REVOKED_SEQUENCE)),
                    (self.roots[1][0].kid, token_id(100_000_001, REVOKED_SEQUENCE)),
                }
            ),
        )

    def _signer(self, algorithm, number):
        return Signer(algorithm, f"{self.seed}/{number}")
