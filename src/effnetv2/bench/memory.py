"""Memory that a network's work takes: measured at its peak, or estimated before."""

import gc
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from effnetv2.bench.contenders import Contender
from effnetv2.bench.timing import Work, synchronise
from effnetv2.bench.work import Kind, work

REPEATS = 3
"""A momentum is there from the second step on; a first step's workspaces may be others."""
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Task:
    """What a contender does."""

    contender: Contender
    kind: Kind
    batch: int
    side: int
    drop_path: float = 0.0
    threads: int = field(default_factory=torch.get_num_threads)

    def prepared(self, device: torch.device) -> Work:
        """Build the network on `device`, and return what does its work once."""
        model = self.contender.build(device, drop_path=self.drop_path)
        return work(self.kind, model, self.contender.setting, self.batch, self.side, device)


def allocated_peak(task: Task, device: torch.device) -> float:
    """Return the most, in MiB, that torch allocated on a CUDA device to build and work."""
    gc.collect()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run = task.prepared(device)
    for _ in range(REPEATS):
        run()
    synchronise(device)
    return (torch.cuda.max_memory_allocated(device) - before) / MIB


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
    return field_of(Path("/proc/meminfo"), "MemAvailable")


def resident(name: str) -> int | None:
    """Return `VmRSS` or `VmHWM` of this process, now and at its highest, in bytes (Linux)."""
    return field_of(Path("/proc/self/status"), name)


def field_of(file: Path, name: str) -> int | None:
    """Return a field of one of Linux's files, in bytes; None where it is not."""
    with suppress(OSError):
        for line in file.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None
