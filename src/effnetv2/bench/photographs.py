"""Photographs to load: crops of real ones, at sizes that cameras and the web have.

scikit-learn ships two photographs of 640 x 427 pixels. A crop of them enlarged would be smoother
than a photograph, hence smaller and faster to decode: grain is put back until a JPEG takes about as
many bits a pixel as one of a camera.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from effnetv2.errors import InputError

SIZES = ((1024, 768), (500, 375))
"""Width and height: a photograph at a moderate size, and the usual one of ImageNet."""
QUALITY = 90
GRAIN = 3.0
"""Deviation of the noise, of 255 levels; at quality 90 about 2 bits a pixel."""
CLASSES = ("china", "flower")


def photographs(
    folder: Path, size: tuple[int, int], count: int, tell: Callable[[str], None], seed: int = 0
) -> Path:
    """Write `count` JPEGs of `size` into two class folders, and return the folder above them.

    InputError when scikit-learn, which has the originals, is missing.
    """
    if find_spec("sklearn") is None:
        raise InputError(
            "scikit-learn, whose photographs are loaded, is not installed: "
            "pip install 'effnetv2[bench]', or give a folder of your own with --data"
        )
    load = import_module("sklearn.datasets").load_sample_image
    originals = [Image.fromarray(load(f"{name}.jpg")) for name in CLASSES]
    where = folder / f"{size[0]}x{size[1]}"
    for name in CLASSES:
        (where / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    tell(f"making {count} photographs of {size[0]} x {size[1]}")
    for i in range(count):
        image = _crop(originals[i % 2], size, rng)
        image.save(where / CLASSES[i % 2] / f"{i:05d}.jpg", quality=QUALITY)
    return where


def _crop(original: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return a crop of at least half the original's side, at `size`, with grain."""
    width, height = size
    fit = min(original.width / width, original.height / height)
    share = rng.uniform(0.5, 1.0) * fit
    w, h = width * share, height * share
    x, y = rng.uniform(0, original.width - w), rng.uniform(0, original.height - h)
    image = original.resize(size, Image.Resampling.LANCZOS, (x, y, x + w, y + h))
    noisy = np.asarray(image, np.float32) + rng.normal(0, GRAIN, (height, width, 1))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
