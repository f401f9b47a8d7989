"""Bearer tokens of the service: JSON Web Tokens (RFC 7519) that say who calls, from which tool, and as what.

Made by any `Signer`, so that the key may stay in an HSM; checked by joserfc with one public key and its one algorithm.
The key is one of its own: not an issuing key, since whoever lets people in need not issue authorizations.
"""

from __future__ import annotations

import json
import os
import re
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

from itron_core.errors import InputError, ItronCoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from itron_core._rust import PublicKey
    from itron_core.signing import Signer

__all__ = ["AUDIENCE", "ISSUER", "ROLES", "Bearer", "BearerRefused", "Bearers", "bearer_token"]

ISSUER = "itron-core"
AUDIENCE = "itron-core-tools-server"
ROLES = ("field_tool", "manager", "reader")
LONGEST_TOKEN = 4_096
LONGEST_NAME = 256
TOKEN_ID_BYTES = 16
CLAIMS = frozenset({"iss", "aud", "sub", "tool", "unit", "roles", "jti", "iat", "nbf", "exp"})
# Fully-specified names (RFC 9864): one key, one algorithm. The older EdDSA, which names two, is refused.
ALGORITHMS = {"Ed25519": "Ed25519", "ESP256": "ES256"}
PRINTABLE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]+")


class BearerRefused(ItronCoreError):  # noqa: N818  # it is the bearer that was refused
    """A bearer token that lets nobody in; the message says which check it failed, and never shows it."""


class Bearer(NamedTuple):
    """Who calls: a user, the field tool that is used (empty for others), the business unit, and the roles.

    `token_id` (empty for a bearer without one) and `issued_at` are those of the bearer token, by which it may be revoked.
    """

    subject: str
    tool: str
    unit: str
    roles: frozenset[str]
    token_id: str
    issued_at: int


def bearer_token(
    signer: Signer,
    *,
    subject: str,
    roles: Collection[str],
    now: int,
    lifetime: int,
    tool: str = "",
    unit: str = "",
    issuer: str = ISSUER,
    audience: str = AUDIENCE,
    token_id: str | None = None,
) -> str:
    """Make a bearer token, in force from `now` for `lifetime` seconds; raises InputError for what no service takes.

    `token_id` is the name by which it may be revoked (`jti`); 32 random hexadecimal digits if none is given.
    """
    token_id = os.urandom(TOKEN_ID_BYTES).hex() if token_id is None else token_id
    for name in (subject, token_id, *filter(None, (tool, unit))):
        _check_name(name)
    algorithm = signer.public_key.algorithm
    if algorithm not in ALGORITHMS:
        raise InputError(f"signer: got a key of {algorithm}, expected one of {' or '.join(ALGORITHMS)}")
    unknown = sorted(set(roles) - set(ROLES))
    if unknown or not roles:
        raise InputError(f"roles {', '.join(unknown) or '(none)'}; wanted some of {', '.join(ROLES)}")
    if lifetime < 1:
        raise InputError(f"a lifetime of {lifetime} seconds; wanted 1 or more")
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "tool": tool,
        "unit": unit,
        "roles": sorted(roles),
        "jti": token_id,
        "iat": now,
        "nbf": now,
        "exp": now + lifetime,
    }
    header = {"alg": ALGORITHMS[algorithm], "typ": "JWT"}
    signed = f"{_segment(_json(header))}.{_segment(_json(claims))}"
    return f"{signed}.{_segment(signer.sign(signed.encode('ascii')))}"


class Bearers:
    """Checks bearer tokens against one public key; `longest_lifetime` in seconds bounds what their issuer may give."""

    def __init__(self, key: PublicKey, *, issuer: str, audience: str, longest_lifetime: int) -> None:
        from joserfc.jwk import ECKey, OKPKey
        from joserfc.jws import JWSRegistry

        algorithm = getattr(key, "algorithm", None)
        if algorithm not in ALGORITHMS:
            raise InputError(
                f"key: got {algorithm or type(key).__name__}, expected a PublicKey of {' or '.join(ALGORITHMS)}"
            )
        # joserfc knows the curve by another name of its algorithm, so the JWK says the curve alone.
        jwk: dict[str, str | list[str]] = {
            name: value for name, value in key.to_jwk().items() if name not in {"alg", "kid"}
        }
        self._key = OKPKey.import_key(jwk) if algorithm == "Ed25519" else ECKey.import_key(jwk)
        self._algorithms = [ALGORITHMS[algorithm]]
        self._registry = JWSRegistry(algorithms=self._algorithms)
        self._issuer, self._audience, self._longest = issuer, audience, longest_lifetime

    def read(self, token: str, *, now: int) -> Bearer:
        """Return who calls; raises BearerRefused for a token that is forged, late, early, for others or too long."""
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwt import JWTClaimsRegistry

        if len(token) > LONGEST_TOKEN or not token.isascii():
            raise BearerRefused(f"the bearer token is no JWT of up to {LONGEST_TOKEN} bytes")
        registry = JWTClaimsRegistry(
            now=now,
            sub={"essential": True},
            exp={"essential": True},
            nbf={"essential": True},
            iat={"essential": True},
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
        )
        try:
            found = jwt.decode(token, self._key, algorithms=self._algorithms, registry=self._registry)
            registry.validate(found.claims)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise BearerRefused(f"the bearer token is refused: {_name_of(error)}") from None
        return self._believed(found.header, found.claims)

    def _believed(self, header: dict[str, Any], claims: dict[str, Any]) -> Bearer:
        """Take the claims of a genuine token, each of its exact type."""
        times = [claims["iat"], claims["nbf"], claims["exp"]]
        if header.keys() != {"alg", "typ"} or header["typ"] != "JWT" or claims.keys() | {"jti"} != CLAIMS:
            raise BearerRefused("the bearer token has other headers or claims than docs/service.md lists")
        if {type(time) for time in times} != {int} or claims["exp"] - claims["iat"] > self._longest:
            raise BearerRefused(f"the bearer token is in force for longer than {self._longest} seconds")
        roles = claims["roles"]
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise BearerRefused("the bearer token's roles are no list of names")
        try:
            _check_name(claims["sub"])
            _check_name(claims.get("jti", "-"))
            for name in (claims["tool"], claims["unit"]):
                _check_name(name or "-" if isinstance(name, str) else name)
        except InputError:
            raise BearerRefused("the bearer token's names are no texts") from None
        return Bearer(
            claims["sub"], claims["tool"], claims["unit"], frozenset(roles), claims.get("jti", ""), claims["iat"]
        )


def _check_name(name: object) -> None:
    if not isinstance(name, str) or len(name) > LONGEST_NAME or not PRINTABLE.fullmatch(name):
        raise InputError(f"a name that is {type(name).__name__}; wanted 1 to {LONGEST_NAME} printable characters")


def _name_of(error: Exception) -> str:
    """Name what joserfc found, by its own stable names; never its text, which may show the token."""
    return str(getattr(error, "error", "no_jwt"))


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _segment(data: bytes | Iterable[int]) -> str:
    return urlsafe_b64encode(bytes(data)).rstrip(b"=").decode("ascii")
