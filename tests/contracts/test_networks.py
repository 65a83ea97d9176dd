"""Every network keeps the same promises: a table of networks, and a property in each test."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache, lru_cache
from itertools import accumulate
from operator import mul
from pathlib import Path

import onnxruntime
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.export import Dim
from torch.utils.flop_counter import FlopCounterMode

from effnetv2.arch.cost import cost
from effnetv2.arch.presets import PRESETS, TINY
from effnetv2.arch.spec import Network, Stage
from effnetv2.nn.blocks import Residual
from effnetv2.nn.network import EfficientNet

# What no preset has: fused blocks with squeeze-excite, kernels of 5 and 7 there, a stride of 4.
# fmt: off
#                     op        e  k  s    c   n    se
HANDMADE = Network("handmade", 8, (
    Stage("mbconv", 1, 3, 1,   8,  2, 0.25),
    Stage("fused",  4, 5, 2,  16,  2, 0.25),
    Stage("mbconv", 3, 7, 4,  24,  2),
    Stage("fused",  1, 3, 1,  24,  2, 0.5),
), head=32)
# fmt: on

SMALL = {
    "tiny": TINY,
    "tiny, same": replace(TINY, padding="same"),
    "handmade": HANDMADE,
    "handmade, same": replace(HANDMADE, padding="same"),
    "v2-b0": PRESETS["v2-b0"],
    "v1-b0": PRESETS["v1-b0"],
}
NETWORKS = SMALL | PRESETS
CLASSES = 5

every_shape = pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS.keys())
"""On the meta device: shapes alone, so the largest cost nothing."""
every_network = pytest.mark.parametrize(
    "net",
    [
        pytest.param(net, id=name, marks=[] if name in SMALL else pytest.mark.slow)
        for name, net in NETWORKS.items()
    ],
)


@every_shape
@torch.no_grad()
def test_logits_and_maps_have_the_promised_shapes(net: Network) -> None:
    model, size = on_meta(net).eval(), (128, 171)  # even maps all the way down, and odd ones
    images = torch.empty(2, 3, *size, device="meta")
    assert model(images).shape == (2, CLASSES)
    assert model.embed(images).shape == (2, net.head)
    strides = accumulate((s.stride for s in net.stages), mul, initial=2)
    next(strides)  # the stem's own map is not among the features
    assert [f.shape for f in model.features(images)] == [
        (2, s.width, *(math.ceil(side / stride) for side in size))
        for s, stride in zip(net.stages, strides, strict=True)
    ]


@every_network
def test_cost_is_that_of_the_module(net: Network) -> None:
    model = on_meta(net).eval()
    c = cost(net, classes=CLASSES, resolution=97)
    assert c.params == sum(p.numel() for p in model.parameters())
    assert c.bn_channels == sum(
        m.num_features for m in model.modules() if isinstance(m, nn.BatchNorm2d)
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 3, 97, 97, device="meta"))
    assert 2 * c.macs == counter.get_total_flops()


@every_network
def test_every_parameter_gets_a_gradient(net: Network) -> None:
    model = settled(net).train()
    images, labels = torch.randn(4, 3, 64, 64), torch.arange(4)
    nn.functional.cross_entropy(model(images), labels).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
        assert p.grad.any(), name


@every_network
@torch.no_grad()
def test_evaluation_is_deterministic_and_training_is_not(net: Network) -> None:
    model, images = settled(net), torch.randn(4, 3, 64, 64)
    plain = model(images)
    model.regularise(dropout=0.5, drop_path=0.5)
    assert torch.equal(model(images), plain)
    model.train()
    assert not torch.equal(model(images), model(images))


@every_network
@torch.no_grad()
def test_logits_of_an_image_do_not_depend_on_its_batch(net: Network) -> None:
    model, images = settled(net), torch.randn(3, 3, 65, 64)
    one_by_one = torch.cat([model(image[None]) for image in images])
    assert deviation(one_by_one, model(images)) < 1e-4


@every_network
@torch.no_grad()
def test_the_last_map_is_what_the_head_sees(net: Network) -> None:
    model, images = settled(net), torch.randn(2, 3, 64, 64)
    *_, last = model.features(images)
    assert torch.equal(model.head(last).mean((2, 3)), model.embed(images))
    assert torch.equal(model.classifier(model.embed(images)), model(images))


@every_network
@torch.no_grad()
def test_channels_last_stays_through_every_map_and_changes_nothing(net: Network) -> None:
    model, images = settled(net), torch.randn(2, 3, 97, 128)
    expected = model(images)
    model.to(memory_format=torch.channels_last)
    images = images.to(memory_format=torch.channels_last)
    for i, feature in enumerate(model.features(images)):
        assert feature.is_contiguous(memory_format=torch.channels_last), f"stage {i}"
        assert not feature.is_contiguous(), f"stage {i}: too small to tell"
    assert deviation(model(images), expected) < 1e-4


@every_network
@torch.no_grad()
def test_bfloat16_is_close(net: Network) -> None:
    model, images = settled(net), torch.randn(4, 3, 96, 96)
    expected = model(images)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    assert logits.dtype == torch.bfloat16
    assert (logits - expected).norm() < 0.1 * expected.norm()


@every_network
@torch.no_grad()
def test_a_network_of_another_precision_is_the_same_network(net: Network) -> None:
    model, images = settled(net), torch.randn(2, 3, 97, 96)
    expected = model(images)
    exact = model.double()(images.double())
    assert exact.dtype == torch.float64
    assert deviation(expected.double(), exact) < 1e-4


@every_network
@torch.no_grad()
def test_weights_survive_a_file(net: Network) -> None:
    model, images = settled(net), torch.randn(2, 3, 64, 64)
    other = EfficientNet(net, CLASSES).eval()
    assert not torch.equal(other(images), model(images))
    other.load_state_dict(load(save(model.state_dict())))
    assert torch.equal(other(images), model(images))


@pytest.mark.parametrize("name", ["tiny", "v2-b0", "handmade, same"])
@torch.no_grad()
def test_compiled_without_graph_breaks_equals_eager(name: str) -> None:
    model, graphs = settled(SMALL[name]), Graphs()
    compiled = torch.compile(model, fullgraph=True, backend=graphs)
    images = torch.randn(2, 3, 65, 64)
    assert torch.equal(compiled(images), model(images))
    assert graphs.count == 1


@pytest.mark.parametrize("name", ["tiny", "handmade, same"])
def test_compiled_training_with_drops_equals_eager(name: str) -> None:
    model, graphs = settled(SMALL[name]).train(), Graphs()
    model.regularise(dropout=0.3, drop_path=0.2)
    compiled = torch.compile(model, fullgraph=True, backend=graphs)
    images = torch.randn(4, 3, 64, 64)
    torch.manual_seed(1)
    expected = model(images)
    torch.manual_seed(1)
    torch.testing.assert_close(compiled(images), expected)
    assert graphs.count == 1


@pytest.mark.parametrize("name", ["tiny", "handmade, same"])
@torch.no_grad()
def test_one_compiled_graph_serves_every_size(name: str) -> None:
    model, graphs = settled(SMALL[name]), Graphs()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=graphs)
    # A square first would be taken as a promise of squares, and cost one more graph.
    for size in ((65, 97), (64, 64), (97, 97), (96, 50), (33, 34)):
        images = torch.randn(2, 3, *size)
        assert torch.equal(compiled(images), model(images))
    assert graphs.count == 1


@pytest.mark.parametrize("name", ["tiny", "handmade", "handmade, same"])
@torch.no_grad()
def test_one_exported_file_serves_every_batch_and_size(name: str, tmp_path: Path) -> None:
    model, file = settled(SMALL[name]), tmp_path / "network.onnx"
    sizes = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    program = torch.onnx.export(
        model,
        (torch.randn(2, 3, 66, 70),),
        dynamo=True,
        dynamic_shapes=(sizes,),
        input_names=["images"],
        verbose=False,
    )
    assert program is not None
    program.save(file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for shape in ((1, 3, 64, 64), (3, 3, 65, 97), (2, 3, 96, 50), (5, 3, 33, 34), (1, 3, 32, 32)):
        images = torch.randn(shape)
        (logits,) = session.run(None, {"images": images.numpy()})
        assert deviation(torch.from_numpy(logits), model(images)) < 1e-4, shape


class Graphs:
    """A backend for `torch.compile` that runs graphs as they are, and counts them."""

    def __init__(self) -> None:
        torch.compiler.reset()
        self.count = 0

    def __call__(self, graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., object]:
        self.count += 1
        return graph.forward


def deviation(got: Tensor, expected: Tensor) -> float:
    """Return the largest difference as a share of the largest expected value."""
    return ((got - expected).abs().max() / expected.abs().max()).item()


@cache
def on_meta(net: Network) -> EfficientNet:
    """Build `net` without memory for its weights."""
    with torch.device("meta"):
        return EfficientNet(net, CLASSES)


def settled(net: Network) -> EfficientNet:
    """Build `net` in evaluation mode, with the statistics of noise and weak branches.

    As drawn, a deep network in evaluation mode fades or turns chaotic; then nothing is close.
    """
    torch.manual_seed(0)
    return deepcopy(settled_once(net))


@lru_cache(maxsize=len(SMALL))
@torch.no_grad()
def settled_once(net: Network) -> EfficientNet:
    model = EfficientNet(net, CLASSES)
    for block in model.modules():
        if isinstance(block, Residual) and block.drop is not None:
            *_, last = (m for m in block.modules() if isinstance(m, nn.BatchNorm2d))
            last.weight.mul_(0.1)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # take the statistics of the one batch that follows
    model.train()(torch.randn(8, 3, 96, 96))
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()
