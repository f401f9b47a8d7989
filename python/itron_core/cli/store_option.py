"""`--store URL` on every command of a party: the place of its store, if not its folder."""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["named_store", "with_store"]

STORE = typer.Option(
    "--store",
    metavar="URL",
    envvar="ITRON_CORE_STORE",
    help="The party's store: postgresql://... or a file. Default: the one given to init, else store.db in HOME.",
)
_named: ContextVar[str | None] = ContextVar("named store", default=None)


def named_store() -> str | None:
    """Return the store named on the current command line."""
    return _named.get()


def with_store(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command with the additional option `--store`."""

    @wraps(command)
    def run(*arguments: Any, store: str | None = None, **options: Any) -> Any:
        before = _named.set(store)
        try:
            return command(*arguments, **options)
        finally:
            _named.reset(before)

    signature = inspect.signature(command, eval_str=True)
    option = inspect.Parameter(
        "store", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, STORE]
    )
    parameters = [*signature.parameters.values(), option]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # what Typer reads
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run
