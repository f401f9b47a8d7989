"""Tokens in batches without end: what `verify_tokens` does to one batch, done to a stream of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from itron_core._rust import verify_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from itron_core._rust import Keyring, TokenResults

__all__ = ["verify_stream"]


def verify_stream(batches: Iterable[object], keyring: Keyring, **options: object) -> Iterator[TokenResults]:
    """Map batches of tokens to their results, one at a time and in order: memory is that of one batch.

    `options` are those of `verify_tokens`, `now` among them. What `verify_tokens` raises for a batch is raised when
    its result is asked for.
    """
    return map(partial(verify_tokens, keyring=keyring, **options), batches)  # type: ignore[arg-type]  # checked by the call
