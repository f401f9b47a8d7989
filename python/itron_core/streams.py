"""Tokens in batches without end: what `verify_tokens` does to one batch, done to a stream of them."""

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

# What may be asked row by row: a column of it has the length of a batch, so that only a batch can be asked with it.
_COLUMNS = ("audience", "epoch")


def verify_stream(batches: Iterable[object], keyring: Keyring, **options: object) -> Iterator[TokenResults]:
    """Map batches of tokens to their results, one at a time and in order: memory is that of one batch.

    `options` are those of `verify_tokens`, `now` among them, and checked at the call. What `verify_tokens` raises for
    a batch is raised when its result is asked for.
    """
    verify = partial(verify_tokens, keyring=keyring)
    verify((), **options | {name: None for name in _COLUMNS if _is_column(options.get(name))})  # type: ignore[arg-type]
    return in_batches(partial(verify, **options), batches)


def in_batches(call: Callable[[object], T], batches: Iterable[object]) -> Iterator[T]:
    """Map batches by `call` as they are asked for; what cannot be iterated raises `InputError` at once."""
    try:
        each = iter(batches)
    except TypeError as error:
        raise InputError(f"batches: got {type(batches).__name__}, wanted an iterable of batches") from error
    return map(call, each)


def _is_column(asked: object) -> bool:
    return asked is not None and not isinstance(asked, (str, int))
