"""The cost model against the published counts, the built module, and what autograd keeps."""

from functools import cache
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from effnetv2.arch.cost import cost
from effnetv2.arch.presets import FAMILY, PRESETS, SIZES
from effnetv2.nn import layers
from effnetv2.nn.network import EfficientNet


class Published(NamedTuple):
    """What others state of a network with 1000 classes."""

    trainable: int
    with_statistics: int
    """Batch norm's two statistics a channel included, as Keras counts."""
    gmacs: float
    """Billion multiply-adds for one image of the evaluation size."""


# fmt: off
# with_statistics: expectations of google/automl's unit tests; for V1-B3 the original EfficientNet,
# whose ten-percent rule that repository leaves out. The rest: torchvision's and mmpretrain's lists.
PUBLISHED = {
    "v2-b0": Published(  7_139_704,   7_200_312,  0.718),
    "v2-b1": Published(  8_141_052,   8_212_124,  1.197),
    "v2-b2": Published( 10_096_086,  10_178_374,  1.698),
    "v2-b3": Published( 14_358_406,  14_467_622,  3.011),
    "v2-s":  Published( 21_458_488,  21_612_360,  8.366),
    "v2-m":  Published( 54_139_356,  54_431_388, 24.582),
    "v2-l":  Published(118_515_272, 119_027_848, 56.080),
    "v2-xl": Published(208_119_808, 208_896_832, 93.353),
    "v1-b0": Published(  5_288_548,   5_330_564,  0.386),
    "v1-b1": Published(  7_794_184,   7_856_232,  0.687),
    "v1-b2": Published(  9_109_994,   9_177_562,  0.994),
    "v1-b3": Published( 12_233_232,  12_320_528,  1.827),
    "v1-b4": Published( 19_341_616,  19_466_816,  4.394),
    "v1-b5": Published( 30_389_784,  30_562_520, 10.266),
    "v1-b6": Published( 43_040_704,  43_265_136, 19.068),
    "v1-b7": Published( 66_347_960,  66_658_680, 37.746),
}
# fmt: on

CLASSES = 7
BATCH = 8


def test_every_network_of_the_family_has_published_counts() -> None:
    assert [net.name for net, _ in FAMILY] == list(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name: str) -> None:
    c = cost(PRESETS[name])
    assert c.params == PUBLISHED[name].trainable
    assert c.params + 2 * c.bn_channels == PUBLISHED[name].with_statistics


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("v2-b0", 33_839_587),
        ("v2-s", 48_158_371),
        ("v2-m", 80_839_239),
        ("v2-l", 145_215_155),
        ("v2-xl", 234_819_691),
    ],
)
def test_parameters_with_the_head_of_imagenet_21k_are_the_published_ones(
    name: str, params: int
) -> None:
    assert cost(PRESETS[name], classes=21_843).params == params


@pytest.mark.parametrize("name", PUBLISHED)
def test_multiply_adds_are_the_published_ones(name: str) -> None:
    macs = cost(PRESETS[name], resolution=SIZES[name].eval).macs
    assert macs / 1e9 == pytest.approx(PUBLISHED[name].gmacs, rel=0.01)


@pytest.mark.parametrize("name", PRESETS)
def test_counts_are_those_of_the_built_module(name: str) -> None:
    model = on_meta(name)
    c = cost(PRESETS[name], classes=CLASSES)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert c.params == sum(p.numel() for p in model.parameters())
    assert c.bn_channels == sum(m.num_features for m in norms)


@pytest.mark.parametrize("name", PRESETS)
def test_multiply_adds_are_those_that_the_built_module_performs(name: str) -> None:
    resolution = SIZES[name].train + 1  # odd
    images = torch.empty(1, 3, resolution, resolution, device="meta")
    c = cost(PRESETS[name], classes=CLASSES, resolution=resolution)
    assert c.macs == performed_macs(on_meta(name), images)


@pytest.mark.parametrize(("name", "resolution"), [("tiny", 64), ("v2-b0", 97), ("v1-b0", 96)])
def test_activations_are_what_a_training_step_keeps(
    name: str, resolution: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kernel in ("fits", "runs"):  # which keep less
        monkeypatch.setattr(layers, kernel, lambda *_: False)
    model = EfficientNet(PRESETS[name], CLASSES).train()
    kept = kept_elements(model, torch.randn(BATCH, 3, resolution, resolution))
    c = cost(PRESETS[name], classes=CLASSES, resolution=resolution)
    assert c.activations == pytest.approx(kept / BATCH, rel=0.02)


@pytest.mark.parametrize("name", PRESETS)
def test_activations_hold_at_the_training_size_of_every_preset(name: str) -> None:
    resolution = SIZES[name].train
    images = torch.empty(BATCH, 3, resolution, resolution, device="meta")
    kept = kept_elements(on_meta(name).train(), images)
    c = cost(PRESETS[name], classes=CLASSES, resolution=resolution)
    assert c.activations == pytest.approx(kept / BATCH, rel=0.02)


@cache
def on_meta(name: str) -> EfficientNet:
    """Build a preset without memory for its weights: shapes are all that is counted."""
    with torch.device("meta"):
        return EfficientNet(PRESETS[name], CLASSES)


def performed_macs(model: nn.Module, images: Tensor) -> int:
    """Count multiply-adds layer by layer, from the shapes that pass through."""
    total = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        # One output of a convolution or linear layer takes one filter's weights.
        assert isinstance(layer.weight, Tensor)
        total += output.numel() * layer.weight[0].numel()

    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        model.eval()(images)
    for hook in hooks:
        hook.remove()
    return total


def kept_elements(model: nn.Module, images: Tensor) -> int:
    """Count what autograd keeps of a forward pass, each storage once, parameters left out."""
    # The storages themselves are held, or the address of a freed one could come again.
    storages = {}
    known = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers())}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            storages[storage._cdata] = (storage, storage.nbytes() // tensor.element_size())
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        model(images).sum()
    return sum(elements for _, elements in storages.values())
