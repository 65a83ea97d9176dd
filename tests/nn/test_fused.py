"""The fused kernels against the layers that they stand for, and both against float64."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from effnetv2.arch.presets import TINY
from effnetv2.nn import layers
from effnetv2.nn.kernels import fits, fused, kernels
from effnetv2.nn.layers import ConvNormAct, SqueezeExcite
from effnetv2.nn.network import EfficientNet

pytestmark = pytest.mark.skipif(kernels() is None, reason="no C++ compiler with OpenMP here")

SHAPES = [(1, 3, 1, 2), (2, 5, 3, 7), (3, 16, 8, 8), (2, 300, 4, 4), (5, 40, 9, 6)]


def reference(
    y: Tensor,
    norm: nn.BatchNorm2d,
    act: bool,
    gate: nn.Module | None,
    skip: Tensor | None,
    keep: Tensor | None,
) -> Tensor:
    y = norm(y)
    y = F.silu(y) if act else y
    if gate is not None:
        y = y * gate(y.mean((2, 3), keepdim=True))
    y = y if keep is None else y * keep
    return y if skip is None else y + skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("act", [True, False], ids=["silu", "no act"])
@pytest.mark.parametrize("extras", ["", "gate", "skip", "skip keep", "gate skip keep"])
def test_values_gradients_and_statistics_are_those_of_the_layers(
    shape: tuple[int, int, int, int], act: bool, extras: str
) -> None:
    torch.manual_seed(0)
    n, c, *_ = shape
    norm = nn.BatchNorm2d(c)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    gate = SqueezeExcite(c, 4) if "gate" in extras and act else None
    skip = torch.randn(shape) if "skip" in extras else None
    keep = torch.rand(n, 1, 1, 1).round() * 1.5 if "keep" in extras else None
    y, dout = torch.randn(shape) * 2 + 30, torch.randn(shape)

    def outcome(exact: bool) -> list[Tensor]:
        kind = torch.float64 if exact else torch.float32
        n, g = copy.deepcopy(norm).to(kind), copy.deepcopy(gate)
        x = y.to(kind, copy=True).requires_grad_()
        s = None if skip is None else skip.to(kind, copy=True).requires_grad_()
        if exact:
            g = g if g is None else g.double()
            out = reference(x, n, act, g, s, keep)
        else:
            out = fused(x, n, act=act, gate=g, skip=s, keep=keep)
        out.backward(dout.to(kind))
        weights = [*n.parameters(), *(g.parameters() if g is not None else ())]
        found = [out, x.grad, *(p.grad for p in weights), n.running_mean, n.running_var]
        found += [] if s is None else [s.grad]
        return [t.detach().double() for t in found if t is not None]

    for ours, exact in zip(outcome(exact=False), outcome(exact=True), strict=True):
        # With two pixels the gradient all but cancels: 1 / σ² times rounding is left of it.
        tolerance = 1e-4 if n * shape[2] * shape[3] > 2 else 1e-2
        assert (ours - exact).abs().max() <= tolerance * (1 + exact.abs().max())


def test_in_bfloat16_the_kernels_are_nearer_to_the_truth_than_the_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    model = EfficientNet(TINY, 10).to(memory_format=torch.channels_last).train()
    images, labels = torch.randn(8, 3, 65, 65), torch.randint(0, 10, (8,))

    def error(of: nn.Module) -> Tensor:
        model = copy.deepcopy(of)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(images.contiguous(memory_format=torch.channels_last))
        F.cross_entropy(logits.float(), labels).backward()
        pairs = zip(model.parameters(), exact.parameters(), strict=True)
        return torch.stack([(a.grad.double() - b.grad).norm() / b.grad.norm() for a, b in pairs])

    monkeypatch.setattr(layers, "fits", lambda *_: False)
    exact = copy.deepcopy(model).double()
    F.cross_entropy(exact(images.double()), labels).backward()
    by_layer = error(model)
    monkeypatch.setattr(layers, "fits", fits)
    assert error(model).median() < 1.05 * by_layer.median()


def test_large_and_missing_numbers_pass_as_they_do_through_the_layers() -> None:
    y = torch.tensor([-3e4, -200.0, 0.0, 200.0, 3e4]).view(5, 1, 1, 1)
    norm = nn.BatchNorm2d(1, eps=1e-9)
    nn.init.constant_(norm.weight, 1e4)
    torch.testing.assert_close(fused(y, norm, act=True), F.silu(norm(y)), rtol=1e-5, atol=1e-3)
    y[2] = torch.nan
    assert fused(y, norm, act=True).isnan().all()


def test_the_activation_is_exact_to_some_millionths() -> None:
    t = torch.linspace(-80, 80, 100_001)
    norm = nn.BatchNorm2d(1, eps=1e-9)
    with torch.no_grad():  # so that the map passes the norm unchanged
        norm.weight.fill_(t.double().std(correction=0))
        norm.bias.fill_(t.double().mean())
    passed = fused(t.view(-1, 1, 1, 1), norm, act=False).flatten()
    acted = fused(t.view(-1, 1, 1, 1), norm, act=True).flatten().double()
    exact = F.silu(passed.double())
    assert ((acted - exact).abs() <= 5e-6 * exact.abs() + 1e-30).all()


def test_they_serve_training_alone() -> None:
    y, norm = torch.randn(2, 3, 4, 4), nn.BatchNorm2d(3)
    assert fits(y, norm)
    assert not fits(y.double(), norm)
    assert not fits(y, nn.BatchNorm2d(3, momentum=None))
    assert not fits(y, nn.BatchNorm2d(3).eval())
    with torch.no_grad():
        assert not fits(y, norm)


def test_one_pixel_has_no_variance_as_the_layer_says() -> None:
    layer = ConvNormAct(3, 4, padding="same", eps=1e-3).train()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer(torch.randn(1, 3, 1, 1))
