"""What is measured has some value on any machine; tested is that it changes nothing else."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from effnetv2.arch.presets import TINY
from effnetv2.data.cache import cached
from effnetv2.data.preprocessing import Preprocessing
from effnetv2.data.samples import Arrays, Data, Files, Samples
from effnetv2.errors import InputError
from effnetv2.train import probe
from effnetv2.train.budget import Budget
from effnetv2.train.costs import Costs
from effnetv2.train.display import Display
from effnetv2.train.machine import Machine
from effnetv2.train.probe import Place, fitted, measure
from effnetv2.train.recipe import DataChoice, Recipe
from effnetv2.train.schedules import Progression
from effnetv2.train.state import State
from effnetv2.train.world import World

CPU = Machine(torch.device("cpu"), torch.float32)
RECIPE = Recipe(
    data=DataChoice(source="noise"),
    network=TINY,
    preprocessing=Preprocessing(resolution=48),
    progression=Progression(phases=3, resolution=(16, 48), multiple=16),
    batch_size=8,
)


class Told(Display):
    """A display that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__(silent=True)
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def data() -> Data:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 20, 20, 3)).astype(np.uint8)
    samples = Samples.of(Arrays("noise", pixels), np.arange(60) % 3, ("a", "b", "c"))
    return Data("noise", samples.subset(range(40)), samples.subset(range(40, 60)))


def measured(display: Display, until: float, recipe: Recipe = RECIPE) -> Costs:
    place = Place(CPU, World(), 0, display, opening=1.5)
    return measure(recipe, data(), place, Budget(60.0), until)


def test_every_size_is_measured_the_largest_first() -> None:
    told = Told()
    found = measured(told, time.monotonic() + 60)
    assert [line.split()[1] for line in told.lines] == ["48", "32", "16"]
    assert [size.resolution for size in found.sizes] == [16, 32, 48]
    gradients = [size.gradient for size in found.sizes]
    assert gradients == sorted(gradients)
    assert min(gradients) > 0
    assert all(size.loading > 0 for size in found.sizes)
    assert min(found.update, found.forward, found.viewing, found.fixed_memory) > 0
    assert (found.train, found.val, found.test, found.evaluated_at) == (40, 20, 0, 48)
    assert found.startup > 1.5


def test_pictures_that_are_kept_are_loaded_twice(tmp_path: Path) -> None:
    for i in range(40):
        noise = np.random.default_rng(i).integers(0, 256, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.jpg")
    files = Files(tmp_path, tuple(f"{i}.jpg" for i in range(40)))
    photos = Data("photos", Samples.of(files, np.arange(40) % 3, ("a", "b", "c")))
    place = Place(CPU, World(), 0, Told(), opening=0.0)
    found = measure(RECIPE, cached(photos, 10**7), place, Budget(60.0), time.monotonic() + 60)
    assert all(size.loading > 0 for size in found.sizes)
    assert any(size.fresh > 0 for size in found.sizes)


def test_without_time_the_largest_size_alone_is_measured() -> None:
    found = measured(Told(), time.monotonic())
    assert [size.resolution for size in found.sizes] == [48]
    assert found.at(16).gradient < found.at(48).gradient


def test_torchs_random_numbers_go_on_where_they_were() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    measured(Told(), time.monotonic())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_too_large_for_the_memory_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    backward, seen = probe.backward, list[int]()

    def full(recipe: Recipe, model: Any, images: Tensor, *more: Any) -> Tensor:
        seen.append(len(images))
        if len(images) > 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return backward(recipe, model, images, *more)

    monkeypatch.setattr(probe, "backward", full)
    bench = probe.Bench(RECIPE, data(), State.initial(RECIPE, 3, CPU), CPU, ranks=1, pictures=8)
    phase = RECIPE.progression.plan(40, 3, 8).phases[-1]
    found, _ = bench.size(phase, 5.0)
    assert seen[:2] == [8, 4]
    assert set(seen[2:]) == {4}
    assert found.gradient > 0


def test_not_one_picture_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(probe, "backward", full)
    with pytest.raises(InputError, match="not even one picture of 48 px fits"):
        measured(Told(), time.monotonic() + 60)


def test_what_is_measured_becomes_a_plan() -> None:
    found = fitted(
        RECIPE, data(), frozenset(), machine=CPU, world=World(), workers=0, display=Told(),
        opening=0.0, budget=Budget(1000.0),
    )  # fmt: skip
    assert [row.resolution for row in found.rows] == [16, 32, 48]
    assert found.seconds < 1000
