"""A run that keeps its budget, by a clock that the test turns."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from effnetv2.arch.presets import TINY
from effnetv2.data.preprocessing import Preprocessing
from effnetv2.train.budget import Budget
from effnetv2.train.costs import Costs, SizeCost
from effnetv2.train.pace import Pace
from effnetv2.train.plan import Plan, timeline_of
from effnetv2.train.planner import choose
from effnetv2.train.recipe import DataChoice, Recipe
from effnetv2.train.schedules import Progression, Replan, Timeline
from effnetv2.train.world import World

RECIPE = Recipe(
    data=DataChoice(source="squares"),
    network=TINY,
    preprocessing=Preprocessing(resolution=176),
    progression=Progression(resolution=(80, 160), multiple=16),
)
COSTS = Costs(
    sizes=(
        SizeCost(resolution=80, gradient=0.010, loading=0.002, memory=1.0),
        SizeCost(resolution=160, gradient=0.030, loading=0.002, memory=1.0),
    ),
    update=0.01, forward=0.003, viewing=0.002, evaluated_at=176,
    train=1000, val=250, test=250, startup=8.0, closing=2.0,
)  # fmt: skip
BUDGET = 600.0


def planned() -> Plan:
    return choose(RECIPE, COSTS, Budget(BUDGET))


@dataclass
class Ran:
    """What became of a simulated run."""

    timeline: Timeline
    end: float
    """Seconds from the command to the end."""
    replans: list[Replan] = field(default_factory=list)


def ran(plan: Plan, slowness: Callable[[float], float], startup: float = 8.0) -> Ran:
    """Run `plan` on a machine that is `slowness(seconds)` times slower than measured."""
    now = [startup]
    pace = Pace(plan.recipe, plan.pledge, began=0.0, clock=lambda: now[0])
    pace.open(0.0)
    timeline, costs = timeline_of(plan.recipe, COSTS), plan.pledge.costs
    found = Ran(timeline, 0.0)
    step, done = 0, 0.0
    while step < timeline.steps:
        step += 1
        due = costs.training(plan.recipe, timeline, step)
        now[0] += (due - done) * slowness(now[0])
        if change := pace.replan(timeline, step, World()):
            found.replans.append(change)
            timeline = timeline.replanned(change)
            due = costs.training(plan.recipe, timeline, step)
        done = due
    now[0] += costs.ending(plan.recipe) * slowness(now[0])
    found.timeline, found.end = timeline, now[0]
    return found


def test_a_machine_as_measured_needs_no_change() -> None:
    plan = planned()
    found = ran(plan, lambda _: 1.0)
    assert found.replans == []
    assert found.end == pytest.approx(plan.seconds)


@pytest.mark.parametrize("since", [0, 200, 450, 540])
def test_half_a_machine_makes_fewer_steps_within_the_budget(since: float) -> None:
    plan = planned()
    found = ran(plan, lambda now: 2.0 if now > since else 1.0)
    assert found.replans
    assert found.timeline.steps < plan.steps
    assert 0.9 * BUDGET <= found.end <= BUDGET


def test_a_burst_costs_steps_but_not_the_end() -> None:
    found = ran(planned(), lambda now: 3.0 if 100 < now < 200 else 1.0)
    assert 0.9 * BUDGET <= found.end <= BUDGET
    times = [p.stop - p.start for p in found.timeline.phases]
    assert min(times) > 0.3 * max(times)


def test_a_noisy_machine_is_not_re_planned_all_the_time() -> None:
    """Steps of 0.6 to 1.4 times what was measured."""
    draw = random.Random(0)
    found = ran(planned(), lambda _: draw.uniform(0.6, 1.4))
    assert len(found.replans) <= 2
    assert 0.9 * BUDGET <= found.end <= BUDGET


def test_a_machine_a_little_faster_ends_early_and_a_much_faster_one_trains_on() -> None:
    plan = planned()
    little, much = ran(plan, lambda _: 0.96), ran(plan, lambda _: 0.6)
    assert little.replans == []
    assert little.timeline.steps == plan.steps
    assert much.timeline.steps > 1.3 * plan.steps
    assert 0.9 * BUDGET <= much.end <= BUDGET


def test_a_plan_of_all_the_epochs_that_help_is_not_lengthened() -> None:
    plan = choose(replace(RECIPE, epochs=2.0), COSTS, Budget(BUDGET))
    assert plan.epochs == pytest.approx(10, rel=0.01)
    assert ran(plan, lambda _: 0.8).replans == []


def test_a_machine_that_all_but_stands_still_ends_at_the_next_step() -> None:
    found = ran(planned(), lambda now: 50.0 if now > 300 else 1.0)
    assert found.timeline.steps == found.replans[-1].step + 1


def test_a_run_without_a_budget_only_counts() -> None:
    now = [0.0]
    pace = Pace(RECIPE, clock=lambda: now[0])
    pace.open(30.0)
    now[0] = 12.0
    assert pace.spent() == 42.0
    assert pace.replan(timeline_of(RECIPE, COSTS), 1, World()) is None


def test_time_spent_before_a_cut_counts() -> None:
    plan = planned()
    now = [0.0]
    pace = Pace(plan.recipe, plan.pledge, began=0.0, clock=lambda: now[0])
    pace.open(400.0)  # of 600 seconds, at the first step
    timeline, change, step = timeline_of(plan.recipe, COSTS), None, 0
    while change is None:
        step += 1
        now[0] = COSTS.training(plan.recipe, timeline, step)
        change = pace.replan(timeline, step, World())
    assert change.steps < 0.4 * timeline.steps
