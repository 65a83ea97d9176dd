"""What a run is started with: asked for, read from a recipe, or following from the pictures."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from effnetv2.data.samples import Data
from effnetv2.errors import InputError
from effnetv2.train.budget import Budget
from effnetv2.train.costs import Costs, Pledge, SizeCost
from effnetv2.train.launch import planned, resume, start
from effnetv2.train.plan import Plan
from effnetv2.train.planner import choose
from effnetv2.train.recipe import Recipe
from effnetv2.train.recipes import Wishes
from effnetv2.train.run import Run

pytest.importorskip("sklearn")
QUICK = {"wishes": Wishes(epochs=0.2, size=32), "quiet": True, "device": "cpu"}


def test_a_recipe_file_decides_what_is_not_asked_for(tmp_path: Path) -> None:
    start("digits", tmp_path / "a", model="tiny", parting={"val": 0.3, "split_seed": 4}, **QUICK)
    file = str(tmp_path / "a" / "recipe.json")
    start("digits", tmp_path / "b", recipe=file, quiet=True, device="cpu")
    assert Run(tmp_path / "b").recipe() == Run(tmp_path / "a").recipe()
    assert Run(tmp_path / "b").read("split.json") == Run(tmp_path / "a").read("split.json")
    start("digits", tmp_path / "c", recipe=file, model="v2-b0", parting={"val": 0.2},
          wishes=Wishes(epochs=0.05), quiet=True, device="cpu")  # fmt: skip
    asked = Run(tmp_path / "c").recipe()
    assert (asked.network.name, asked.data.val, asked.epochs) == ("v2-b0", 0.2, 0.05)
    assert asked.data.split_seed == 4


def test_pictures_that_changed_are_refused(tmp_path: Path) -> None:
    start("digits", tmp_path / "run", model="tiny", **QUICK)
    run = Run(tmp_path / "run")
    record = run.read("record.json")
    run.write("record.json", record | {"finished": None, "data": {"digest": "other"}})
    with pytest.raises(InputError, match="have changed since"):
        resume(tmp_path / "run", quiet=True, device="cpu")


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    start("digits", tmp_path / "run", model="tiny", **QUICK)
    with pytest.raises(InputError, match="holds a run already"):
        start("nowhere", tmp_path / "run")


def test_a_cache_changes_nothing_of_a_run(tmp_path: Path) -> None:
    """Photos larger than the phases, so that they are decoded at several scales."""
    rng = np.random.default_rng(0)
    for i in range(20):
        noise = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        file = tmp_path / "photos" / "ab"[i % 2] / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        noise.resize((128, 96), Image.Resampling.BICUBIC).save(file)

    def losses(cache: str) -> list[dict[str, float]]:
        folder = tmp_path / f"run {Path(cache).name}"
        start(
            str(tmp_path / "photos"), folder, model="tiny", quiet=True, device="cpu", cache=cache,
            wishes=Wishes(epochs=3, size=48, batch_size=8), parting={"val": 0.2, "test": 0.1},
        )  # fmt: skip
        told = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return [{k: x[k] for k in ("step", "loss")} for x in told]

    plain = losses("0")
    assert plain == losses("auto") == losses("40K") == losses(str(tmp_path))


@pytest.mark.parametrize("wish", ["epochs", "batch_size", "size", "learning_rate"])
def test_a_wish_is_a_number_above_zero(wish: str) -> None:
    for value in (0, -4, float("inf")):
        with pytest.raises(InputError, match=f"{wish} is {value}"):
            Wishes(**{wish: value})


QUICKLY: dict[str, Any] = {"model": "tiny", "quiet": True, "device": "cpu", "workers": 0}


def short(recipe: Recipe, data: Data, asked: frozenset[str], **_: Any) -> Plan:
    """Plan an epoch or so, without measuring anything, and leave all the time to keep it."""
    costs = Costs(
        sizes=(SizeCost(resolution=32, gradient=0.1, loading=0.0, memory=0.0),),
        update=0.1, forward=0.0, viewing=0.0, evaluated_at=64, train=len(data.train),
    )  # fmt: skip
    found = choose(recipe, costs, Budget(80.0), asked)
    return replace(found, pledge=Pledge(seconds=3600.0, most_epochs=found.epochs, costs=costs))


def test_a_budget_ends_in_an_ordinary_recipe(tmp_path: Path) -> None:
    """Written out and run again, elsewhere and without a budget, it is the same training."""
    start("digits", tmp_path / "a", fit=short, wishes=Wishes(size=32), **QUICKLY)
    run, file = Run(tmp_path / "a"), str(tmp_path / "a" / "recipe.json")
    assert run.recipe().epochs < 2
    record = run.read("record.json")
    assert record["budget"]["seconds"] == 3600
    assert "few" in record["notes"][-1]
    start("digits", tmp_path / "b", recipe=file, quiet=True, device="cpu", workers=0)
    weights = [(tmp_path / r / "model" / "weights.safetensors").read_bytes() for r in ("a", "b")]
    assert weights[0] == weights[1]
    assert "budget" not in Run(tmp_path / "b").read("record.json")


def test_a_budget_and_epochs_exclude_each_other(tmp_path: Path) -> None:
    for more in ({"wishes": Wishes(epochs=3)}, {"settings": {"epochs": "3"}}):
        with pytest.raises(InputError, match="leave out --epochs or --budget"):
            start("digits", tmp_path / "run", fit=short, **more, **QUICKLY)
    assert not (tmp_path / "run").exists()


def test_what_is_asked_for_stays(tmp_path: Path) -> None:
    seen: list[frozenset[str]] = []

    def fit(recipe: Recipe, data: Data, asked: frozenset[str], **how: Any) -> Plan:
        seen.append(asked)
        return short(recipe, data, asked)

    found = planned("digits", fit, settings={"accumulate": "2", "progression.phases": "2"},
                    wishes=Wishes(batch_size=16), **QUICKLY)  # fmt: skip
    assert seen[0] >= {"accumulate", "size", "phases", "batch_size"}
    assert (found.recipe.accumulate, found.recipe.progression.phases) == (2, 2)
    assert found.recipe.batch_size == 16
