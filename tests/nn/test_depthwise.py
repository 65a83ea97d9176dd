"""The depthwise kernels against torch's convolution."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from effnetv2.nn.kernels import DEPTHWISE_SIZES, kernels
from effnetv2.nn.layers import DepthwiseConv, Padding, conv

pytestmark = pytest.mark.skipif(kernels() is None, reason="no C++ compiler with OpenMP here")


@pytest.mark.parametrize("kernel", DEPTHWISE_SIZES)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("side", [(7, 6), (8, 5), (2, 1)], ids=str)
@pytest.mark.parametrize("channels", [3, 16, 40])
def test_values_and_gradients_are_those_of_a_convolution(
    kernel: int, stride: int, padding: Padding, side: tuple[int, int], channels: int
) -> None:
    torch.manual_seed(0)
    layer = conv(channels, channels, kernel, stride, channels, padding)
    assert isinstance(layer, DepthwiseConv)
    x = torch.randn(2, channels, *side)
    with torch.no_grad():
        dout = torch.randn_like(layer(x))

    def outcome(image: Tensor) -> list[Tensor]:
        layer.zero_grad()
        image.requires_grad_()
        y = layer(image)
        y.backward(dout.to(y.dtype))
        assert image.grad is not None
        assert layer.weight.grad is not None
        return [y.detach(), image.grad, layer.weight.grad.clone()]

    ours = outcome(x.clone())
    layer.double()  # which torch computes
    theirs = outcome(x.double())
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_rounded_once() -> None:
    torch.manual_seed(0)
    layer = conv(24, 24, 3, 2, 24, "same")
    x = torch.randn(3, 24, 9, 9).bfloat16()
    exact = F.conv2d(F.pad(x.double(), (1, 1, 1, 1)), layer.weight.double(), stride=2, groups=24)
    y = layer(x)
    assert y.dtype == torch.bfloat16
    assert ((y.double() - exact).abs() <= 2**-8 * exact.abs() + 1e-6).all()
