"""The machine's ceiling: how fast it multiplies large matrices."""

from collections.abc import Callable
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]

SIDE = {"cpu": 1536, "cuda": 8192}
"""Rows and columns of the matrices: large enough to be all arithmetic, small enough for a turn."""
TIMES = {"cpu": 1, "cuda": 10}


def multiplication(precision: Precision, device: torch.device) -> tuple[Callable[[], None], float]:
    """Return a matrix multiplication in `precision`, and its arithmetic in GFLOP.

    On CUDA, fp32 may use TensorFloat-32, as torch's convolutions do by default.
    """
    side = SIDE.get(device.type, SIDE["cpu"])
    times = TIMES.get(device.type, TIMES["cpu"])
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)

    def run() -> None:
        before = torch.get_float32_matmul_precision()
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")
        try:
            for _ in range(times):
                torch.mm(a, b, out=out)
        finally:
            torch.set_float32_matmul_precision(before)

    return run, times * 2 * side**3 / 1e9
