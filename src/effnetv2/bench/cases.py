"""What `bench step` and `bench infer` find, as values."""

from collections.abc import Mapping
from dataclasses import dataclass

from effnetv2.bench.ceiling import Precision
from effnetv2.bench.settings import Library
from effnetv2.bench.timing import Spread
from effnetv2.bench.work import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one contender took."""

    library: Library
    network: str
    setting: str
    seconds: Spread
    """Of one batch."""
    images_per_second: Spread
    speed_ratio: Spread | None = None
    """How many times as fast as the best peer: of each round, then the median. None for no peer."""
    ceiling_share: float | None = None
    """Arithmetic of the network's multiply-adds, as a share of the ceiling in its precision."""
    first_seconds: float | None = None
    """Of the first call, in which kernels are chosen and graphs compiled."""
    peak_mib: float | None = None
    """Of building and working, weights included; None where it is not known."""

    @property
    def name(self) -> str:
        """Return library, network and setting in words."""
        return f"{self.library} {self.network}, {self.setting}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One architecture at one size and batch: all contenders, timed in turn."""

    kind: Kind
    model: str
    side: int
    batch: int
    rounds: int
    drop_path: float = 0.0
    gflops_per_image: float
    """Two for each multiply-add, three times as many in a training step as in a forward pass."""
    ceilings: Mapping[Precision, Spread]
    """GFLOP/s of a large matrix multiplication, measured in the same rounds."""
    rows: tuple[Row, ...]
    best: str | None
    """The fastest of ours, by its `Row.name`."""
    best_peer: str | None
    left_out: tuple[str, ...] = ()
