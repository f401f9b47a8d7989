"""Streams of tokens: `verify_tokens` applied to a stream of batches."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from itron_core._rust import verify_tokens
from itron_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from itron_core._rust import Keyring, TokenResults

__all__ = ["in_batches", "verify_stream"]

T = TypeVar("T")

# Arguments that may be columns: a column has the length of one batch, so it belongs into the batch.
_COLUMNS = ("audience", "epoch")


def verify_stream(batches: Iterable[object], keyring: Keyring, **options: object) -> Iterator[TokenResults]:
    """Map batches of tokens to their results, one at a time and in order; memory holds one batch.

    `options` are those of `verify_tokens`, including `now`, and are checked at the call. Exceptions of `verify_tokens` for
    a batch are raised when its result is requested.
    """
    verify = partial(verify_tokens, keyring=keyring)
    verify((), **options | {name: None for name in _COLUMNS if _is_column(options.get(name))})  # type: ignore[arg-type]
    return in_batches(partial(verify, **options), batches)


def in_batches(call: Callable[[object], T], batches: Iterable[object]) -> Iterator[T]:
    """Map batches by `call` as they are requested. Raises InputError at once if `batches` is not iterable."""
    try:
        each = iter(batches)
    except TypeError as error:
        raise InputError(f"batches: got {type(batches).__name__}, expected an iterable of batches") from error
    return map(call, each)


def _is_column(asked: object) -> bool:
    return asked is not None and not isinstance(asked, (str, int))
