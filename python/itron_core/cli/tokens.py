"""Tokens in files: verify them, issue them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itron_core.cli.answers import Beside, named, paired, record_batch
from itron_core.cli.columns import REQUEST_COLUMNS, TOKEN, check_columns, rows_counted_from
from itron_core.cli.files import STANDARD_STREAM, read_rows, rows_to
from itron_core.cli.inputs import member, moment, read_keyring, zone_of
from itron_core.cli.key_files import read_signer
from itron_core.cli.options import (
    INPUT_FILE,
    INPUT_FORMAT,
    JSON,
    KEYRING,
    LEGACY_ALGORITHMS,
    NOW,
    OUTPUT_FILE,
    OUTPUT_FORMAT,
    PIN_FILE,
    THREADS,
    TIME_ZONE,
    FileFormat,
    TokenType,
)
from itron_core.cli.output import exit_code, show_counts, with_progress
from itron_core.cli.pkcs11 import is_uri, signer_at
from itron_core.enums import Action, Code
from itron_core.issuing import issue_tokens
from itron_core.streams import verify_stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def verify(
    source: Annotated[str, INPUT_FILE],
    keyring: Annotated[list[Path], KEYRING],
    *,
    column: Annotated[str, typer.Option(help="The name of the column of tokens.")] = "token",
    token_type: Annotated[
        TokenType, typer.Option(help="The type that the tokens must have.")
    ] = TokenType.AUTHORIZATION,
    action: Annotated[str | None, typer.Option(help="An action that each token must grant.")] = None,
    skew: Annotated[int, typer.Option(min=0, max=600, help="Seconds of tolerance between clocks.")] = 120,
    legacy_algorithms: Annotated[bool, LEGACY_ALGORITHMS] = False,
    threads: Annotated[int | None, THREADS] = None,
    now: Annotated[str | None, NOW] = None,
    input_format: Annotated[FileFormat | None, INPUT_FORMAT] = None,
    target: Annotated[str | None, OUTPUT_FILE] = None,
    target_format: Annotated[FileFormat | None, OUTPUT_FORMAT] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Verify a column of tokens.

    Adds one result code per row, and the claims of genuine tokens.
    """
    ring = read_keyring(keyring)
    counts: Counter[str] = Counter()
    options: dict[str, Any] = {
        "now": moment(now),
        "token_type": token_type.value,
        "action": None if action is None else member(Action, action, "action"),
        "skew": skew,
        "legacy_algorithms": legacy_algorithms,
        "threads": threads,
    }
    beside = Beside()
    with rows_to(target, target_format) as write:
        batches = with_progress(read_rows(source, input_format, {column: TOKEN}), "tokens verified")
        for batch, results in paired(batches, lambda b: verify_stream(_tokens(b, column, source), ring, **options)):
            verified = record_batch(results)
            names, some = named(verified["code"], _code_name)
            counts += some
            if target is not None:
                rest = batch.remove_column(batch.schema.get_field_index(column))
                write(beside(rest, verified.add_column(1, "name", names)))
    show_counts({"code": counts}, as_json=as_json, to_remarks=target == STANDARD_STREAM)
    raise typer.Exit(exit_code(counts, "ok"))


def issue(
    source: Annotated[str, INPUT_FILE],
    key: Annotated[str, typer.Option("--key", metavar="KEY", help="The private key: a file in PEM, or a pkcs11: URI.")],
    target: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Write the tokens here; - is standard output.")
    ],
    *,
    password_file: Annotated[Path | None, typer.Option(help="A file with the private key's password.")] = None,
    pin_file: Annotated[Path | None, PIN_FILE] = None,
    token_type: Annotated[TokenType, typer.Option(help="The type of token to issue.")] = TokenType.AUTHORIZATION,
    max_lifetime: Annotated[int | None, typer.Option(min=1, help="Seconds. Default: the type's own.")] = None,
    time_zone: Annotated[str | None, TIME_ZONE] = None,
    now: Annotated[str | None, NOW] = None,
    input_format: Annotated[FileFormat | None, INPUT_FORMAT] = None,
    target_format: Annotated[FileFormat | None, OUTPUT_FORMAT] = None,
) -> None:
    """Issue one token per row of a request.

    Writes the columns `device` and `token`, in the same order.
    """
    import pyarrow as pa

    signer = signer_at(key, pin_file) if is_uri(key) else read_signer(Path(key), password_file)
    at, rows = moment(now), 0
    with rows_to(target, target_format, private=True) as write:
        batches = read_rows(source, input_format, REQUEST_COLUMNS, zone=zone_of(time_zone))
        for batch in with_progress(batches, "tokens issued"):
            with rows_counted_from(rows):
                tokens = issue_tokens(batch, signer, now=at, token_type=token_type.value, max_lifetime=max_lifetime)
            rows += batch.num_rows
            write(pa.record_batch({"device": batch["device"], "token": pa.array(tokens)}))


def _tokens(batches: Iterable[Any], column: str, source: str) -> Iterator[Any]:
    for batch in batches:
        check_columns(source, batch, [column], "name it with --column")
        yield batch[column]


def _code_name(code: int) -> str:
    return Code(code).name.lower()
