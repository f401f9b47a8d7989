"""Tables of other libraries: their columns in, answers beside them out, and results as their kinds.

No library is imported before one of its tables came, or its kind was asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from itron_core._arguments import instance
from itron_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from itron_core._rust import Column

__all__ = [
    "CLAIMS_OF_TELEGRAMS",
    "CLAIMS_OF_TOKENS",
    "answered",
    "check_naming",
    "check_progress",
    "column",
    "column_names",
    "columns",
    "is_table",
    "library",
    "read_once",
]

# The extra that installs a library; of the others, the command names the library itself.
_EXTRAS = {"pyarrow": "io", "narwhals": "frames", "pyspark": "spark", "datafusion": "datafusion", "polars": "polars"}

NOT_A_TIME = -(2**63)


def library(name: str, purpose: str, extra: str | None = None) -> Any:
    """Return a library's module. Raises ImportError with the command that installs it: by `extra`, or the library's own."""
    try:
        return import_module(name)
    except ImportError as error:
        root = name.partition(".")[0]
        extra = extra or _EXTRAS.get(root)
        wanted = f"'itron-core[{extra}]'" if extra else root
        raise ImportError(f"{purpose} needs {root}; run: pip install {wanted}") from error


# Results as other kinds; called by the results' own methods.


def to_arrow(results: Any) -> Any:
    """Return results as a `pyarrow.Table`."""
    pa = library("pyarrow", "to_arrow")
    return pa.table(results)


def to_pandas(results: Any, index: Any = None) -> Any:
    """Return results as a `pandas.DataFrame` of Arrow types, so that integers beside nulls stay integers."""
    pd = library("pandas", "to_pandas")
    columns = {name: _extension_array(results[name]) for name in results.column_names}
    return pd.DataFrame(columns, index=_index(pd, index, len(results)))


def to_polars(results: Any) -> Any:
    """Return results as a `polars.DataFrame`."""
    return library("polars", "to_polars").DataFrame(results)


def column_to_arrow(column: Column) -> Any:
    """Return a column as a `pyarrow.Array`."""
    return library("pyarrow", "to_arrow").array(column)


def column_to_pandas(column: Column, index: Any = None) -> Any:
    """Return a column as a `pandas.Series` of its Arrow type."""
    pd = library("pandas", "to_pandas")
    return pd.Series(_extension_array(column), index=_index(pd, index, len(column)), name=column.name or None)


def column_to_polars(column: Column) -> Any:
    """Return a column as a `polars.Series`."""
    return library("polars", "to_polars").Series(column.name, column)


def column_to_numpy(column: Column, dtype: Any = None, copy: bool | None = None) -> Any:  # noqa: FBT001  # NumPy's own signature
    """Return a column as a NumPy array: a view where it can be one; objects where NumPy has no value for null."""
    np = library("numpy", "__array__")
    ticks = column._ticks(NOT_A_TIME)  # noqa: SLF001  # the column's half of this function
    shared = True
    if ticks is not None:
        array = np.asarray(memoryview(cast("Any", ticks))).view("datetime64[us]")
        shared = column.null_count == 0
    elif column.type.startswith("int") and column.null_count == 0:
        array = np.asarray(memoryview(cast("Any", column)))
    else:
        shared = False
        is_flag = column.type == "bool" and column.null_count == 0
        array = np.empty(len(column), bool if is_flag else object)
        array[:] = column.to_pylist()
    wanted = array if dtype is None else array.astype(dtype, copy=False)
    if copy is False and not (shared and wanted is array):
        raise ValueError(
            f"copy: got False, expected None or True: a column of {column.type} becomes an array of {wanted.dtype} only by a copy"
        )
    return wanted.copy() if copy and wanted is array and shared else wanted


def _extension_array(column: Column) -> Any:
    pd = library("pandas", "to_pandas")
    return pd.arrays.ArrowExtensionArray(library("pyarrow", "to_pandas").array(column))


def _index(pd: Any, index: Any, rows: int) -> Any:
    if index is None:
        return None
    index = pd.Index(index)
    if len(index) != rows:
        raise InputError(f"index: got {len(index)} labels, expected {rows}, as many as there are rows")
    return index


# Tables in, tables out.

# What to do with a frame of an engine (docs/frames.md).
_OF_ENGINES = {
    "dask": "; pass this function to frame.map_partitions",
    "daft": "; pass frame.to_arrow()",
    "datafusion": "; pass frame.to_arrow_table()",
    "pyspark": "; call itron_core.integrations.spark",
}


def is_table(given: object) -> bool:
    """Return whether this is a table whose kind is known here."""
    return _kind(given) in _EAGER or _kind(given) in _LAZY


def column_names(table: Any) -> list[str]:
    """Return the names of a table's columns in their order; labels that are no text are left out."""
    kind = _kind(table)
    if kind == "polars.LazyFrame":
        names = table.collect_schema().names()
    elif kind.startswith("pyarrow."):
        names = table.schema.names
    else:
        names = list(table.columns)
    return [name for name in names if isinstance(name, str)]


def column(table: Any, name: str, argument: str) -> Any:
    """Return the column of a name. Raises InputError, about `argument`, if the table has none or several of it."""
    names = column_names(table)
    if names.count(name) != 1:
        found = "several columns" if name in names else "no column"
        there = f"one of {', '.join(names[:40])}" if names else "a frame whose columns are named by text"
        raise InputError(f"{argument}: got {found} {name!r}, expected {there}")
    if _kind(table) == "pyarrow.RecordBatch":
        return table.column(name)
    return table[name]


def columns(table: Any) -> Any:
    """Return a table as its columns by name; a column that nobody asks for is then never read."""
    if _kind(table) != "pandas.DataFrame":
        return table
    names = column_names(table)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"frame: got several columns {twice!r}, expected each name once")
    return {name: table[name] for name in names}


def beside(table: Any, results: Any) -> Any:
    """Return the table with the columns of results beside its own, row for row."""
    if len(table) != len(results):
        raise InputError(f"results: got {len(results)} rows, expected {len(table)}, as many as the table has")
    return _EAGER[_kind(table)](table, {name: results[name] for name in results.column_names})


def mapped(table: Any, answer: Callable[[Any], Any], schema: Any) -> Any:
    """Return what `answer` makes of a table, and of a lazy one batch by batch when it is read.

    `schema` are the columns that `answer` puts beside those of the table, of no rows.
    """
    kind = _kind(table)
    return answer(table) if kind in _EAGER else _LAZY[kind](table, answer, schema)


def unwrapped(table: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return a table of a library, and what makes a table of the caller's kind of it. Raises InputError for other kinds."""
    if is_table(table):
        return table, lambda same: same
    narwhals: Any = sys.modules.get("narwhals")
    native = table if narwhals is None else narwhals.to_native(table, pass_through=True)
    if native is not table and is_table(native):
        return native, narwhals.from_native
    came, kind = type(table).__module__.partition(".")[0], type(table).__qualname__
    named = kind if came == "builtins" else f"{came}.{kind}"
    hint = _OF_ENGINES.get(came, "")
    raise InputError(f"frame: got {named}, expected a table of pandas, Polars, PyArrow, DuckDB or narwhals{hint}")


def answered(
    frame: Any,
    ask: Callable[[Any, Callable[[int], object] | None], Any],
    empty: Any,
    *,
    prefixes: str = "",
    names: bool = False,
    prefix: str = "",
    progress: Callable[[int], object] | None = None,
) -> Any:
    """Return a frame of any kind with what `ask` answers of its rows beside them; `empty` are the same results of no rows.

    `ask` takes a table, and what it tells the number of rows that are done, or None.
    The new names begin with `prefix`. Without one, a claim whose name is taken begins with `prefixes`; any other raises InputError.
    """
    check_naming(names, prefix)
    check_progress(progress)
    frame, wrap = unwrapped(frame)
    pairs = _new_names(column_names(frame), empty.column_names, prefixes, prefix)
    done = 0

    def shown(results: Any) -> Any:
        return (results.names() if names else results)._picked(pairs)  # noqa: SLF001  # the results' own half

    def answer(table: Any) -> Any:
        nonlocal done
        before = done
        tell = None if progress is None else lambda rows: progress(before + rows)
        answers = beside(table, shown(ask(table, tell)))
        done += len(table)
        return answers

    return wrap(mapped(frame, answer, shown(empty)))


def check_naming(names: object, prefix: object) -> None:
    """Raise InputError unless these say how answers are named."""
    instance("names", names, bool)
    instance("prefix", prefix, str)


def check_progress(progress: object) -> None:
    """Raise InputError unless this can be told the number of rows that are done, or is None."""
    if progress is not None and not callable(progress):
        raise InputError(f"progress: got {type(progress).__name__}, expected None or a callable")


def read_once(names: Any) -> Any:
    """Return names that can be read again: an iterator cannot."""
    return list(names) if isinstance(names, Iterator) else names


# A frame must not have a verdict of this name already: a reader could take the old one for the new one. A claim of a token
# may well be a column already: the new one begins with a prefix.
_VERDICTS = frozenset({"code", "decision", "reason", "missing", "unverified", "unreadable", "session_until"})
CLAIMS_OF_TOKENS = "token_"
CLAIMS_OF_TELEGRAMS = "telegram_"


def _new_names(there: list[str], answers: list[str], prefixes: str, prefix: str) -> list[tuple[str, str]]:
    """Return the names of the answers and what they are called beside the columns that are there.

    Names that differ in case alone are one: SQL does not tell them apart.
    """
    taken, pairs = {name.casefold(): name for name in there}, []
    for name in answers:
        new = prefix + name
        if new.casefold() in taken and prefixes and not prefix and name not in _VERDICTS:
            new = prefixes + name
        if old := taken.get(new.casefold()):
            raise InputError(f"frame: got a column {old!r} already; pass another prefix=, or leave that column out")
        taken[new.casefold()] = new
        pairs.append((name, new))
    return pairs


def _kind(table: object) -> str:
    """Return the library and the class of a table; "" for anything else."""
    for of in type(table).__mro__:
        kind = f"{of.__module__.partition('.')[0].lstrip('_')}.{of.__name__}"
        if kind in _EAGER or kind in _LAZY:
            return kind
    return ""


def _beside_pandas(table: Any, columns: dict[str, Column]) -> Any:
    # Columns are set by position: neither labels that come twice nor their order can move an answer to another row.
    table = table.copy(deep=False)
    for name, of in columns.items():
        table[name] = _extension_array(of)
    return table


def _beside_polars(table: Any, columns: dict[str, Column]) -> Any:
    pl = sys.modules["polars"]
    return table.hstack([pl.Series(name, of) for name, of in columns.items()])


def _beside_arrow(table: Any, columns: dict[str, Column]) -> Any:
    pa = sys.modules["pyarrow"]
    for name, of in columns.items():
        table = table.append_column(name, pa.array(of))
    return table


def _mapped_polars(table: Any, answer: Callable[[Any], Any], schema: Any) -> Any:
    pl = sys.modules["polars"]
    whole = pl.Schema({**table.collect_schema(), **pl.DataFrame(schema).schema})
    # A filter or a choice of columns after this step may name the answers, which are not there before it.
    return table.map_batches(answer, schema=whole, predicate_pushdown=False, projection_pushdown=False, streamable=True)


def _mapped_arrow(table: Any, answer: Callable[[Any], Any], schema: Any) -> Any:
    pa = sys.modules["pyarrow"]
    batches = table.to_batches() if hasattr(table, "to_batches") else table
    whole = pa.schema([*table.schema, *pa.schema(schema)], table.schema.metadata)
    return pa.RecordBatchReader.from_batches(whole, map(answer, batches))


def _mapped_duckdb(table: Any, answer: Callable[[Any], Any], _schema: Any) -> Any:
    # DuckDB finds the variable of this name, unless there is a table of that name: nobody else has one. The query is run by the
    # relation's own connection.
    itron_core_answers_beside_rows = answer(library("pyarrow", "a DuckDB relation", "duckdb").table(table))
    assert itron_core_answers_beside_rows is not None  # noqa: S101  # the name is read by DuckDB alone
    return table.query("itron_core_asked", "SELECT * FROM itron_core_answers_beside_rows")


_EAGER: dict[str, Callable[[Any, dict[str, Column]], Any]] = {
    "pandas.DataFrame": _beside_pandas,
    "polars.DataFrame": _beside_polars,
    "pyarrow.Table": _beside_arrow,
    "pyarrow.RecordBatch": _beside_arrow,
}
_LAZY: dict[str, Callable[[Any, Callable[[Any], Any], Any], Any]] = {
    "polars.LazyFrame": _mapped_polars,
    "pyarrow.RecordBatchReader": _mapped_arrow,
    "pyarrow.Dataset": _mapped_arrow,
    "duckdb.DuckDBPyRelation": _mapped_duckdb,
}
