"""A picture as the network is shown it outside training: part of the model, saved with it."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from effnetv2.errors import InputError

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Crop = Literal["center", "squash"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Crop, size and scale of a picture."""

    resolution: int
    crop: Crop = "center"
    """`center`: the middle of the picture, a square. `squash`: all of it, made square."""
    fraction: float = 1.0
    """Share of the short side that a centre crop keeps."""
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        for ok, complaint in (
            (self.resolution >= 1, f"resolution is {self.resolution}; it must be at least 1"),
            (0 < self.fraction <= 1, f"fraction is {self.fraction}; it must be in (0, 1]"),
            (min(self.std) > 0, f"std is {self.std}; it must be positive"),
        ):
            if not ok:
                raise InputError(f"preprocessing {complaint}")

    @property
    def side_needed(self) -> int:
        """Return the short side, in pixels, below which a picture would be enlarged."""
        return math.ceil(self.resolution / self.fraction)

    def view(self, image: Image.Image) -> Image.Image:
        """Return the `resolution` x `resolution` picture that the network sees."""
        width, height = image.size
        box = (0.0, 0.0, float(width), float(height))
        if self.crop == "center":
            side = min(width, height) * self.fraction
            x, y = (width - side) / 2, (height - side) / 2
            box = (x, y, x + side, y + side)
        filter = Image.Resampling[self.interpolation.upper()]
        return image.resize((self.resolution, self.resolution), filter, box)


def stack(images: list[Image.Image]) -> Tensor:
    """Return RGB pictures of one size as uint8 `(n, 3, h, w)`, channels_last in memory."""
    return torch.from_numpy(np.stack([np.asarray(i) for i in images])).permute(0, 3, 1, 2)


def normalise(
    images: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """Return uint8 `(n, 3, h, w)` images as floats of about zero mean and unit deviation."""
    scale = torch.tensor(std, device=images.device).mul(255).view(1, 3, 1, 1)
    shift = torch.tensor(mean, device=images.device).mul(255).view(1, 3, 1, 1)
    return (images.float() - shift) / scale
