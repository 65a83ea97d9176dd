"""The processes of one run: alone, or the ranks that torchrun started.

A step's batch is divided among the ranks and its gradients averaged; batch norm sees the whole
batch, as the authors' cross-replica norm does. So the ranks change the time, not the run.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """Which of how many processes this is."""

    rank: int = 0
    ranks: int = 1
    local_rank: int = 0
    local_ranks: int = 1
    """Processes on this machine."""

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return `model`, its gradients averaged over the ranks."""
        if self.ranks == 1:
            return model
        return DistributedDataParallel(model)

    def gather(self, part: Any) -> list[Any]:
        """Return every rank's `part`, in rank order."""
        if self.ranks == 1:
            return [part]
        parts: list[Any] = [None] * self.ranks
        distributed.all_gather_object(parts, part)
        return parts

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of `values` over the ranks."""
        if self.ranks == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total)
        return total / self.ranks

    def first(self, value: T) -> T:
        """Return what rank 0 gave; all of them must ask."""
        if self.ranks == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values)
        return values[0]

    def any(self, flag: bool) -> bool:
        """Say whether `flag` is set on any rank; all of them must ask."""
        if self.ranks == 1:
            return flag
        return any(self.gather(flag))


def leads() -> bool:
    """Say whether this process is the one that writes and speaks, inside `joined` or after it."""
    return os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """Join the processes that torchrun started, if it did, for the time of the context."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks == 1:
        yield World()
        return
    local_rank = int(os.environ["LOCAL_RANK"])
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
        distributed.init_process_group("nccl", device_id=torch.device("cuda", local_rank))
    else:
        distributed.init_process_group("gloo")
    try:
        local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", ranks))
        yield World(distributed.get_rank(), ranks, local_rank, local_ranks)
    finally:
        distributed.destroy_process_group()


def share_norms(model: nn.Module) -> None:
    """Make every batch norm of `model` normalise by the statistics of all ranks' pictures."""
    for m in model.modules():
        if type(m) is nn.BatchNorm2d:
            m.__class__ = SharedBatchNorm


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the pictures of all ranks; torch's own refuses CPUs."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `(n, c, h, w)`; every rank must hold the same n."""
        if not self.training:
            return super().forward(input)
        x = input.float()
        mean = _Mean.apply(x.mean((0, 2, 3)))
        centred = x - mean.view(1, -1, 1, 1)
        variance = _Mean.apply(centred.square().mean((0, 2, 3)))
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None
            assert self.momentum is not None and self.num_batches_tracked is not None
            n = x.numel() // x.shape[1] * distributed.get_world_size()
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (n / (n - 1)), self.momentum)
            self.num_batches_tracked += 1
        scale = (variance + self.eps).rsqrt() * self.weight
        y = centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        normed: Tensor = y.to(input.dtype)
        return normed


class _Mean(torch.autograd.Function):
    """The mean of a tensor over the ranks, with its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total / distributed.get_world_size()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone()
        distributed.all_reduce(total)
        return total / distributed.get_world_size()
