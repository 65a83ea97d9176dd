"""Memory: what is estimated on the meta device is what the cost model counts."""

import sys
from pathlib import Path

import pytest
import torch

from effnetv2.arch.cost import cost
from effnetv2.arch.presets import PRESETS, TINY
from effnetv2.bench import memory
from effnetv2.bench.contenders import Contender
from effnetv2.bench.memory import Task, kept_for_backward, peak
from effnetv2.bench.settings import SETTINGS
from effnetv2.nn.network import EfficientNet

CPU = torch.device("cpu")
TASK = Task(Contender("effnetv2", "tiny", SETTINGS[1], TINY), "step", 4, 32)


@pytest.mark.parametrize("name", ["tiny", "v2-b0", "v1-b0"])
def test_what_a_step_keeps_is_what_the_cost_model_counts(name: str) -> None:
    with torch.device("meta"):
        model = EfficientNet(PRESETS[name])
    kept, largest = kept_for_backward(model, 96)
    assert kept == pytest.approx(cost(PRESETS[name], resolution=96).activations, rel=0.02)
    assert 0 < largest < kept


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells")
def test_the_peak_grows_with_the_batch_and_holds_the_weights() -> None:
    small, large = (peak(Task(TASK.contender, "step", batch, 128), CPU) for batch in (4, 64))
    assert small is not None and large is not None
    kept = cost(TINY, resolution=128).activations * 4 / 2**20
    assert large - small > 0.5 * 60 * kept
    assert small > 3 * cost(TINY).params * 4 / 2**20


def test_a_process_that_dies_has_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert peak(TASK, CPU) is None


def test_free_memory_is_a_number_of_bytes_on_linux() -> None:
    found = memory.free(CPU)
    assert found is None or found > 2**20


def test_what_linux_does_not_tell_is_none(tmp_path: Path) -> None:
    assert memory._field(tmp_path / "none", "VmHWM") is None
    (tmp_path / "status").write_text("VmHWM:\t    1024 kB\n")
    assert memory._field(tmp_path / "status", "VmHWM") == 2**20
    assert memory._field(tmp_path / "status", "VmRSS") is None
