"""Augmentation: what each operation does to pixels, and what it does as the magnitude grows."""

import itertools
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from effnetv2.data.augment import (
    AUGMENTATIONS,
    GROWING,
    OPERATIONS,
    REFERENCE,
    Augmentation,
    Flip,
    augment,
    crop_box,
)
from effnetv2.data.motion import MOTIONS, warped
from effnetv2.data.picture import FACTORS, Decoded
from effnetv2.errors import InputError


def picture(width: int = 48, height: int = 48) -> Image.Image:
    """Return slopes of three colours under a little noise."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    slopes = np.stack([20 + 200 * x, 40 + 180 * y, 20 + 220 * (1 - x) * y], -1)
    noise = np.random.default_rng(0).normal(0, 8, slopes.shape)
    return Image.fromarray((slopes + noise).clip(0, 255).astype(np.uint8))


PICTURE = picture()
RAMP = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(3).reshape(16, 16, 3))
"""Every value there is."""
BARE = AUGMENTATIONS["none"]
STRONG = Augmentation(area=(0.05, 1.0), flip="dihedral")
WITHOUT_STRENGTH = ("auto_contrast", "equalize", "invert")


def augmented(
    image: Image.Image, how: Augmentation, resolution: int, magnitude: float, rng: random.Random
) -> Image.Image:
    return augment(Decoded(image), how, resolution, magnitude, rng)


def change(name: str, magnitude: float) -> float:
    """Return by how much an operation moves pixels on average, over eight draws."""
    before = np.asarray(PICTURE).astype(float)
    after = [
        np.asarray(OPERATIONS[name](PICTURE, magnitude / 10, random.Random(seed)))
        for seed in range(8)
    ]
    return float(np.mean([np.abs(a - before).mean() for a in after]))


@pytest.mark.parametrize("magnitude", [0, 3.3, 10, 25])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_keeps_size_mode_and_its_input(name: str, magnitude: float) -> None:
    image = picture(31, 20)
    before = image.tobytes()
    found = OPERATIONS[name](image, magnitude / 10, random.Random(0))
    assert (found.size, found.mode) == ((31, 20), "RGB")
    assert image.tobytes() == before


@pytest.mark.parametrize("name", [n for n in GROWING if n not in WITHOUT_STRENGTH])
def test_a_growing_operation_of_no_strength_changes_nothing(name: str) -> None:
    assert change(name, 0) == 0


@pytest.mark.parametrize("name", GROWING)
def test_a_growing_operation_changes_more_as_the_magnitude_grows(name: str) -> None:
    changes = [change(name, magnitude) for magnitude in (1, 2.5, 5, 7.5, 10)]
    assert changes == sorted(changes)
    if name not in WITHOUT_STRENGTH:
        assert changes[-1] > 1.5 * changes[1] > 0


def test_the_reference_has_the_sixteen_operations() -> None:
    assert len(set(REFERENCE)) == 16
    assert {*REFERENCE, *GROWING} <= OPERATIONS.keys()
    assert {name.removesuffix("_reference") for name in REFERENCE} == {*GROWING, "invert"}


def test_posterize_of_the_reference_weakens_as_the_magnitude_grows() -> None:
    def values(magnitude: float) -> int:
        image = OPERATIONS["posterize_reference"](RAMP, magnitude / 10, random.Random(0))
        return len(np.unique(np.asarray(image)))

    assert [values(m) for m in (5, 10, 15)] == [2**2, 2**4, 2**6]
    assert values(20) == values(22.5) == values(30) == 256
    assert change("posterize_reference", 5) > change("posterize_reference", 10) > 0


@pytest.mark.parametrize("magnitude", [10, 15, 25])
def test_solarize_of_the_reference_does_nothing_from_10_on(magnitude: float) -> None:
    assert change("solarize_reference", magnitude) == 0


def test_solarize_of_the_reference_inverts_all_at_0_and_half_at_5() -> None:
    levels = np.asarray(RAMP)
    solarize = OPERATIONS["solarize_reference"]
    assert np.array_equal(np.asarray(solarize(RAMP, 0.0, random.Random(0))), 255 - levels)
    found = np.asarray(solarize(RAMP, 0.5, random.Random(0)))
    assert np.array_equal(found, np.where(levels < 128, levels, 255 - levels))


@pytest.mark.parametrize("name", ["color", "contrast", "brightness", "sharpness"])
def test_an_enhancement_of_the_reference_is_neutral_at_5_only(name: str) -> None:
    assert change(f"{name}_reference", 5) == 0
    assert change(f"{name}_reference", 1) > 0 < change(f"{name}_reference", 10)


def test_the_same_random_numbers_make_the_same_picture() -> None:
    how = replace(AUGMENTATIONS["photo"], flip="dihedral")
    made = [augmented(PICTURE, how, 24, 7.0, random.Random(s)).tobytes() for s in (3, 3, 4)]
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_magnitude_0_leaves_crop_and_flip_alone(name: str) -> None:
    how = AUGMENTATIONS[name]
    bare = replace(how, operations=())
    for seed in range(10):
        found = augmented(PICTURE, how, 24, 0.0, random.Random(seed))
        assert found.tobytes() == augmented(PICTURE, bare, 24, 9.0, random.Random(seed)).tobytes()


def test_a_full_magnitude_changes_nearly_every_picture() -> None:
    how = replace(BARE, operations=GROWING)
    made = [augmented(PICTURE, how, 48, 10.0, random.Random(s)).tobytes() for s in range(20)]
    assert made.count(PICTURE.tobytes()) <= 2
    assert len(set(made)) >= 15


def test_dihedral_makes_the_eight_turns_and_mirrorings() -> None:
    levels = np.asarray(PICTURE)
    turns = [np.rot90(side, k) for side in (levels, levels[:, ::-1]) for k in range(4)]
    how = replace(BARE, flip="dihedral")
    made = {augmented(PICTURE, how, 48, 0, random.Random(s)).tobytes() for s in range(100)}
    assert made == {turn.tobytes() for turn in turns}
    assert len(made) == 8


@pytest.mark.parametrize(
    ("flip", "sideways", "upside_down"),
    [("none", (1,), (1,)), ("horizontal", (1, -1), (1,)), ("both", (1, -1), (1, -1))],
)
def test_a_flip_shows_each_of_its_views_as_often(
    flip: Flip, sideways: tuple[int, ...], upside_down: tuple[int, ...]
) -> None:
    levels = np.asarray(PICTURE)
    expected = {levels[::y, ::x].tobytes() for x in sideways for y in upside_down}
    how = replace(BARE, flip=flip)
    made = Counter(augmented(PICTURE, how, 48, 0, random.Random(s)).tobytes() for s in range(200))
    assert made.keys() == expected
    assert min(made.values()) > 0.6 * 200 / len(expected)


def test_crops_lie_inside_and_keep_area_and_aspect() -> None:
    width, height = 240, 160
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    where = Image.fromarray(np.stack([x, y, y], -1).astype(np.uint8))  # a pixel tells its place
    how = Augmentation(area=(0.25, 1.0), aspect=4 / 3, flip="none")

    def stretch(places: np.ndarray) -> tuple[float, float]:
        """Return where a row of 20 mean places begins and how long it is, to a pixel or two."""
        step = (places[17] - places[2]) / 15
        return places[2] - 2.5 * step + 0.5, 20 * step

    shares = []
    for seed in range(200):
        found = np.asarray(augmented(where, how, 20, 0, random.Random(seed))).astype(float)
        left, w = stretch(found[..., 0].mean(0))
        top, h = stretch(found[..., 1].mean(1))
        assert left > -2
        assert left + w < width + 2
        assert top > -2
        assert top + h < height + 2
        assert 0.7 < w / h < 1.43
        shares.append(w * h / (width * height))
    assert 0.23 < min(shares) < 0.3
    assert 0.6 < max(shares) < 0.95  # the largest 4:3 crop of 3:2 is 8/9 of it


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_no_shape_of_picture_is_too_odd_to_crop(name: str) -> None:
    how = AUGMENTATIONS[name]
    for width in (1, 2, 7, 20, 53, 97):
        for height in (1, 3, 20, 53, 101):
            image = Image.new("RGB", (width, height))
            for seed in range(10):
                assert augmented(image, how, 8, 0, random.Random(seed)).size == (8, 8)


@pytest.mark.parametrize(
    "wrong", [{"area": (0.0, 1.0)}, {"area": (0.9, 0.5)}, {"aspect": 0.75}, {"layers": -1}]
)
def test_an_augmentation_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"augmentation {next(iter(wrong))} "):
        Augmentation(**wrong)


class Asked(Decoded):
    """A picture that remembers how much smaller it was asked for, and comes as asked."""

    def decode(self, factor: int = 1) -> Image.Image:
        asked.append(factor)
        return self.image.reduce(factor)


asked: list[int] = []


@pytest.mark.parametrize("resolution", [8, 32, 50, 100])
@pytest.mark.parametrize("size", [(399, 301), (120, 500)])
def test_a_picture_is_decoded_as_coarsely_as_enlarges_no_crop(
    size: tuple[int, int], resolution: int
) -> None:
    how = Augmentation(area=(0.05, 1.0), flip="none")
    for seed in range(50):
        left, top, right, bottom = crop_box(*size, how, random.Random(seed))
        side = min(right - left, bottom - top)
        asked.clear()
        augment(Asked(picture(*size)), how, resolution, 0, random.Random(seed))
        (factor,) = asked
        assert factor == 1 or side / factor >= resolution
        assert factor == max(FACTORS) or side / (2 * factor) < resolution


def test_a_picture_decoded_smaller_gives_nearly_the_same_sample() -> None:
    """The same crop to a fraction of a pixel: of a slope, values would tell."""
    for size in ((399, 301), (402, 307)):
        image = picture(*size).resize(size).filter(ImageFilter.GaussianBlur(3))
        for seed in range(20):
            found, exact = (
                np.asarray(augment(kind(image), STRONG, 40, 0, random.Random(seed))).astype(float)
                for kind in (Asked, Decoded)
            )
            assert np.abs(found - exact).mean() < 0.6
            assert np.abs(found - exact).max() < 8


def test_a_warp_mirrors_as_a_padded_picture_does() -> None:
    """Against numpy's padding and Pillow's general transform."""
    for name, size, m in itertools.product(MOTIONS, ((40, 40), (31, 20)), (-0.9, 0.07, 0.4)):
        image = picture(*size)
        a, b, c, d, e, f = matrix = MOTIONS[name](m, size[0])
        margin = min(size) // 2
        padded = np.pad(np.asarray(image), ((margin,) * 2, (margin,) * 2, (0, 0)), mode="reflect")
        whole = Image.fromarray(padded).transform(
            size,
            Image.Transform.AFFINE,
            (a, b, c + margin, d, e, f + margin),
            Image.Resampling.BILINEAR,
            fillcolor=(128, 128, 128),
        )
        found = np.asarray(warped(image, matrix, mirrored=True)).astype(int)
        assert np.abs(found - np.asarray(whole)).max() <= 1
