"""Seconds of several things, taken in turn, so that a machine that drifts drifts for all."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch

from effnetv2.errors import InputError


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of one or more values."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high)


Work = Callable[[], object]


def in_turn(
    works: Mapping[str, Work],
    *,
    warmup: int,
    rounds: int,
    device: torch.device,
    tell: Callable[[str], None],
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the seconds of every round by name, and those of the first call.

    A round does each of `works` once. Before the first one each is done `warmup` times, at least
    once; `tell` hears what comes next. Raises InputError when memory runs out.
    """
    first: dict[str, float] = {}
    for name, work in works.items():
        for again in range(warmup):
            tell(f"warming up {name}")
            spent = _seconds(name, work, device)
            if not again:
                first[name] = spent
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for n in range(rounds):
        for name, work in works.items():
            tell(f"round {n + 1}/{rounds}: {name}")
            seconds[name].append(_seconds(name, work, device))
    return seconds, first


def synchronise(device: torch.device) -> None:
    """Wait until `device` has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _seconds(name: str, work: Work, device: torch.device) -> float:
    start = time.perf_counter()
    try:
        work()
        synchronise(device)
    except RuntimeError as e:
        if isinstance(e, torch.OutOfMemoryError) or "can't allocate memory" in str(e):
            raise InputError(f"out of memory in {name}: lower --batch or --side") from e
        raise
    return time.perf_counter() - start
