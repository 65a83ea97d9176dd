"""The layers that every block is made of.

Invariants: any input height and width; no branch on the size, so that one exported or compiled
graph serves all of them; channels_last in, channels_last out.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from effnetv2.nn.kernels import DEPTHWISE_SIZES, depthwise, fits, fused, runs, trains_on_cpu

Padding = Literal["symmetric", "same"]


class StridedConv(nn.Conv2d):
    """A convolution without bias that strides, in either padding.

    `same` is TensorFlow's: the last row and column are padded before the first.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int, stride: int, groups: int, padding: Padding
    ) -> None:
        self.same = padding == "same" and stride > 1
        symmetric = 0 if self.same else kernel // 2
        super().__init__(c_in, c_out, kernel, stride, symmetric, groups=groups, bias=False)

    def zeros(self, side: int) -> int:
        """Return how many zeros `same` adds to a side of a map."""
        # Equal to max(0, (ceil(side / s) - 1) * s + k - side) for k >= s, and free of branches.
        return self.kernel_size[0] - self.stride[0] + -side % self.stride[0]

    def forward(self, input: Tensor) -> Tensor:
        """Convolve `(n, c, h, w)` to `(n, c', ceil(h / stride), ceil(w / stride))`."""
        if self.same:
            tall, wide = self.zeros(input.shape[2]), self.zeros(input.shape[3])
            input = F.pad(input, (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2))
        y: Tensor = self._conv_forward(input, self.weight, self.bias)
        return y


class DepthwiseConv(StridedConv):
    """A convolution of each channel with a kernel of its own."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve `(n, c, h, w)` to `(n, c, ceil(h / stride), ceil(w / stride))`."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if runs(input) and kernel in DEPTHWISE_SIZES and self.weight.dtype == torch.float32:
            top = left = kernel // 2
            if self.same:
                top, left = (self.zeros(side) // 2 for side in input.shape[2:])
            return depthwise(input, self.weight, stride, top, left)
        if stride == 1 or input.device.type != "cpu":
            return super().forward(input)
        # CPUs have no fast bfloat16 kernel for this one gradient: 36 ms instead of 0.6 in float32
        # (672 channels, 8 x 8 px, batch 32), a sixth of a V2-B0 training step.
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.to(self.weight.dtype)).to(input.dtype)


class PointwiseConv(nn.Conv2d):
    """A 1 x 1 convolution without bias: a matrix product over channels_last maps."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in, c_out, 1, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Map `(n, c, h, w)` to `(n, c', h, w)`."""
        # As a product its gradient takes a third of the time that it takes as a convolution.
        if trains_on_cpu(input) and input.is_contiguous(memory_format=torch.channels_last):
            y = F.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1))
            return y.permute(0, 3, 1, 2)
        return super().forward(input)


def conv(
    c_in: int, c_out: int, kernel: int, stride: int, groups: int, padding: Padding
) -> nn.Conv2d:
    """Return a convolution without bias; the two paddings differ only where it strides."""
    if groups == c_in == c_out > 1:
        return DepthwiseConv(c_in, c_out, kernel, stride, groups, padding)
    if stride > 1:
        return StridedConv(c_in, c_out, kernel, stride, groups, padding)
    if kernel == 1 and groups == 1:
        return PointwiseConv(c_in, c_out)
    return nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, groups=groups, bias=False)


class SqueezeExcite(nn.Module):
    """From the means of a map's channels to a factor for each, in (0, 1)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, mean: Tensor) -> Tensor:
        """Map means `(n, channels, 1, 1)` to factors of the same shape."""
        factors: Tensor = self.expand(F.silu(self.reduce(mean), inplace=True)).sigmoid()
        return factors


class ConvNormAct(nn.Module):
    """Convolution, batch norm, SiLU (unless `act` is false), squeeze-excite (if `squeezed`)."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        *,
        act: bool = True,
        squeezed: int = 0,
        padding: Padding,
        eps: float,
    ) -> None:
        super().__init__()
        self.conv = conv(c_in, c_out, kernel, stride, groups, padding)
        self.norm = nn.BatchNorm2d(c_out, eps=eps)
        self.act = act
        self.gate = SqueezeExcite(c_out, squeezed) if squeezed else None

    def forward(self, x: Tensor, skip: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """Map `(n, c_in, h, w)` to `(n, c_out, ceil(h / stride), ceil(w / stride))`.

        The result is multiplied by `keep`, a factor a sample `(n, 1, 1, 1)`, and `skip` is added.
        """
        y: Tensor = self.conv(x)
        if fits(y, self.norm):
            return fused(y, self.norm, act=self.act, gate=self.gate, skip=skip, keep=keep)
        y = self.norm(y)
        if self.act:
            y = F.silu(y, inplace=True)
        if self.gate is not None:
            y = y * self.gate(y.mean((2, 3), keepdim=True))
        if keep is not None:
            y = y * keep.to(y.dtype)
        return y if skip is None else skip + y


class StochasticDepth(nn.Module):
    """Which samples keep a residual branch: each loses it with probability `rate`, in training.

    `share` is the block's place in the network (block index / number of blocks): a network's
    drop-path rate p gives this layer the rate p * share, and the last block never quite p.
    """

    rate: float

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.rate = 0.0

    def forward(self, samples: int, device: torch.device) -> Tensor | None:
        """Return what to multiply each sample by, `(samples, 1, 1, 1)`: 0 or 1 / (1 - rate)."""
        if not self.training or self.rate == 0.0:
            return None
        keep = 1.0 - self.rate
        return (torch.rand(samples, 1, 1, 1, device=device) < keep) / keep
