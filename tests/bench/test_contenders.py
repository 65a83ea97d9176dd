"""Contenders: the same network of three libraries, under the same settings."""

from dataclasses import replace

import pytest
import torch

from effnetv2.arch.cost import cost
from effnetv2.arch.presets import FAMILY, PRESETS, TINY, V2_S
from effnetv2.bench import contenders
from effnetv2.bench.contenders import PEERS, Contender, Library
from effnetv2.bench.settings import SETTINGS, settings
from effnetv2.errors import InputError
from effnetv2.nn.layers import StochasticDepth

META = torch.device("meta")
FP32 = SETTINGS[0]
SLOW = pytest.mark.slow
NAMES = [
    pytest.param(net.name, marks=() if net.name in ("v2-b0", "v1-b0") else SLOW)
    for net, _ in FAMILY
]


def theirs(name: str) -> list[tuple[Library, str]]:
    timm, torchvision = PEERS[name]
    return [("timm", timm)] + ([("torchvision", torchvision)] if torchvision else [])


@pytest.mark.parametrize("name", NAMES)
def test_peers_have_the_parameters_of_ours(name: str) -> None:
    pytest.importorskip("timm")
    for library, network in theirs(name):
        with META:
            model = Contender(library, network, FP32, PRESETS[name]).build(META)
        assert sum(p.numel() for p in model.parameters()) == cost(PRESETS[name]).params


def test_timm_pads_as_ours_does() -> None:
    pytest.importorskip("timm")
    for padding, kind in (("symmetric", "Conv2d"), ("same", "Conv2dSame")):
        value = replace(PRESETS["v2-b0"], padding=padding)
        with META:
            model = Contender("timm", "tf_efficientnetv2_b0", FP32, value).build(META)
        assert type(model.conv_stem).__name__ == kind


def test_stochastic_depth_has_the_rate_that_was_asked_for() -> None:
    with META:
        model = Contender("effnetv2", "tiny", FP32, TINY).build(META, drop_path=0.5)
    rates = [m.rate for m in model.modules() if isinstance(m, StochasticDepth)]
    assert max(rates) > 0
    with META:
        model = Contender("torchvision", "efficientnet_v2_s", FP32, V2_S).build(META)
    assert all(m.p == 0 for m in model.modules() if type(m).__name__ == "StochasticDepth")


def test_every_setting_of_every_library_competes() -> None:
    pytest.importorskip("timm")
    left: list[str] = []
    found = list(contenders.contenders(V2_S, SETTINGS[:3], left))
    assert [c.library for c in found] == 3 * ["effnetv2", "timm", "torchvision"]
    assert [c.setting.name for c in found[::3]] == ["fp32", "fp32 channels_last",
                                                    "bf16 channels_last"]  # fmt: skip
    assert left == []
    assert len({c.name for c in found}) == 9


def test_torchvision_stays_out_where_padding_is_tensorflows() -> None:
    value = replace(V2_S, padding="same")
    libraries = {c.library for c in contenders.contenders(value, SETTINGS[:1], [])}
    assert "torchvision" not in libraries


def test_without_timm_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "available", lambda library: False)
    left: list[str] = []
    found = list(contenders.contenders(V2_S, SETTINGS[:1], left))
    assert [c.library for c in found] == ["effnetv2", "torchvision"]
    assert left == ["timm tf_efficientnetv2_s: timm is not installed "
                    "(pip install 'effnetv2[bench]')"]  # fmt: skip
    with pytest.raises(InputError, match="timm is not installed"):
        contenders.create_timm("resnet18")


def test_a_network_of_ones_own_has_no_peers() -> None:
    for value in (TINY, replace(V2_S, head=1792)):
        left: list[str] = []
        found = list(contenders.contenders(value, SETTINGS[:1], left))
        assert [c.library for c in found] == ["effnetv2"]
        assert len(left) == 1


def test_what_timm_does_not_build_is_bad_input() -> None:
    pytest.importorskip("timm")
    with pytest.raises(InputError, match="no_such_net"):
        contenders.create_timm("no_such_net")


def test_compiling_is_asked_for() -> None:
    assert [s.compiled for s in settings(["fp32", "bf16"], compile=False)] == 3 * [False]
    assert [s.compiled for s in settings(["fp32", "bf16"], compile=True)] == 3 * [False] + [True]
    assert {s.precision for s in settings(["fp32"], compile=True)} == {"fp32"}
