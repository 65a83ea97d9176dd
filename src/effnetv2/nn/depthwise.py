"""Depthwise convolution on CPUs, with gradients that take hardly longer than itself.

Of torch's, the gradient takes five times as long as the convolution in bfloat16, and with a stride
sixty times: together they were a seventh of a V2-B0 training step.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from effnetv2.nn.kernels import call

KERNEL_SIZES = (3, 5)


def depthwise(x: Tensor, weight: Tensor, stride: int, top: int, left: int) -> Tensor:
    """Convolve each channel of `x`, `(n, c, h, w)`, with its own `weight`, `(c, 1, k, k)`.

    Zeros lie around the map: `top` and `left` as said, on the other sides as many as
    `ceil(h / stride)` rows and `ceil(w / stride)` columns need. float32 or bfloat16, the weights
    float32; k is one of `KERNEL_SIZES`.
    """
    y: Tensor = _Depthwise.apply(x, weight, stride, top, left)
    return y


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, top: int, left: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        n, c, h, w = x.shape
        out_h, out_w = -(-h // stride), -(-w // stride)
        k = weight.shape[-1]
        by_tap = weight.detach().view(c, k * k).t().contiguous()
        y = torch.empty((n, c, out_h, out_w), dtype=x.dtype, memory_format=torch.channels_last)
        shape = (n, c, h, w, out_h, out_w, stride, top, left, k)
        call("depthwise", x, *shape, by_tap, y)
        ctx.save_for_backward(x, by_tap)
        ctx.shape = shape
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        x, by_tap = ctx.saved_tensors
        dout = dout.to(x.dtype).contiguous(memory_format=torch.channels_last)
        dx, dweight = torch.empty_like(x), torch.empty_like(by_tap)
        call("depthwise_backward", x, *ctx.shape, by_tap, dout, dx, dweight)
        c, k = x.shape[1], ctx.shape[-1]
        return dx, dweight.t().contiguous().view(c, 1, k, k), None, None, None
