"""What a person sees while cells run: a bar in a terminal, elsewhere a line for each cell that starts or ends."""

import contextlib
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from jepa.comparison.runner import Show


@contextlib.contextmanager
def progress(num_cells: int) -> Iterator[Show]:
    """Yields a function that shows how many cells have ended, what runs and the time left, on stderr."""
    if not sys.stderr.isatty():
        yield lambda event, num_ended, outlook: _line(event, num_ended, num_cells, outlook)
        return
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), "{task.fields[outlook]}")
    console = Console(stderr=True)
    with Progress(*columns, console=console, redirect_stdout=False) as bars:
        task = bars.add_task("cells", total=num_cells, outlook="")

        def show(event: str, num_ended: int, outlook: str) -> None:
            if event:
                bars.console.print(event, markup=False, highlight=False)
            bars.update(task, completed=num_ended, outlook=outlook)

        yield show


def _line(event: str, num_ended: int, num_cells: int, outlook: str) -> None:
    if event:
        print(f"{event} ({num_ended} of {num_cells} cells, {outlook})", file=sys.stderr, flush=True)
