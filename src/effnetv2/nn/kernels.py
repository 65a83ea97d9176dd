"""Kernels of our own for training on CPUs: what a step does between and around its convolutions.

*Fused* batch norm, activation, squeeze-excite gate and residual addition. Layer by layer a
normalised, activated and gated map is written four times, and three of these are kept for the
gradient. Here it is written once; the gradient computes the others anew from the convolution's
output y. With t = a y + b, a = weight / σ, b = bias - a μ, M pixels:

    out = act(t) · gate + skip          gate = squeeze-excite of the mean of act(t), or 1
    dt  = (dout · gate + lift) act'(t)  lift = what returns through that mean
    dy  = a (dt - Σdt / M - (y - μ) / σ² · Σ dt (y - μ) / M)

*Depthwise* convolution. Of torch's the gradient takes five times as long as the convolution in
bfloat16, and with a stride sixty times: a seventh of a V2-B0 step.

Sums and products are float32, also of bfloat16 maps: the results lie nearer to exact ones than
those of the layers. The sources in `cpu/` are compiled by the machine's compiler when first needed
(some seconds) and kept in ~/.cache/effnetv2. Where there is no compiler, or it has no OpenMP,
torch's layers do the work; so do they on GPUs, in evaluation, and in graphs that are compiled or
exported.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

DEPTHWISE_SIZES = (3, 5)
"""Sides of the depthwise kernels that there are."""

_SOURCES = Path(__file__).with_name("cpu")
_FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=512", "-std=c++17", "-fPIC", "-shared",
          "-fopenmp", "-fno-math-errno", "-fno-trapping-math")  # fmt: skip
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of malloc.h
_LAYOUT = torch.channels_last


def trains_on_cpu(x: Tensor) -> bool:
    """Return whether gradients are taken on a CPU, by eager layers."""
    return x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()


def runs(x: Tensor) -> bool:
    """Return whether the kernels may work on the map `x`: gradients are taken on a CPU, eagerly."""
    return trains_on_cpu(x) and x.dtype in (torch.float32, torch.bfloat16) and bool(kernels())


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


def depthwise(x: Tensor, weight: Tensor, stride: int, top: int, left: int) -> Tensor:
    """Convolve each channel of `x`, `(n, c, h, w)`, with its own `weight`, `(c, 1, k, k)`.

    Zeros lie around the map: `top` and `left` as said, on the other sides as many as
    `ceil(h / stride)` rows and `ceil(w / stride)` columns need. float32 or bfloat16, the weights
    float32; k is one of `DEPTHWISE_SIZES`.
    """
    y: Tensor = _Depthwise.apply(x, weight, stride, top, left)
    return y


@functools.cache
def kernels() -> ctypes.CDLL | None:
    """Return the compiled kernels, compiling them if need be; None where they cannot be had."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        return None
    key = "\n".join(
        (*map(Path.read_text, sorted(_SOURCES.iterdir())), compiler, *_FLAGS, _processor())
    )
    name = f"kernels-{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}.so"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "effnetv2"
    try:
        if not (cache / name).exists():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                made = Path(folder, name)
                command = [compiler, *_FLAGS, *map(str, _SOURCES.glob("*.cpp")), "-o", str(made)]
                subprocess.run(command, check=True, capture_output=True)
                made.replace(cache / name)  # whole or not at all, whoever else is at it
        _keep_memory()
        return ctypes.CDLL(str(cache / name))
    except (OSError, subprocess.CalledProcessError):
        return None


def _keep_memory() -> None:
    """Let glibc keep freed memory: the next step needs it, and new pages are a tenth of a step."""
    with contextlib.suppress(AttributeError):  # another C library decides for itself
        set_option = ctypes.CDLL(None).mallopt
        set_option(_MMAP_MAX, 0)
        set_option(_TRIM_THRESHOLD, -1)
        set_option(_TOP_PAD, 64 << 20)


def _processor() -> str:
    """Return what instructions this machine has: a cache may be shared by unlike ones."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


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
        _call("moments", y, *size, mean, var)
        _track(norm, mean, var, n * h * w)
        a = weight.detach() * (var + norm.eps).rsqrt()
        b = bias.detach() - mean * a

        ctx.pooled, ctx.factors = None, None
        factors = None
        if gate is not None:
            pooled = torch.empty(n, c)
            _call("pool", y, *size, None, a, b, 1.0 / (h * w), pooled)
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
        _call("apply", y, *size, a, b, factors, wide, skip, out, act)
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
            _call("pool", y, n, hw, c, dout, a, b, 1.0, dfactors)
            if keep is not None:
                dfactors *= keep
            lift, *rest = torch.autograd.grad(
                ctx.factors, (ctx.pooled, *ctx.weights), dfactors.view_as(ctx.factors)
            )
            lift, dweights = lift.view(n, c) / hw, tuple(rest)
        dy, sums = torch.empty_like(y), torch.empty(2, c)
        _call("slope", y, n, hw, c, dout, a, b, factors, ctx.wide, lift, mean, dy, sums, ctx.act)
        dbias, spread = sums
        squared = (var + ctx.eps).reciprocal()
        p, q = a * dbias / (n * hw), a * squared * spread / (n * hw)
        _call("centre", y, n, hw, c, a, mean, p, q, dy)
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


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, top: int, left: int) -> Tensor:
        x = x.contiguous(memory_format=_LAYOUT)
        n, c, h, w = x.shape
        out_h, out_w = -(-h // stride), -(-w // stride)
        k = weight.shape[-1]
        by_tap = weight.detach().view(c, k * k).t().contiguous()
        y = torch.empty((n, c, out_h, out_w), dtype=x.dtype, memory_format=_LAYOUT)
        shape = (n, c, h, w, out_h, out_w, stride, top, left, k)
        _call("depthwise", x, *shape, by_tap, y)
        ctx.save_for_backward(x, by_tap)
        ctx.shape = shape
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        x, by_tap = ctx.saved_tensors
        dout = dout.to(x.dtype).contiguous(memory_format=_LAYOUT)
        dx, dweight = torch.empty_like(x), torch.empty_like(by_tap)
        _call("depthwise_backward", x, *ctx.shape, by_tap, dout, dx, dweight)
        c, k = x.shape[1], ctx.shape[-1]
        return dx, dweight.t().contiguous().view(c, 1, k, k), None, None, None


def _call(kernel: str, y: Tensor, *arguments: Tensor | int | float | None) -> None:
    """Run `kernel` on `y`'s type of numbers: pointers, sizes and flags as its source wants them."""
    library = kernels()
    assert library is not None
    function = getattr(library, f"{str(y.dtype).removeprefix('torch.')}_{kernel}")
    function(*map(_c, (y, *arguments, torch.get_num_threads())))


def _c(value: Tensor | float | None) -> Any:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    if isinstance(value, int):
        return ctypes.c_int64(value)
    return ctypes.c_float(value) if isinstance(value, float) else ctypes.c_void_p(None)
