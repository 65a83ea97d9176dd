"""What is being timed, while it is: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINE_SECONDS = 10.0
"""Without a terminal, a line this often at most."""


@contextmanager
def watching(total: int, *, silent: bool = False) -> Iterator[Callable[[str], None]]:
    """Yield what to tell, `total` times in all, what comes next."""
    console = Console(stderr=True, quiet=silent, highlight=False)
    if console.is_terminal and not silent:
        columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(),
                   TextColumn("{task.description}", markup=False))  # fmt: skip
        with Progress(*columns, console=console) as progress:
            task, told = progress.add_task("", total=total), 0

            def show(what: str) -> None:
                nonlocal told
                progress.update(task, description=what, completed=told)
                told += 1

            yield show
            progress.update(task, description="", completed=total)
        return
    spoken, told = -LINE_SECONDS, 0

    def say(what: str) -> None:
        nonlocal spoken, told
        told += 1
        if time.monotonic() - spoken > LINE_SECONDS:
            spoken = time.monotonic()
            console.print(f"[{told}/{total}] {what}", markup=False, soft_wrap=True)

    yield say
