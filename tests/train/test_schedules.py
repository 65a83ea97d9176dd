import math

import pytest

from effnetv2.train.recipes import PAPER, RELEASED
from effnetv2.train.schedules import LearningRate, Plateau, Progression, Replan, ema_decay


def test_phases_meet_both_ends_and_share_the_epochs() -> None:
    timeline = Progression(resolution=(128, 300), randaugment=(5, 15)).plan(1000, 40, 10)
    assert [p.resolution for p in timeline.phases] == [128, 185, 243, 300]
    assert [round(p.randaugment, 2) for p in timeline.phases] == [5, 8.33, 11.67, 15]
    assert [(p.start, p.stop) for p in timeline.phases] == [
        (0, 1000), (1000, 2000), (2000, 3000), (3000, 4000)
    ]  # fmt: skip
    assert timeline.epochs == 40


@pytest.mark.parametrize(
    ("name", "train"), [("v2-s", 300), ("v2-m", 384), ("v2-l", 384), ("v2-xl", 384),
                        ("v2-b0", 192), ("v2-b1", 192), ("v2-b2", 208), ("v2-b3", 240)]
)  # fmt: skip
def test_released_sizes_are_those_of_the_released_code(name: str, train: int) -> None:
    # main.py: image_size = int(128 + (train_size - 128) * (stage + 1) / 4)
    expected = [int(128 + (train - 128) * (stage + 1) / 4) for stage in range(4)]
    phases = RELEASED[name].plan(1_281_167, 350, 4096).phases
    assert [p.resolution for p in phases] == expected


@pytest.mark.parametrize(
    ("name", "sizes", "magnitudes", "dropouts"),
    [
        ("v2-s", [128, 185, 243, 300], [5, 8.33, 11.67, 15], [0.1, 0.167, 0.233, 0.3]),
        ("v2-m", [128, 212, 296, 380], [5, 10, 15, 20], [0.1, 0.2, 0.3, 0.4]),
        ("v2-l", [128, 212, 296, 380], [5, 11.67, 18.33, 25], [0.1, 0.233, 0.367, 0.5]),
    ],
)
def test_paper_phases_are_table_6(
    name: str, sizes: list[int], magnitudes: list[float], dropouts: list[float]
) -> None:
    phases = PAPER[name].plan(1_281_167, 350, 4096).phases
    assert [p.resolution for p in phases] == sizes
    assert [p.randaugment for p in phases] == pytest.approx(magnitudes, abs=0.01)
    assert [p.dropout for p in phases] == pytest.approx(dropouts, abs=0.001)


def test_a_batch_that_grows_keeps_the_memory_and_the_epochs() -> None:
    timeline = Progression(resolution=(64, 128), grow_batch=True).plan(1000, 8, 32, divisor=4)
    first, *_, last = timeline.phases
    assert (first.batch_size, last.batch_size) == (128, 32)
    assert all(p.batch_size % 4 == 0 for p in timeline.phases)
    assert all(p.batch_size * p.resolution**2 <= 32 * 128**2 for p in timeline.phases)
    assert timeline.epochs == pytest.approx(8, abs=0.1)


def test_positions_run_on_without_gap_across_phases() -> None:
    timeline = Progression(resolution=(32, 64), grow_batch=True).plan(100, 5, 16)
    stream = [p for step in range(timeline.steps) for p in timeline.positions(step)]
    assert stream == list(range(len(stream)))


def test_one_phase_is_the_last_one() -> None:
    (phase,) = Progression(phases=1, resolution=(128, 300)).plan(100, 1, 10).phases
    assert (phase.resolution, phase.randaugment, phase.dropout) == (300, 15, 0.3)


def test_the_staircase_has_gone_down_when_the_warmup_ends() -> None:
    # utils.py of the released code: decay counts from step 0; 5 epochs are two stairs of 2.4.
    rate = LearningRate(peak=0.256, warmup_epochs=5, decay="exponential")
    assert rate.at(0, 350) == 0
    assert rate.at(2.5, 350) == pytest.approx(0.128)
    assert rate.at(5, 350) == pytest.approx(0.256 * 0.97**2)
    assert rate.at(349.9, 350) == pytest.approx(0.256 * 0.97**145)


def test_the_cosine_ends_at_its_floor() -> None:
    rate = LearningRate(peak=1.0, warmup_epochs=1, decay="cosine", floor=0.1)
    assert rate.at(1, 11) == 1
    assert rate.at(6, 11) == pytest.approx(0.55)
    assert rate.at(11, 11) == pytest.approx(0.1)


def test_the_rate_falls_on_a_plateau_and_training_stops_on_a_longer_one() -> None:
    plateau = Plateau(factor=0.1, wait=2, patience=4, min_epochs=5)
    losses = [3.0, 2.0, 2.1, 2.2]
    assert plateau.scale(losses[:3]) == 1
    assert plateau.scale(losses) == pytest.approx(0.1)
    assert plateau.scale([*losses, 2.3, 2.4]) == pytest.approx(0.01)
    assert not plateau.stops(losses, 10)
    assert plateau.stops([*losses, 2.3, 2.4], 10)
    assert not plateau.stops([*losses, 2.3, 2.4], 4)
    assert not Plateau().stops([1.0] * 100, 100)


def test_averages_follow_quickly_at_first() -> None:
    assert ema_decay(0.9999, 0) == pytest.approx(0.1)
    assert ema_decay(0.9999, 90) == pytest.approx(0.91)
    assert ema_decay(0.9999, 10**7) == 0.9999
    assert math.isclose(ema_decay(0.5, 100), 0.5)


PLANNED = Progression(resolution=(32, 64)).plan(100, 20, 10)
"""200 steps of 10 pictures in four phases of 50 steps."""


def test_a_shortened_run_keeps_its_past_and_the_proportion_of_its_phases() -> None:
    short = PLANNED.replanned(Replan(step=75, steps=125))
    assert [(p.start, p.stop) for p in short.phases] == [(0, 50), (50, 85), (85, 105), (105, 125)]
    assert [p.resolution for p in short.phases] == [p.resolution for p in PLANNED.phases]
    assert all(short.positions(step) == PLANNED.positions(step) for step in range(85))
    stream = [p for step in range(short.steps) for p in short.positions(step)]
    assert stream == list(range(1250))
    assert (short.steps, short.epochs) == (125, 12.5)


def test_the_schedules_are_passed_faster_without_a_jump_and_to_their_end() -> None:
    short = PLANNED.replanned(Replan(step=75, steps=125))
    assert short.length == PLANNED.length == 20
    assert all(short.place(step) == PLANNED.place(step) for step in range(76))
    paces = [short.place(step + 1) - short.place(step) for step in range(75, 125)]
    assert paces == pytest.approx([0.25] * 50)
    assert short.place(125) == 20
    rate = LearningRate(peak=1.0, warmup_epochs=1)
    assert rate.at(short.place(124), short.length) < 0.001


def test_re_plans_add_up() -> None:
    """Shortened, then lengthened again; a phase may have nothing left."""
    twice = PLANNED.replanned(Replan(75, 125)).replanned(Replan(100, 150))
    assert [(p.start, p.stop) for p in twice.phases] == [(0, 50), (50, 85), (85, 110), (110, 150)]
    places = [twice.place(step) for step in range(151)]
    assert places == sorted(places)
    assert places[100] == pytest.approx(7.5 + 25 * 0.25)
    assert places[150] == 20
    last = PLANNED.replanned(Replan(20, 22))
    assert last.steps == 22
    assert last.phase(20).resolution < last.phase(21).resolution == 64
    assert [p for step in range(22) for p in last.positions(step)] == list(range(220))


def test_a_run_without_re_plans_is_what_it_was() -> None:
    assert all(PLANNED.place(step) == PLANNED.epoch(step) for step in range(201))
    assert PLANNED.length == PLANNED.epochs
