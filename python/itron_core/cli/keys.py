"""Keys on the command line: create, show, list."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from itron_core._rust import Keyring, KeyringEntry
from itron_core.cli.inputs import read_keyring
from itron_core.cli.key_files import new_key, new_master_key, read_signer, write_secret
from itron_core.cli.options import JSON, KEYRING, PIN_FILE, group
from itron_core.cli.output import remark, say, show
from itron_core.cli.pkcs11 import is_uri, new_master_key_at, new_signer_at, signer_at
from itron_core.enums import TOKEN_TYPES

keys_app = group("Create, show and convert keys.")


class Algorithm(StrEnum):
    """The signature algorithms."""

    ED25519 = "Ed25519"
    ESP256 = "ESP256"
    ML_DSA_44 = "ML-DSA-44"
    ML_DSA_65 = "ML-DSA-65"


@keys_app.command("generate")
def keys_generate(
    target: Annotated[
        str, typer.Argument(metavar="KEY", help="The new file for the private key, or a pkcs11: URI with its label.")
    ],
    algorithm: Annotated[Algorithm, typer.Option(help="The signature algorithm.")] = Algorithm.ED25519,
    pin_file: Annotated[Path | None, PIN_FILE] = None,
) -> None:
    """Create a private key.

    A file is PEM (PKCS#8), not encrypted, and readable only by its owner. A key in an HSM cannot leave it.
    """
    if is_uri(target):
        with new_signer_at(target, algorithm.value, pin_file) as held:
            say(f"{algorithm.value} key {held.public_key.kid.hex()} created in the HSM")
        return
    pem, signer = new_key(algorithm.value)
    write_secret(Path(target), pem)
    say(f"{algorithm.value} key {signer.public_key.kid.hex()} written to {target}")


@keys_app.command("master")
def keys_master(
    target: Annotated[
        str, typer.Argument(metavar="KEY", help="The new file for the master key, or a pkcs11: URI with its label.")
    ],
    pin_file: Annotated[Path | None, PIN_FILE] = None,
) -> None:
    """Create a master key for derivation: 32 random bytes.

    A file has hexadecimal digits, or is encrypted if ITRON_CORE_PASSWORD_FILE names a file with a password.
    """
    if is_uri(target):
        new_master_key_at(target, pin_file).close()
        say("Master key created in the HSM")
        return
    new_master_key(Path(target))
    say(f"Master key written to {target}")


@keys_app.command("public")
def keys_public(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A private key: a file in PEM, or a pkcs11: URI.")],
    issuer: Annotated[str | None, typer.Option(help="The issuer's name in the keyring.")] = None,
    may_sign: Annotated[
        list[str] | None,
        typer.Option(
            help=f"A token type that it may sign, repeatable: {', '.join(TOKEN_TYPES)}. Default: the first three."
        ),
    ] = None,
    password_file: Annotated[Path | None, typer.Option(help="A file with the private key's password.")] = None,
    pin_file: Annotated[Path | None, PIN_FILE] = None,
) -> None:
    """Print a public key as a JWK set for --keyring."""
    signer = signer_at(key, pin_file) if is_uri(key) else read_signer(Path(key), password_file)
    entry = KeyringEntry(signer.public_key, issuer=issuer, token_types=may_sign)
    say(Keyring([entry]).to_jwks())


@keys_app.command("list")
def keys_list(keyring: Annotated[list[Path], KEYRING], as_json: Annotated[bool, JSON] = False) -> None:
    """List the keys of a keyring, and those that are skipped."""
    ring = read_keyring(keyring)
    rows = [
        [entry.key.kid.hex(), entry.key.algorithm, entry.issuer or "-", ", ".join(sorted(entry.token_types))]
        for entry in ring.entries
    ]
    show(["kid", "algorithm", "issuer", "may sign"], rows, as_json=as_json)
    for other in ring.skipped:
        remark(f"Ignored: {other}")
