"""The columns of results before there are any: for engines that must know the types before the call.

`TOKENS` is what `verify_tokens` returns (`TOKENS_ALL` with `claims="all"`), `ROUTE` what `process_route` returns and
`READINGS` what `open_readings` returns. Each is the type of an empty result, so it cannot differ from what a call returns.
(Only a column of more than 2 GiB of text or bytes differs: it is of the large type.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from itron_core._arguments import EARLIEST
from itron_core._rust import Keyring, verify_tokens
from itron_core.errors import InputError
from itron_core.readings import open_readings
from itron_core.routes import NO_ROWS, process_route
from itron_core.tables import library

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import CapsuleType

__all__ = ["READINGS", "ROUTE", "TOKENS", "TOKENS_ALL", "Schema"]

_SQL = {
    "spark": {
        "int8": "TINYINT",
        "int16": "SMALLINT",
        "int32": "INT",
        "int64": "BIGINT",
        "bool": "BOOLEAN",
        "string": "STRING",
        "binary": "BINARY",
        "timestamp[us, UTC]": "TIMESTAMP",
    },
    "duckdb": {
        "int8": "TINYINT",
        "int16": "SMALLINT",
        "int32": "INTEGER",
        "int64": "BIGINT",
        "bool": "BOOLEAN",
        "string": "VARCHAR",
        "binary": "BLOB",
        "timestamp[us, UTC]": "TIMESTAMP WITH TIME ZONE",
    },
}
_QUOTES = {"spark": "`", "duckdb": '"'}


class Schema:
    """Names and types of result columns. Exports the Arrow schema: `pyarrow.schema(schemas.TOKENS)`."""

    __slots__ = ("_empty",)

    def __init__(self, results: Any) -> None:
        self._empty = results[:0]

    @property
    def names(self) -> list[str]:
        """The names of the columns in their order."""
        names: list[str] = self._empty.column_names
        return names

    @property
    def types(self) -> list[str]:
        """The Arrow type of each column, as pyarrow writes it."""
        return [self._empty[name].type for name in self.names]

    def __arrow_c_schema__(self) -> CapsuleType:
        """Return the Arrow schema as a capsule: a struct of the columns."""
        capsule: CapsuleType = self._empty.__arrow_c_schema__()
        return capsule

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and (self.names, self.types) == (other.names, other.types)

    def __hash__(self) -> int:
        return hash((*self.names, *self.types))

    def __repr__(self) -> str:
        return f"Schema({', '.join(f'{name}: {of}' for name, of in zip(self.names, self.types, strict=True))})"

    def ddl(self, engine: str) -> str:
        """Return the columns as SQL declares them, for engine "spark" or "duckdb". Raises InputError for another."""
        if engine not in _SQL:
            raise InputError(f"engine: got {engine!r}, expected one of {', '.join(_SQL)}")
        types, quote = _SQL[engine], _QUOTES[engine]
        each = zip(self.names, self.types, strict=True)
        return ", ".join(f"{_quoted(name, quote)} {types[of]}" for name, of in each)

    def polars(self) -> Any:
        """Return the columns as a `polars.Schema`. Raises ImportError if Polars is not installed."""
        schema: Any = library("polars", "polars()").DataFrame(self._empty).schema
        return schema

    def select(self, columns: Iterable[str]) -> Schema:
        """Return the schema of some columns, in this order, as `columns=` of a call makes them."""
        if isinstance(columns, str):
            raise InputError(f"columns: got one str, expected a list of names, as in [{columns!r}]")
        chosen = list(columns)
        unknown = [name for name in chosen if name not in self.names]
        if unknown:
            raise InputError(f"columns: got {unknown[0]!r}, expected some of {', '.join(self.names)}")
        return Schema(self._empty._picked([(name, name) for name in chosen]))  # noqa: SLF001  # the results' own half

    def named(self) -> Schema:
        """Return the schema of `results.names()`: strings in place of numbers that stand for something."""
        return Schema(self._empty.names())

    def prefixed(self, prefix: str) -> Schema:
        """Return the same types under names that begin with `prefix`."""
        return Schema(self._empty._picked([(name, f"{prefix}{name}") for name in self.names]))  # noqa: SLF001  # as above


def _quoted(name: str, quote: str) -> str:
    return name if name.isidentifier() and name.isascii() else quote + name.replace(quote, 2 * quote) + quote


_EMPTY = Keyring([])

TOKENS = Schema(verify_tokens((), _EMPTY, now=EARLIEST))
TOKENS_ALL = Schema(verify_tokens((), _EMPTY, now=EARLIEST, claims="all"))
ROUTE = Schema(process_route(NO_ROWS, _EMPTY, now=EARLIEST, permissions=0))
READINGS = Schema(open_readings((), None, profile="cose"))
