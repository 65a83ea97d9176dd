"""Kernels of our own for training on CPUs, in C++.

They are compiled by the machine's compiler when first needed (some seconds) and kept in
~/.cache/effnetv2. Where there is no compiler, or it has no OpenMP, torch's layers do the work; so
do they on GPUs, in evaluation, and in graphs that are compiled or exported.
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
from torch import Tensor

_SOURCES = Path(__file__).with_name("cpu")
_FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=512", "-std=c++17", "-fPIC", "-shared",
          "-fopenmp", "-fno-math-errno", "-fno-trapping-math")  # fmt: skip
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of malloc.h


def trains_on_cpu(x: Tensor) -> bool:
    """Return whether gradients are taken on a CPU, by eager layers."""
    return x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()


def call(kernel: str, y: Tensor, *arguments: Tensor | int | float | None) -> None:
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


def runs(x: Tensor) -> bool:
    """Return whether the kernels may work on the map `x`: gradients are taken on a CPU, eagerly."""
    return trains_on_cpu(x) and x.dtype in (torch.float32, torch.bfloat16) and bool(kernels())


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
