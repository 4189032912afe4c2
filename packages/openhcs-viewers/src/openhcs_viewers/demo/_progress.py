"""The demo's progress: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

Advance = Callable[[int, str], None]
"""``advance(done, what)``: how many are done, and what was done last."""


@contextmanager
def progress_bar(console: Console, title: str, total: int) -> Iterator[Advance]:
    """Show how far something is; the bar stays when it is done.

    Yields
    ------
    Advance
        To be called from the thread that entered this.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[what]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title.ljust(12), total=total, what="")

        def advance(done: int, what: str) -> None:
            progress.update(task, completed=done, what=what)

        yield advance
        progress.update(task, what="")
