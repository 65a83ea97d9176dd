import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from effnetv2.arch.presets import TINY
from effnetv2.data.augment import AUGMENTATIONS
from effnetv2.data.preprocessing import Preprocessing
from effnetv2.data.samples import Arrays, Data, Samples
from effnetv2.errors import InputError
from effnetv2.nn.network import EfficientNet
from effnetv2.train.costs import Costs, Pledge, SizeCost
from effnetv2.train.display import Display
from effnetv2.train.journal import Journal
from effnetv2.train.loop import Interruption, backward, class_weights, plan, train
from effnetv2.train.machine import Machine
from effnetv2.train.optim import Optimizer
from effnetv2.train.pace import Pace
from effnetv2.train.recipe import DataChoice, Recipe
from effnetv2.train.run import Run
from effnetv2.train.schedules import LearningRate, Plateau, Progression
from effnetv2.train.world import World

CPU = Machine(torch.device("cpu"), torch.float32)


def data(images: int = 40) -> Data:
    """Squares of three brightnesses, with noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) % 3
    pixels = rng.integers(0, 80, (images, 24, 24, 3)) + 60 * labels[:, None, None, None]
    samples = Samples.of(Arrays("squares", pixels.astype(np.uint8)), labels, ("a", "b", "c"))
    return Data("squares", samples.subset(range(30)), samples.subset(range(30, images)))


def recipe(**changes: Any) -> Recipe:
    standard: dict[str, Any] = {
        "data": DataChoice(source="squares"),
        "network": TINY,
        "preprocessing": Preprocessing(resolution=32),
        "progression": Progression(
            phases=2, resolution=(16, 32), mixup=(0.1, 0.2), cutmix=(0.0, 0.2)
        ),
        "augmentation": AUGMENTATIONS["photo"],
        "epochs": 4,
        "batch_size": 8,
        "learning_rate": LearningRate(peak=0.01, warmup_epochs=0.5),
        "ema_decay": 0.8,
    }
    return Recipe(**(standard | changes))


def go(how: Recipe, folder: Path, stop_at: int | None = None, **more: Any) -> EfficientNet:
    run = Run(folder)
    if not (folder / "recipe.json").exists():
        run.create(how)
    journal = Journal(run, World(), Display(silent=True), save_seconds=more.pop("save_seconds", 60))
    steps = iter(range(1, 10_000))
    stop = {"stop": lambda: next(steps) == stop_at}
    return train(how, data(), run, CPU, World(), journal, **(stop | more))


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "metrics.jsonl").read_text()
    timeless = ("time", "images_per_second")
    return [
        {k: v for k, v in json.loads(x).items() if k not in timeless} for x in text.splitlines()
    ]


def same(a: EfficientNet, b: EfficientNet) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("changes", [{}, {"optimizer": Optimizer(name="rmsprop", epsilon=1e-3)}])
def test_a_resumed_run_is_the_same_run(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Cut inside an epoch, at a phase boundary (step 8), and after; 15 steps in all."""
    how = recipe(**changes)
    whole = go(how, tmp_path / "whole")
    for steps in (2, 6, 3):
        with pytest.raises(Interruption, match="stopped after step"):
            go(how, tmp_path / "cut", stop_at=steps)
    resumed = go(how, tmp_path / "cut")
    assert same(whole, resumed)
    assert lines(tmp_path / "whole") == lines(tmp_path / "cut")


def test_workers_change_nothing(tmp_path: Path) -> None:
    assert same(go(recipe(), tmp_path / "a"), go(recipe(), tmp_path / "b", workers=1))


def test_seeds_matter(tmp_path: Path) -> None:
    assert not same(go(recipe(), tmp_path / "a"), go(recipe(seed=1), tmp_path / "b"))


def test_accumulated_parts_give_the_gradient_of_the_whole() -> None:
    """Equal without batch norm, whose statistics in training are those of a part."""
    torch.manual_seed(0)
    images, labels = torch.randint(256, (8, 3, 16, 16), dtype=torch.uint8), torch.arange(8) % 3
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 16), torch.nn.Flatten())
    phase = Progression(phases=1).plan(8, 1, 8).phase(0)
    grads, losses = [], []
    for parts in (1, 4):
        model.zero_grad()
        how = recipe(accumulate=parts)
        losses.append(backward(how, model, images, labels, torch.ones(3), phase, CPU))
        grads.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(grads[0], grads[1])


def test_metrics_tell_phase_size_and_rate(tmp_path: Path) -> None:
    go(recipe(), tmp_path / "run")
    told = lines(tmp_path / "run")
    training = [x for x in told if x["kind"] == "train"]
    assert [x["resolution"] for x in training] == [16] * 8 + [32] * 7
    assert [x["step"] for x in training] == list(range(1, 16))
    assert len([x for x in told if x["kind"] == "val"]) == 4


def test_a_loss_that_is_no_number_names_the_step_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Interruption):
        go(recipe(), tmp_path / "run", stop_at=3)
    checkpoint = tmp_path / "run" / "state" / "checkpoint.pt"
    saved = torch.load(checkpoint)
    saved["model"]["head.conv.weight"].fill_(float("nan"))
    torch.save(saved, checkpoint)
    before = checkpoint.read_bytes()
    with pytest.raises(InputError, match=r"loss is nan at step 4.* checkpoint of step 3 is kept"):
        go(recipe(), tmp_path / "run")
    assert checkpoint.read_bytes() == before


def test_training_stops_early_on_validation_alone(tmp_path: Path) -> None:
    still = LearningRate(peak=0.0, warmup_epochs=0)
    how = recipe(epochs=40, learning_rate=still, plateau=Plateau(patience=2, min_epochs=3))
    go(how, tmp_path / "run")
    assert max(x["epoch"] for x in lines(tmp_path / "run")) < 10


def test_rare_classes_weigh_more_and_the_mean_stays_one() -> None:
    samples = data().train
    few = samples.subset([i for i in range(30) if samples.labels[i] or i < 6])
    weights = class_weights(recipe(class_weights="balanced"), few)
    counts = torch.from_numpy(few.counts()).float()
    assert weights[0] > weights[1]
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1)
    assert class_weights(recipe(), few).tolist() == [1, 1, 1]


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(InputError, match="multiple of 6"):
        plan(recipe(accumulate=3), 30, World(ranks=2))


def test_a_tiny_network_learns_the_squares(tmp_path: Path) -> None:
    go(recipe(epochs=30, augmentation=AUGMENTATIONS["none"]), tmp_path / "run")
    assert [x for x in lines(tmp_path / "run") if x["kind"] == "val"][-1]["top1"] >= 0.9


COSTS = Costs(
    sizes=tuple(SizeCost(resolution=r, gradient=0.0, loading=0.0, memory=0.0) for r in (16, 32)),
    update=2.0, forward=0.0, viewing=0.0, evaluated_at=32, train=30, val=10,
)  # fmt: skip


class Slowing:
    """A machine that takes 2 s a step, as planned for 15 steps, and 4 s from step `slow` on.

    Its clock goes on when the loop asks, once a step, whether it should stop.
    """

    def __init__(self, slow: int, stop_at: int = 0, first: int = 0) -> None:
        self.step, self.slow, self.stop_at, self.now = first, slow, stop_at, 0.0
        pledge = Pledge(seconds=31.0, most_epochs=100, costs=COSTS)
        self.pace = Pace(recipe(), pledge, began=0.0, clock=lambda: self.now)

    def stop(self) -> bool:
        self.step += 1
        self.now += 2.0 if self.step < self.slow else 4.0
        return self.step == self.stop_at


def test_a_slower_machine_makes_fewer_steps_and_says_so(tmp_path: Path) -> None:
    machine = Slowing(slow=6)
    go(recipe(), tmp_path / "run", stop=machine.stop, pace=machine.pace)
    (change,) = [line for line in lines(tmp_path / "run") if line["kind"] == "plan"]
    assert (change["before"], change["slowness"]) == (15, 2.0)
    training = [line for line in lines(tmp_path / "run") if line["kind"] == "train"]
    assert [line["step"] for line in training] == list(range(1, change["steps"] + 1))
    assert change["step"] < change["steps"] < 15
    assert machine.now <= 31.0
    assert {line["resolution"] for line in training} == {16, 32}
    whole = [line["learning_rate"] for line in training]
    assert whole[-1] < 0.2 * max(whole)
    checkpoint = torch.load(tmp_path / "run" / "state" / "checkpoint.pt")
    assert checkpoint["replans"] == [(change["step"], change["steps"])]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_resumed_after_a_re_plan_is_the_same_run(tmp_path: Path, workers: int) -> None:
    """Cut before it, right after it, and later; the resumed ones have no clock to decide by."""
    machine = Slowing(slow=4)
    whole = go(recipe(), tmp_path / "whole", stop=machine.stop, pace=machine.pace)
    (change,) = [line for line in lines(tmp_path / "whole") if line["kind"] == "plan"]
    for late in (0, 2):
        folder = tmp_path / f"cut {late}"
        machine = Slowing(slow=4, stop_at=change["step"] + late)
        with pytest.raises(Interruption):
            go(recipe(), folder, stop=machine.stop, pace=machine.pace)
        resumed = go(recipe(), folder, workers=workers)
        assert same(whole, resumed)
        assert lines(tmp_path / "whole") == lines(folder)


def test_a_run_that_keeps_its_plan_is_the_run_without_a_budget(tmp_path: Path) -> None:
    machine = Slowing(slow=100)
    paced = go(recipe(), tmp_path / "a", stop=machine.stop, pace=machine.pace)
    assert same(paced, go(recipe(), tmp_path / "b"))
    assert lines(tmp_path / "a") == lines(tmp_path / "b")


def test_a_resumed_run_knows_what_it_has_spent(tmp_path: Path) -> None:
    machine = Slowing(slow=100, stop_at=9)
    with pytest.raises(Interruption):
        go(recipe(), tmp_path / "run", stop=machine.stop, pace=machine.pace)
    machine = Slowing(slow=100)
    with pytest.raises(Interruption):
        go(recipe(), tmp_path / "run", stop_at=1, pace=machine.pace)
    spent = torch.load(tmp_path / "run" / "state" / "checkpoint.pt")["spent"]
    assert spent == 16.0  # eight steps; the clock stood still in the tenth
