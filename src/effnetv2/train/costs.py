"""What training costs on one machine, as measured, and what a timeline then takes.

All of it is arithmetic over a value: plans and re-plans are tested without a clock. Sizes that were
not measured lie between those that were, by their pixels.
"""

import math
from dataclasses import dataclass

from effnetv2.train.recipe import Recipe
from effnetv2.train.schedules import Phase, Timeline

TARGET = 0.96
"""Share of the budget that is planned for; the rest is for what nobody foresaw."""
RECALIBRATED = 2048
"""Pictures that batch-norm statistics are re-estimated on, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeCost:
    """What a training picture costs at one size, on one rank."""

    resolution: int
    gradient: float
    """Seconds a picture, forward and backward."""
    loading: float
    """Seconds a picture that one process takes to read and augment it, ..."""
    fresh: float = 0.0
    """... and so many more when a phase shows it first, where decoded pictures are kept."""
    memory: float
    """Bytes a picture that a step holds at its peak."""
    first: float = 0.0
    """Seconds that the first step takes longer, where networks are compiled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Everything measured before a plan is made."""

    sizes: tuple[SizeCost, ...]
    """At least one, smaller sizes first."""
    update: float
    """Seconds a step for optimizer, clipping and moving average."""
    forward: float
    """Seconds a picture to predict at the evaluation size."""
    viewing: float
    """Seconds a picture that one process takes to read it for evaluation."""
    evaluated_at: int
    """The evaluation size of `forward`, in pixels."""
    train: int
    """Training pictures."""
    val: int = 0
    test: int = 0
    startup: float = 0.0
    """Seconds from the command to the first step."""
    closing: float = 0.0
    """Seconds from the last prediction to the end: model, evaluations, report."""
    fixed_memory: float = 0.0
    """Bytes held beside the pictures of a step: weights, optimizer, libraries."""
    room: float = 0.0
    """Bytes that may be used in all; 0 where unknown."""
    ranks: int = 1
    workers: int = 0

    def at(self, resolution: int) -> SizeCost:
        """Return the cost at `resolution`: measured, between two measured, or scaled."""
        sizes, x = self.sizes, work(resolution)
        above = next((s for s in sizes if s.resolution >= resolution), sizes[-1])
        below = next((s for s in reversed(sizes) if s.resolution <= resolution), sizes[0])
        low, high = work(below.resolution), work(above.resolution)
        if low == high:  # measured, or outside of what was: a picture costs what its pixels do
            share, scale = 0.0, x / low
        else:
            share, scale = (x - low) / (high - low), 1.0

        def between(a: float, b: float) -> float:
            return (a + (b - a) * share) * scale

        return SizeCost(
            resolution=resolution,
            gradient=between(below.gradient, above.gradient),
            loading=between(below.loading, above.loading),
            fresh=between(below.fresh, above.fresh),
            memory=between(below.memory, above.memory),
            first=max(below.first, above.first),
        )

    def compute(self, phase: Phase) -> float:
        """Return seconds of a step without loading."""
        return self.update + self.at(phase.resolution).gradient * self.mine(phase.batch_size)

    def loading(self, phase: Phase) -> float:
        """Return seconds in which the loader makes a step's pictures."""
        made = self.at(phase.resolution).loading * self.mine(phase.batch_size)
        return made / max(1, self.workers)

    def step(self, phase: Phase) -> float:
        """Return seconds of a step; workers load while the device computes."""
        return self._together(self.compute(phase), self.loading(phase))

    def running(self, phase: Phase, steps: int) -> float:
        """Return seconds of the first `steps` steps of `phase`."""
        if steps <= 0:
            return 0.0
        cost = self.at(phase.resolution)
        fresh = min(steps, self.train / phase.batch_size)
        more = cost.fresh * self.mine(phase.batch_size) / max(1, self.workers)
        slow = self._together(self.compute(phase), self.loading(phase) + more)
        return cost.first + fresh * slow + (steps - fresh) * self.step(phase)

    def memory(self, resolution: int, batch_size: int, accumulate: int) -> float:
        """Return bytes at the peak of a step."""
        part = math.ceil(self.mine(batch_size) / accumulate)
        return self.fixed_memory + self.at(resolution).memory * part

    def evaluation(self, images: int, resolution: int) -> float:
        """Return seconds to predict `images` pictures."""
        forward = self.forward * work(resolution) / work(self.evaluated_at)
        each = self._together(forward, self.viewing / max(1, self.workers))
        return self.mine(images) * each

    def validation(self, recipe: Recipe, phase: Phase) -> float:
        """Return seconds of one validation in `phase`."""
        return self.evaluation(self.val, recipe.shown(phase).resolution)

    def training(self, recipe: Recipe, timeline: Timeline, step: int) -> float:
        """Return seconds of the first `step` steps and the validations among them."""
        seconds = 0.0
        for phase in timeline.phases:
            stop = min(step, phase.stop)
            if stop <= phase.start:
                break
            seconds += self.running(phase, stop - phase.start)
            if self.val:
                times = validations(recipe, timeline, phase.start, stop)
                seconds += times * self.validation(recipe, phase)
        return seconds

    def ending(self, recipe: Recipe) -> float:
        """Return seconds from the last step to the end."""
        return self.judging(recipe) + self.settling(recipe) + self.closing

    def judging(self, recipe: Recipe) -> float:
        """Return seconds of the last evaluations."""
        return self.evaluation(self.val + self.test, recipe.preprocessing.resolution)

    def settling(self, recipe: Recipe) -> float:
        """Return seconds in which batch-norm statistics are re-estimated and tried."""
        resolution = recipe.preprocessing.resolution
        sizes_differ = resolution != recipe.progression.resolution[1]
        if not (self.val and recipe.recalibrate and sizes_differ):
            return 0.0
        forward = self.forward * work(resolution) / work(self.evaluated_at)
        shown = min(self.train, RECALIBRATED) * (forward + self.viewing)  # by no workers
        return shown + self.evaluation(self.val, resolution)

    def mine(self, images: int) -> int:
        """Return how many of `images` pictures one rank gets."""
        return math.ceil(images / self.ranks)

    def _together(self, computing: float, loading: float) -> float:
        return max(computing, loading) if self.workers else computing + loading


@dataclass(frozen=True, slots=True, kw_only=True)
class Pledge:
    """What a run keeps of its plan, to hold it: in `record.json`."""

    seconds: float
    """The budget."""
    most_epochs: float
    """Never lengthened beyond."""
    costs: Costs


def work(resolution: int) -> float:
    """Return what a picture costs beside others: its pixels, and something that any picture has."""
    return resolution**2 + 32**2


def validations(recipe: Recipe, timeline: Timeline, start: int, stop: int) -> int:
    """Return how many validations follow the steps `start` to `stop`, the last one included."""
    every = recipe.validate_every
    now, before = (timeline.epoch(step) // every for step in (stop, start))
    ends = stop == timeline.steps and timeline.epoch(stop) // every == (
        timeline.epoch(stop - 1) // every
    )
    return int(now - before) + ends
