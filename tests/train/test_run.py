import errno
import os
from pathlib import Path

import pytest
import torch

from effnetv2.arch.presets import TINY
from effnetv2.data.preprocessing import Preprocessing
from effnetv2.errors import InputError
from effnetv2.train.recipe import DataChoice, Recipe
from effnetv2.train.run import Run, write_text

RECIPE = Recipe(
    data=DataChoice(source="x"), network=TINY, preprocessing=Preprocessing(resolution=64)
)


def test_a_run_gives_its_recipe_back(tmp_path: Path) -> None:
    run = Run(tmp_path / "a" / "b")
    run.create(RECIPE)
    assert run.recipe() == RECIPE
    with pytest.raises(InputError, match=r"holds a run already.*--resume"):
        run.create(RECIPE)
    with pytest.raises(InputError, match="is no run"):
        Run(tmp_path).recipe()


def test_metrics_after_the_checkpoint_and_torn_lines_are_forgotten(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for step in (1, 2, 3):
        run.log("train", step=step, loss=0.0)
    with run.metrics.open("a") as f:
        f.write('{"kind": "train", "st')
    run.rewind(2)
    assert [line.split(",")[1] for line in run.metrics.read_text().splitlines()] == [
        ' "step": 1', ' "step": 2'
    ]  # fmt: skip


def test_a_full_disk_loses_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path)
    run.save({"step": 1, "weights": torch.ones(1000)})

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"cannot write .*checkpoint.pt: No space left.*untouched"):
        run.save({"step": 2, "weights": torch.zeros(1000)})
    saved = run.load(torch.device("cpu"))
    assert saved is not None
    assert saved["step"] == 1
    assert [p.name for p in run.checkpoint.parent.iterdir()] == ["checkpoint.pt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_write_that_the_device_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(InputError, match="No space left on device"):
        Run(tmp_path).log("train", step=1)


def test_a_checkpoint_that_is_none_is_one_line(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.checkpoint.parent.mkdir()
    run.checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"checkpoint.pt cannot be read"):
        run.load(torch.device("cpu"))


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.txt", "one")
    write_text(tmp_path / "deep" / "a.txt", "two")
    assert (tmp_path / "deep" / "a.txt").read_text() == "two"
    assert len(list((tmp_path / "deep").iterdir())) == 1
