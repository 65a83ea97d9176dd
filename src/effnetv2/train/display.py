"""A run as a person follows it: a table of phases, then a bar; plain lines without a terminal."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from effnetv2.data.samples import Data
from effnetv2.train.recipe import Recipe
from effnetv2.train.schedules import Phase, Replan, Timeline

LINE_SECONDS = 15.0
"""Without a terminal, a line this often at most."""


class Display:
    """Speaks to the console; a silent one says nothing (other ranks, tests, `--quiet`)."""

    def __init__(self, *, silent: bool = False) -> None:
        """Write to standard error, so that standard output stays for results."""
        self.console = Console(stderr=True, quiet=silent, highlight=False)
        self.progress: Progress | None = None
        self.accuracy = ""

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, markup=False, soft_wrap=True)

    def about(self, data: Data, recipe: Recipe, record: Mapping[str, Any]) -> None:
        """Print what is trained on what, and everything about the data worth knowing."""
        parts = ", ".join(f"{len(s):,} {part}" for part, s in data.parts.items())
        params = record["network"]["params"] / 1e6
        hardware = record["hardware"]
        self.say(f"{data.name}: {len(data.train.classes)} classes, {parts}")
        self.say(
            f"{recipe.network.name}: {params:.2f} M parameters on {hardware['device']} "
            f"({hardware['processor']}), {hardware['precision']}"
        )
        for note in record["notes"]:
            self.say(f"note: {note}")
        counts = data.train.counts()
        if recipe.class_weights == "balanced":
            self.say("note: classes weigh the inverse of their share of the training pictures")
        elif counts.max() > 3 * counts.min():
            self.say(
                f"note: the largest class has {counts.max():,} pictures, the smallest "
                f"{counts.min():,}; --class-weights balanced evens them out"
            )

    def phases(self, timeline: Timeline) -> None:
        """Print what training will do, a row a phase."""
        title = f"{timeline.steps:,} steps, {timeline.epochs:.0f} epochs"
        table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name in ("phase", "steps", "epochs", "px", "batch", "RandAug", "mixup", "CutMix",
                     "dropout", "path drop"):  # fmt: skip
            table.add_column(name, justify="right", no_wrap=True)
        for i, p in enumerate(timeline.phases, 1):
            steps = p.stop - p.start
            table.add_row(
                str(i), f"{steps:,}", f"{steps * p.batch_size / timeline.images:.1f}",
                str(p.resolution), str(p.batch_size), f"{p.randaugment:.1f}", f"{p.mixup:.2f}",
                f"{p.cutmix:.2f}", f"{p.dropout:.2f}", f"{p.drop_path:.2f}",
            )  # fmt: skip
        self.console.print(table)

    def table(self, table: Table, remarks: Iterable[str]) -> None:
        """Print a table and lines below it."""
        self.console.print(table)
        for line in remarks:
            self.say(line)

    def replan(self, timeline: Timeline, before: int, change: Replan, slowness: float) -> None:
        """Say that the run goes on with another number of steps, and why."""
        self.timeline = timeline
        if self.progress is not None:
            self.progress.update(self.task, total=timeline.steps)
        self.say(
            f"step {change.step}: the machine takes {slowness:.2f} x the time that was planned, so "
            f"{timeline.steps:,} steps instead of {before:,}"
        )

    def open(self, timeline: Timeline, step: int) -> None:
        """Begin to follow training at `step`."""
        self.timeline, self.first = timeline, step
        self.started, self.spoken = time.monotonic(), 0.0
        if self.console.is_terminal:
            self.progress = Progress(
                SpinnerColumn(), TextColumn("{task.description}"), BarColumn(),
                MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[eta]}"),
                console=self.console,
            )  # fmt: skip
            self.progress.start()
            self.task = self.progress.add_task("training", total=timeline.steps, eta="")

    def step(self, record: dict[str, Any]) -> None:
        """Show the newest training metrics."""
        step, now = record["step"], time.monotonic()
        line = (
            f"{record['resolution']} px  loss {record['loss']:.3f}  "
            f"{record['images_per_second']:.0f} images/s{self.accuracy}"
        )
        eta = f"{duration(self._remaining(step))} left"
        if self.progress is not None:
            self.progress.update(self.task, completed=step, description=line, eta=eta)
        elif now - self.spoken > LINE_SECONDS or step == self.timeline.steps:
            self.spoken = now
            self.say(f"step {step}/{self.timeline.steps}  {line}  {eta}")

    def validation(self, record: dict[str, Any]) -> None:
        """Show the newest validation."""
        self.accuracy = f"  val {record['top1']:.1%}"

    def close(self) -> None:
        """End what `open` began."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """Show on a terminal that `what` goes on; elsewhere a line would come before an error's."""
        return self.console.status(what) if self.console.is_terminal else nullcontext()

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a count that goes on; yields what to call with the number done."""
        with Progress(console=self.console, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(what, total=total)
            yield lambda done: progress.update(task, completed=done)

    def _remaining(self, step: int) -> float:
        """Estimate seconds left: a step costs what its pixels cost, plus a little."""

        def work(p: Phase, steps: int) -> float:
            return max(0, steps) * p.batch_size * (p.resolution**2 + 64**2)

        phases = self.timeline.phases
        done = sum(work(p, min(step, p.stop) - max(self.first, p.start)) for p in phases)
        left = sum(work(p, p.stop - max(step, p.start)) for p in phases)
        return (time.monotonic() - self.started) * left / max(done, 1.0)


def duration(seconds: float) -> str:
    """Return a time as a person says it: 42 s, 3:07 min, 2:15 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60) if seconds >= 3600 else int(seconds // 60)
    if seconds < 3600:
        return f"{minutes}:{int(seconds % 60):02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"
