"""`bench family`: V1 and V2, and the other networks of the paper's Table 7, on this machine."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from effnetv2.arch.cost import cost
from effnetv2.arch.presets import FAMILY, PRESETS, SIZES, Sizes
from effnetv2.arch.spec import Network
from effnetv2.bench.agreement import (
    Beside,
    Correlation,
    FamilyRow,
    correlations,
    progressive_share,
    ratios,
)
from effnetv2.bench.contenders import Contender, available, create_timm
from effnetv2.bench.memory import free, kept_for_backward
from effnetv2.bench.published import TABLE_7, TOP1, Published
from effnetv2.bench.settings import Setting
from effnetv2.bench.timing import Spread, in_turn
from effnetv2.bench.work import Kind, work
from effnetv2.errors import InputError

QUICK_MACS = 13e9
"""A quick bench leaves out what takes more multiply-adds for one picture."""
SPARE = 0.85
"""Share of the free memory that an estimate may fill."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A network to time, and what is published of it."""

    name: str
    build: str
    """A preset of ours, or what timm calls it."""
    sizes: Sizes
    published: Published | None

    @property
    def value(self) -> Network | None:
        """Return the architecture, if it is ours."""
        return PRESETS.get(self.build)

    @property
    def macs(self) -> float:
        """Return multiply-adds at the evaluation size; the published ones where it is not ours."""
        if self.value is not None:
            return cost(self.value, resolution=self.sizes.eval).macs
        return ((self.published and self.published.macs) or 100.0) * 1e9

    def create(self, setting: Setting, device: torch.device) -> nn.Module:
        """Return the untrained network on `device`."""
        if self.value is not None:
            return Contender("effnetv2", self.build, setting, self.value).build(device)
        return create_timm(self.build).to(device).to(memory_format=setting.layout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """All that `bench family` found."""

    setting: str
    rounds: int
    infer_batch: int
    step_batch: int
    rows: tuple[FamilyRow, ...]
    ratios: tuple[Beside, ...]
    correlations: tuple[Correlation, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyHow:
    """How often and where things are timed."""

    device: torch.device
    setting: Setting
    rounds: int = 3
    infer_batch: int = 16
    step_batch: int = 8

    def __post_init__(self) -> None:
        if min(self.rounds, self.infer_batch, self.step_batch) < 1:
            raise InputError("rounds and batches must be at least 1")

    def batch(self, kind: Kind) -> int:
        """Return the pictures of one turn."""
        return self.step_batch if kind == "step" else self.infer_batch


def entries(only: Sequence[str], *, quick: bool, left_out: list[str]) -> list[Entry]:
    """Return the networks to time; a line to `left_out` for each that is not.

    `only` names some of them, as Table 7 or `effnetv2 models` does; InputError for a strange name.
    """
    rows = {row.build: row for row in TABLE_7 if row.build}
    found = [Entry(net.name, net.name, SIZES[net.name], rows.get(net.name)) for net, _ in FAMILY]
    timm = available("timm")
    strange = set(only) - {e.name for e in found} - {row.name for row in TABLE_7}
    if strange:
        known = [net.name for net, _ in FAMILY] + [r.name for r in TABLE_7 if r.build not in SIZES]
        raise InputError(f"no network {min(strange)!r} here; there are {', '.join(known)}")
    for row in TABLE_7:
        if row.build in PRESETS or (only and row.name not in only):
            continue
        if row.build is None or row.sizes is None:
            left_out.append(f"{row.name}: no library builds it")
        elif not timm:
            left_out.append(f"{row.name}: timm is not installed (pip install 'effnetv2[bench]')")
        else:
            found.append(Entry(row.name, row.build, row.sizes, row))
    titles = {row.name: row.build for row in TABLE_7}
    chosen = {titles.get(name) if titles.get(name) in PRESETS else name for name in only}
    found = [e for e in found if not only or e.name in chosen]
    if quick:
        left_out += [f"{e.name}: not in a quick bench" for e in found if e.macs > QUICK_MACS]
        found = [e for e in found if e.macs <= QUICK_MACS]
    return found


def turns(networks: int, how: FamilyHow) -> int:
    """Return how often `measure` tells what it does."""
    return networks * (1 + 4 * how.rounds)


def measure(
    chosen: Sequence[Entry], how: FamilyHow, left_out: list[str], tell: Callable[[str], None]
) -> Family:
    """Time the networks in turn; each is built anew every round, as few fit beside each other."""
    seconds: dict[tuple[str, Kind], list[float]] = {}
    params: dict[str, int] = {}
    for e in chosen:
        tell(f"estimating the memory of {e.name}")
        params[e.name], needs = needed(e, how)
        for kind, need in needs.items():
            have = free(how.device)
            if have is not None and need > SPARE * have:
                left_out.append(
                    f"{e.name}, {_in_words(kind)} at batch {how.batch(kind)}: needs about "
                    f"{need / 2**30:.0f} GiB, {have / 2**30:.0f} are free"
                )
            else:
                seconds[e.name, kind] = []
    for n in range(how.rounds):
        for e in chosen:
            kinds = [kind for name, kind in seconds if name == e.name]
            for kind, spent in _turn(e, kinds, how, f"{n + 1}/{how.rounds}", tell).items():
                seconds[e.name, kind].append(spent / how.batch(kind))
    rows = tuple(_row(e, params[e.name], seconds) for e in chosen)
    return Family(
        setting=how.setting.name, rounds=how.rounds, infer_batch=how.infer_batch,
        step_batch=how.step_batch, rows=rows, ratios=ratios(rows),
        correlations=correlations(rows), left_out=tuple(left_out),
    )  # fmt: skip


def needed(e: Entry, how: FamilyHow) -> tuple[int, dict[Kind, int]]:
    """Return the network's parameters, and about how many bytes each kind of work takes."""
    device = torch.device("meta")
    with device:
        model = e.create(Setting(), device)
    params = sum(p.numel() for p in model.parameters())
    kept, _ = kept_for_backward(model, e.sizes.train)
    _, largest = kept_for_backward(model, e.sizes.eval)
    # Under autocast most of what is kept has 2 bytes, some of it 4; weights are copied.
    each = 3 if how.setting.precision == "bf16" else 4
    weights = params * (4 + (2 if how.setting.precision == "bf16" else 0))
    step = weights + params * 8 + how.step_batch * kept * each
    infer = weights + how.infer_batch * 4 * largest * each
    return params, {"step": step, "infer": infer}


def _turn(
    e: Entry, kinds: Sequence[Kind], how: FamilyHow, which: str, tell: Callable[[str], None]
) -> dict[Kind, float]:
    """Return the seconds of one batch of each kind of work, after one to warm up."""
    found: dict[Kind, float] = {}
    for kind in kinds:
        side = e.sizes.train if kind == "step" else e.sizes.eval
        name = f"{e.name}, {_in_words(kind)} at {side} px"
        model = e.create(how.setting, how.device)
        once = work(kind, model, how.setting, how.batch(kind), side, how.device)
        spent, _ = in_turn({name: once}, warmup=1, rounds=1, device=how.device,
                           tell=lambda what: tell(f"{which}: {what.split(': ')[-1]}"))  # fmt: skip
        found[kind] = spent[name][0]
        del model, once
        gc.collect()
        if how.device.type == "cuda":
            torch.cuda.empty_cache()
    return found


def _row(e: Entry, params: int, seconds: dict[tuple[str, Kind], list[float]]) -> FamilyRow:
    step, infer = seconds.get((e.name, "step")), seconds.get((e.name, "infer"))
    p = e.published
    return FamilyRow(
        name=e.name,
        group={"v2": "V2", "v1": "V1"}.get(e.build[:3].rstrip("-"), "others"),
        train_side=e.sizes.train,
        eval_side=e.sizes.eval,
        params=params,
        step_seconds=Spread.of(step) if step else None,
        infer_seconds=Spread.of(infer) if infer else None,
        progressive_share=progressive_share(e.value, e.sizes.train) if e.value else None,
        top1=p.top1 if p else TOP1.get(e.name),
        published_params=p and p.params,
        published_infer_ms=p and p.infer_ms,
        published_train_hours=p and p.train_hours,
    )  # fmt: skip


def _in_words(kind: Kind) -> str:
    return "training" if kind == "step" else "inference"
