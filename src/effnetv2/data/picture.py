"""A picture knows its size before it is decoded, and decodes no more than is asked for.

So a crop can be drawn first, and the picture decoded at the coarsest of `FACTORS` that leaves that
crop enough pixels. What comes out is a function of picture and factor alone.
"""

from dataclasses import dataclass
from typing import Protocol

from PIL import Image

FACTORS = (1, 2, 4, 8, 16, 32)
"""How many times smaller a picture can be decoded."""
BLOCK = 8
"""A JPEG is made of blocks of 8 x 8 pixels: up to this factor, it costs less than the whole."""


class Picture(Protocol):
    """One picture, upright, not decoded yet."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as `decode(1)` has them."""

    @property
    def scalable(self) -> bool:
        """Whether decoding it smaller costs less than decoding all of it: a JPEG."""

    def decode(self, factor: int = 1) -> Image.Image:
        """Return it as RGB, `factor` (one of `FACTORS`) times smaller, sizes rounded up.

        A picture that is in memory anyway comes whole: `factor_of` tells.
        """


def factor_leaving(pixels: float, needed: int) -> int:
    """Return the largest of `FACTORS` that leaves of `pixels` at least `needed`; 1 for 0."""
    fitting = [factor for factor in FACTORS if needed and pixels >= needed * factor]
    return max(fitting, default=1)


def decoded(picture: Picture, at_least: int = 0) -> Image.Image:
    """Return `picture` whole or, where that costs less, with a short side of `at_least` pixels."""
    if not picture.scalable:
        return picture.decode()
    return picture.decode(min(BLOCK, factor_leaving(min(picture.size), at_least)))


def factor_of(width: int, image: Image.Image) -> int:
    """Return by which of `FACTORS` the decoded `image` is smaller than `width`."""
    # Sizes are rounded up, of 501 px half are 251: the quotient is a little below the factor.
    return min(FACTORS, key=lambda factor: abs(factor - width / image.width))


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture that is in memory as RGB; decoded at most `coarsest` times smaller."""

    image: Image.Image
    coarsest: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    @property
    def scalable(self) -> bool:
        """Nothing is spared: it is decoded."""
        return False

    def decode(self, factor: int = 1) -> Image.Image:
        """Return it, every `factor` x `factor` pixels as their mean."""
        factor = min(factor, self.coarsest)
        return self.image.reduce(factor) if factor > 1 else self.image
