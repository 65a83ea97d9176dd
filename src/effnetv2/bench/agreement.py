"""Times measured here beside the published ones: ratios, and the order of the networks.

Only ratios are set beside each other: hours on 32 TPU cores and seconds here differ by a factor
that is nobody's merit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from effnetv2.arch.cost import cost
from effnetv2.arch.spec import Network
from effnetv2.bench.published import RATIOS, Ratio
from effnetv2.bench.timing import Spread

PHASES, FIRST_SIDE = 4, 128
"""Of the paper's progressive runs (section 4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRow:
    """What one network takes here, for one picture, and what the paper says."""

    name: str
    group: str
    """`V2`, `V1`, or `others`."""
    train_side: int
    eval_side: int
    params: int
    step_seconds: Spread | None
    """A training step at the size of training, divided by its batch. None: left out."""
    infer_seconds: Spread | None
    """A forward pass at the size of evaluation, divided by its batch."""
    progressive_share: float | None
    """Arithmetic of progressive training, as a share of training at one size; ours only."""
    top1: float | None
    published_params: float | None
    published_infer_ms: float | None
    published_train_hours: float | None


@dataclass(frozen=True, slots=True)
class Beside:
    """A published ratio and the same measured here."""

    ratio: Ratio
    measured: float


@dataclass(frozen=True, slots=True)
class Correlation:
    """Spearman's rank correlation of published and measured times."""

    what: str
    coefficient: float
    networks: int


def progressive_share(net: Network, side: int) -> float:
    """Return the multiply-adds of four growing sizes, as a share of those at the last one."""
    sides = [round(FIRST_SIDE + (side - FIRST_SIDE) * i / (PHASES - 1)) for i in range(PHASES)]
    each = [cost(net, resolution=s).macs for s in sides]
    return sum(each) / PHASES / each[-1]


def ratios(rows: Sequence[FamilyRow]) -> tuple[Beside, ...]:
    """Return the published ratios whose two networks were measured, beside the measured ones."""
    known = {row.name: row for row in rows}
    found = []
    for r in RATIOS:
        if r.of in known and r.to in known:
            a, b = (_spent(known[name], r.what) for name in (r.of, r.to))
            if a is not None and b is not None:
                found.append(Beside(r, a / b))
    return tuple(found)


def correlations(rows: Sequence[FamilyRow]) -> tuple[Correlation, ...]:
    """Return how well published times predict the order of those measured here."""
    found = []
    for groups, which in (({"V1", "V2"}, "EfficientNets"), ({"V1", "V2", "others"}, "all")):
        some = [row for row in rows if row.group in groups]
        infer = [(row.published_infer_ms, _spent(row, "infer")) for row in some]
        # What pre-training took is in some hours and not in others.
        alike = [row for row in some if "(21k)" not in row.name and row.name != "v2-xl"]
        train = [(row.published_train_hours, _spent(row, "train")) for row in alike]
        for what, pairs in (("inference", infer), ("training", train)):
            both = [(a, b) for a, b in pairs if a is not None and b is not None]
            if len(both) > 2:
                rho = spearman([a for a, _ in both], [b for _, b in both])
                found.append(Correlation(f"{what}, {which}", rho, len(both)))
    return tuple(found)


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Spearman's rank correlation; equal values share the mean of their ranks."""
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last: np.ndarray = np.cumsum(counts)
    return (last - (counts - 1) / 2)[which]


def _spent(row: FamilyRow, what: str) -> float | None:
    """Return seconds for one picture; a V2 network trains progressively, V1 where it is asked."""
    spread = row.infer_seconds if what == "infer" else row.step_seconds
    if spread is None:
        return None
    progressive = what == "progressive" or (what == "train" and row.group == "V2")
    share = row.progressive_share if progressive and row.progressive_share else 1.0
    return spread.median * share
