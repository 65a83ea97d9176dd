"""A contender in a process of its own: `python -m effnetv2.bench.apart`.

So nobody runs under what another library changes of its process (how freed memory is kept, say),
and the growth of the process is the contender's memory. The processes take turns: each waits for a
word before it works.
"""

import gc
import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from effnetv2.bench.memory import MIB, Task, resident
from effnetv2.config import from_data, to_data
from effnetv2.errors import InputError

IMPORTS = ("torch._dynamo", "torchvision", "timm")
"""Loaded before any memory is counted: torch's optimizers load the first when they first step."""
PAUSE_SECONDS = 0.02
"""For the threads of whoever worked before to fall asleep."""


class Apart:
    """The other side of a process that does a `Task` whenever it is asked to."""

    def __init__(self, task: Task) -> None:
        """Start the process."""
        self.task = task
        self.peak_mib: float | None = None
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as this
        self._process = subprocess.Popen(
            [sys.executable, "-m", "effnetv2.bench.apart"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        """Wait until the network is built; InputError when it cannot be."""
        try:
            self._ask(to_data(self.task))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._complaints.close()

    def once(self) -> float:
        """Do the work once and return its seconds, by the process's own clock.

        Raises RuntimeError with what the work raised, InputError when the process has died.
        """
        time.sleep(PAUSE_SECONDS)
        answer = self._ask("go")
        self.peak_mib = answer["peak_mib"]
        return float(answer["seconds"])

    def _ask(self, what: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._complaints.seek(0)
            why = (self._complaints.read().strip().splitlines() or ["killed"])[-1]
            raise InputError(
                f"the process of {self.task.contender.name} has ended ({why}); if memory ran out, "
                "lower --batch or --side, or take --together"
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


def _serve() -> None:
    """Read a task, then work as often as asked; answer every line with one."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is no answer
    task = from_data(Task, json.loads(sys.stdin.readline()), "task")
    for name in IMPORTS:
        with suppress(ImportError):
            import_module(name)
    torch.set_num_threads(task.threads)
    gc.collect()
    with suppress(OSError):  # forget the peak of importing
        Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    run = task.prepared(torch.device("cpu"))
    print(json.dumps({}), file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        try:
            run()
        except Exception as e:  # the other side says it
            print(json.dumps({"error": str(e) or type(e).__name__}), file=answers, flush=True)
            continue
        spent, highest = time.perf_counter() - start, resident("VmHWM")
        grown = None if before is None or highest is None else (highest - before) / MIB
        print(json.dumps({"seconds": spent, "peak_mib": grown}), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
