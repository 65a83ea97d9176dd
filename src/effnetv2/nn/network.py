"""The classifier: stem, stages, head."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from effnetv2.arch.spec import Network
from effnetv2.nn.blocks import Residual
from effnetv2.nn.layers import ConvNormAct, StochasticDepth


class EfficientNet(nn.Module):
    """Realise `net`: `features` yields one map a stage, `forward` the logits.

    Dropout and stochastic depth start at zero: they belong to training, which sets them phase by
    phase with `regularise`.
    """

    def __init__(self, net: Network, classes: int = 1000) -> None:
        super().__init__()
        self.stem = ConvNormAct(3, net.stem, 3, 2, padding=net.padding, eps=net.norm_eps)
        stages: list[list[nn.Module]] = [[] for _ in net.stages]
        blocks = list(net.blocks())
        for n, (i, block) in enumerate(blocks):
            share = n / len(blocks)
            stages[i].append(Residual(block, share, padding=net.padding, eps=net.norm_eps))
        self.stages = nn.ModuleList(nn.Sequential(*s) for s in stages)
        self.head = ConvNormAct(
            net.stages[-1].width, net.head, padding=net.padding, eps=net.norm_eps
        )
        self.dropout = nn.Dropout(0.0)
        self.classifier = nn.Linear(net.head, classes)
        initialise(self)

    def features(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the output of every stage, fine to coarse, for images `(n, 3, h, w)`."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            yield x

    def embed(self, x: Tensor) -> Tensor:
        """Return the pooled features `(n, head)` of images `(n, 3, h, w)`."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        pooled: Tensor = self.head(x).mean((2, 3))
        return pooled

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `(n, classes)` of images `(n, 3, h, w)`, any h and w of 32 or more."""
        logits: Tensor = self.classifier(self.dropout(self.embed(x)))
        return logits

    def regularise(self, *, dropout: float, drop_path: float) -> None:
        """Set the dropout rate, and stochastic depth growing linearly to `drop_path`."""
        self.dropout.p = dropout
        for m in self.modules():
            if isinstance(m, StochasticDepth):
                m.rate = drop_path * m.share


@torch.no_grad()
def initialise(model: nn.Module) -> None:
    """Draw weights as the authors' code does.

    Convolutions: normal with variance 2 / fan-out, where a depthwise kernel's fan-out is k², not
    k² times its channels. Linear: uniform within ±1 / sqrt(classes), as if they were 1000 at
    least. Biases zero.
    """
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            fan_out = math.prod(m.kernel_size) * m.out_channels // m.groups
            m.weight.normal_(0.0, math.sqrt(2.0 / fan_out))
        elif isinstance(m, nn.Linear):
            # Of ImageNet's 1000 classes at most: the code's 1 / sqrt(classes) starts a head of two
            # classes with logits of twenty.
            bound = max(1000, m.out_features) ** -0.5
            m.weight.uniform_(-bound, bound)
        if isinstance(m, nn.Conv2d | nn.Linear) and m.bias is not None:
            m.bias.zero_()
