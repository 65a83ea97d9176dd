"""What a run writes and shows while it trains.

Losses stay on the device until enough of them have gathered: looking at each one would make an
accelerator wait.
"""

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from effnetv2.errors import InputError
from effnetv2.train.display import Display
from effnetv2.train.run import Run
from effnetv2.train.schedules import Replan, Timeline
from effnetv2.train.world import World

LOOKS = 400
"""Times that losses are looked at in a whole run, about; as many lines of metrics."""


class Journal:
    """Checks losses, writes metrics, and tells the display."""

    def __init__(self, run: Run, world: World, display: Display, save_seconds: float) -> None:
        """Find a checkpoint due `save_seconds` after the last one."""
        self.run, self.world, self.display = run, world, display
        self.save_seconds = save_seconds

    def open(self, timeline: Timeline, step: int) -> None:
        """Begin at `step`; what was written of later steps is forgotten."""
        self.timeline = timeline
        self.every = max(1, timeline.steps // LOOKS)
        self.last_saved = step
        self.save_time = time.monotonic()
        self._clear()
        if self.world.leads:
            self.run.rewind(step)
        self.display.open(timeline, step)

    def step(self, step: int, loss: Tensor, rate: float, norm: Tensor, *, look: bool) -> None:
        """Note that `step` steps are done; look at the losses now, or when it is time."""
        self.losses.append(loss)
        self.images += (phase := self.timeline.phase(step - 1)).batch_size
        if not (look or step % self.every == 0 or step == self.timeline.steps):
            return
        losses = self.world.mean(torch.stack(self.losses)).tolist()
        self._require_finite(losses, step)
        record = {
            "step": step,
            "epoch": self.timeline.epoch(step),
            "phase": self.timeline.index(step - 1),
            "resolution": phase.resolution,
            "batch_size": phase.batch_size,
            "loss": sum(losses) / len(losses),
            "learning_rate": rate,
            "grad_norm": norm.item(),
            "images_per_second": self.images / (time.monotonic() - self.clock),
        }
        self._write("train", record)
        self.display.step(record)
        self._clear()

    def validation(self, step: int, resolution: int, seen: Mapping[str, float]) -> None:
        """Note what the averaged network says of the validation pictures after `step` steps."""
        record = {
            "step": step,
            "epoch": self.timeline.epoch(step),
            "resolution": resolution,
            **seen,
        }
        self._write("val", record)
        self.display.validation(record)
        self._clear()

    def replan(self, timeline: Timeline, change: Replan, slowness: float) -> None:
        """Note that `timeline` holds from now on, as all took `slowness` times what was planned."""
        before, self.timeline = self.timeline.steps, timeline
        self.every = max(1, timeline.steps // LOOKS)
        seen = {"step": change.step, "steps": change.steps, "before": before, "slowness": slowness}
        self._write("plan", seen)
        self.display.replan(timeline, before, change, slowness)

    def save_is_due(self) -> bool:
        """Say whether the last checkpoint is old, and every loss since was looked at."""
        return not self.losses and time.monotonic() - self.save_time > self.save_seconds

    def saved(self, step: int) -> None:
        """Note that the checkpoint of `step` is on the disk."""
        self.last_saved, self.save_time = step, time.monotonic()

    def close(self) -> None:
        """End the display of training."""
        self.display.close()

    def _clear(self) -> None:
        self.losses: list[Tensor] = []
        self.images = 0
        self.clock = time.monotonic()

    def _write(self, kind: str, record: dict[str, Any]) -> None:
        if self.world.leads:
            self.run.log(kind, **record)

    def _require_finite(self, losses: list[float], step: int) -> None:
        for at, loss in enumerate(losses, step - len(losses) + 1):
            if not abs(loss) < float("inf"):
                kept = f"the checkpoint of step {self.last_saved}" if self.last_saved else "nothing"
                raise InputError(
                    f"loss is {loss} at step {at}: lower the learning rate (--learning-rate), or "
                    f"set precision to float32; {kept} is kept in {self.run.checkpoint.parent}"
                )
