"""Pictures to training samples: crop, flip, RandAugment of any magnitude.

Requirements: the magnitude is a real number that changes during training, so every operation is a
continuous function of it; everything is drawn from one random stream per sample, so a sample is a
function of (seed, position) whichever process makes it; pixel distances scale with the picture,
so that a phase at 128 px and one at 300 px are augmented alike.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageEnhance, ImageOps

from effnetv2.data.motion import GREY, MOTIONS, Motion, warped
from effnetv2.data.picture import Picture, factor_leaving, factor_of
from effnetv2.errors import InputError

Flip = Literal["none", "horizontal", "both", "dihedral"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may happen to a training picture. Magnitudes come from the phase, not from here."""

    area: tuple[float, float] = (0.25, 1.0)
    """Share of the picture that a crop keeps."""
    aspect: float = 4 / 3
    """Crops are up to this many times as wide as high, or as high as wide."""
    flip: Flip = "horizontal"
    """`both`: sideways and upside down. `dihedral`: the eight turns and mirrorings of a square."""
    operations: tuple[str, ...] = ()
    """RandAugment's choice, of `OPERATIONS`; none switches it off."""
    layers: int = 2
    """How many operations follow one another."""

    @property
    def magnification(self) -> float:
        """How much larger things appear in crops than in whole pictures: the mean of 1 / √area."""
        return 2 / sum(map(math.sqrt, self.area))

    def __post_init__(self) -> None:
        low, high = self.area
        for ok, complaint in (
            (0 < low <= high <= 1, f"area is {self.area}; give two growing shares in (0, 1]"),
            (self.aspect >= 1, f"aspect is {self.aspect}; it must be at least 1"),
            (self.layers >= 0, f"layers are {self.layers}; give 0 or more"),
        ):
            if not ok:
                raise InputError(f"augmentation {complaint}")


# The authors' sixteen (their autoaugment.py), some of which weaken or saturate with magnitude.
REFERENCE = (
    "auto_contrast", "equalize", "invert", "rotate_reference", "posterize_reference",
    "solarize_reference", "color_reference", "contrast_reference", "brightness_reference",
    "sharpness_reference", "shear_x_reference", "shear_y_reference", "translate_x_reference",
    "translate_y_reference", "cutout", "solarize_add",
)  # fmt: skip
# The same, but what has a strength grows with magnitude, which adaptive regularisation presumes,
# and what moves shows its mirror image at the edge: grey would look like something.
GROWING = (
    "auto_contrast", "equalize", "rotate", "posterize", "solarize", "color", "contrast",
    "brightness", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y", "cutout",
    "solarize_add",
)  # fmt: skip

# fmt: off
AUGMENTATIONS = {
    "imagenet": Augmentation(area=(0.05, 1.0), operations=REFERENCE),
    "photo":    Augmentation(area=(0.35, 1.0), operations=GROWING),
    # Pictures without an up or a down, where a dark spot is the message: inspection, microscopy.
    "surface":  Augmentation(area=(0.85, 1.0), aspect=1.1, flip="dihedral",
                             operations=("rotate", "shear_x", "shear_y", "translate_x",
                                         "translate_y", "contrast")),
    # Parts that always lie the same way round: turned or sheared, they would look damaged.
    "aligned":  Augmentation(area=(0.8, 1.0), aspect=1.1, flip="both",
                             operations=("translate_x", "translate_y", "contrast")),
    # Characters: a mirrored one is another one.
    "glyph":    Augmentation(area=(0.7, 1.0), aspect=1.2, flip="none",
                             operations=("rotate", "shear_x", "shear_y", "translate_x",
                                         "translate_y", "brightness", "contrast")),
    "none":     Augmentation(area=(1.0, 1.0), aspect=1.0, flip="none"),
}
# fmt: on


def augment(
    picture: Picture, how: Augmentation, resolution: int, magnitude: float, rng: random.Random
) -> Image.Image:
    """Return a training sample of `resolution` x `resolution` pixels.

    The crop is drawn first and `picture` decoded no larger than that crop needs. `magnitude` is
    RandAugment's: 0 changes nothing, 10 is its usual full strength.
    """
    box = crop_box(*picture.size, how, rng)
    image = _cut(picture, box, resolution)
    image = _flipped(image, how.flip, rng)
    if how.operations and magnitude > 0:
        for _ in range(how.layers):
            image = OPERATIONS[rng.choice(how.operations)](image, magnitude / 10, rng)
    return image


def crop_box(width: int, height: int, how: Augmentation, rng: random.Random) -> Box:
    """Draw the crop of a picture of that size: left, top, right and bottom, in pixels."""
    area = width * height * rng.uniform(*how.area)
    aspect = math.exp(rng.uniform(-1, 1) * math.log(how.aspect))
    w, h = math.sqrt(area * aspect), math.sqrt(area / aspect)
    fit = min(1.0, width / w, height / h)  # a large crop gives way to the picture, not its shape
    w, h = min(width, w * fit), min(height, h * fit)  # rounding: never outside
    x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return x, y, x + w, y + h


def _cut(picture: Picture, box: Box, resolution: int) -> Image.Image:
    """Return the `box` of `picture`, decoded as coarsely as enlarges nothing, made square."""
    left, top, right, bottom = box
    image = picture.decode(factor_leaving(min(right - left, bottom - top), resolution))
    factor = factor_of(picture.size[0], image)
    there = (left / factor, top / factor, right / factor, bottom / factor)
    return image.resize((resolution, resolution), Image.Resampling.BILINEAR, there, 2.0)


_TURNS = (
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
)


def _flipped(image: Image.Image, flip: Flip, rng: random.Random) -> Image.Image:
    turn = rng.choice(_TURNS[: {"none": 1, "horizontal": 2, "both": 4, "dihedral": 8}[flip]])
    return image if turn is None else image.transpose(turn)


Operation = Callable[[Image.Image, float, random.Random], Image.Image]
"""An operation takes a picture, a strength (magnitude / 10) and random numbers."""

_CUTOUT = 80 / 300
"""The reference cuts squares of up to 80 px, seen at 300 px."""


def _sign(rng: random.Random) -> int:
    return 1 if rng.random() < 0.5 else -1


def _moved(motion: Motion, mirrored: bool) -> Operation:
    def operation(image: Image.Image, m: float, rng: random.Random) -> Image.Image:
        return warped(image, motion(m * _sign(rng), image.width), mirrored)

    return operation


def _cutout(image: Image.Image, m: float, rng: random.Random) -> Image.Image:
    half = _CUTOUT / 2 * image.width * m
    x, y = rng.uniform(0, image.width), rng.uniform(0, image.height)
    image = image.copy()
    left, top, right, bottom = (round(v) for v in (x - half, y - half, x + half, y + half))
    image.paste(GREY, (left, top, right, bottom))
    return image


def _posterize(image: Image.Image, m: float, rng: random.Random) -> Image.Image:
    return ImageOps.posterize(image, max(1, 8 - round(4 * m)))


def _posterize_reference(image: Image.Image, m: float, rng: random.Random) -> Image.Image:
    # The reference keeps int(4 m) bits: none below 2.5, all from 20 on.
    return ImageOps.posterize(image, min(8, max(1, int(4 * m))))


def _solarize(image: Image.Image, m: float, rng: random.Random) -> Image.Image:
    return ImageOps.solarize(image, max(0, round(256 - 128 * m)))


def _solarize_reference(image: Image.Image, m: float, rng: random.Random) -> Image.Image:
    return ImageOps.solarize(image, int(256 * m))


def _solarize_add(image: Image.Image, m: float, rng: random.Random) -> Image.Image:
    lift = int(110 * m)
    return image.point([min(255, v + lift) if v < 128 else v for v in range(256)] * 3)


def _enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance], reference: bool) -> Operation:
    def operation(image: Image.Image, m: float, rng: random.Random) -> Image.Image:
        factor = 0.1 + 1.8 * m if reference else max(0.0, 1 + 0.9 * m * _sign(rng))
        return kind(image).enhance(factor)

    return operation


OPERATIONS: dict[str, Operation] = {
    **{name: _moved(motion, mirrored=True) for name, motion in MOTIONS.items()},
    **{f"{name}_reference": _moved(motion, mirrored=False) for name, motion in MOTIONS.items()},
    "auto_contrast": lambda image, m, rng: ImageOps.autocontrast(image),
    "equalize": lambda image, m, rng: ImageOps.equalize(image),
    "invert": lambda image, m, rng: ImageOps.invert(image),
    "cutout": _cutout,
    "posterize": _posterize,
    "posterize_reference": _posterize_reference,
    "solarize": _solarize,
    "solarize_reference": _solarize_reference,
    "solarize_add": _solarize_add,
    "color": _enhance(ImageEnhance.Color, reference=False),
    "contrast": _enhance(ImageEnhance.Contrast, reference=False),
    "brightness": _enhance(ImageEnhance.Brightness, reference=False),
    "sharpness": _enhance(ImageEnhance.Sharpness, reference=False),
    "color_reference": _enhance(ImageEnhance.Color, reference=True),
    "contrast_reference": _enhance(ImageEnhance.Contrast, reference=True),
    "brightness_reference": _enhance(ImageEnhance.Brightness, reference=True),
    "sharpness_reference": _enhance(ImageEnhance.Sharpness, reference=True),
}
