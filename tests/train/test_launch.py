"""What a run is started with: asked for, read from a recipe, or following from the pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effnetv2.errors import InputError
from effnetv2.train.launch import resume, start
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
