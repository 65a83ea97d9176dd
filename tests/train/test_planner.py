"""Plans are arithmetic over what was measured: no clock, no network, no pictures."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from effnetv2.arch.presets import TINY
from effnetv2.config import from_data, to_data
from effnetv2.data.preprocessing import Preprocessing
from effnetv2.errors import InputError
from effnetv2.train.budget import Budget
from effnetv2.train.costs import TARGET, Costs, Pledge, SizeCost, validations
from effnetv2.train.plan import Plan, timeline_of
from effnetv2.train.planner import FEW, choose
from effnetv2.train.recipe import DataChoice, Recipe
from effnetv2.train.schedules import LearningRate, Progression

RECIPE = Recipe(
    data=DataChoice(source="squares"),
    network=TINY,
    preprocessing=Preprocessing(resolution=176),
    progression=Progression(resolution=(80, 160), multiple=16),
    epochs=40.0,
    batch_size=32,
    learning_rate=LearningRate(peak=0.002, warmup_epochs=2.0),
    validate_every=2.0,
)


def costs(**changes: Any) -> Costs:
    """Return the costs of 2,000 pictures: 10 ms each at 160 px, a fifth of it to load."""
    standard: dict[str, Any] = {
        "sizes": tuple(
            SizeCost(resolution=r, gradient=0.01 * (r / 160) ** 2, loading=0.002, memory=2**20 * r)
            for r in (80, 112, 128, 160)
        ),
        "update": 0.01, "forward": 0.003, "viewing": 0.002, "evaluated_at": 176,
        "train": 2000, "val": 250, "test": 250, "startup": 8.0, "closing": 2.0,
        "fixed_memory": 2.0**29,
    }  # fmt: skip
    return Costs(**(standard | changes))


def plan(seconds: float, *asked: str, recipe: Recipe = RECIPE, **changes: Any) -> Plan:
    return choose(recipe, costs(**changes), Budget(seconds), frozenset(asked))


def size(found: Plan) -> int:
    return found.recipe.progression.resolution[1]


BUDGETS = [40, 60, 90, 130, 180, 240, 300, 400, 600, 1200, 2400]


@pytest.mark.parametrize("seconds", BUDGETS)
def test_a_plan_ends_within_its_budget_and_uses_most_of_it(seconds: float) -> None:
    found = plan(seconds)
    assert found.seconds <= TARGET * seconds
    assert found.seconds >= 0.9 * TARGET * seconds or "ends before" in found.notes[-1]


def test_more_time_never_gives_less() -> None:
    """Larger pictures count before more epochs; at the same sizes and batch, epochs grow."""
    found = [plan(seconds) for seconds in BUDGETS]
    sizes = [size(p) for p in found]
    assert sizes == sorted(sizes)
    for before, after in itertools.pairwise(found):
        alike = [(size(p), len(p.rows), p.recipe.batch_size) for p in (before, after)]
        assert alike[0] != alike[1] or after.epochs >= before.epochs


def test_fine_steps_of_the_budget_never_give_fewer_epochs() -> None:
    epochs = [plan(600 + 2 * i, "size", "batch_size").epochs for i in range(15)]
    assert epochs == sorted(epochs)


def test_what_a_plan_expects_is_the_sum_of_its_parts() -> None:
    found = plan(600)
    timeline = timeline_of(found.recipe, found.pledge.costs)
    by_step = found.pledge.costs.training(found.recipe, timeline, timeline.steps)
    rows = sum(row.seconds for row in found.rows) + found.validation_seconds
    assert rows == pytest.approx(by_step)
    ending = found.settling_seconds + found.evaluation_seconds + found.closing_seconds
    assert found.seconds == pytest.approx(8.0 + by_step + ending)
    assert sum(row.steps for row in found.rows) == found.steps == timeline.steps


def test_the_sizes_stay_while_a_few_epochs_fit() -> None:
    found = plan(600)
    assert size(found) == 160
    assert found.epochs >= FEW
    assert not found.notes


def test_smaller_pictures_make_room_for_epochs_and_it_is_said() -> None:
    found = plan(150)
    assert size(found) < 160
    assert found.epochs >= FEW
    first, last = found.recipe.progression.resolution
    assert first < last
    shown = found.recipe.preprocessing.resolution
    assert shown / last == pytest.approx(176 / 160, rel=0.02)
    assert f"up to {last} px, not 160 px" in found.notes[0]


def test_asked_sizes_and_batches_stay() -> None:
    found = plan(90, "size", "batch_size", recipe=replace(RECIPE, batch_size=64))
    assert size(found) == 160
    assert found.recipe.batch_size == 64
    assert "fewer than 8 epochs" in found.notes[0]


def test_no_more_epochs_than_help() -> None:
    found = plan(3600, recipe=replace(RECIPE, epochs=10))
    assert found.epochs == pytest.approx(50, rel=0.01)
    assert "the run ends before its budget does" in found.notes[-1]
    assert found.seconds < 1800


def test_few_updates_make_smaller_batches() -> None:
    found = plan(60, recipe=replace(RECIPE, batch_size=128))
    assert found.recipe.batch_size < 128
    assert f"batches of {found.recipe.batch_size} instead of 128" in found.notes[-1]
    smaller = found.recipe.learning_rate.peak / RECIPE.learning_rate.peak
    assert smaller == pytest.approx((found.recipe.batch_size / 128) ** 0.5)


def test_short_memory_makes_parts() -> None:
    whole = plan(600, "batch_size", room=0.0)
    assert whole.recipe.accumulate == 1
    needed = whole.rows[-1].peak_memory
    assert needed == 2**29 + 32 * 160 * 2**20
    parts = plan(600, "batch_size", room=needed * 0.4)
    assert parts.recipe.accumulate == 4
    assert parts.rows[-1].peak_memory <= needed * 0.4
    assert parts.recipe.batch_size == 32
    assert "memory is short: batches are computed in 4 parts" in parts.notes
    assert plan(600, "accumulate", room=needed * 0.4).recipe.accumulate == 1


@pytest.mark.parametrize("seconds", [0.5, 5, 12])
def test_too_short_a_budget_is_one_line_with_one_that_does(seconds: float) -> None:
    with pytest.raises(InputError, match="is too short") as told:
        plan(seconds)
    (line,) = str(told.value).splitlines()
    enough = float(line.split("give ")[1].split("s ")[0])
    assert plan(enough).steps >= 20


def test_validation_takes_a_tenth_at_most() -> None:
    for seconds in (60, 300, 1200):
        found = plan(seconds, val=2000)
        training = sum(row.seconds for row in found.rows)
        assert found.validations <= 1 or found.validation_seconds <= 0.13 * training
    assert plan(1200, "validate_every").recipe.validate_every == 2.0


def test_validations_are_counted_as_the_loop_holds_them() -> None:
    recipe = replace(RECIPE, epochs=7.0, validate_every=1.5)
    timeline = timeline_of(recipe, costs())
    held = [
        step
        for step in range(1, timeline.steps + 1)
        if step == timeline.steps or timeline.epoch(step) // 1.5 > timeline.epoch(step - 1) // 1.5
    ]
    assert validations(recipe, timeline, 0, timeline.steps) == len(held)
    middle = timeline.phases[1].stop
    parts = [
        validations(recipe, timeline, *ends) for ends in ((0, middle), (middle, timeline.steps))
    ]
    assert parts[0] == sum(step <= middle for step in held)
    assert sum(parts) == len(held)


def test_workers_hide_loading_behind_computing() -> None:
    phase = timeline_of(RECIPE, costs()).phases[-1]
    assert costs().step(phase) == pytest.approx(0.01 + 32 * 0.012)
    assert costs(workers=2).step(phase) == pytest.approx(0.01 + 32 * 0.010)
    slow = tuple(replace(s, loading=0.05) for s in costs().sizes)
    assert costs(workers=2, sizes=slow).step(phase) == pytest.approx(32 * 0.025)


def test_pictures_are_dearer_when_a_phase_shows_them_first() -> None:
    phase = timeline_of(RECIPE, costs()).phases[-1]
    kept = costs(sizes=tuple(replace(s, fresh=0.01) for s in costs().sizes))
    epoch = 2000 // 32
    assert kept.running(phase, epoch) - costs().running(phase, epoch) == pytest.approx(19.84)
    both = [c.running(phase, 3 * epoch) for c in (kept, costs())]
    assert both[0] - both[1] == pytest.approx(20.0)
    assert kept.step(phase) == costs().step(phase)


def test_sizes_that_were_not_measured_lie_between_those_that_were() -> None:
    assert costs().at(112).gradient == pytest.approx(0.01 * 0.49)
    assert costs().at(80).gradient < costs().at(96).gradient < costs().at(112).gradient
    one = costs(sizes=costs().sizes[-1:])
    assert one.at(80).gradient < 0.3 * one.at(160).gradient
    assert one.at(320).gradient > 3.5 * one.at(160).gradient


def test_two_ranks_halve_what_a_step_takes() -> None:
    found, alone = plan(600, ranks=2), plan(600)
    assert found.recipe.batch_size % 2 == 0
    assert found.epochs > 1.5 * alone.epochs


def test_durations_follow_the_epochs() -> None:
    found = plan(600).recipe
    share = found.epochs / RECIPE.epochs
    assert found.learning_rate.warmup_epochs == pytest.approx(2.0 * share)
    assert found.ema_decay <= RECIPE.ema_decay


def test_a_pledge_is_read_again_as_it_was_written() -> None:
    pledge = plan(600).pledge
    assert from_data(Pledge, to_data(pledge), "record.json") == pledge
