"""Preprocessing against torchvision's, and the memory that a batch lies in."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize
from torchvision.transforms import functional as reference

from effnetv2.data.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Crop,
    Interpolation,
    Preprocessing,
    normalise,
    stack,
)
from effnetv2.errors import InputError

RNG = np.random.default_rng(0)
HALF = (0.5, 0.5, 0.5)


def photo(width: int, height: int) -> Image.Image:
    """Return a picture whose neighbouring pixels are alike, as a photo's are."""
    coarse = RNG.integers(0, 256, (height // 25, width // 25, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(float)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_a_centre_crop_is_torchvisions_where_the_grids_agree(interpolation: Interpolation) -> None:
    image = photo(128, 128)
    how = Preprocessing(resolution=56, fraction=56 / 64, interpolation=interpolation)
    expected = Compose([Resize(64, InterpolationMode(interpolation)), CenterCrop(56)])(image)
    # One rounding of 8 bits where torchvision's crop follows it: they may differ by a level.
    assert np.abs(levels(how.view(image)) - levels(expected)).max() <= 1


@pytest.mark.parametrize(("width", "height"), [(200, 150), (150, 200), (333, 160)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_centre_crop_is_close_to_torchvisions(
    width: int, height: int, interpolation: Interpolation
) -> None:
    image = photo(width, height)
    how = Preprocessing(resolution=96, fraction=96 / 109, interpolation=interpolation)
    expected = Compose([Resize(109, InterpolationMode(interpolation)), CenterCrop(96)])(image)
    # torchvision rounds the long side and the crop's corner to whole pixels, ours does not: the
    # two lie up to one pixel apart, which is a few levels where neighbours are alike.
    difference = np.abs(levels(how.view(image)) - levels(expected))
    assert difference.mean() < 4
    assert difference.max() < 20


def test_a_whole_crop_keeps_the_middle_square() -> None:
    image = photo(160, 96)
    expected = image.crop((32, 0, 128, 96))
    assert Preprocessing(resolution=96).view(image).tobytes() == expected.tobytes()
    turned = image.transpose(Image.Transpose.ROTATE_90)
    expected = turned.crop((0, 32, 96, 128))
    assert Preprocessing(resolution=96).view(turned).tobytes() == expected.tobytes()


def test_squash_shows_all_of_the_picture() -> None:
    image = photo(160, 80)
    how = Preprocessing(resolution=64, crop="squash", fraction=0.5)
    expected = Resize((64, 64))(image)
    assert np.array_equal(levels(how.view(image)), levels(expected))


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (50, 3), (64, 64)])
@pytest.mark.parametrize("crop", ["center", "squash"])
def test_any_shape_becomes_the_square(size: tuple[int, int], crop: Crop) -> None:
    how = Preprocessing(resolution=24, crop=crop, fraction=0.8)
    assert how.view(Image.new("RGB", size)).size == (24, 24)


@pytest.mark.parametrize(("resolution", "fraction"), [(224, 1.0), (224, 224 / 256), (300, 0.9)])
def test_the_side_needed_is_the_least_that_is_not_enlarged(
    resolution: int, fraction: float
) -> None:
    side = Preprocessing(resolution=resolution, fraction=fraction).side_needed
    assert side * fraction >= resolution - 1e-9 > (side - 1) * fraction


@pytest.mark.parametrize(("mean", "std"), [(IMAGENET_MEAN, IMAGENET_STD), (HALF, HALF)])
def test_normalise_is_to_tensor_and_normalize(
    mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    images = [photo(32, 32) for _ in range(3)]
    expected = torch.stack(
        [reference.normalize(reference.to_tensor(i), list(mean), list(std)) for i in images]
    )
    found = normalise(stack(images), mean, std)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("n", [1, 4])
def test_a_batch_lies_channels_last_and_stays_so(n: int) -> None:
    images = [photo(32, 24) for _ in range(n)]
    batch = stack(images)
    assert (batch.dtype, batch.shape) == (torch.uint8, (n, 3, 24, 32))
    assert batch.is_contiguous(memory_format=torch.channels_last)
    scaled = normalise(batch, HALF, HALF)
    assert scaled.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(batch[0].permute(1, 2, 0).numpy(), np.asarray(images[0]))


@pytest.mark.parametrize(
    "wrong", [{"resolution": 0}, {"fraction": 0.0}, {"fraction": 1.5}, {"std": (0.5, 0.0, 0.5)}]
)
def test_preprocessing_that_shows_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"preprocessing {next(iter(wrong))} is "):
        Preprocessing(**({"resolution": 32} | wrong))


def test_a_batch_does_not_share_memory_with_its_pictures() -> None:
    image = photo(16, 16)
    before = image.tobytes()
    stack([image]).zero_()
    assert image.tobytes() == before
