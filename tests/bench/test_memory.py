"""Memory: what is estimated on the meta device is what the cost model counts."""

from pathlib import Path

import pytest
import torch

from effnetv2.arch.cost import cost
from effnetv2.arch.presets import PRESETS
from effnetv2.bench import memory
from effnetv2.bench.memory import kept_for_backward
from effnetv2.nn.network import EfficientNet

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["tiny", "v2-b0", "v1-b0"])
def test_what_a_step_keeps_is_what_the_cost_model_counts(name: str) -> None:
    with torch.device("meta"):
        model = EfficientNet(PRESETS[name])
    kept, largest = kept_for_backward(model, 96)
    assert kept == pytest.approx(cost(PRESETS[name], resolution=96).activations, rel=0.02)
    assert 0 < largest < kept


def test_free_memory_is_a_number_of_bytes_on_linux() -> None:
    found = memory.free(CPU)
    assert found is None or found > 2**20


def test_what_linux_does_not_tell_is_none(tmp_path: Path) -> None:
    assert memory.field_of(tmp_path / "none", "VmHWM") is None
    (tmp_path / "status").write_text("VmHWM:\t    1024 kB\n")
    assert memory.field_of(tmp_path / "status", "VmHWM") == 2**20
    assert memory.field_of(tmp_path / "status", "VmRSS") is None
