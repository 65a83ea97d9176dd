"""An architecture is a value: a stem, a tuple of stages, a head.

Invariants: every field is checked when the value is made, so a `Network` that exists can be built;
input channels are derived, never stored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from effnetv2.errors import InputError

Op = Literal["mbconv", "fused"]
Padding = Literal["symmetric", "same"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the paper's Table 4: `depth` blocks of one kind, the first of which strides."""

    op: Op
    expand: int
    kernel: int
    stride: int
    width: int
    depth: int
    se: float = 0.0
    """Squeeze-excite width as a share of the block's *input* width; 0 for none."""

    def __post_init__(self) -> None:
        _require(self.op in get_args(Op), f"stage op {self.op!r} is not one of {get_args(Op)}")
        _require(self.expand >= 1, f"stage expand is {self.expand}; it must be at least 1")
        _require(
            self.kernel % 2 == 1 and self.kernel > 0,
            f"stage kernel is {self.kernel}; it must be odd and positive",
        )
        _require(
            1 <= self.stride <= self.kernel,
            f"stage stride is {self.stride}; it must lie between 1 and the kernel ({self.kernel})",
        )
        _require(self.width >= 1, f"stage width is {self.width}; it must be at least 1")
        _require(self.depth >= 1, f"stage depth is {self.depth}; it must be at least 1")
        _require(0 <= self.se <= 1, f"stage se is {self.se}; it must lie between 0 and 1")


@dataclass(frozen=True, slots=True)
class Block:
    """One block with its channels resolved: what builder, cost model and search read."""

    op: Op
    expand: int
    kernel: int
    stride: int
    c_in: int
    c_out: int
    se: float

    @property
    def hidden(self) -> int:
        """Channels between expansion and projection."""
        return self.c_in * self.expand

    @property
    def squeezed(self) -> int:
        """Channels inside squeeze-excite, from the block's input width; 0 for none."""
        return max(1, int(self.c_in * self.se)) if self.se else 0

    @property
    def skip(self) -> bool:
        """Whether the block's input is added to its output."""
        return self.stride == 1 and self.c_in == self.c_out


@dataclass(frozen=True, slots=True)
class Network:
    """A whole classifier, up to its number of classes."""

    name: str
    stem: int
    stages: tuple[Stage, ...]
    head: int = 1280
    padding: Padding = "symmetric"
    """`"same"` pads as TensorFlow does; the two differ on even inputs of strided convolutions."""
    norm_eps: float = 1e-3
    """Batch norm's epsilon; 1e-3 in the reference code, 1e-5 in torchvision's V1-B0 to B4."""

    def __post_init__(self) -> None:
        _require(self.stem >= 1, f"network stem is {self.stem}; it must be at least 1")
        _require(self.head >= 1, f"network head is {self.head}; it must be at least 1")
        _require(len(self.stages) >= 1, "network has no stages; it needs at least one")
        _require(
            self.padding in get_args(Padding),
            f"network padding {self.padding!r} is not one of {get_args(Padding)}",
        )
        _require(self.norm_eps > 0, f"network norm_eps is {self.norm_eps}; it must be positive")

    def blocks(self) -> Iterator[tuple[int, Block]]:
        """Yield `(stage index, block)` in forward order."""
        c_in = self.stem
        for i, s in enumerate(self.stages):
            for j in range(s.depth):
                stride = s.stride if j == 0 else 1
                yield i, Block(s.op, s.expand, s.kernel, stride, c_in, s.width, s.se)
                c_in = s.width


def _require(ok: bool, otherwise: str) -> None:
    if not ok:
        raise InputError(otherwise)
