"""What an architecture costs, computed from its value alone."""

from dataclasses import dataclass

from effnetv2.arch.spec import Block, Network


@dataclass(frozen=True, slots=True)
class Cost:
    """Counts for one image; trainable parameters and what batch norm keeps beside them."""

    params: int
    macs: int
    """Multiply-adds of all convolutions and of the classifier."""
    activations: int
    """Elements that one training step by layers keeps for its backward pass (bytes = 4 or 2 times).

    The kernels of `nn/kernels.py` keep about three quarters of them."""
    bn_channels: int
    """Batch-normed channels; each holds two untrained statistics."""


def cost(net: Network, *, classes: int = 1000, resolution: int = 224) -> Cost:
    """Count what `net` costs for one square image of `resolution` pixels.

    Exact for parameters; multiply-adds leave out norms, activations and gates, as the field's
    counters do.
    """
    count = _Counter(resolution)
    count.activations += 3 * resolution**2  # the image itself, kept by the stem
    count.conv(3, net.stem, 3, 2)
    for _, block in net.blocks():
        count.block(block)
    count.conv(net.stages[-1].width, net.head)
    count.params += (net.head + 1) * classes
    count.macs += net.head * classes
    count.activations += 2 * net.head  # before and after dropout
    return Cost(count.params, count.macs, count.activations, count.bn_channels)


class _Counter:
    """Adds up layers, following the side of the map."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.params = self.macs = self.activations = self.bn_channels = 0

    def conv(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        act: bool = True,
    ) -> None:
        """Count convolution, batch norm and, if `act`, SiLU."""
        self.side = -(-self.side // stride)
        weights = c_in * c_out * kernel**2 // groups
        self.params += weights + 2 * c_out
        self.macs += weights * self.side**2
        self.bn_channels += c_out
        # Kept: batch norm's input, SiLU's input, and what the next layer takes in.
        self.activations += (3 if act else 2) * c_out * self.side**2

    def block(self, b: Block) -> None:
        """Count one MBConv or Fused-MBConv."""
        if b.op == "fused" and b.expand == 1:
            self.conv(b.c_in, b.c_out, b.kernel, b.stride)
            self.squeeze_excite(b.c_out, b.squeezed)
            return
        if b.op == "fused":
            self.conv(b.c_in, b.hidden, b.kernel, b.stride)
        else:
            if b.expand > 1:
                self.conv(b.c_in, b.hidden)
            self.conv(b.hidden, b.hidden, b.kernel, b.stride, groups=b.hidden)
        self.squeeze_excite(b.hidden, b.squeezed)
        self.conv(b.hidden, b.c_out, act=False)

    def squeeze_excite(self, channels: int, squeezed: int) -> None:
        """Count the two small convolutions and the gated map."""
        if squeezed:
            self.params += 2 * channels * squeezed + squeezed + channels
            self.macs += 2 * channels * squeezed
            # The gated map; mean, squeezed (in and out of SiLU) and gate are vectors.
            self.activations += channels * self.side**2 + 2 * channels + 2 * squeezed
