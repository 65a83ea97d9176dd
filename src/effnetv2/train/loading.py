"""How a machine loads pictures: processes, and room for decoded ones. No sample depends on it."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from effnetv2.data.cache import cached
from effnetv2.data.samples import Data
from effnetv2.errors import InputError
from effnetv2.train.machine import Machine, available_cores
from effnetv2.train.memory import available_memory
from effnetv2.train.world import World

MEMORY_SHARE, DISK_SHARE = 0.25, 0.5
"""Of what is left when a run begins, for decoded pictures: training itself needs the rest."""


def processes(asked: int | None, machine: Machine, world: World) -> int:
    """Return the loader processes of one rank; None asks for what the machine has cores for.

    On a CPU that is what the step leaves idle, hence mostly none: beside another busy process, a
    step that computes on every core is many times slower.
    """
    if asked is not None:
        return asked
    cores = available_cores() // world.local_ranks
    if machine.device.type == "cpu":
        return max(0, min(2, cores - torch.get_num_threads()))
    return max(1, min(16, cores - 1))


@dataclass(frozen=True, slots=True)
class Room:
    """Where decoded pictures may be kept, and how many bytes of them; None: what is left."""

    size: int | None = None
    folder: Path | None = None
    """On its disk, instead of in memory."""

    @classmethod
    def named(cls, text: str) -> Self:
        """Return what `"auto"`, `"4G"`, `"0"` or a folder stand for; InputError for others."""
        if text == "auto":
            return cls()
        if found := re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?)(?:I?B)?", text.strip().upper()):
            return cls(int(float(found[1]) * 1024 ** " KMGT".index(found[2] or " ")))
        folder = Path(text).expanduser()
        if not folder.is_dir():
            raise InputError(
                f"cache {text!r} is neither auto, nor a size (4G; 0 for none), nor a folder"
            )
        return cls(folder=folder)

    def bytes(self, world: World) -> int:
        """Return what one rank may use: its share of a quarter of the memory, or half the disk."""
        size = self.size
        if size is None and self.folder is not None:
            size = int(shutil.disk_usage(self.folder).free * DISK_SHARE)
        elif size is None:
            size = int(available_memory() * MEMORY_SHARE)
        return size // world.local_ranks

    def keep(self, data: Data, world: World, say: Callable[[str], None]) -> Data:
        """Return `data`, which keeps what it decodes as far as there is room; say how far."""
        size = self.bytes(world)
        kept = cached(data, size, self.folder)
        if kept is not data:
            where = self.folder or "memory"
            say(f"decoded pictures are kept in {where}, up to {size / 2**30:.1f} GiB")
        return kept
