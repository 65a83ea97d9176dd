"""What a run's record says: versions, hardware, data, phases, command, and how long it took."""

import platform
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torchvision

from effnetv2.arch.cost import cost
from effnetv2.config import digest, to_data
from effnetv2.data.samples import Data
from effnetv2.train.machine import Machine
from effnetv2.train.recipe import Recipe
from effnetv2.train.schedules import Timeline
from effnetv2.train.world import World
from effnetv2.version import __version__


def record(
    recipe: Recipe, data: Data, timeline: Timeline, machine: Machine, world: World
) -> dict[str, Any]:
    """Return the record of a run about to start."""
    classes = len(data.train.classes)
    size = recipe.preprocessing.resolution
    spent = cost(recipe.network, classes=classes, resolution=size)
    counts = dict(zip(data.train.classes, data.train.counts().tolist(), strict=True))
    return {
        "effnetv2": __version__,
        "command": command(),
        "started": now(),
        "finished": None,
        "seconds": 0.0,
        "seed": recipe.seed,
        "recipe_digest": digest(recipe),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "numpy": np.__version__,
            "pillow": PIL.__version__,
        },
        "hardware": machine.describe() | {"ranks": world.ranks},
        "data": {
            "name": data.name,
            "source": recipe.data.source,
            "classes": classes,
            **{part: len(samples) for part, samples in data.parts.items()},
            "digest": fingerprint(data),
            "class_counts": counts,
        },
        "notes": list(data.notes),
        "network": {"params": spent.params, "macs": spent.macs, "resolution": size},
        "phases": to_data(timeline.phases),
        "steps": timeline.steps,
        "images_per_epoch": timeline.images,
    }


def fingerprint(data: Data) -> str:
    """Return a digest of every part's names, labels and file sizes."""
    return "-".join(samples.digest()[:8] for samples in data.parts.values())


def command() -> str:
    """Return the command line as a person would type it again."""
    program = Path(sys.argv[0]).name if sys.argv[0] else "python"
    return shlex.join([program, *sys.argv[1:]])


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
