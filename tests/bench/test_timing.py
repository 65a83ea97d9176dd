"""Timing: everyone in turn, medians with quartiles, the ceiling."""

import numpy as np
import pytest
import torch
from torch import nn

from effnetv2.arch.presets import TINY
from effnetv2.bench import ceiling
from effnetv2.bench.contenders import Contender
from effnetv2.bench.settings import SETTINGS
from effnetv2.bench.timing import Spread, in_turn
from effnetv2.bench.work import work
from effnetv2.errors import InputError

CPU = torch.device("cpu")


def test_a_spread_is_the_median_with_its_quartiles() -> None:
    values = np.random.default_rng(0).lognormal(size=9).tolist()
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    assert Spread.of(values) == pytest.approx(Spread(median, low, high))  # type: ignore[comparison-overlap]


def test_one_value_is_a_spread_without_width() -> None:
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 3.0)


def test_a_round_does_everything_once_and_in_order() -> None:
    done: list[str] = []
    told: list[str] = []
    works = {name: lambda name=name: done.append(name) for name in "abc"}
    seconds, first = in_turn(works, warmup=2, rounds=3, device=CPU, tell=told.append)
    assert "".join(done) == "aabbcc" + 3 * "abc"
    assert len(told) == len(done)
    assert {name: len(found) for name, found in seconds.items()} == {"a": 3, "b": 3, "c": 3}
    assert first.keys() == seconds.keys()


def test_out_of_memory_is_said_in_one_line() -> None:
    def greedy() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(InputError, match="out of memory in v2-xl: lower --batch or --side"):
        in_turn({"v2-xl": greedy}, warmup=1, rounds=1, device=CPU, tell=lambda _: None)


def test_other_errors_pass() -> None:
    def broken() -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        in_turn({"a": broken}, warmup=1, rounds=1, device=CPU, tell=lambda _: None)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_ceiling_counts_two_operations_for_each_multiply_add(
    monkeypatch: pytest.MonkeyPatch, precision: ceiling.Precision
) -> None:
    monkeypatch.setitem(ceiling.SIDE, "cpu", 64)
    before = torch.get_float32_matmul_precision()
    run, gflop = ceiling.multiplication(precision, CPU)
    run()
    assert gflop == pytest.approx(2 * 64**3 / 1e9)
    assert torch.get_float32_matmul_precision() == before


def test_a_step_is_a_step_of_sgd() -> None:
    setting = SETTINGS[0]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 1000, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    before = [p.detach().clone() for p in model.parameters()]
    work("step", model, setting, 2, 4, CPU)()
    moved = [(a - b).abs().max().item() for a, b in zip(before, model.parameters(), strict=True)]
    assert all(0 < m < 1e-2 for m in moved)
    assert all(p.grad is None for p in model.parameters())


def test_inference_changes_nothing() -> None:
    model = Contender("effnetv2", "tiny", SETTINGS[2], TINY).build(CPU)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    work("infer", model, SETTINGS[2], 1, 32, CPU)()
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
