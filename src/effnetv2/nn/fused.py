"""Batch norm, activation, squeeze-excite gate and residual addition as one operation on CPUs.

A network's convolutions are about half of its training step; the rest is memory traffic between
them. Layer by layer, a normalised, activated and gated map is written four times, and three of
these are kept for the gradient. Here it is written once; the gradient computes the others anew
from the convolution's output y. With t = a y + b, a = weight / σ, b = bias - a μ, M pixels:

    out = act(t) · gate + skip          gate = squeeze-excite of the mean of act(t), or 1
    dt  = (dout · gate + lift) act'(t)  lift = what returns through that mean
    dy  = a (dt - Σdt / M - (y - μ) / σ² · Σ dt (y - μ) / M)

All sums and products are float32, also of bfloat16 maps, so the result lies nearer to the exact
one than that of the layers.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from effnetv2.nn.kernels import call, runs

_LAYOUT = torch.channels_last


def fits(y: Tensor, norm: nn.Module) -> bool:
    """Return whether `fused` can stand for the layers: training, on a CPU that has the kernels."""
    return (
        runs(y)
        and type(norm) is nn.BatchNorm2d
        and norm.training
        and norm.momentum is not None
        and norm.affine
        and norm.weight.dtype == torch.float32
        and y.numel() > y.shape[1]  # of a single pixel the layer says that it has no variance
    )


def fused(
    y: Tensor,
    norm: nn.BatchNorm2d,
    *,
    act: bool,
    gate: nn.Module | None = None,
    skip: Tensor | None = None,
    keep: Tensor | None = None,
) -> Tensor:
    """Return `act(norm(y))`, gated, times `keep`, plus `skip`; update the running statistics.

    `y` and `skip` are `(n, c, h, w)`, float32 or bfloat16; `keep` is `(n, 1, 1, 1)`.
    `gate` maps the channels' means `(n, c, 1, 1)` to factors of the same shape.
    """
    weights = () if gate is None else tuple(gate.parameters())
    out: Tensor = _Fused.apply(y, norm.weight, norm.bias, norm, act, gate, skip, keep, *weights)
    return out


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        weight: Tensor,
        bias: Tensor,
        norm: nn.BatchNorm2d,
        act: bool,
        gate: nn.Module | None,
        skip: Tensor | None,
        keep: Tensor | None,
        *weights: Tensor,
    ) -> Tensor:
        y = y.contiguous(memory_format=_LAYOUT)
        n, c, h, w = y.shape
        size = (n, h * w, c)
        mean, var = torch.empty(2, c)
        call("moments", y, *size, mean, var)
        _track(norm, mean, var, n * h * w)
        a = weight.detach() * (var + norm.eps).rsqrt()
        b = bias.detach() - mean * a

        ctx.pooled, ctx.factors = None, None
        factors = None
        if gate is not None:
            pooled = torch.empty(n, c)
            call("pool", y, *size, None, a, b, 1.0 / (h * w), pooled)
            with torch.enable_grad(), torch.autocast("cpu", enabled=False):
                ctx.pooled = pooled.view(n, c, 1, 1).requires_grad_()
                ctx.factors = gate(ctx.pooled)
            factors = ctx.factors.detach().view(n, c)
        if keep is not None:
            keep = keep.float().view(n, 1)
            factors = keep if factors is None else factors * keep
        if skip is not None:
            skip = skip.to(y.dtype).contiguous(memory_format=_LAYOUT)
        if factors is not None:
            factors = factors.contiguous()
        out = torch.empty_like(y)
        wide = 0 if factors is None else factors.shape[1]
        call("apply", y, *size, a, b, factors, wide, skip, out, act)
        ctx.save_for_backward(y, mean, var, a, b, factors, keep)
        ctx.size, ctx.wide, ctx.act, ctx.eps, ctx.weights = size, wide, act, norm.eps, weights
        ctx.skips = skip is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        y, mean, var, a, b, factors, keep = ctx.saved_tensors
        n, hw, c = ctx.size
        dout = dout.to(y.dtype).contiguous(memory_format=_LAYOUT)
        lift = None
        dweights: tuple[Tensor, ...] = ()
        if ctx.factors is not None:
            dfactors = torch.empty(n, c)
            call("pool", y, n, hw, c, dout, a, b, 1.0, dfactors)
            if keep is not None:
                dfactors *= keep
            lift, *rest = torch.autograd.grad(
                ctx.factors, (ctx.pooled, *ctx.weights), dfactors.view_as(ctx.factors)
            )
            lift, dweights = lift.view(n, c) / hw, tuple(rest)
        dy, sums = torch.empty_like(y), torch.empty(2, c)
        call("slope", y, n, hw, c, dout, a, b, factors, ctx.wide, lift, mean, dy, sums, ctx.act)
        dbias, spread = sums
        squared = (var + ctx.eps).reciprocal()
        p, q = a * dbias / (n * hw), a * squared * spread / (n * hw)
        call("centre", y, n, hw, c, a, mean, p, q, dy)
        skipped = dout if ctx.skips else None
        dweight = spread * squared.sqrt()
        return (dy, dweight, dbias, None, None, None, skipped, None, *dweights)


def _track(norm: nn.BatchNorm2d, mean: Tensor, var: Tensor, pixels: int) -> None:
    """Move the running statistics as `BatchNorm2d` does: towards the unbiased variance."""
    if norm.running_mean is None or norm.running_var is None or norm.momentum is None:
        return
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(var * (pixels / max(1, pixels - 1)), norm.momentum)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked += 1
