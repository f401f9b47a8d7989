"""Bearer tokens of the service: JSON Web Tokens (RFC 7519) that name the caller, the tool and the roles.

Any `Signer` makes them, so the key may stay in an HSM; joserfc verifies them with one public key and its one algorithm.
The key is separate from the issuing key, since granting access is another task than issuing authorizations.
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
# Fully-specified names (RFC 9864): one algorithm per key. The older EdDSA, which names two, is refused.
ALGORITHMS = {"Ed25519": "Ed25519", "ESP256": "ES256"}
PRINTABLE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]+")


class BearerRefused(ItronCoreError):  # noqa: N818  # it is the bearer that was refused
    """A refused bearer token; the message names the failed check, and never shows the token."""


class Bearer(NamedTuple):
    """The caller: a user, the field tool (empty for others), the business unit, and the roles.

    `token_id` (empty if the token has none) and `issued_at` identify the bearer token for revoking it.
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
    """Return a bearer token, valid from `now` for `lifetime` seconds. Raises InputError for values that no service accepts.

    `token_id` (`jti`) is the id for revoking it; by default 32 random hexadecimal digits.
    """
    token_id = os.urandom(TOKEN_ID_BYTES).hex() if token_id is None else token_id
    _check_name("subject", subject)
    _check_name("token_id", token_id)
    for what, name in (("tool", tool), ("unit", unit)):
        _check_name(what, name or "-")
    algorithm = signer.public_key.algorithm
    if algorithm not in ALGORITHMS:
        raise InputError(f"signer: got a key of {algorithm}, expected one of {' or '.join(ALGORITHMS)}")
    unknown = sorted(set(roles) - set(ROLES))
    if unknown or not roles:
        raise InputError(f"roles: got {', '.join(unknown) or 'none'}, expected one or more of {', '.join(ROLES)}")
    if lifetime < 1:
        raise InputError(f"lifetime: got {lifetime}, expected 1 second or more")
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
    """Verifies bearer tokens with one public key; `longest_lifetime` limits their lifetime, in seconds."""

    def __init__(self, key: PublicKey, *, issuer: str, audience: str, longest_lifetime: int) -> None:
        from joserfc.jwk import ECKey, OKPKey
        from joserfc.jws import JWSRegistry

        algorithm = getattr(key, "algorithm", None)
        if algorithm not in ALGORITHMS:
            raise InputError(
                f"key: got {algorithm or type(key).__name__}, expected a PublicKey of {' or '.join(ALGORITHMS)}"
            )
        # joserfc uses another name for the algorithm, so the JWK names only the curve.
        jwk: dict[str, str | list[str]] = {
            name: value for name, value in key.to_jwk().items() if name not in {"alg", "kid"}
        }
        self._key = OKPKey.import_key(jwk) if algorithm == "Ed25519" else ECKey.import_key(jwk)
        self._algorithms = [ALGORITHMS[algorithm]]
        self._registry = JWSRegistry(algorithms=self._algorithms)
        self._issuer, self._audience, self._longest = issuer, audience, longest_lifetime

    def read(self, token: str, *, now: int) -> Bearer:
        """Return the caller. Raises BearerRefused for a forged, expired, premature, misdirected or overlong token."""
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwt import JWTClaimsRegistry

        if len(token) > LONGEST_TOKEN or not token.isascii():
            raise BearerRefused(f"the bearer token is not a JWT of up to {LONGEST_TOKEN} bytes")
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
        return self._checked(found.header, found.claims)

    def _checked(self, header: dict[str, Any], claims: dict[str, Any]) -> Bearer:
        """Return the caller from the claims of a genuine token, each of its exact type."""
        times = [claims["iat"], claims["nbf"], claims["exp"]]
        if header.keys() != {"alg", "typ"} or header["typ"] != "JWT" or claims.keys() | {"jti"} != CLAIMS:
            raise BearerRefused("the bearer token has other headers or claims than docs/service.md lists")
        if {type(time) for time in times} != {int}:
            raise BearerRefused("the bearer token's times must be integers")
        if claims["exp"] - claims["iat"] > self._longest:
            raise BearerRefused(f"the bearer token's lifetime exceeds {self._longest} seconds")
        roles = claims["roles"]
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise BearerRefused("the bearer token's roles must be a list of names")
        try:
            _check_name("sub", claims["sub"])
            _check_name("jti", claims.get("jti", "-"))
            for what, name in (("tool", claims["tool"]), ("unit", claims["unit"])):
                _check_name(what, name or "-" if isinstance(name, str) else name)
        except InputError:
            raise BearerRefused("the bearer token's names must be printable texts") from None
        return Bearer(
            claims["sub"], claims["tool"], claims["unit"], frozenset(roles), claims.get("jti", ""), claims["iat"]
        )


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str) or len(name) > LONGEST_NAME or not PRINTABLE.fullmatch(name):
        raise InputError(f"{what}: got {name!r:.100}, expected 1 to {LONGEST_NAME} printable characters")


def _name_of(error: Exception) -> str:
    """Return joserfc's stable name of an error; its text may show the token."""
    return str(getattr(error, "error", "no_jwt"))


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _segment(data: bytes | Iterable[int]) -> str:
    return urlsafe_b64encode(bytes(data)).rstrip(b"=").decode("ascii")
