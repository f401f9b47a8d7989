"""What only a terminal shows: colors and progress, drawn by rich. Imported only there: it takes as long as a small command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["draw", "with_progress"]


class _Console(Console):
    """A console that writes text unchanged, and leaves a closed pipe to its caller."""

    def __init__(self, *, stderr: bool) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, emoji=False, markup=False)

    def on_broken_pipe(self) -> None:
        """Raise the error: rich would exit with 1, which means refused rows."""
        raise  # noqa: PLE0704  # called by rich while it handles the BrokenPipeError


_OUT, _ERR = _Console(stderr=False), _Console(stderr=True)


def draw(text: str, style: str, *, stderr: bool) -> None:
    """Print text in a style, such as `red` or `bold`, where the terminal has it."""
    (_ERR if stderr else _OUT).print(Text(text), style=style)


def with_progress(batches: Iterable[Any], what: str) -> Iterator[Any]:
    """Show the number of processed rows on standard error."""
    columns = (TextColumn("{task.completed:,.0f} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=_ERR, transient=True) as progress:
        task = progress.add_task(what, total=None)
        for batch in batches:
            yield batch
            progress.advance(task, batch.num_rows)
