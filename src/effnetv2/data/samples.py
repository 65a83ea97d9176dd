"""A sample is a numbered picture with a label; parts of the data are indices into shared pictures.

Everything here is immutable and holds at most paths or one array, so that it crosses to loader
workers by fork at no cost and by pickle at little.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from effnetv2.data import decode
from effnetv2.data.picture import FACTORS, Decoded, Picture, decoded
from effnetv2.errors import InputError

Indices = NDArray[np.int64]


class Pictures(Protocol):
    """Numbered pictures. Names are unique, printable and the same on every machine."""

    def __len__(self) -> int: ...

    def name(self, i: int) -> str:
        """Return what picture `i` is called in splits, reports and errors."""

    def picture(self, i: int) -> Picture:
        """Return picture `i`, not decoded yet."""


@dataclass(frozen=True, slots=True)
class Files:
    """Picture files, by POSIX paths relative to `root`: strings, as they pickle far faster."""

    root: Path
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, i: int) -> str:
        """Return the relative path, unprintable characters escaped."""
        path = self.paths[i]
        if path.isprintable():
            return path
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in path)

    def file(self, i: int) -> Path:
        """Return where picture `i` lies."""
        return self.root / self.paths[i]

    def picture(self, i: int) -> Picture:
        """Return picture `i`; PictureError names the file, here or when it is decoded."""
        return decode.picture(self.file(i))


@dataclass(frozen=True, slots=True, eq=False)
class Arrays:
    """Pictures in one uint8 array `(n, h, w)` or `(n, h, w, 3)`, called `title/00012`."""

    title: str
    array: NDArray[np.uint8]

    def __post_init__(self) -> None:
        shape = self.array.shape
        grey, colour = len(shape) == 3, len(shape) == 4 and shape[-1] == 3
        if self.array.dtype != np.uint8 or not (grey or colour):
            raise InputError(
                f"{self.title}: pictures are {self.array.dtype} {shape}; "
                "give uint8 (n, h, w) or (n, h, w, 3)"
            )

    def __len__(self) -> int:
        return len(self.array)

    def name(self, i: int) -> str:
        """Return the title and the number."""
        return f"{self.title}/{i:05d}"

    def picture(self, i: int) -> Decoded:
        """Return picture `i`, which decodes at its own size alone."""
        return Decoded(decode.rgb(Image.fromarray(self.array[i])))


@dataclass(frozen=True, slots=True, eq=False)
class Wrapped:
    """A torchvision data set, or any whose items begin with a PIL image, called `title/00012`."""

    title: str
    dataset: Any

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, i: int) -> str:
        """Return the title and the number."""
        return f"{self.title}/{i:05d}"

    def picture(self, i: int) -> Decoded:
        """Return picture `i`."""
        return Decoded(decode.rgb(self.dataset[i][0]), coarsest=max(FACTORS))


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Labelled pictures: sample `i` is picture `index[i]` of class `classes[labels[i]]`."""

    pictures: Pictures
    labels: Indices
    classes: tuple[str, ...]
    index: Indices

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.index):
            raise InputError(f"{len(self.labels)} labels for {len(self.index)} pictures")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise InputError(
                f"labels go from {self.labels.min()} to {self.labels.max()}, "
                f"but {len(self.classes)} classes count from 0"
            )

    @classmethod
    def of(cls, pictures: Pictures, labels: ArrayLike, classes: Sequence[str]) -> Self:
        """Return all `pictures`, in order, with their `labels`."""
        labels = np.asarray(labels, np.int64)
        return cls(pictures, labels, tuple(classes), np.arange(len(pictures), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, i: int) -> str:
        """Return the name of sample `i`'s picture."""
        return self.pictures.name(int(self.index[i]))

    def names(self) -> Iterator[str]:
        """Yield every sample's name."""
        return map(self.pictures.name, self.index.tolist())

    def picture(self, i: int) -> Picture:
        """Return sample `i`'s picture, not decoded yet."""
        return self.pictures.picture(int(self.index[i]))

    def open(self, i: int, at_least: int = 0) -> Image.Image:
        """Return sample `i`'s picture as RGB.

        Decoded whole, or, where that costs less, no smaller than a short side of `at_least` pixels.
        """
        return decoded(self.picture(i), at_least)

    def subset(self, indices: ArrayLike) -> Self:
        """Return the samples numbered `indices`, in that order, of the same pictures."""
        chosen = np.asarray(indices, np.int64)
        return type(self)(self.pictures, self.labels[chosen], self.classes, self.index[chosen])

    def counts(self) -> Indices:
        """Return how many samples each class has, `(classes,)`."""
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)

    def digest(self) -> str:
        """Return 32 hex digits of the names, labels, classes and, of files, the sizes in bytes."""
        found = hashlib.blake2b(digest_size=16)
        found.update(repr(self.classes).encode())
        pictures = self.pictures
        for i, label in zip(self.index.tolist(), self.labels.tolist(), strict=True):
            size = _bytes(pictures.file(i)) if isinstance(pictures, Files) else ""
            found.update(f"{pictures.name(i)}\0{label}\0{size}\n".encode())
        return found.hexdigest()

    def aligned(self, classes: tuple[str, ...]) -> tuple[Self, tuple[str, ...]]:
        """Relabel by class name to the list `classes`, leaving out samples of any other class.

        The second value names those other classes. InputError when no sample is left.
        """
        numbers = {name: i for i, name in enumerate(classes)}
        new = np.array([numbers.get(name, -1) for name in self.classes], np.int64)
        unknown = tuple(
            name
            for name, n in zip(self.classes, self.counts(), strict=True)
            if n and name not in numbers
        )
        labels = new[self.labels]
        kept = labels >= 0
        if not kept.any():
            raise InputError(
                f"no sample is of a known class: here are {_some(unknown)}; "
                f"known are {_some(classes)}"
            )
        return type(self)(self.pictures, labels[kept], tuple(classes), self.index[kept]), unknown


@dataclass(frozen=True, slots=True)
class Data:
    """What a run is given: samples to train on, to choose by, and to report on."""

    name: str
    train: Samples
    val: Samples | None = None
    test: Samples | None = None
    augmentation: str = "photo"
    notes: tuple[str, ...] = ()
    """What a person should know of it, one line each."""

    @property
    def parts(self) -> dict[str, Samples]:
        """The parts that there are, by name: `train`, then `val` and `test`."""
        found = {"train": self.train, "val": self.val, "test": self.test}
        return {name: part for name, part in found.items() if part is not None}

    def usable(self) -> Self:
        """Return this data; InputError when no classifier can be trained and judged on it."""
        classes = self.train.classes
        if len(classes) < 2:
            raise InputError(
                f"{self.name}: {len(classes)} class ({_some(classes)}); give 2 or more"
            )
        if len(set(classes)) < len(classes):
            raise InputError(f"{self.name}: two classes have one name among {_some(classes)}")
        empty = [c for c, n in zip(classes, self.train.counts(), strict=True) if n == 0]
        if empty:
            raise InputError(f"{self.name}: no training picture of {_some(empty)}")
        for name, part in self.parts.items():
            if part.classes != classes:
                raise InputError(f"{self.name}: train and {name} list different classes")
            if not len(part):
                raise InputError(f"{self.name}: the {name} part is empty")
        return self


def _bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more
