"""Whether a run keeps its budget, and how many steps it should have when it does not.

Looks at the clock, hence is no function of the step: whatever it decides is kept as a `Replan`, and
everything else follows from that.
"""

import time
from collections import deque
from collections.abc import Callable

from effnetv2.train.costs import TARGET, Costs, Pledge
from effnetv2.train.recipe import Recipe
from effnetv2.train.schedules import Replan, Timeline
from effnetv2.train.world import World

LATE, EARLY = 0.99, 0.9
"""Shares of the budget: a run that would end later is shortened, one that would end earlier
lengthened, to end at `TARGET`."""
PATIENCE = 0.05
"""Later by this share of what is left is borne: it may pass, and can still be mended."""
WINDOW = 0.1
"""The machine is judged by its last seconds, this share of those that are left ..."""
SHORTEST = 3.0
"""... but by no fewer seconds, nor by less than half of the rest."""
CAREFUL = 2.0
"""What comes after predictions is no step: it is thought to take so many times longer at most."""
GLANCE = 0.25
"""Seconds between looks, at least: steps may be short, and looking costs a millisecond."""


class Pace:
    """A run's clock; without a pledge it only counts."""

    def __init__(
        self,
        recipe: Recipe,
        pledge: Pledge | None = None,
        *,
        began: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count from `began` on `clock`, else from now."""
        self.recipe, self.pledge, self.clock = recipe, pledge, clock
        self.began = clock() if began is None else began
        self.before = 0.0
        self.slowness = 1.0
        self.marks: deque[tuple[float, float]] = deque()

    def open(self, spent: float) -> None:
        """Begin the steps, when earlier processes of this run have spent so many seconds."""
        self.before = spent
        self.marks.clear()

    def spent(self) -> float:
        """Return the seconds that the run has taken, while it ran."""
        return self.before + self.clock() - self.began

    def replan(self, timeline: Timeline, step: int, world: World) -> Replan | None:
        """Return a change after `step` steps if the run would miss its end; rank 0 decides."""
        if self.pledge is None or step >= timeline.steps:
            return None
        steps = self._steps(self.pledge, timeline, step) if world.leads else None
        steps, self.slowness = world.first((steps, self.slowness))
        return None if steps is None else Replan(step, steps)

    def _steps(self, pledge: Pledge, timeline: Timeline, step: int) -> int | None:
        """Return how many steps the run should have; None if it may go on as it is."""
        if self.marks and self.clock() < self.marks[-1][0] + GLANCE:
            return None
        costs, recipe = pledge.costs, self.recipe
        done = costs.training(recipe, timeline, step)
        left = costs.training(recipe, timeline, timeline.steps) - done + self._judging(costs)
        now, spent = self.clock(), self.spent()
        self.marks.append((now, done))
        rest = left * self.slowness
        window = max(WINDOW * rest, min(SHORTEST, rest / 2))
        while len(self.marks) > 2 and now - self.marks[1][0] >= window:
            self.marks.popleft()
        since, before = self.marks[0]
        if now - since < window or done <= before:
            return None
        self.slowness = (now - since) / (done - before)
        closing = costs.closing * max(1.0, min(CAREFUL, self.slowness))
        end = spent + self.slowness * left + closing
        latest = LATE * pledge.seconds + PATIENCE * self.slowness * left
        if EARLY * pledge.seconds <= end <= latest:
            return None
        room = (TARGET * pledge.seconds - spent - closing) / self.slowness
        steps = self._most(pledge, timeline, step, room)
        if end < EARLY * pledge.seconds and steps <= timeline.steps:
            return None
        if steps == timeline.steps:
            return None
        self.marks.clear()
        return steps

    def _judging(self, costs: Costs) -> float:
        return costs.ending(self.recipe) - costs.closing

    def _most(self, pledge: Pledge, timeline: Timeline, step: int, room: float) -> int:
        """Return with how many steps the rest takes `room` seconds of what was planned, at most."""
        costs, recipe = pledge.costs, self.recipe

        def fits(steps: int) -> bool:
            if steps == step + 1:
                return True  # there must be an end
            other = timeline.replanned(Replan(step, steps))
            if other.epochs > max(timeline.epochs, pledge.most_epochs):
                return False
            whole = costs.training(recipe, other, other.steps)
            done = costs.training(recipe, timeline, step)
            return whole - done + self._judging(costs) <= room

        low, high = step + 1, step + 2
        while fits(high):
            low, high = high, high + 2 * (high - step)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low
