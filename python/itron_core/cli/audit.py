"""Audit logs on the command line."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itron_core.audit import read_checkpoint, verify
from itron_core.cli import folders as homes
from itron_core.cli.failures import UnreadableError
from itron_core.cli.inputs import text_of
from itron_core.cli.options import HOME, group
from itron_core.cli.output import counted, say
from itron_core.errors import AuditError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from itron_core._rust import PublicKey

audit_app = group("The tamper-evident audit log of a manager or a server.")


@audit_app.command("verify")
def audit_verify(
    home: Annotated[Path, HOME],
    trusted: Annotated[
        Path | None, typer.Option(metavar="CHECKPOINT", help="An older checkpoint of the log that was kept elsewhere.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="NAME+HASH+KEY", help="The log's verifier key; by default the one in its folder."),
    ] = None,
) -> None:
    """Verify the log of a manager or a server from its files alone. Reads no secret."""
    folder, known, origin = homes.audit_origin(home, key)
    checkpoint = None if trusted is None else text_of(trusted, "the checkpoint").encode()
    if checkpoint is not None:
        _check_comparison(checkpoint, trusted, known, origin)
    with _as_written():
        found = verify(folder, known, origin=origin, trusted=checkpoint)
    say(f"{counted(found.size, 'entry', 'entries')} of {origin}, root {found.root.hex()[:16]}...: verified.")


def _check_comparison(checkpoint: bytes, path: Path | None, key: PublicKey, origin: str) -> None:
    """Raise UnreadableError if the trusted checkpoint is damaged, which is not a fault of the log."""
    try:
        read_checkpoint(checkpoint, key, origin=origin)
    except AuditError as error:
        raise UnreadableError(f"{path} is not a checkpoint of this log: {error}") from error


@audit_app.command("list")
def audit_list(home: Annotated[Path, HOME], last: Annotated[int, typer.Option(min=1)] = 20) -> None:
    """Print the last entries of a log."""
    with _as_written():
        log = homes.log(home)
        size = log.size
        for entry in log.entries(max(0, size - last), size):
            say(entry.decode())


@contextmanager
def _as_written() -> Iterator[None]:
    try:
        yield
    except AuditError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
            # Nothing is known of its entries then.
            raise StoreError(f"the audit log cannot be read: {error}") from error
        where = f" in {error.path}" if error.path else ""
        raise UnreadableError(f"the audit log was changed or damaged: {error}{where}") from error
