"""Batches by step: any process can make batch number `step` without having made the others.

A run is one endless stream of pictures, a new order every epoch; a batch is a stretch of it. So
every picture is seen once an epoch, no batch is short, and resuming anywhere is a slice. What
changes with the phase (size, magnitude) travels inside each request: workers live as long as the
run and still follow it.
"""

import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from effnetv2.data.augment import Augmentation, augment
from effnetv2.data.preprocessing import Preprocessing, stack
from effnetv2.data.samples import Samples
from effnetv2.errors import InputError


def fold(*numbers: int) -> int:
    """Mix numbers into 32 bits; neighbouring seeds and steps share no stream."""
    text = ":".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest())


@dataclass(frozen=True, slots=True)
class Request:
    """Which pictures of the stream to make, and how."""

    positions: range
    resolution: int
    magnitude: float


def training_batches(
    samples: Samples,
    how: Augmentation,
    requests: Iterable[Request],
    *,
    seed: int,
    workers: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield uint8 images `(n, 3, h, w)` and labels `(n,)`, one pair a request."""
    return iter(_loader(_Stream(samples, how, seed), list(requests), workers))


def evaluation_batches(
    samples: Samples, how: Preprocessing, *, batch_size: int, rank: int, ranks: int, workers: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield images, labels and sample numbers; each sample once, by one of `ranks` processes."""
    if batch_size < 1:
        raise InputError(f"batch size is {batch_size}; it must be at least 1")
    mine = range(rank, len(samples), ranks)
    slices = [mine[i : i + batch_size] for i in range(0, len(mine), batch_size)]
    return iter(_loader(_Views(samples, how), slices, workers))


def order(samples: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of pictures in `epoch`: a permutation of `range(samples)`."""
    return np.random.Generator(np.random.Philox(key=fold(seed, epoch))).permutation(samples)


class _Stream(Dataset[tuple[Tensor, Tensor]]):
    """Augmented pictures by their place in the stream."""

    def __init__(self, samples: Samples, how: Augmentation, seed: int) -> None:
        self.samples, self.how, self.seed = samples, how, seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __getitem__(self, request: Request) -> tuple[Tensor, Tensor]:
        indices = [self._index(p) for p in request.positions]
        images = [
            augment(
                self.samples.picture(i),
                self.how,
                request.resolution,
                request.magnitude,
                random.Random(fold(self.seed, 1, p)),
            )
            for i, p in zip(indices, request.positions, strict=True)
        ]
        return stack(images), torch.from_numpy(self.samples.labels[indices])

    def _index(self, position: int) -> int:
        epoch, place = divmod(position, len(self.samples))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, order(len(self.samples), self.seed, epoch)
        return int(self._order[place])


class _Views(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Pictures as the network is shown them outside training."""

    def __init__(self, samples: Samples, how: Preprocessing) -> None:
        self.samples, self.how = samples, how

    def __getitem__(self, indices: range) -> tuple[Tensor, Tensor, Tensor]:
        images = [self.how.view(self.samples.open(i, self.how.side_needed)) for i in indices]
        numbers = torch.tensor(indices)
        return stack(images), torch.from_numpy(self.samples.labels[list(indices)]), numbers


def _loader(dataset: Dataset, requests: list, workers: int) -> Iterable:  # type: ignore[type-arg]
    """Hand each request, a whole batch, to one worker; no worker outlives the list."""
    if workers < 0:
        raise InputError(f"workers are {workers}; give 0 or more")
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=requests,
        num_workers=min(workers, len(requests)),
        prefetch_factor=4 if workers and requests else None,
        pin_memory=torch.cuda.is_available(),
    )
