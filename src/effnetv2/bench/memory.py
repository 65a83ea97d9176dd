"""Memory that a network's work takes at its peak, weights included: measured, or estimated.

What a CPU process once held can be neither given back for sure nor told apart from what else it
holds, so there every contender gets a process of its own: `python -m effnetv2.bench.memory`.
"""

import gc
import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from effnetv2.bench.contenders import Contender
from effnetv2.bench.timing import synchronise
from effnetv2.bench.work import Kind, work
from effnetv2.config import from_json, to_json

REPEATS = 3
"""A momentum is there from the second step on; a first step's workspaces may be others."""
MIB = 2**20
IMPORTS = ("torch._dynamo", "torchvision", "timm")
"""Loaded before any memory is counted: torch's optimizers load the first when they first step."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a contender does while its memory is watched."""

    contender: Contender
    kind: Kind
    batch: int
    side: int
    drop_path: float = 0.0
    threads: int = field(default_factory=torch.get_num_threads)

    def run(self, device: torch.device) -> None:
        """Build the network and do its work a few times."""
        model = self.contender.build(device, drop_path=self.drop_path)
        once = work(self.kind, model, self.contender.setting, self.batch, self.side, device)
        for _ in range(REPEATS):
            once()
        synchronise(device)


def peak(task: Task, device: torch.device) -> float | None:
    """Return the highest memory, in MiB, of building and working; None where nobody says.

    On CUDA what torch allocated; on a CPU the growth of a fresh process, which Linux tells.
    """
    if device.type == "cuda":
        gc.collect()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        task.run(device)
        return (torch.cuda.max_memory_allocated(device) - before) / MIB
    answer = subprocess.run(
        [sys.executable, "-m", "effnetv2.bench.memory"],
        input=to_json(task), capture_output=True, text=True,
    )  # fmt: skip
    if answer.returncode:  # killed for its memory, most likely
        return None
    found: float | None = json.loads(answer.stdout.splitlines()[-1])
    return found


def kept_for_backward(model: nn.Module, side: int) -> tuple[int, int]:
    """Return the elements that a step keeps of one picture, and those of the largest map.

    `model` lives on the meta device: nothing is computed.
    """
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # or a later storage could take the address of an earlier one

    weights = {p.untyped_storage()._cdata for p in model.parameters()}

    def keep(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes() // t.element_size()
            alive.append(t)
        return t

    pair = torch.empty(2, 3, side, side, device="meta")  # batch norm refuses single values
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        model.train()(pair)
    return sum(kept.values()) // 2, max(kept.values(), default=0) // 2


def free(device: torch.device) -> int | None:
    """Return the bytes that can still be had on `device`; None where nobody says."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return _field(Path("/proc/meminfo"), "MemAvailable")


def _growth(task: Task) -> float | None:
    """Do `task`, and return by how many MiB this process grew over what its imports took."""
    for name in IMPORTS:
        with suppress(ImportError):
            import_module(name)
    torch.set_num_threads(task.threads)
    gc.collect()
    with suppress(OSError):  # forget the peak of importing
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status")
    before = _field(status, "VmRSS")
    task.run(torch.device("cpu"))
    highest = _field(status, "VmHWM")
    return None if before is None or highest is None else (highest - before) / MIB


def _field(file: Path, name: str) -> int | None:
    """Return a field of one of Linux's files, in bytes."""
    with suppress(OSError):
        for line in file.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


if __name__ == "__main__":
    print(json.dumps(_growth(from_json(Task, sys.stdin.read(), "task"))))
