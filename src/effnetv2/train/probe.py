"""Measure what training costs here and now: the real step, loader and prediction, largest first.

Invariant: what follows is not changed by it. The network is the probe's own, pictures of steps are
noise, and torch's random numbers go on where they were.
"""

import statistics
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from effnetv2.arch.cost import cost
from effnetv2.data.cache import Cached
from effnetv2.data.loader import Request, evaluation_batches, training_batches
from effnetv2.data.samples import Data, Samples
from effnetv2.errors import InputError
from effnetv2.nn.network import EfficientNet
from effnetv2.train.budget import Budget
from effnetv2.train.costs import Costs, SizeCost
from effnetv2.train.display import Display
from effnetv2.train.loop import backward, clip
from effnetv2.train.machine import Machine, out_of_memory
from effnetv2.train.plan import Plan, timeline_of
from effnetv2.train.planner import choose
from effnetv2.train.recipe import Recipe
from effnetv2.train.schedules import Phase
from effnetv2.train.state import State
from effnetv2.train.world import World

SHARE = 0.05
"""Share of the budget that measuring may take, about."""
MOST_STEPS = 7
"""Timed steps of a size, at most."""
LOADED, SEEN = 4, 16
"""Pictures of a batch when the loader is measured, and when predictions are."""
CLOSING = 2.0
"""Seconds of a processor to save a model, write evaluations, draw a report, and leave."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is measured, and what tells of it."""

    machine: Machine
    world: World
    workers: int
    display: Display
    opening: float


def fitted(
    recipe: Recipe,
    data: Data,
    asked: frozenset[str],
    *,
    machine: Machine,
    world: World,
    workers: int,
    display: Display,
    opening: float,
    budget: Budget,
) -> Plan:
    """Return the plan of the best run of `recipe` within `budget`, as measured on `machine`.

    `asked` as `choose` takes it; `opening` are the seconds in which the data was opened, as it will
    be again. Sizes that the plan takes to, having none of the recipe's, are measured too, if time
    is left.
    """
    place = Place(machine, world, workers, display, opening)
    until = time.monotonic() + SHARE * budget.seconds
    costs = measure(recipe, data, place, budget, until)
    plan = choose(recipe, costs, budget, asked)
    known = {size.resolution for size in costs.sizes}
    new = {row.resolution for row in plan.rows} - known
    if new and time.monotonic() < until:
        more = measure(plan.recipe, data, place, budget, until, frozenset(known))
        sizes = sorted((*costs.sizes, *more.sizes), key=lambda size: size.resolution)
        costs = replace(costs, sizes=tuple(sizes), startup=more.startup)
        plan = choose(recipe, costs, budget, asked)
    return plan


def measure(
    recipe: Recipe,
    data: Data,
    place: Place,
    budget: Budget,
    until: float,
    known: frozenset[int] = frozenset(),
) -> Costs:
    """Return what `recipe` costs on `data`; measures on until the time `until`, about.

    At least the largest phase is measured, and every other one while there is time. Those in
    `known` are left out. InputError where not even one picture fits the memory.
    """
    began, used = time.monotonic(), time.process_time()
    machine, ranks = place.machine, place.world.ranks
    blank = Costs(
        sizes=(), update=0.0, forward=0.0, viewing=0.0,
        evaluated_at=recipe.preprocessing.resolution, train=len(data.train),
        val=len(data.val or ()), test=len(data.test or ()), ranks=ranks, workers=place.workers,
    )  # fmt: skip
    phases = {p.resolution: p for p in timeline_of(recipe, blank).phases}
    wanted = [phases[r] for r in sorted(phases.keys() - known, reverse=True)]
    sizes: list[SizeCost] = []
    updates: list[float] = []
    devices = [machine.device] if machine.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        state = State.initial(recipe, len(data.train.classes), machine)
        building = time.monotonic() - began
        if recipe.compile:
            state.model.compile()
        bench = Bench(recipe, data, state, machine, ranks)
        for i, phase in enumerate(wanted):
            now = time.monotonic()
            if sizes and now >= until:
                break
            # Half of the time that is left, so that each smaller size has its part of the rest.
            seconds = max(0.0, until - now) * (0.5 if i + 1 < len(wanted) else 0.7)
            with place.display.waiting(f"measuring {phase.resolution} px"):
                found, update = bench.size(phase, seconds)
            place.display.say(
                f"measured {phase.resolution} px: {1000 * found.gradient:.1f} ms a picture, "
                f"{1000 * found.loading:.1f} ms to load it"
            )
            if sizes:  # a smaller picture is not dearer: then the machine was busy otherwise
                found = replace(found, gradient=min(found.gradient, sizes[-1].gradient))
            sizes.append(found)
            updates.append(update)
        forward = viewing = 0.0
        if (judged := data.val or data.test) is not None and not known:
            with place.display.waiting("measuring evaluation"):
                forward, viewing = _evaluation(recipe, judged, state.model, machine, until)
        machine.forget_peak()
        fixed, room = machine.held(), machine.room()
        del state, bench
        machine.forget_peak()
    busy = (time.monotonic() - began) / max(time.process_time() - used, 1e-3)
    return replace(
        blank,
        sizes=tuple(reversed(sizes)),
        update=statistics.median(updates),
        forward=forward,
        viewing=viewing,
        fixed_memory=float(fixed),
        room=float(room),
        startup=time.monotonic() - budget.began + place.opening + 2 * building,
        closing=CLOSING * max(1.0, busy),  # one thread's work, beside what else runs here
    )


@dataclass
class Bench:
    """Steps and loading of one recipe, size after size, the largest first."""

    recipe: Recipe
    data: Data
    state: State
    machine: Machine
    ranks: int
    pictures: int = 2
    """Pictures of a step that is known not to take too long ..."""
    most: int = 0
    """... and those that it may have at most."""

    def size(self, phase: Phase, seconds: float) -> tuple[SizeCost, float]:
        """Return what a picture costs in `phase`, and the seconds of an update beside it."""
        until = time.monotonic() + seconds
        first = self._first(phase, seconds)
        self.machine.forget_peak()
        before, gradients, updates = self.machine.held(), list[float](), list[float]()
        for done in range(MOST_STEPS):
            gradient, update = self._step(phase)
            gradients.append(gradient)
            updates.append(update)
            if done and time.monotonic() >= until - seconds / 3:  # a third is the loader's
                break
        gradient = statistics.median(gradients)
        memory = max(0.0, self.machine.peak() - before) / self.pictures
        loading, fresh = self._loading(phase, until)
        found = SizeCost(
            resolution=phase.resolution,
            gradient=gradient / self.pictures,
            loading=loading,
            fresh=fresh,
            memory=memory,
            first=max(0.0, first - gradient) if self.recipe.compile else 0.0,
        )
        return found, statistics.median(updates)

    def _first(self, phase: Phase, seconds: float) -> float:
        """Warm up, settle how many pictures a step takes, and return the seconds of the first."""
        part = max(1, phase.batch_size // self.ranks // self.recipe.accumulate)
        self.most = max(min(2, part), min(part, self._fitting(phase)))
        careful = self.machine.device.type == "cpu" and not self.recipe.compile
        self.pictures = min(self.pictures, self.most) if careful else self.most
        first, _ = self._bearable(phase)
        # On a CPU a large batch may take minutes: see what smaller ones take.
        while self.pictures < self.most:
            larger = int(self.pictures * seconds / 6 / sum(self._bearable(phase)))
            if larger <= self.pictures:
                break
            self.pictures = min(self.most, larger)
        self._bearable(phase)  # of as many pictures as will be measured
        return first

    def _bearable(self, phase: Phase) -> tuple[float, float]:
        """Take a step of as many pictures as the memory bears, halving them where it does not."""
        while True:
            try:
                return self._step(phase)
            except RuntimeError as e:
                if not out_of_memory(e):
                    raise
                if self.pictures == 1:
                    raise InputError(
                        f"not even one picture of {phase.resolution} px fits the memory; lower "
                        "--size, or take a smaller --model"
                    ) from e
            self.most = self.pictures = self.pictures // 2

    def _fitting(self, phase: Phase) -> int:
        """Return how many pictures the memory should hold, by what the network keeps of each."""
        classes, room = len(self.data.train.classes), self.machine.room()
        spent = cost(self.recipe.network, classes=classes, resolution=phase.resolution)
        each = spent.activations * self.machine.precision.itemsize
        return int((room - self.machine.held()) / each)

    def _step(self, phase: Phase) -> tuple[float, float]:
        """Take one step on noise, in one part; return seconds of the gradient and the update."""
        state, machine, side = self.state, self.machine, phase.resolution
        classes = len(self.data.train.classes)
        images = torch.randint(256, (self.pictures, 3, side, side), dtype=torch.uint8)
        labels = torch.arange(self.pictures) % classes
        weights = torch.ones(classes, device=machine.device)
        state.model.train()
        state.model.regularise(dropout=phase.dropout, drop_path=phase.drop_path)
        whole = replace(self.recipe, accumulate=1)
        machine.wait()
        began = time.perf_counter()
        backward(whole, state.model, images, labels, weights, phase, machine)
        machine.wait()
        middle = time.perf_counter()
        clip(state.model, whole.optimizer.clip_norm)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.average.update(state.model, state.step)
        machine.wait()
        return middle - began, time.perf_counter() - middle

    def _loading(self, phase: Phase, until: float) -> tuple[float, float]:
        """Return the seconds a picture of loading it again, and those more of loading it first."""
        samples, how = self.data.train, self.recipe.augmentation
        requests = [
            Request(range(LOADED * i, LOADED * (i + 1)), phase.resolution, phase.randaugment)
            for i in range(16)
        ]
        seconds: list[float] = []
        for _ in range(2 if isinstance(samples.pictures, Cached) else 1):
            batches = training_batches(samples, how, requests, seed=self.recipe.seed, workers=0)
            next(batches)  # opens what is opened once
            began, pictures = time.perf_counter(), 0
            for images, _ in batches:
                pictures += len(images)
                if time.monotonic() >= until:
                    break
            requests = requests[: 1 + pictures // LOADED]
            seconds.append((time.perf_counter() - began) / pictures)
        return seconds[-1], max(0.0, seconds[0] - seconds[-1])


def _evaluation(
    recipe: Recipe, samples: Samples, model: EfficientNet, machine: Machine, until: float
) -> tuple[float, float]:
    """Return the seconds to predict a picture, and those in which one process reads it."""
    how = recipe.preprocessing
    spread = np.linspace(0, len(samples) - 1, min(len(samples), 5 * SEEN)).astype(int)
    batches = evaluation_batches(
        samples.subset(spread), how, batch_size=SEEN, rank=0, ranks=1, workers=0
    )
    model.eval()
    forward, viewing, pictures = 0.0, 0.0, 0
    began = time.perf_counter()
    with torch.inference_mode():
        for i, (images, _, _) in enumerate(batches):
            read = time.perf_counter()
            machine.logits(model, images, how).cpu()
            if i == 0:  # the first one is slower: once more
                warm = time.perf_counter()
                machine.logits(model, images, how).cpu()
                read, began = warm, began + warm - read
            forward += time.perf_counter() - read
            viewing += read - began
            pictures += len(images)
            if time.monotonic() >= until:
                break
            began = time.perf_counter()
    return forward / pictures, viewing / pictures
