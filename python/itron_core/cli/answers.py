"""Answers beside their input rows: names for numbers, and free names for columns."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

from itron_core.cli.cells import TOKEN_COLUMNS
from itron_core.cli.output import remark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Beside", "named", "paired", "record_batch"]

Results = TypeVar("Results")


def record_batch(results: Any) -> Any:
    """Return results as a record batch of pyarrow."""
    import pyarrow as pa

    return pa.record_batch(results)


def named(numbers: Any, name_of: Callable[[int], str]) -> tuple[Any, Counter[str]]:
    """Return a column of numbers as a column of names, and how often each name occurs."""
    import pyarrow as pa
    import pyarrow.compute as pc

    encoded = pc.dictionary_encode(numbers)
    names = [name_of(number) for number in encoded.dictionary.to_pylist()]
    counts: Counter[str] = Counter()
    for entry in pc.value_counts(encoded.indices).to_pylist():
        counts[names[entry["values"]]] += entry["counts"]
    return pa.array(names, pa.string()).take(encoded.indices), counts


def paired(
    batches: Iterable[Any], process: Callable[[Iterable[Any]], Iterable[Results]]
) -> Iterator[tuple[Any, Results]]:
    """Pair each batch with the result of `process` for it, one batch at a time."""
    waiting: list[Any] = []

    def remembered() -> Iterator[Any]:
        for batch in batches:
            waiting.append(batch)
            yield batch

    for results in process(remembered()):
        yield waiting.pop(0), results


class Beside:
    """Adds the columns of answers to those of the input, without the tokens.

    If the input has a column of that name, the answer's column is named `answer_` plus the name, which is reported once.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def __call__(self, batch: Any, answers: Any) -> Any:
        """Return both as one batch."""
        import pyarrow as pa

        kept = [at for at, name in enumerate(batch.schema.names) if name not in TOKEN_COLUMNS]
        # SQL and spreadsheets do not tell names apart by their case.
        taken = {name.casefold(): name for name in (batch.schema.names[at] for at in kept)}
        names = [self._free(name, taken) for name in answers.schema.names]
        fields = [batch.schema.field(at) for at in kept]
        fields += [field.with_name(name) for field, name in zip(answers.schema, names, strict=True)]
        columns = [batch.column(at) for at in kept] + answers.columns
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))

    def _free(self, name: str, taken: dict[str, str]) -> str:
        """Return the name of an answer's column beside the input's, which are `taken`: each by its name without case."""
        if name not in taken:
            return name
        if name not in self._names:
            free = f"answer_{name}"
            while free in taken:
                free = f"answer_{free}"
            self._names[name] = free
            remark(f'The input already has a column "{taken[name]}": the answer is in "{free}".')
        return self._names[name]
