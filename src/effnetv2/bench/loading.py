"""`bench loader`: our training batches beside torchvision's, same files, boxes and workers."""

import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets.folder import default_loader
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from effnetv2.arch.spec import Network
from effnetv2.bench.contenders import Contender
from effnetv2.bench.settings import Setting
from effnetv2.bench.timing import Spread, synchronise
from effnetv2.bench.work import work
from effnetv2.data.augment import Augmentation, crop_box
from effnetv2.data.loader import Request, fold, order, training_batches
from effnetv2.data.samples import Files, Samples
from effnetv2.data.source import open_data
from effnetv2.errors import InputError

Decoder = Literal["PIL", "tensors"]

OURS = "effnetv2"
PEERS: dict[str, Decoder] = {
    "torchvision ImageFolder, v2 on PIL": "PIL",  # as documented
    "torchvision ImageFolder, v2 on tensors": "tensors",  # decode_image; what v2 recommends
}
SEED = 0
TAIL = 2
"""Batches asked for beyond the timed ones, for each worker: none idles before the clock stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderRow:
    """How fast one loader delivers."""

    name: str
    images_per_second: Spread
    speed_ratio: Spread
    """How many times as fast as the fastest of torchvision's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderCase:
    """One set of pictures at one size."""

    pictures: str
    picture_size: tuple[int, int]
    """Median width and height, in pixels."""
    side: int
    batch: int
    workers: int
    rounds: int
    images: int
    """Timed in each round."""
    rows: tuple[LoaderRow, ...]
    best_peer: str
    step: str | None = None
    step_images_per_second: Spread | None = None
    supply: Spread | None = None
    """Our pictures a second, by those that a training step consumes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderHow:
    """What is loaded, how, and how often."""

    side: int
    batch: int = 32
    workers: int = 0
    rounds: int = 5
    batches: int = 8
    augmentation: Augmentation


def turns(how: LoaderHow, *, step: bool) -> int:
    """Return how often one case tells what it does."""
    return how.rounds * (1 + len(PEERS) + step) + step


def compare_loaders(
    folder: Path,
    how: LoaderHow,
    tell: Callable[[str], None],
    *,
    step: Network | None = None,
    setting: Setting | None = None,
    device: torch.device | None = None,
) -> LoaderCase:
    """Time the loaders on the pictures of `folder`, class folders, in turn.

    With `step`, a training step of it in `setting` on `device` is timed in the same rounds.
    """
    if min(how.batch, how.rounds, how.batches) < 1 or how.workers < 0:
        raise InputError("batch, rounds and batches must be at least 1, workers at least 0")
    samples = open_data(str(folder), val=0, test=0).train
    makers = {OURS: lambda: _ours(samples, how)} | {
        name: lambda decoder=decoder: _theirs(samples, how, decoder)
        for name, decoder in PEERS.items()
    }
    consume = None
    if step is not None and setting is not None and device is not None:
        tell(f"warming up a step of {step.name}")
        consume = _consumer(step, setting, how, device)
    rates: dict[str, list[float]] = {name: [] for name in makers}
    consumed: list[float] = []
    for n in range(how.rounds):
        for name, make in makers.items():
            tell(f"round {n + 1}/{how.rounds}: {name}, {folder.name}, {how.side} px")
            rates[name].append(_rate(make(), how))
        if consume is not None and step is not None:
            tell(f"round {n + 1}/{how.rounds}: a step of {step.name}, {how.side} px")
            consumed.append(consume())
    best = max(PEERS, key=lambda name: statistics.median(rates[name]))
    rows = tuple(
        LoaderRow(
            name=name,
            images_per_second=Spread.of(found),
            speed_ratio=_ratios(found, rates[best]),
        )
        for name, found in rates.items()
    )
    return LoaderCase(
        pictures=folder.name, picture_size=_median_size(samples), side=how.side, batch=how.batch,
        workers=how.workers, rounds=how.rounds, images=how.batches * how.batch, rows=rows,
        best_peer=best, step=step.name if step is not None else None,
        step_images_per_second=Spread.of(consumed) if consumed else None,
        supply=_ratios(rates[OURS], consumed) if consumed else None,
    )  # fmt: skip


def _ratios(these: list[float], those: list[float]) -> Spread:
    return Spread.of([a / b for a, b in zip(these, those, strict=True)])


def _rate(batches: Iterator[object], how: LoaderHow) -> float:
    """Return pictures a second once workers are up: their start is a run's, not a batch's."""
    for _ in range(_lead(how)):
        next(batches)
    start = time.perf_counter()
    for _ in range(how.batches):
        next(batches)
    return how.batches * how.batch / (time.perf_counter() - start)


def _lead(how: LoaderHow) -> int:
    return max(1, 2 * how.workers)


def _total(how: LoaderHow) -> int:
    return _lead(how) + how.batches + TAIL * how.workers


def _ours(samples: Samples, how: LoaderHow) -> Iterator[object]:
    n = how.batch
    requests = [Request(range(i * n, (i + 1) * n), how.side, 0.0) for i in range(_total(how))]
    return training_batches(samples, how.augmentation, requests, seed=SEED, workers=how.workers)


def _theirs(samples: Samples, how: LoaderHow, decoder: Decoder) -> Iterator[object]:
    pictures = SameCrops(samples, how.augmentation, how.side, decoder)
    loader = DataLoader(
        pictures,
        batch_size=how.batch,
        sampler=range(_total(how) * how.batch),
        num_workers=how.workers,
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)


class SameCrops(Dataset[tuple[Tensor, int]]):
    """What an item of `ImageFolder` with transforms v2 does, with the boxes that ours draws.

    Indexed by position in our stream of pictures, so that order and boxes are the same.
    """

    def __init__(
        self, samples: Samples, augmentation: Augmentation, side: int, decoder: Decoder
    ) -> None:
        """Take `samples` of files; InputError for others."""
        if not isinstance(samples.pictures, Files):
            raise InputError("bench loader reads picture files; give a folder of class folders")
        self.files, self.samples = samples.pictures, samples
        self.augmentation, self.side, self.decoder = augmentation, side, decoder

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        epoch, place = divmod(position, len(self.samples))
        i = int(order(len(self.samples), SEED, epoch)[place])
        file = str(self.files.file(int(self.samples.index[i])))
        rng = random.Random(fold(SEED, 1, position))
        if self.decoder == "PIL":
            image = default_loader(file)
            width, height = image.size
        else:
            with warnings.catch_warnings():  # since 0.29 it announces its end
                warnings.simplefilter("ignore", DeprecationWarning)
                image = decode_image(file, ImageReadMode.RGB)
            height, width = image.shape[-2:]
        left, top, right, bottom = crop_box(width, height, self.augmentation, rng)
        x, y = round(left), round(top)
        w, h = max(1, round(right - left)), max(1, round(bottom - top))
        sized = [self.side, self.side]
        image = v2.functional.resized_crop(image, y, x, h, w, sized, antialias=True)
        if self.augmentation.flip != "none" and rng.random() < 0.5:
            image = v2.functional.horizontal_flip(image)
        if self.decoder == "PIL":
            image = v2.functional.pil_to_tensor(image)
        return image, int(self.samples.labels[i])


def _consumer(
    net: Network, setting: Setting, how: LoaderHow, device: torch.device
) -> Callable[[], float]:
    """Return what does two training steps and says how many pictures a second that was."""
    model = Contender("effnetv2", net.name, setting, net).build(device)
    step = work("step", model, setting, how.batch, how.side, device)

    def consume() -> float:
        synchronise(device)
        start = time.perf_counter()
        step()
        step()
        synchronise(device)
        return 2 * how.batch / (time.perf_counter() - start)

    consume()
    return consume


def _median_size(samples: Samples) -> tuple[int, int]:
    some = range(0, len(samples), max(1, len(samples) // 32))
    sizes = [samples.open(i).size for i in some]
    return (
        round(statistics.median(w for w, _ in sizes)),
        round(statistics.median(h for _, h in sizes)),
    )
