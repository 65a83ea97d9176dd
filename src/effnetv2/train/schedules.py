"""Everything that changes during training, as pure functions of the step.

A step is one optimizer update. Durations are in epochs where people write them; inside, a step
has a position in the endless stream of pictures, and an epoch is `images` positions.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of steps at one image size and one strength of regularisation."""

    start: int
    stop: int
    first: int
    """Pictures seen before it."""
    resolution: int
    batch_size: int
    dropout: float
    drop_path: float
    randaugment: float
    mixup: float
    cutmix: float

    @property
    def images(self) -> int:
        """Pictures seen in it."""
        return (self.stop - self.start) * self.batch_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Progression:
    """Progressive learning (Algorithm 1): image size and regularisation grow together.

    Pairs are the values of the first and of the last phase; those between are interpolated
    linearly. The defaults are the paper's for V2-S (Table 6), with stochastic depth constant.
    """

    phases: int = 4
    resolution: tuple[int, int] = (128, 300)
    dropout: tuple[float, float] = (0.1, 0.3)
    drop_path: tuple[float, float] = (0.2, 0.2)
    randaugment: tuple[float, float] = (5.0, 15.0)
    mixup: tuple[float, float] = (0.0, 0.0)
    cutmix: tuple[float, float] = (0.0, 0.0)
    multiple: int = 1
    """Sizes are rounded to a multiple of this many pixels; the last one stays as given."""
    grow_batch: bool = False
    """Let the batch grow as the size shrinks, so that memory stays what the last phase needs."""

    def plan(self, images: int, epochs: float, batch_size: int, divisor: int = 1) -> "Timeline":
        """Return the phases of a run over `images` pictures, each an equal share of the epochs.

        Batches that grow stay multiples of `divisor` (ranks times accumulated parts).
        """
        phases: list[Phase] = []
        start = first = 0
        for i in range(self.phases):
            resolution = self._resolution(i)
            growth = (self.resolution[1] / resolution) ** 2 if self.grow_batch else 1.0
            batch = max(divisor, int(batch_size * growth) // divisor * divisor)
            share = epochs * images * (i + 1) / self.phases - first
            steps = max(1, round(share / batch))
            phases.append(
                Phase(
                    start=start,
                    stop=start + steps,
                    first=first,
                    resolution=resolution,
                    batch_size=batch,
                    dropout=self._at(i, self.dropout),
                    drop_path=self._at(i, self.drop_path),
                    randaugment=self._at(i, self.randaugment),
                    mixup=self._at(i, self.mixup),
                    cutmix=self._at(i, self.cutmix),
                )
            )
            start, first = start + steps, first + steps * batch
        return Timeline(tuple(phases), images)

    def _resolution(self, i: int) -> int:
        if i == self.phases - 1:
            return self.resolution[1]
        return max(1, round(self._at(i, self.resolution) / self.multiple)) * self.multiple

    def _at(self, i: int, ends: tuple[float, float]) -> float:
        if self.phases == 1:
            return ends[1]
        return ends[0] + (ends[1] - ends[0]) * i / (self.phases - 1)


@dataclass(frozen=True, slots=True)
class Replan:
    """From `step` on, the rest of the schedule is passed so that the run ends after `steps`."""

    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """The phases of one run, and what a step means in them.

    Invariant: a timeline is a function of the recipe and of the re-plans so far, nothing else.
    """

    phases: tuple[Phase, ...]
    images: int
    """Pictures in an epoch."""
    bends: tuple[tuple[float, float], ...] = ()
    """A re-plan each: the epochs seen by then, and how far in the schedule that was."""
    planned_epochs: float = 0.0
    """Length of the schedule, where there are bends: the epochs of the first plan."""

    @property
    def steps(self) -> int:
        """Number of optimizer updates of the whole run."""
        return self.phases[-1].stop

    @property
    def epochs(self) -> float:
        """Epochs of the whole run."""
        return self.epoch(self.steps)

    @property
    def length(self) -> float:
        """Epochs that the schedules are written for; those of the run, unless it is re-planned."""
        return self.planned_epochs if self.bends else self.epochs

    def place(self, step: int) -> float:
        """Return where `step` is in the schedules, in epochs from 0 to `length`.

        A re-plan passes what is left of them faster or slower, without a jump.
        """
        epoch = self.epoch(step)
        if not self.bends:
            return epoch
        knots = [(0.0, 0.0), *self.bends, (self.epochs, self.length)]
        after = max(1, min(bisect_right(knots, epoch, key=lambda k: k[0]), len(knots) - 1))
        (x0, y0), (x1, y1) = knots[after - 1], knots[after]
        return y1 if x1 <= x0 else y0 + (y1 - y0) * (epoch - x0) / (x1 - x0)

    def replanned(self, change: Replan) -> "Timeline":
        """Return the timeline whose rest, phases in proportion, is squeezed or stretched.

        Steps before `change.step` stay what they were; `change.steps` must be later than it.
        """
        at = change.step
        share = (change.steps - at) / (self.steps - at)
        phases: list[Phase] = []
        for p in self.phases:
            stop = p.stop if p.stop <= at else at + round((p.stop - at) * share)
            start, first = p.start, p.first
            if phases:
                before = phases[-1]
                start, first = before.stop, before.first + before.images
            phases.append(replace(p, start=start, stop=stop, first=first))
        return replace(
            self,
            phases=tuple(phases),
            bends=(*self.bends, (self.epoch(at), self.place(at))),
            planned_epochs=self.length,
        )

    def phase(self, step: int) -> Phase:
        """Return the phase that `step` is in."""
        return self.phases[min(self.index(step), len(self.phases) - 1)]

    def index(self, step: int) -> int:
        """Return the number of the phase that `step` is in."""
        return bisect_right([p.stop for p in self.phases], step)

    def positions(self, step: int) -> range:
        """Return the stretch of the stream that `step` trains on."""
        phase = self.phase(step)
        first = phase.first + (step - phase.start) * phase.batch_size
        return range(first, first + phase.batch_size)

    def epoch(self, step: int) -> float:
        """Return how many epochs have been seen before `step`."""
        return self.positions(step).start / self.images


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRate:
    """How the learning rate goes: a linear warm-up, then a decay; both counted from step 0."""

    peak: float = 0.001
    warmup_epochs: float = 5.0
    decay: Literal["constant", "cosine", "exponential"] = "cosine"
    factor: float = 0.97
    """`exponential`: multiply by this ..."""
    every_epochs: float = 2.4
    """... every so many epochs, in stairs."""
    floor: float = 0.0
    """`cosine`: end at this share of the peak."""

    def at(self, epoch: float, epochs: float) -> float:
        """Return the rate at `epoch` of `epochs`.

        The stairs have already gone down when the warm-up ends, as in the authors' code.
        """
        if epoch < self.warmup_epochs:
            return self.peak * epoch / self.warmup_epochs
        if self.decay == "exponential":
            return self.peak * self.factor ** math.floor(epoch / self.every_epochs)
        if self.decay == "cosine":
            done = (epoch - self.warmup_epochs) / max(1e-9, epochs - self.warmup_epochs)
            wave = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
            return self.peak * (self.floor + (1 - self.floor) * wave)
        return self.peak


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau:
    """Lower the learning rate, and stop early, when the validation loss no longer falls.

    Both are functions of the validation losses so far, hence exact on resume.
    """

    factor: float = 1.0
    """Multiply the learning rate by this (1: never) ..."""
    wait: int = 10
    """... after this many validations without improvement."""
    patience: int = 0
    """Stop after this many validations without improvement; 0 never stops."""
    min_epochs: float = 0.0
    """Never stop before."""

    def scale(self, losses: Sequence[float]) -> float:
        """Return what the learning rate is multiplied by after these validations."""
        scale, best, since = 1.0, math.inf, 0
        for loss in losses:
            best, since = (loss, 0) if loss < best else (best, since + 1)
            if since >= self.wait:
                scale, since = scale * self.factor, 0
        return scale

    def stops(self, losses: Sequence[float], epoch: float) -> bool:
        """Say whether training should stop after these validations."""
        if not self.patience or epoch < self.min_epochs or not losses:
            return False
        return len(losses) - 1 - losses.index(min(losses)) >= self.patience


def ema_decay(decay: float, step: int) -> float:
    """Return the decay of moving averages at `step`: small at first, so that early ones follow."""
    return min(decay, (1 + step) / (10 + step))
