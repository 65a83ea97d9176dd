"""What moves a picture: turns, shears and shifts, with its mirror image or grey beyond the edge."""

import math
from collections.abc import Callable

from PIL import Image

Matrix = tuple[float, float, float, float, float, float]
Motion = Callable[[float, int], Matrix]
"""A motion takes a signed strength and the picture's side to an inverse affine matrix."""

GREY = (128, 128, 128)
_TRANSLATE = 100 / 300
"""The reference moves by up to 100 px, seen at 300 px."""


def warped(image: Image.Image, matrix: Matrix, mirrored: bool) -> Image.Image:
    """Sample `image` at matrix · (x, y, 1); beyond its edges lies its mirror image, or grey."""
    a, b, c, d, e, f = matrix
    size = width, height = image.size
    if mirrored:
        most = min(size) // 2
        left, right = _beyond(width, a * width, b * height, c, most)
        top, bottom = _beyond(height, e * height, d * width, f, most)
        image = _mirrored(image, left, top, right, bottom)
        c, f = c + left, f + top
        inside = min(c, f) >= 0 and c + width <= image.width and f + height <= image.height
        if (a, b, d, e) == (1, 0, 0, 1) and inside:
            # The same interpolation, row by row and column by column: a third of the time.
            return image.resize(size, Image.Resampling.BILINEAR, (c, f, c + width, f + height))
    return image.transform(
        size,
        Image.Transform.AFFINE,
        (a, b, c, d, e, f),
        Image.Resampling.BILINEAR,
        fillcolor=GREY,
    )


def _beyond(side: int, along: float, across: float, offset: float, most: int) -> tuple[int, int]:
    """Return by how many whole pixels, up to `most`, a warp reaches before 0 and after `side`."""
    low = offset + min(0, along) + min(0, across)
    high = offset + max(0, along) + max(0, across)
    return min(most, max(0, math.ceil(-low))), min(most, max(0, math.ceil(high - side)))


def _mirrored(image: Image.Image, left: int, top: int, right: int, bottom: int) -> Image.Image:
    """Return `image` with so many pixels of its mirror image at each side."""
    w, h = image.size
    sideways, upside_down = Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM
    wide = Image.new(image.mode, (left + w + right, top + h + bottom))
    wide.paste(image, (left, top))
    # (what is mirrored, how, where to): first the sides, then all of the width, so the corners.
    for box, turn, there in (
        ((left + 1, 0, left + 1 + left, wide.height), sideways, (0, 0)),
        ((left + w - 1 - right, 0, left + w - 1, wide.height), sideways, (left + w, 0)),
        ((0, top + 1, wide.width, top + 1 + top), upside_down, (0, 0)),
        ((0, top + h - 1 - bottom, wide.width, top + h - 1), upside_down, (0, top + h)),
    ):
        if box[2] > box[0] and box[3] > box[1]:
            wide.paste(wide.crop(box).transpose(turn), there)
    return wide


def _rotation(m: float, side: int) -> Matrix:
    cos, sin, middle = math.cos(math.radians(30 * m)), math.sin(math.radians(30 * m)), side / 2
    return (
        cos, sin, middle - middle * cos - middle * sin,
        -sin, cos, middle + middle * sin - middle * cos,
    )  # fmt: skip


# fmt: off
MOTIONS: dict[str, Motion] = {
    "rotate":      _rotation,
    "shear_x":     lambda m, side: (1, 0.3 * m, 0, 0, 1, 0),
    "shear_y":     lambda m, side: (1, 0, 0, 0.3 * m, 1, 0),
    "translate_x": lambda m, side: (1, 0, _TRANSLATE * side * m, 0, 1, 0),
    "translate_y": lambda m, side: (1, 0, 0, 0, 1, _TRANSLATE * side * m),
}
# fmt: on
