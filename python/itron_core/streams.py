"""Streams of batches: bulk calls applied to one batch after another, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from itron_core import tables
from itron_core._arguments import instance
from itron_core._rust import verify_tokens
from itron_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import CapsuleType

    from itron_core._rust import Keyring, TokenResults

__all__ = ["Stream", "in_batches", "token_questions", "verify_stream"]

T = TypeVar("T")

# Arguments that may be columns: a column has the length of one batch, so it belongs into the batch.
_COLUMNS = ("audience", "epoch")


class Stream(Iterator[T], Generic[T]):
    """An iterator of results, one per batch; exports them as one Arrow stream (extra `io`), which reads on from where it is."""

    def __init__(self, items: Iterator[T], empty: Any) -> None:
        self._items, self._empty = items, empty

    def __next__(self) -> T:
        return next(self._items)

    def __arrow_c_stream__(self, requested_schema: CapsuleType | None = None) -> CapsuleType:
        """Return the results that were not read yet as an Arrow stream of batches. It is read once, like any iterator."""
        pa = tables.library("pyarrow", "an Arrow stream of results")
        batches = (batch for item in self for batch in pa.table(item).to_batches())
        first = next(batches, None)
        schema = pa.schema(self._empty) if first is None else first.schema
        chained = batches if first is None else _chained(first, batches)
        capsule: CapsuleType = pa.RecordBatchReader.from_batches(schema, chained).__arrow_c_stream__(requested_schema)
        return capsule


def _chained(first: T, rest: Iterator[T]) -> Iterator[T]:
    yield first
    yield from rest


def verify_stream(
    batches: Iterable[object],
    keyring: Keyring,
    *,
    token: str | None = None,
    names: bool = False,
    prefix: str = "",
    progress: Callable[[int], object] | None = None,
    **options: Any,
) -> Stream[Any]:
    """Map batches of tokens to their results, one at a time and in order; memory holds one batch.

    A batch is a column of tokens. With `token`, it is a table that has the tokens in the column of that name, and the result
    is the table with the answers beside its columns, as `frames.verify` returns it; `audience` and `epoch` may then be names of
    columns, too. `progress` is called after each batch with the number of rows that are done. `options` are those of
    `verify_tokens`, including `now`, and are checked at the call. Exceptions of `verify_tokens` for a batch are raised when its
    result is requested.
    """
    tables.check_naming(names, prefix)
    if token is not None:
        ask, empty = token_questions(keyring, token, options)
        answer = partial(
            tables.answered, ask=ask, empty=empty, prefixes=tables.CLAIMS_OF_TOKENS, names=names, prefix=prefix
        )
        return in_batches(answer, batches, empty, progress)
    options["columns"] = tables.read_once(options.get("columns"))
    verify: Callable[..., TokenResults] = partial(verify_tokens, keyring=keyring)
    empty = verify((), **options | {name: None for name in _COLUMNS if _is_column(options.get(name))})
    return in_batches(partial(verify, **options), batches, empty, progress)


def token_questions(
    keyring: Keyring, token: str, options: dict[str, Any]
) -> tuple[Callable[[Any, Any], TokenResults], TokenResults]:
    """Return what verifies the tokens of a table, and the results of no rows; both from the options of `frames.verify`."""
    instance("token", token, str)
    options = options | {"columns": tables.read_once(options.get("columns"))}
    audience, epoch = options.get("audience"), options.get("epoch")
    # A frame may come in batches: a column that is not its own would have the length of none of them.
    for name, asked, kinds, one in (("audience", audience, str, "device"), ("epoch", epoch, (str, Integral), "number")):
        if asked is not None and not isinstance(asked, kinds):
            raise InputError(f"{name}: got {type(asked).__name__}, expected the name of a column, or one {one}")
    verify: Callable[..., TokenResults] = partial(
        verify_tokens, keyring=keyring, **{name: options[name] for name in options if name not in _COLUMNS}
    )
    empty = verify((), epoch=None if isinstance(epoch, str) else epoch)

    def ask(table: Any, progress: Callable[[int], object] | None) -> TokenResults:
        return verify(
            tables.column(table, token, "token"),
            audience=_audience(table, audience),
            epoch=tables.column(table, epoch, "epoch") if isinstance(epoch, str) else epoch,
            progress=progress,
        )

    return ask, empty


def _audience(table: Any, audience: object) -> Any:
    """Return the column of devices, or the one device: only the id of a device has a colon."""
    if not isinstance(audience, str):
        return audience
    if ":" in audience and audience not in tables.column_names(table):
        return audience
    return tables.column(table, audience, "audience")


def in_batches(
    call: Callable[[object], T],
    batches: Iterable[object],
    empty: Any,
    progress: Callable[[int], object] | None = None,
) -> Stream[T]:
    """Map batches by `call` as they are requested. Raises InputError at once if `batches` is not iterable."""
    try:
        each = iter(batches)
    except TypeError as error:
        raise InputError(f"batches: got {type(batches).__name__}, expected an iterable of batches") from error
    tables.check_progress(progress)
    results = map(call, each)
    return Stream(results if progress is None else _told(results, progress), empty)


def _told(results: Iterator[T], progress: Callable[[int], object]) -> Iterator[T]:
    rows = 0
    for result in results:
        rows += len(result)  # type: ignore[arg-type]  # results know their rows
        progress(rows)
        yield result


def _is_column(asked: object) -> bool:
    return asked is not None and not isinstance(asked, (str, int))
