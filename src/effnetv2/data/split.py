"""A split is drawn once, class by class, and kept by name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from effnetv2.data.samples import Data, Indices, Samples
from effnetv2.errors import InputError


def stratified(
    labels: ArrayLike, fraction: float, seed: int | Sequence[int]
) -> tuple[Indices, Indices]:
    """Return `(rest, part)`, sorted indices: `part` holds `fraction` of every class.

    Shares are rounded by largest remainder, so `part` has exactly the rounded share of the whole,
    unless leaving one sample of each class in `rest` forbids it. Samples of one class are drawn
    by a stream of `seed` that is the same in every version of numpy.
    """
    _, strata, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    # Raw bits, not `permutation`: only a bit generator's stream is promised to stay.
    draws = np.random.Philox(seed).random_raw(len(strata) + len(counts))
    keys, ties = draws[: len(strata)], draws[len(strata) :]
    take = _quotas(counts, fraction, ties)
    order = np.lexsort((keys, strata))
    first = np.repeat(np.cumsum(counts) - counts, counts)
    chosen = np.arange(len(strata)) - first < np.repeat(take, counts)
    return np.sort(order[~chosen]), np.sort(order[chosen])


def split_names(data: Data) -> dict[str, list[str]]:
    """Return the names of every part's samples, ready for JSON."""
    return {name: list(part.names()) for name, part in data.parts.items()}


def restore(data: Data, names: Mapping[str, Sequence[str]]) -> Data:
    """Return the samples of `data`, parted as `split_names` recorded, in that order.

    Pictures that came since are left out; InputError names the first one that has gone.
    """
    where = {name: (part, i) for part in data.parts.values() for i, name in enumerate(part.names())}
    parts: dict[str, Samples] = {}
    for part, wanted in names.items():
        gone = [name for name in wanted if name not in where]
        if gone:
            more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
            raise InputError(
                f"{data.name}: {gone[0]!r}{more} of the saved {part} part not found; "
                "put the pictures back, or start a new run"
            )
        if wanted:
            parts[part] = _picked([where[name] for name in wanted])
    if "train" not in parts:
        raise InputError(f"{data.name}: the saved split has no train part")
    return replace(data, train=parts["train"], val=parts.get("val"), test=parts.get("test"))


def _quotas(counts: Indices, fraction: float, ties: NDArray[np.uint64]) -> Indices:
    """Return how many of each class to take."""
    exact = counts * fraction
    room: Indices = np.maximum(counts - 1, 0)
    take: Indices = np.minimum(np.floor(exact + 1e-9).astype(np.int64), room)
    total = min(int(counts.sum() * fraction + 0.5), int(room.sum()))
    while (missing := total - int(take.sum())) > 0:
        order = np.lexsort((ties, take - exact))
        take[order[room[order] > take[order]][:missing]] += 1
    return take


def _picked(found: Sequence[tuple[Samples, int]]) -> Samples:
    """Return the samples `(part, i)` as one part."""
    first = found[0][0]
    if any(part.pictures is not first.pictures for part, _ in found):
        raise InputError("a part of the saved split mixes pictures that are now kept apart")
    index = np.array([part.index[i] for part, i in found], np.int64)
    labels = np.array([part.labels[i] for part, i in found], np.int64)
    return Samples(first.pictures, labels, first.classes, index)
