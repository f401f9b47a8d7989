"""Keys on the command line: create, show, list."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from itron_core._rust import Keyring, KeyringEntry
from itron_core.cli.inputs import read_keyring
from itron_core.cli.key_files import new_key, read_signer, write_secret
from itron_core.cli.options import JSON, KEYRING, group
from itron_core.cli.output import say, show
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
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The new file for the private key.")],
    algorithm: Annotated[Algorithm, typer.Option(help="The signature algorithm.")] = Algorithm.ED25519,
) -> None:
    """Create a private key.

    The file is PEM (PKCS#8), not encrypted, and readable only by its owner.
    """
    pem, signer = new_key(algorithm.value)
    write_secret(target, pem)
    say(f"{algorithm.value} key {signer.public_key.kid.hex()} written to {target}")


@keys_app.command("public")
def keys_public(
    key: Annotated[Path, typer.Argument(metavar="FILE", help="A private key, PEM.")],
    issuer: Annotated[str | None, typer.Option(help="The issuer's name in the keyring.")] = None,
    may_sign: Annotated[
        list[str] | None,
        typer.Option(
            help=f"A token type that it may sign, repeatable: {', '.join(TOKEN_TYPES)}. Default: the first three."
        ),
    ] = None,
    password_file: Annotated[Path | None, typer.Option(help="A file with the private key's password.")] = None,
) -> None:
    """Print a public key as a JWK set for --keyring."""
    entry = KeyringEntry(read_signer(key, password_file).public_key, issuer=issuer, token_types=may_sign)
    say(Keyring([entry]).to_jwks())


@keys_app.command("list")
def keys_list(keyring: Annotated[list[Path], KEYRING], as_json: Annotated[bool, JSON] = False) -> None:
    """List the keys of a keyring."""
    rows = [
        [entry.key.kid.hex(), entry.key.algorithm, entry.issuer or "-", ", ".join(sorted(entry.token_types))]
        for entry in read_keyring(keyring).entries
    ]
    show(["kid", "algorithm", "issuer", "may sign"], rows, as_json=as_json)
