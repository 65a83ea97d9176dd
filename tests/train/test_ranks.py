"""Two processes under torchrun are one run: the same losses, each picture once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Dropout, stochastic depth and mixing draw their numbers on each rank, so they are off here.
SETTINGS = {
    "progression.dropout": "[0, 0]",
    "progression.drop_path": "[0, 0]",
    "progression.mixup": "[0, 0]",
    "precision": "float32",
}
COMMON = ["--model", "tiny", "--epochs", "2", "--size", "32", "--batch-size", "32",
          "--learning-rate", "0.002", "--quiet", "--device", "cpu", "--workers", "0"]  # fmt: skip


def losses(folder: Path, kind: str) -> list[float]:
    told = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    return [x["loss"] for x in told if x["kind"] == kind]


def run(launcher: list[str], folder: Path) -> None:
    settings = [f"--set={path}={value}" for path, value in SETTINGS.items()]
    command = [*launcher, "effnetv2.cli.main", "train", "digits", "--to", str(folder)]
    subprocess.run(
        [*command, *COMMON, *settings],
        check=True, capture_output=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_two_ranks_give_the_loss_curve_of_one(tmp_path: Path) -> None:
    """Same batch in two halves; float32 sums in another order are all that differs."""
    pytest.importorskip("sklearn")
    run([sys.executable, "-m"], tmp_path / "one")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone",
                "--nproc-per-node", "2", "-m"]  # fmt: skip
    run(torchrun, tmp_path / "two")
    one, two = losses(tmp_path / "one", "train"), losses(tmp_path / "two", "train")
    assert len(one) == len(two) > 70
    assert two[:10] == pytest.approx(one[:10], rel=1e-4)
    assert two == pytest.approx(one, rel=0.02)
    assert losses(tmp_path / "two", "val") == pytest.approx(
        losses(tmp_path / "one", "val"), rel=0.02
    )
    tests = [
        json.loads((tmp_path / r / "evaluation" / "test.json").read_text()) for r in ("one", "two")
    ]
    assert tests[0]["images"] == tests[1]["images"]  # each counted once
    assert tests[1]["top1"] == pytest.approx(tests[0]["top1"], abs=0.01)
