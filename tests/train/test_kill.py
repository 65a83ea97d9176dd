"""A run that is killed, again and again, ends as the run that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

pytest.importorskip("sklearn")
TRAIN = [sys.executable, "-m", "effnetv2.cli.main", "train"]
HOW = ["--quiet", "--device", "cpu", "--workers", "0", "--save-seconds", "0"]
NEW = ["digits", "--model", "tiny", "--size", "48", "--precision", "float32"]


def killed(command: list[str], folder: Path, steps: int) -> bool:
    """Run `command` until `steps` more steps are saved, then kill −9; false if it ended first."""
    checkpoint = folder / "state" / "checkpoint.pt"
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(0.002)
        now = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        if now != before:
            before, steps = now, steps - 1
            if steps <= 0:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return True
    assert process.returncode == 0
    return False


def the_same_after(kills: int, epochs: str, folder: Path) -> None:
    new = [*NEW, "--epochs", epochs, *HOW]
    subprocess.run([*TRAIN, *new, "--to", str(folder / "whole")], check=True, capture_output=True)
    rng = random.Random(os.urandom(8))
    cut = folder / "cut"
    command = [*TRAIN, *new, "--to", str(cut)]
    done = 0
    while done < kills and killed(command, cut, rng.randint(1, 12)):
        done += 1
        command = [*TRAIN, "--resume", str(cut), *HOW]
    assert done == kills
    subprocess.run([*TRAIN, "--resume", str(cut), *HOW], check=True, capture_output=True)
    whole, resumed = (
        load_file(folder / r / "model" / "weights.safetensors") for r in ("whole", "cut")
    )
    assert all(whole[k].equal(resumed[k]) for k in whole)


def test_a_killed_run_ends_the_same(tmp_path: Path) -> None:
    the_same_after(kills=2, epochs="2", folder=tmp_path)


@pytest.mark.slow
def test_a_run_killed_ten_times_ends_the_same(tmp_path: Path) -> None:
    the_same_after(kills=10, epochs="6", folder=tmp_path)


def test_sigterm_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    command = [*TRAIN, *NEW, "--epochs", "50", *HOW, "--to", str(tmp_path / "run")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / "state" / "checkpoint.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.count("\n") == 1
    assert f"effnetv2 train --resume {tmp_path / 'run'}" in told
