"""With the same weights, logits equal those of timm and of torchvision."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import NamedTuple

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from effnetv2.arch.presets import FAMILY, PRESETS
from effnetv2.arch.spec import Network
from effnetv2.nn.blocks import Residual
from effnetv2.nn.network import EfficientNet

CLASSES = 10
IMAGES = {"even": (2, 3, 64, 64), "odd": (2, 3, 97, 97), "oblong": (2, 3, 65, 96)}
DEFAULT = {"v2-b0", "v2-b1", "v2-s", "v1-b0", "v1-b1"}
"""Networks compared in every run; the larger ones are marked slow."""


class Pair(NamedTuple):
    """One of our networks, and the same one of another library."""

    ours: Network
    theirs: Callable[[], nn.Module]


def pairs() -> dict[str, Pair]:
    """Name every pair; both libraries build with random weights."""
    found = {}
    for name, net in PRESETS.items():
        family, _, size = name.partition("-")
        kind = {"v2": "efficientnetv2", "v1": "efficientnet"}.get(family)
        if kind is None:
            continue
        found[f"timm-{name}"] = Pair(replace(net, padding="same"), from_timm(f"tf_{kind}_{size}"))
        if family == "v1" or size in "sml":
            # torchvision kept PyTorch's epsilon for the first five.
            eps = 1e-5 if size in {"b0", "b1", "b2", "b3", "b4"} else 1e-3
            builder = f"{kind.replace('netv2', 'net_v2')}_{size}"
            found[f"torchvision-{name}"] = Pair(
                replace(net, norm_eps=eps), from_torchvision(builder)
            )
    return found


def from_timm(name: str) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, pretrained=False, num_classes=CLASSES)


def from_torchvision(name: str) -> Callable[[], nn.Module]:
    return lambda: torchvision.models.get_model(name, weights=None, num_classes=CLASSES)


PAIRS = pairs()


def test_every_network_that_others_publish_is_compared() -> None:
    assert sum(name.startswith("timm-") for name in PAIRS) == len(FAMILY)
    assert sum(name.startswith("torchvision-") for name in PAIRS) == 8 + 3


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(
            pair,
            id=name,
            marks=[] if name.partition("-")[2] in DEFAULT else pytest.mark.slow,
        )
        for name, pair in PAIRS.items()
    ],
)
@torch.no_grad()
def test_logits_equal_those_of_the_reference(pair: Pair) -> None:
    torch.manual_seed(0)
    ours = randomised(pair.ours)
    theirs = with_weights_of(ours, pair.theirs)
    exact = deepcopy(ours).double()
    for name, shape in IMAGES.items():
        images = torch.randn(shape)
        expected = theirs(images)
        assert expected.std(0).mean() > 1e-2 * expected.abs().max(), "logits ignore the image"
        rounding = deviation(expected.double(), exact(images.double()))
        assert rounding < 5e-5, f"logits hang on rounding, {name} images: {rounding:.1e}"
        off = deviation(ours(images), expected)
        assert off < 1e-4, f"{name} images: {off:.1e}"


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("timm-v2-b0", {"padding": "symmetric"}),
        ("torchvision-v2-s", {"padding": "same"}),
        ("torchvision-v1-b0", {"norm_eps": 1e-3}),
    ],
)
@torch.no_grad()
def test_the_comparison_tells_a_wrong_network(name: str, changed: dict[str, str | float]) -> None:
    torch.manual_seed(0)
    ours = randomised(PAIRS[name].ours)
    theirs = with_weights_of(ours, PAIRS[name].theirs)
    wrong = EfficientNet(replace(PAIRS[name].ours, **changed), CLASSES).eval()  # type: ignore[arg-type]  # one of two fields
    wrong.load_state_dict(ours.state_dict())
    images = torch.randn(IMAGES["even"])
    assert deviation(wrong(images), theirs(images)) > 1e-2


def deviation(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference as a share of the largest logit."""
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def randomised(net: Network) -> EfficientNet:
    """Build `net` with random weights, norms included, whose logits depend on the image.

    Logits must not hang on rounding either, or equality would hold only where both libraries run
    the very same kernels. Hence weak branches and statistics of many pixels: with 2 × 2 maps of
    four images, a network as deep as V2-S is chaotic.
    """
    model = EfficientNet(net, CLASSES)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for p in model.parameters():
        if p.ndim == 1:  # scales and shifts of norms, biases elsewhere
            p.add_(torch.empty_like(p).uniform_(-0.3, 0.3))
    for block in model.modules():
        if isinstance(block, Residual) and block.drop is not None:
            *_, last = (m for m in block.modules() if isinstance(m, nn.BatchNorm2d))
            last.weight.mul_(0.3)
    for norm in norms:
        norm.momentum = 1.0  # take the statistics of the one batch that follows
    model.train()(torch.randn(8, 3, 96, 96))
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean += 0.1 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt()
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.7, 1.4)
    return model.eval()


def with_weights_of(model: EfficientNet, build: Callable[[], nn.Module]) -> nn.Module:
    """Build another library's network around the weights of `model`, in the order of both."""
    with torch.device("meta"):
        other = build()
    weights, slots = model.state_dict(), other.state_dict()
    assert [tuple(w.shape) for w in weights.values()] == [tuple(s.shape) for s in slots.values()]
    other.load_state_dict(dict(zip(slots, weights.values(), strict=True)), assign=True)
    return other.eval()
