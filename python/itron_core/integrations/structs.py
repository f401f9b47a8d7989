"""Tokens in, one struct per row out: what a function of an engine's SQL answers."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

from itron_core._rust import verify_tokens
from itron_core.errors import InputError
from itron_core.schemas import Schema
from itron_core.tables import check_naming, library, read_once

if TYPE_CHECKING:
    from itron_core._rust import Keyring

__all__ = ["TokenFunction"]


class TokenFunction:
    """A function of two Arrow arrays, tokens and devices, to an Arrow array of structs. A null device is not asked."""

    def __init__(self, keyring: Keyring, *, names: bool = False, **options: Any) -> None:
        check_naming(names, "")
        if options.get("audience") is not None:
            raise InputError("audience: got an option, expected the second argument of the function, row by row")
        if not isinstance(options.get("epoch"), Integral | None):
            raise InputError(f"epoch: got {type(options['epoch']).__name__}, expected one number for all rows")
        self._keyring, self._names = keyring, names
        self._options = options | {"columns": read_once(options.get("columns"))}
        # Checks the options where the function is made, not in the middle of a query.
        empty = verify_tokens((), keyring, **self._options)
        self.schema = Schema(empty.names() if names else empty)

    def __call__(self, tokens: Any, devices: Any) -> Any:
        """Return the structs of as many rows."""
        results = verify_tokens(tokens, self._keyring, audience=devices, **self._options)
        return library("pyarrow", "this function").array(results.names() if self._names else results)
