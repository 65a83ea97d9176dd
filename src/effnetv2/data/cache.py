"""Decoded pictures are kept, in memory or on disk, for every loader process of a run.

A cache remembers and decides nothing: what it holds for (picture, factor) is what
`Picture.decode(factor)` returned, so samples are the same bytes with it, without it, when it is
full, and after a resume. Its size is bounded; first come is first kept. See docs/adr/0007.
"""

import contextlib
import os
import sys
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from mmap import mmap
from multiprocessing import reduction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from effnetv2.data.picture import FACTORS, Picture
from effnetv2.data.samples import Arrays, Data, Pictures
from effnetv2.errors import InputError

if sys.platform != "win32":
    import fcntl


def cached(data: Data, size: int, folder: Path | None = None) -> Data:
    """Return `data`, its training and validation pictures kept in at most `size` bytes once seen.

    They are kept in memory, or in a nameless file in `folder`, which goes with the process.
    Pictures in memory anyway are left alone, and so is everything when `size` is 0. InputError when
    `folder` cannot be written to.
    """
    parts = {"train": data.train, "val": data.val}
    kinds = {id(p.pictures): p.pictures for p in parts.values() if p is not None}
    decoded = [p for p in kinds.values() if not isinstance(p, Arrays)]
    if size <= 0 or not decoded or sys.platform == "win32":  # there: no descriptor for workers
        return data
    try:
        store = Store(sum(map(len, decoded)), size, folder)
    except OSError as error:
        if folder is None:
            return data
        raise InputError(
            f"{folder}: pictures cannot be kept there ({error.strerror}); give another --cache"
        ) from error
    kept: dict[int, Pictures] = {}
    first = 0
    for pictures in decoded:
        kept[id(pictures)] = Cached(pictures, store, first)
        first += len(pictures)
    new = {
        name: replace(part, pictures=kept.get(id(part.pictures), part.pictures))
        for name, part in parts.items()
        if part is not None
    }
    return replace(data, train=new["train"], val=new.get("val"))


@dataclass(frozen=True, slots=True, eq=False)
class Cached:
    """`pictures`, each kept in `store`, from row `first` on, at every factor it was decoded at."""

    pictures: Pictures
    store: "Store"
    first: int = 0

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, i: int) -> str:
        """Return what picture `i` is called."""
        return self.pictures.name(i)

    def picture(self, i: int) -> Picture:
        """Return picture `i`, whose source is opened only for what is not kept."""
        return _Kept(self, i)


class _Kept:
    """One picture of `Cached`."""

    def __init__(self, cached: Cached, i: int) -> None:
        self._cached, self._i, self._row = cached, i, cached.first + i
        self._source: Picture | None = None
        known = cached.store.header(self._row)
        if known is None:
            self._source = source = cached.pictures.picture(i)
            known = (*source.size, source.scalable)
            cached.store.keep_header(self._row, *known)
        self.size, self.scalable = known[:2], known[2]

    def decode(self, factor: int = 1) -> Image.Image:
        store = self._cached.store
        image = store.image(self._row, factor)
        if image is None:
            source = self._source or self._cached.pictures.picture(self._i)
            image = source.decode(factor)
            store.keep(self._row, factor, image)
        return image


class Store:
    """Pictures by (row, factor) in `size` bytes that processes share, and a little for the table.

    Bytes are taken from the system only as pictures come. Nothing is ever dropped or moved, so
    reading needs no lock.
    """

    def __init__(self, rows: int, size: int, folder: Path | None = None) -> None:
        self.rows, self.size = rows, size
        self._begin = 8 * (1 + rows * (1 + len(FACTORS)))
        descriptor = _memory() if folder is None else _file(folder)
        os.ftruncate(descriptor, self._begin + size)
        self._attach(descriptor)
        self._take(0, self._begin)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker that is not forked gets: the same bytes, through another descriptor."""
        mine = {"_map", "_table", "_used", "_descriptor"}
        kept = {name: value for name, value in vars(self).items() if name not in mine}
        return kept | {"_descriptor": reduction.DupFd(self._descriptor)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        descriptor = state.pop("_descriptor").detach()
        vars(self).update(state)
        self._attach(descriptor)

    @property
    def used(self) -> int:
        """Bytes that hold pictures."""
        return int(self._used[0])

    def header(self, row: int) -> tuple[int, int, bool] | None:
        """Return width, height, and whether it is scalable; None when not known yet."""
        packed = int(self._table[row, 0])
        if not packed:
            return None
        return packed >> 32, packed >> 1 & 0x7FFF_FFFF, bool(packed & 1)

    def keep_header(self, row: int, width: int, height: int, scalable: bool) -> None:
        """Remember width, height and whether it is scalable: one word, hence never half of it."""
        self._table[row, 0] = width << 32 | height << 1 | scalable

    def image(self, row: int, factor: int) -> Image.Image | None:
        """Return a copy of what is kept; None when nothing is."""
        begin = int(self._table[row, 1 + FACTORS.index(factor)])
        if not begin:
            return None
        width, height = np.frombuffer(self._map, np.int32, 2, begin).tolist()
        pixels = np.frombuffer(self._map, np.uint8, height * width * 3, begin + 8)
        return Image.fromarray(pixels.reshape(height, width, 3))

    def keep(self, row: int, factor: int, image: Image.Image) -> None:
        """Keep an RGB picture, if it fits and is not there yet."""
        pixels = np.asarray(image)
        needed = 8 + -(-pixels.size // 8) * 8
        column = 1 + FACTORS.index(factor)
        with self._alone():
            if self._table[row, column] or self.used + needed > self.size:
                return
            begin = self._begin + self.used
            try:
                self._take(begin, needed)
            except OSError:  # the system has less than it said: keep what there is
                self._used[0] = self.size
                return
            self._used[0] += needed
            np.frombuffer(self._map, np.int32, 2, begin)[:] = image.size
            np.frombuffer(self._map, np.uint8, pixels.size, begin + 8)[:] = pixels.ravel()
            self._table[row, column] = begin  # last: whoever sees it finds the picture whole

    def _attach(self, descriptor: int) -> None:
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)
        self._map = mmap(descriptor, self._begin + self.size)
        words = np.frombuffer(self._map, np.int64, self._begin // 8)
        self._used, self._table = words[:1], words[1:].reshape(self.rows, 1 + len(FACTORS))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from writing; the system ends it for one that dies meanwhile."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _take(self, begin: int, count: int) -> None:
        """Make sure of bytes now: where there are none, writing them later would be fatal."""
        if sys.platform == "linux":
            os.posix_fallocate(self._descriptor, begin, count)


def _memory() -> int:
    """Return a descriptor of shared memory: not /dev/shm, of which containers have little."""
    if sys.platform == "linux":
        return os.memfd_create("effnetv2-pictures")
    return _file(Path(tempfile.gettempdir()))


def _file(folder: Path) -> int:
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        return os.dup(file.fileno())
