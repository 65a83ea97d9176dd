"""A recipe that should end within its budget, and what each part of it takes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from effnetv2.config import to_data
from effnetv2.train.costs import TARGET, Costs, Pledge, validations
from effnetv2.train.recipe import Recipe
from effnetv2.train.schedules import Phase, Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One phase of a plan; times in seconds, memory in bytes."""

    resolution: int
    batch_size: int
    steps: int
    epochs: float
    compute_seconds_per_step: float
    loading_seconds_per_step: float
    seconds: float
    peak_memory: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A recipe that should end within its budget, and why."""

    recipe: Recipe
    pledge: Pledge
    rows: tuple[Row, ...]
    epochs: float
    steps: int
    validations: int
    startup_seconds: float
    validation_seconds: float
    settling_seconds: float
    """Re-estimating batch norms."""
    evaluation_seconds: float
    closing_seconds: float
    notes: tuple[str, ...]
    """What was chosen differently from the recipe, and why."""
    assumed: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Seconds from the command to the end, as expected."""
        return (
            sum(row.seconds for row in self.rows)
            + self.startup_seconds
            + self.validation_seconds
            + self.settling_seconds
            + self.evaluation_seconds
            + self.closing_seconds
        )

    def data(self) -> dict[str, Any]:
        """Return the plan as JSON would hold it."""
        told: dict[str, Any] = to_data(self)
        pledge = told.pop("pledge")
        recipe = told.pop("recipe")
        return {
            "budget_seconds": self.pledge.seconds,
            "expected_seconds": self.seconds,
            **told,
            "costs": pledge["costs"],
            "recipe": recipe,
        }


def planned(recipe: Recipe, pledge: Pledge, notes: tuple[str, ...]) -> Plan:
    """Return the plan with what each part of it takes."""
    costs = pledge.costs
    timeline = timeline_of(recipe, costs)
    times = [
        validations(recipe, timeline, p.start, p.stop) if costs.val else 0 for p in timeline.phases
    ]
    pairs = list(zip(times, timeline.phases, strict=True))
    return Plan(
        recipe=recipe,
        pledge=pledge,
        rows=tuple(_row(phase, recipe, costs) for phase in timeline.phases),
        epochs=timeline.epochs,
        steps=timeline.steps,
        validations=sum(times),
        startup_seconds=costs.startup,
        validation_seconds=sum(n * costs.validation(recipe, p) for n, p in pairs),
        settling_seconds=costs.settling(recipe),
        evaluation_seconds=costs.judging(recipe),
        closing_seconds=costs.closing,
        notes=notes,
        assumed=tuple(_assumed(timeline, costs)),
    )


def timeline_of(recipe: Recipe, costs: Costs) -> Timeline:
    """Return the phases of `recipe` on the pictures and ranks that were measured."""
    divisor = costs.ranks * recipe.accumulate
    return recipe.progression.plan(costs.train, recipe.epochs, recipe.batch_size, divisor)


def _row(phase: Phase, recipe: Recipe, costs: Costs) -> Row:
    steps = phase.stop - phase.start
    return Row(
        resolution=phase.resolution,
        batch_size=phase.batch_size,
        steps=steps,
        epochs=phase.images / costs.train,
        compute_seconds_per_step=costs.compute(phase),
        loading_seconds_per_step=costs.loading(phase),
        seconds=costs.running(phase, steps),
        peak_memory=costs.memory(phase.resolution, phase.batch_size, recipe.accumulate),
    )


def _assumed(timeline: Timeline, costs: Costs) -> Iterator[str]:
    yield f"{TARGET:.0%} of the budget is planned for; the machine stays as busy as it was measured"
    measured = {size.resolution for size in costs.sizes}
    between = sorted({p.resolution for p in timeline.phases} - measured)
    if between:
        sizes = ", ".join(map(str, between))
        yield f"{sizes} px cost what their pixels say beside the sizes that were measured"
    if costs.workers:
        yield f"{costs.workers} workers load while the device computes"
    else:
        yield "pictures are loaded between steps (no workers)"
    if any(size.fresh for size in costs.sizes):
        yield "there is room to keep every decoded picture"
    if costs.ranks > 1:
        yield f"{costs.ranks} ranks are as quick as this one; exchanging gradients takes no time"
