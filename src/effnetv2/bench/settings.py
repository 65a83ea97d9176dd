"""The settings under which libraries run their networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True, slots=True)
class Setting:
    """How a network is run, as its library's documents show or offer it."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: float32 weights under autocast."""
    channels_last: bool = False
    compiled: bool = False
    """By `torch.compile`, with its defaults."""

    @property
    def name(self) -> str:
        """Return the setting in words."""
        parts = (
            self.precision,
            "channels_last" if self.channels_last else "",
            "compiled" if self.compiled else "",
        )
        return " ".join(filter(None, parts))

    @property
    def layout(self) -> torch.memory_format:
        """Return how images and weights lie in memory."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


SETTINGS = (
    Setting(),  # as documented
    Setting(channels_last=True),
    Setting("bf16", channels_last=True),
    Setting("bf16", channels_last=True, compiled=True),
)


def settings(precisions: Sequence[str], *, compile: bool) -> tuple[Setting, ...]:
    """Return the settings to time: of those precisions, compiled only if asked for."""
    return tuple(s for s in SETTINGS if s.precision in precisions and (compile or not s.compiled))
