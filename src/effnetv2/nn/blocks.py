"""MBConv and Fused-MBConv, realised from a `Block`."""

from torch import Tensor, nn

from effnetv2.arch.spec import Block, Padding
from effnetv2.nn.layers import ConvNormAct, StochasticDepth


class Residual(nn.Module):
    """A branch of convolutions, added to its input where their shapes agree (Figure 2)."""

    def __init__(self, block: Block, share: float, *, padding: Padding, eps: float) -> None:
        """Build `block`; `share` is its place in the network, for stochastic depth."""
        super().__init__()
        branch = _mbconv if block.op == "mbconv" else _fused
        self.branch = branch(block, padding, eps)
        self.drop = StochasticDepth(share) if block.skip else None

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, c_in, h, w)` to `(n, c_out, ceil(h / stride), ceil(w / stride))`."""
        *parts, last = self.branch
        y = x
        for part in parts:
            y = part(y)
        if self.drop is None:
            out: Tensor = last(y)
        else:
            out = last(y, skip=x, keep=self.drop(len(x), x.device))
        return out


def _mbconv(b: Block, padding: Padding, eps: float) -> nn.Sequential:
    parts = nn.Sequential()
    if b.expand > 1:
        parts.append(ConvNormAct(b.c_in, b.hidden, padding=padding, eps=eps))
    return parts.extend((
        ConvNormAct(b.hidden, b.hidden, b.kernel, b.stride, groups=b.hidden, squeezed=b.squeezed,
                    padding=padding, eps=eps),
        ConvNormAct(b.hidden, b.c_out, act=False, padding=padding, eps=eps),
    ))  # fmt: skip


def _fused(b: Block, padding: Padding, eps: float) -> nn.Sequential:
    # Expansion 1 leaves nothing to project from: one convolution, activation included.
    width = b.hidden if b.expand > 1 else b.c_out
    parts = nn.Sequential(
        ConvNormAct(b.c_in, width, b.kernel, b.stride, squeezed=b.squeezed,
                    padding=padding, eps=eps)
    )  # fmt: skip
    if b.expand > 1:
        parts.append(ConvNormAct(b.hidden, b.c_out, act=False, padding=padding, eps=eps))
    return parts
