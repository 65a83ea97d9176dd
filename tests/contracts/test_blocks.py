"""Every kind of block, at every expansion, stride, kernel and padding, keeps the same promises."""

import math
from dataclasses import replace
from itertools import product
from typing import NamedTuple, get_args

import pytest
import torch
from torch import nn

from effnetv2.arch.cost import cost
from effnetv2.arch.spec import Block, Network, Op, Padding, Stage
from effnetv2.nn.blocks import Residual
from effnetv2.nn.network import EfficientNet


class Case(NamedTuple):
    """A block of 8 channels in and out, and how it pads."""

    block: Block
    padding: Padding

    def build(self) -> Residual:
        """Return the module, with scales and shifts that are not all alike."""
        torch.manual_seed(0)
        module = Residual(self.block, 0.5, padding=self.padding, eps=1e-3)
        for p in module.parameters():
            if p.ndim == 1:
                nn.init.uniform_(p, 0.5, 1.5)
        return module


CASES = {
    f"{op}-e{expand}-k{kernel}-s{stride}-se{se}-{padding}": Case(
        Block(op, expand, kernel, stride, 8, 8, se), padding
    )
    for op, expand, kernel, stride, se, padding in product(
        get_args(Op), (1, 4), (3, 5), (1, 2), (0.0, 0.25), get_args(Padding)
    )
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@every_case
def test_a_block_yields_a_map_of_the_promised_shape(case: Case) -> None:
    wider = case._replace(block=replace(case.block, c_out=12))
    for h, w in ((8, 8), (9, 12), (7, 5)):
        map_size = (math.ceil(h / case.block.stride), math.ceil(w / case.block.stride))
        assert case.build()(torch.randn(2, 8, h, w)).shape == (2, 8, *map_size)
        assert wider.build()(torch.randn(2, 8, h, w)).shape == (2, 12, *map_size)


@every_case
def test_input_and_every_parameter_get_a_gradient(case: Case) -> None:
    block = case.build()
    x = torch.randn(4, 8, 9, 8, requires_grad=True)
    block(x).square().sum().backward()
    for name, tensor in {"input": x, **dict(block.named_parameters())}.items():
        assert tensor.grad is not None, name
        assert tensor.grad.isfinite().all(), name
        assert tensor.grad.any(), name


@every_case
def test_evaluation_is_deterministic_and_leaves_the_input_alone(case: Case) -> None:
    block = case.build().eval()
    if block.drop is not None:
        block.drop.rate = 0.5
    x = torch.randn(3, 8, 9, 9)
    before = x.clone()
    assert torch.equal(block(x), block(x))
    assert torch.equal(x, before)


@every_case
def test_channels_last_stays_and_changes_nothing(case: Case) -> None:
    block = case.build().eval()
    x = torch.randn(2, 8, 9, 12)
    expected = block(x)
    y = block.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y.contiguous(), expected, rtol=1e-4, atol=1e-4)


@every_case
def test_the_input_is_added_where_shapes_agree_and_nowhere_else(case: Case) -> None:
    block = case.build().eval()
    *_, last = (m for m in block.modules() if isinstance(m, nn.BatchNorm2d))
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    x = torch.randn(2, 8, 8, 8)
    y = block(x)
    if case.block.stride == 1:
        torch.testing.assert_close(y, x)
    else:
        assert not y.any()


@every_case
def test_only_a_single_fused_convolution_ends_in_an_activation(case: Case) -> None:
    block = case.build().eval()
    # Without the skip, large shifts below zero show whether SiLU, never under -0.279, follows.
    block.drop = None
    *_, last = (m for m in block.modules() if isinstance(m, nn.BatchNorm2d))
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, -1.0)
    lowest = block(torch.randn(2, 8, 8, 8)).min()
    assert (lowest > -0.28) == (case.block.op == "fused" and case.block.expand == 1)


@every_case
def test_cost_is_that_of_the_module(case: Case) -> None:
    b = case.block
    stage = Stage(b.op, b.expand, b.kernel, b.stride, width=12, depth=2, se=b.se)
    net = Network("one stage", 8, (stage,), head=16, padding=case.padding)
    with torch.device("meta"):
        model = EfficientNet(net, classes=3)
    assert cost(net, classes=3).params == sum(p.numel() for p in model.parameters())
