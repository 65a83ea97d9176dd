"""A wish for time: how long everything may take, and since when it has been taking it."""

import math
import re
import time
from dataclasses import dataclass, field

from effnetv2.errors import InputError

_UNITS = {"h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(h|min|m|s)")


@dataclass(frozen=True, slots=True)
class Budget:
    """Seconds from `began` (on the monotonic clock) until model and report are written."""

    seconds: float
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf:
            raise InputError(f"a budget of {self.seconds} s; give a time above 0, such as 20m")

    @classmethod
    def of(cls, wish: "str | float | Budget") -> "Budget":
        """Return a budget that begins now: of `90s`, `20m`, `1.5h`, `1h30m`, or of seconds."""
        if isinstance(wish, Budget):
            return wish
        if isinstance(wish, (int, float)):
            return cls(float(wish))
        text = wish.strip().lower()
        parts = _PART.findall(text)
        if not parts or _PART.sub("", text).strip():
            raise InputError(f"a budget of {wish!r}; write it like 90s, 20m, 1.5h or 1h30m")
        return cls(sum(float(number) * _UNITS[unit] for number, unit in parts))
