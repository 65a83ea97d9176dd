"""The layers against plain statements of what the paper and TensorFlow do."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from effnetv2.arch.presets import PRESETS
from effnetv2.arch.spec import Block, Padding
from effnetv2.nn.blocks import Residual
from effnetv2.nn.layers import SqueezeExcite, StochasticDepth, conv
from effnetv2.nn.network import EfficientNet, initialise

PADDINGS: tuple[Padding, Padding] = ("same", "symmetric")
KERNELS_AND_STRIDES = [(3, 1), (3, 2), (5, 1), (5, 2), (7, 4), (1, 1), (3, 3)]


@pytest.mark.parametrize(("kernel", "stride"), KERNELS_AND_STRIDES)
@torch.no_grad()
def test_same_padding_is_tensorflows(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = conv(4, 6, kernel, stride, groups=2, padding="same")
    for h, w in product(range(5, 13), range(5, 13)):
        x = torch.randn(2, 4, h, w)
        torch.testing.assert_close(layer(x), tensorflows(x, layer.weight, stride))


@pytest.mark.parametrize(("kernel", "stride"), KERNELS_AND_STRIDES)
def test_both_paddings_give_a_map_of_the_same_size(kernel: int, stride: int) -> None:
    for h, w in product(range(1, 13), range(1, 13)):
        x = torch.empty(1, 3, h, w, device="meta")
        for padding in PADDINGS:
            layer = conv(3, 4, kernel, stride, groups=1, padding=padding).to("meta")
            assert layer(x).shape == (1, 4, math.ceil(h / stride), math.ceil(w / stride))


@pytest.mark.parametrize("stride", [1, 2])
def test_the_paddings_differ_on_even_maps_of_strided_convolutions_only(stride: int) -> None:
    torch.manual_seed(0)
    same, symmetric = (conv(2, 2, 3, stride, 1, padding) for padding in PADDINGS)
    same.load_state_dict(symmetric.state_dict())
    for side in range(5, 13):
        x = torch.randn(1, 2, side, side)
        assert torch.allclose(same(x), symmetric(x)) == (stride == 1 or side % 2 == 1)


def test_a_pointwise_convolution_is_a_convolution() -> None:
    torch.manual_seed(0)
    layer = conv(5, 7, 1, 1, 1, "same")
    x = torch.randn(2, 5, 4, 3).to(memory_format=torch.channels_last)
    results = []
    for forward in (layer, lambda x: F.conv2d(x, layer.weight)):
        layer.zero_grad()
        image = x.clone().requires_grad_()
        y = forward(image)
        assert y.is_contiguous(memory_format=torch.channels_last)
        y.square().sum().backward()
        assert layer.weight.grad is not None
        results.append((y, image.grad, layer.weight.grad.clone()))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(
    ("layer", "fan_out"),
    [
        (nn.Conv2d(2000, 2000, 3, groups=2000), 3**2),
        (nn.Conv2d(2000, 2000, 5, groups=2000), 5**2),
        (nn.Conv2d(128, 256, 3), 3**2 * 256),
        (nn.Conv2d(256, 128, 1), 128),
    ],
    ids=["depthwise 3", "depthwise 5", "dense 3", "pointwise"],
)
def test_convolutions_start_normal_with_twice_the_inverse_fan_out(
    layer: nn.Conv2d, fan_out: int
) -> None:
    torch.manual_seed(0)
    assert layer.bias is not None
    initialise(layer)
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.02)
    assert layer.weight.mean().item() == pytest.approx(0, abs=0.02 * math.sqrt(2 / fan_out))
    share_within_one_deviation = (layer.weight.abs() < math.sqrt(2 / fan_out)).float().mean()
    assert share_within_one_deviation.item() == pytest.approx(0.683, abs=0.01)  # normal
    assert not layer.bias.any()


def test_the_classifier_starts_uniform_within_the_inverse_root_of_its_classes() -> None:
    torch.manual_seed(0)
    layer, bound = nn.Linear(512, 2000), 2000**-0.5
    initialise(layer)
    assert 0.99 * bound < layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert not layer.bias.any()


def test_a_built_network_is_initialised_throughout() -> None:
    torch.manual_seed(0)
    model = EfficientNet(PRESETS["tiny"], classes=25)
    for name, p in model.named_parameters():
        if p.ndim == 1:
            assert (p == (1 if name.endswith("norm.weight") else 0)).all(), name
    # As if of 1000 classes: a few classes would start with huge logits.
    assert 0.95 < model.classifier.weight.abs().max() * math.sqrt(1000) <= 1
    depthwise = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    for layer in depthwise:
        std = math.sqrt(2 / math.prod(layer.kernel_size))
        assert layer.weight.std().item() == pytest.approx(std, rel=0.1)


def test_stochastic_depth_keeps_the_expectation_and_whole_samples() -> None:
    torch.manual_seed(0)
    layer = StochasticDepth(share=1.0).train()
    layer.rate = 0.3
    keep = layer(20_000, torch.device("cpu"))
    assert keep is not None
    assert keep.shape == (20_000, 1, 1, 1)
    assert keep.mean().item() == pytest.approx(1, abs=0.02)
    torch.testing.assert_close(keep.unique(), torch.tensor([0.0, 1 / 0.7]))


def test_stochastic_depth_keeps_the_type_of_its_input() -> None:
    block = Residual(Block("fused", 1, 3, 1, 4, 4, 0.0), 1.0, padding="same", eps=1e-3).train()
    assert block.drop is not None
    block.drop.rate = 0.5
    block.bfloat16()
    assert block(torch.randn(4, 4, 8, 8).bfloat16()).dtype == torch.bfloat16


def test_stochastic_depth_is_off_in_evaluation() -> None:
    layer = StochasticDepth(share=1.0).eval()
    layer.rate = 0.9
    assert layer(8, torch.device("cpu")) is None


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("v2-s", 0.1950), ("v2-m", 0.1965), ("v2-l", 0.1975), ("v2-xl", 0.1980),
        ("v2-b0", 0.1905), ("v2-b3", 0.1938),
    ],
)  # fmt: skip
def test_drop_rates_grow_from_zero_and_never_reach_the_networks(name: str, last: float) -> None:
    with torch.device("meta"):
        model = EfficientNet(PRESETS[name])
    model.regularise(dropout=0.4, drop_path=0.2)
    blocks = [m for m in model.modules() if isinstance(m, Residual)]
    rates = {i: m.drop.rate for i, m in enumerate(blocks) if m.drop is not None}
    assert rates == {i: pytest.approx(0.2 * i / len(blocks)) for i in rates}
    assert rates.get(0, 0.0) == 0.0  # B0 to B3 widen in their first block: no skip, no rate
    assert rates[len(blocks) - 1] == pytest.approx(last, abs=5e-5)
    assert model.dropout.p == 0.4


def test_regularisation_can_be_turned_down_again() -> None:
    model = EfficientNet(PRESETS["tiny"], classes=3).train()
    x = torch.randn(4, 3, 32, 32)
    plain = model(x)
    model.regularise(dropout=0.5, drop_path=0.9)
    assert not torch.equal(model(x), plain)
    model.regularise(dropout=0.0, drop_path=0.0)
    assert torch.equal(model(x), plain)


def test_a_dropped_branch_leaves_the_input_of_the_block() -> None:
    block = Residual(Block("fused", 1, 3, 1, 4, 4, 0.0), 1.0, padding="same", eps=1e-3).train()
    assert block.drop is not None
    block.drop.rate = 1 - 1e-9
    x = torch.randn(4, 4, 8, 8)
    torch.testing.assert_close(block(x), x)


def test_the_squeezed_width_comes_from_the_input_of_the_block() -> None:
    with torch.device("meta"):
        fourth = EfficientNet(PRESETS["v2-s"]).stages[3]
    gates = [m for m in fourth.modules() if isinstance(m, SqueezeExcite)]
    assert [m.reduce.out_channels for m in gates] == [16, 32, 32, 32, 32, 32]


@torch.no_grad()
def test_squeeze_excite_gates_by_the_mean_of_the_map() -> None:
    layer = SqueezeExcite(6, 2)
    x = torch.randn(3, 6, 5, 7)
    mean = x.mean((2, 3))
    squeezed = F.silu(F.linear(mean, layer.reduce.weight.flatten(1), layer.reduce.bias))
    gate = F.linear(squeezed, layer.expand.weight.flatten(1), layer.expand.bias).sigmoid()
    torch.testing.assert_close(layer(x.mean((2, 3), keepdim=True)).flatten(1), gate)


def tensorflows(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolve with TensorFlow's documented `SAME`: the odd one of the zeros goes last."""
    kernel = weight.shape[-1]
    pads = []
    for side in (x.shape[3], x.shape[2]):
        total = max(0, (math.ceil(side / stride) - 1) * stride + kernel - side)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), weight, stride=stride, groups=x.shape[1] // weight.shape[1])
