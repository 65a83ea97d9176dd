"""A run is a folder: recipe, record, metrics, checkpoint, model. Other rooms read only this.

Invariants: a file is written whole or not at all; nothing that was written before is lost when a
later write fails.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from effnetv2.config import from_json, to_json
from effnetv2.errors import InputError
from effnetv2.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Run:
    """Where a recipe's results live."""

    folder: Path

    @property
    def model(self) -> Path:
        """The trained model: all that others need."""
        return self.folder / "model"

    @property
    def checkpoint(self) -> Path:
        """What resuming needs."""
        return self.folder / "state" / "checkpoint.pt"

    @property
    def metrics(self) -> Path:
        """One JSON object a line, in the order of steps."""
        return self.folder / "metrics.jsonl"

    def require_new(self) -> None:
        """Raise InputError if the folder holds a run already."""
        if (self.folder / "recipe.json").exists():
            raise InputError(
                f"{self.folder} holds a run already; go on with it: "
                f"effnetv2 train --resume {self.folder}, or name another folder with --to"
            )

    def create(self, recipe: Recipe) -> None:
        """Make the folder and write the recipe into it; InputError if a run is there already."""
        self.require_new()
        with writing(self.folder):
            (self.folder / "state").mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "recipe.json", to_json(recipe))

    def recipe(self) -> Recipe:
        """Return the recipe that the run was started with."""
        path = self.folder / "recipe.json"
        if not path.exists():
            raise InputError(f"{self.folder} is no run: it has no recipe.json")
        return from_json(Recipe, path.read_text(), str(path))

    def write(self, name: str, data: Any) -> None:
        """Write JSON `data` to the file `name`."""
        write_text(self.folder / name, json.dumps(data, indent=2, ensure_ascii=False) + "\n")

    def read(self, name: str) -> Any:
        """Return the JSON of the file `name`, or None where there is none."""
        path = self.folder / name
        return json.loads(path.read_text()) if path.exists() else None

    def log(self, kind: str, **record: Any) -> None:
        """Append one line to the metrics."""
        line = json.dumps({"kind": kind, **record, "time": time.time()})
        with writing(self.metrics), self.metrics.open("a") as f:
            f.write(line + "\n")

    def rewind(self, step: int) -> None:
        """Forget metrics of later steps than `step`, and a torn last line: they will come again."""
        if not self.metrics.exists():
            return
        kept = []
        for line in self.metrics.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
        write_text(self.metrics, "".join(kept))

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint by `state`, whole or not at all."""
        with replacing(self.checkpoint) as f:
            torch.save(state, f)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return the checkpoint, or None before the first."""
        if not self.checkpoint.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(
                self.checkpoint, map_location=device, weights_only=True
            )
        except Exception as e:  # torch raises many kinds for a file that is not a checkpoint
            raise InputError(f"{self.checkpoint} cannot be read ({e!s:.80}); start anew") from e
        return state


def write_text(path: Path, text: str) -> None:
    """Replace a file by `text`, whole or not at all."""
    with replacing(path) as f:
        f.write(text.encode())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` when it is complete and on the disk."""
    part = path.with_name(path.name + ".part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as f:
                yield f
                f.flush()
                os.fsync(f.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write into one line; what was there before is still there."""
    try:
        yield
    except (OSError, RuntimeError) as e:
        # torch reports a full disk as a RuntimeError of its archive writer.
        if isinstance(e, RuntimeError) and "write" not in str(e):
            raise
        reason = e.strerror if isinstance(e, OSError) else "the disk may be full"
        raise InputError(
            f"cannot write {path}: {reason}; what was saved before is untouched: "
            "make room, then go on with effnetv2 train --resume"
        ) from e
