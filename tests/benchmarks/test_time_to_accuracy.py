"""Time to accuracy: the draw, the first length that reaches a target, ratios by seed."""

import argparse
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    pytest.importorskip("timm")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("time_to_accuracy")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for part, count in (("train", 6), ("val", 3)):
        for label in ("a", "b"):
            folder = tmp_path / "pictures" / part / label
            folder.mkdir(parents=True)
            for i in range(count):
                noise = np.random.default_rng(i).integers(0, 255, (40, 40, 3), np.uint8)
                Image.fromarray(noise).save(folder / f"{i}.jpg")
    return tmp_path / "pictures"


def test_the_draw_is_the_same_whoever_asks(
    bench: ModuleType, pictures: Path, tmp_path: Path
) -> None:
    first = bench.drawn(pictures, tmp_path / "one", 4, None)
    second = bench.drawn(pictures, tmp_path / "two", 4, None)
    names = [sorted(str(f.relative_to(d)) for f in d.rglob("*.jpg")) for d in (first, second)]
    assert names[0] == names[1]
    assert sum(n.startswith("train") for n in names[0]) == 2 * 4
    assert sum(n.startswith("test") for n in names[0]) == 2 * 3
    assert all(f.exists() for f in first.rglob("*.jpg"))
    assert bench.drawn(pictures, tmp_path / "one", 4, None) == first  # again, at no harm


def test_a_folder_without_parts_is_refused(bench: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no train/"):
        bench.drawn(tmp_path, tmp_path / "to", 4, None)


def test_lengths_are_tried_until_one_reaches_the_target(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = {1.0: 0.3, 2.0: 0.5, 4.0: 0.6}
    monkeypatch.setattr(bench, "our", lambda d, r, epochs, s, a: {"top1": reached[epochs]})
    args = argparse.Namespace(lengths=[4.0, 1.0, 2.0])
    assert [x["top1"] for x in bench.until(0.5, tmp_path, tmp_path, 0, args)] == [0.3, 0.5]
    assert len(bench.until(0.9, tmp_path, tmp_path, 0, args)) == 3


def test_ratios_are_taken_seed_by_seed(bench: ModuleType) -> None:
    def our(seed: int, epochs: float, top1: float, seconds: float) -> dict[str, Any]:
        return {"seed": seed, "epochs": epochs, "top1": top1, "training_seconds": seconds}

    peers = [{"seed": 0, "target": 0.6, "seconds_to_target": 100.0},
             {"seed": 1, "target": 0.7, "seconds_to_target": 90.0},
             {"seed": 2, "target": 0.9, "seconds_to_target": 90.0}]  # fmt: skip
    ours = [our(0, 2, 0.5, 10), our(0, 4, 0.6, 20), our(0, 8, 0.7, 40), our(1, 4, 0.71, 30),
            our(2, 8, 0.8, 40)]  # fmt: skip
    found = bench.ratio(peers, ours)
    assert found["values"] == [5.0, 3.0]
    assert (found["mean"], found["low"], found["high"], found["n"]) == (4.0, 3.0, 5.0, 2)
    assert found["seeds_not_reached"] == [2]
    assert "4.00 × faster" in bench.told("timm", found)
    assert "not reached by any length" in bench.told("timm", bench.ratio(peers[2:], ours))


def test_a_peer_that_has_run_is_not_run_again(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curve = [{"epoch": 1, "seconds": 5.0, "top1": 0.4}, {"epoch": 2, "seconds": 9.0, "top1": 0.6},
             {"epoch": 3, "seconds": 14.0, "top1": 0.5}]  # fmt: skip
    (tmp_path / "peer-fast-0.002-3-1.json").write_text(json.dumps({"seed": 1, "curve": curve}))
    monkeypatch.setattr(subprocess, "run", None)
    args = argparse.Namespace(peer_epochs=3)
    found = bench.peer(tmp_path, tmp_path, "fast", 0.002, 1, args)
    assert (found["target"], found["epoch"]) == (0.6, 2)
    assert (found["seconds_to_target"], found["seconds"]) == (9.0, 14.0)


def test_every_number_of_the_readme_is_in_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    readme = (BENCHMARKS.parent / "README.md").read_text()
    for what, number, command in importlib.import_module("tables").rows():
        assert f"| {what} | {number} | `{command}` |" in readme


@pytest.mark.slow
def test_a_smoke_run_writes_its_result_and_is_kept(pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    command = [sys.executable, str(BENCHMARKS / "time_to_accuracy.py"), "--data", str(pictures),
               "--smoke", "--to", str(tmp_path / "result.json")]  # fmt: skip
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["peers"].keys() == {"documented", "fast"}
    assert result["ours"][0]["epochs"] == 1
    assert "epochs" not in done.stdout  # the second time nothing was run
