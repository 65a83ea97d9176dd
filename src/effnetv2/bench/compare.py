"""`bench step` and `bench infer`: ours beside timm's and torchvision's, in turn, in one process."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from effnetv2.arch.cost import cost
from effnetv2.arch.spec import Network
from effnetv2.bench.ceiling import Precision, multiplication
from effnetv2.bench.contenders import Contender, Library, contenders
from effnetv2.bench.memory import Task, peak
from effnetv2.bench.settings import Setting
from effnetv2.bench.timing import Spread, Work, in_turn
from effnetv2.bench.work import PASSES, Kind, work
from effnetv2.errors import InputError

SMALLEST = 32
"""Pixels that a network reduces to a single one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one contender took."""

    library: Library
    network: str
    setting: str
    seconds: Spread
    """Of one batch."""
    images_per_second: Spread
    speed_ratio: Spread | None = None
    """How many times as fast as the best peer: of each round, then the median. None for no peer."""
    ceiling_share: float | None = None
    """Arithmetic of the network's multiply-adds, as a share of the ceiling in its precision."""
    first_seconds: float | None = None
    """Of the first call, in which kernels are chosen and graphs compiled."""
    peak_mib: float | None = None

    @property
    def name(self) -> str:
        """Return library, network and setting in words."""
        return f"{self.library} {self.network}, {self.setting}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One architecture at one size and batch: all contenders, timed in turn."""

    kind: Kind
    model: str
    side: int
    batch: int
    rounds: int
    drop_path: float = 0.0
    gflops_per_image: float
    """Two for each multiply-add, three times as many in a training step as in a forward pass."""
    ceilings: Mapping[Precision, Spread]
    """GFLOP/s of a large matrix multiplication, measured in the same rounds."""
    rows: tuple[Row, ...]
    best: str | None
    """The fastest of ours, by its `Row.name`."""
    best_peer: str | None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How often and where things are timed."""

    device: torch.device
    settings: tuple[Setting, ...]
    rounds: int = 9
    warmup: int = 2
    drop_path: float = 0.0
    memory: bool = True

    def __post_init__(self) -> None:
        if min(self.rounds, self.warmup) < 1:
            raise InputError(f"rounds {self.rounds} and warm-up {self.warmup} must be at least 1")
        if not 0 <= self.drop_path < 1:
            raise InputError(f"drop path is {self.drop_path}; give a rate from 0, below 1")


def turns(contenders: int, how: How) -> int:
    """Return how often one case tells what it does."""
    timed = contenders + len({s.precision for s in how.settings})
    compiled = contenders * sum(s.compiled for s in how.settings) // len(how.settings)
    return timed * (how.warmup + how.rounds) + compiled + (contenders if how.memory else 0)


def compare(
    kind: Kind, net: Network, side: int, batch: int, how: How, tell: Callable[[str], None]
) -> Case:
    """Time `net` and its peers; memory first, while nothing else is held.

    Raises InputError for sizes that cannot be, and when memory runs out.
    """
    if batch < 1 or side < 1:
        raise InputError(f"batch {batch} and side {side} must be at least 1")
    if kind == "step" and batch == 1 and side <= SMALLEST:
        raise InputError(f"batch norm cannot train on one picture of {side} px: raise --batch")
    left_out: list[str] = []
    chosen = list(contenders(net, how.settings, left_out))
    where = f"{side} px, batch {batch}"
    peaks = dict[str, float | None]()
    for c in chosen if how.memory else ():
        tell(f"memory of {c.name}, {where}")
        peaks[c.name] = peak(Task(c, kind, batch, side, how.drop_path), how.device)
    works, gflop = dict[str, Work](), dict[Precision, float]()
    for precision in sorted({s.precision for s in how.settings}):
        works[f"ceiling {precision}"], gflop[precision] = multiplication(precision, how.device)
    compiling: dict[str, float] = {}
    for c in tuple(chosen):
        model = c.build(how.device, drop_path=how.drop_path)
        run = work(kind, model, c.setting, batch, side, how.device)
        if c.setting.compiled:
            tell(f"compiling {c.name}, {where}")
            compiling[c.name], why = _compiled(run)
            if why:
                left_out.append(f"{c.name}: does not compile here ({why})")
                chosen.remove(c)
                continue
        works[c.name] = run
    seconds, first = in_turn(
        works, warmup=how.warmup, rounds=how.rounds, device=how.device,
        tell=lambda what: tell(f"{what}, {where}"),
    )  # fmt: skip
    ceilings = {p: Spread.of([g / s for s in seconds[f"ceiling {p}"]]) for p, g in gflop.items()}
    best_peer = _fastest([c for c in chosen if c.library != "effnetv2"], seconds)
    each = 2 * PASSES[kind] * cost(net, resolution=side).macs / 1e9
    return Case(
        kind=kind, model=net.name, side=side, batch=batch, rounds=how.rounds,
        drop_path=how.drop_path, gflops_per_image=each, ceilings=ceilings,
        rows=tuple(
            Row(
                library=c.library,
                network=c.network,
                setting=c.setting.name,
                seconds=(spent := Spread.of(seconds[c.name])),
                images_per_second=Spread.of([batch / s for s in seconds[c.name]]),
                speed_ratio=_ratio(seconds, best_peer, c.name),
                ceiling_share=batch * each / spent.median / ceilings[c.setting.precision].median,
                first_seconds=compiling.get(c.name, first[c.name]),
                peak_mib=peaks.get(c.name),
            )
            for c in chosen
        ),
        best=_fastest([c for c in chosen if c.library == "effnetv2"], seconds),
        best_peer=best_peer, left_out=tuple(left_out),
    )  # fmt: skip


def _compiled(run: Work) -> tuple[float, str]:
    """Return the seconds of the first call, and why it failed: without a C++ compiler, say."""
    start = time.perf_counter()
    try:
        run()
    except Exception as e:  # whatever a compiler raises
        return 0.0, (str(e).strip() or type(e).__name__).splitlines()[0]
    return time.perf_counter() - start, ""


def _fastest(of: Sequence[Contender], seconds: Mapping[str, Sequence[float]]) -> str | None:
    names = [c.name for c in of]
    return min(names, key=lambda name: Spread.of(seconds[name]).median, default=None)


def _ratio(
    seconds: Mapping[str, Sequence[float]], best_peer: str | None, name: str
) -> Spread | None:
    if best_peer is None:
        return None
    pairs = zip(seconds[best_peer], seconds[name], strict=True)
    return Spread.of([theirs / ours for theirs, ours in pairs])
