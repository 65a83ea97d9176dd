import numpy as np
import pytest

from effnetv2.arch.presets import PRESETS, TINY, V2_S
from effnetv2.config import from_json, to_json
from effnetv2.data.augment import AUGMENTATIONS
from effnetv2.data.samples import Arrays, Data, Samples
from effnetv2.errors import InputError
from effnetv2.train.recipe import DataChoice, Recipe
from effnetv2.train.recipes import RECIPES, Wishes, fitting_sizes, named_recipe

CHOICE = DataChoice(source="made")


def data(images: int, side: int) -> Data:
    pixels = np.broadcast_to(np.zeros((1, side, side), np.uint8), (images, side, side))
    return Data("made", Samples.of(Arrays("made", pixels), np.arange(images) % 2, ("a", "b")))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_its_file(name: str) -> None:
    recipe = named_recipe(name, data(100, 64), CHOICE, V2_S, Wishes())
    assert from_json(Recipe, to_json(recipe), "recipe.json") == recipe


def test_the_imagenet_recipe_is_the_papers() -> None:
    r = named_recipe("imagenet", data(100, 64), CHOICE, V2_S, Wishes())
    assert (r.epochs, r.batch_size, r.label_smoothing, r.ema_decay) == (350, 4096, 0.1, 0.9999)
    rate, optimizer = r.learning_rate, r.optimizer
    assert (rate.peak, rate.warmup_epochs, rate.factor, rate.every_epochs) == (0.256, 5, 0.97, 2.4)
    assert (optimizer.name, optimizer.weight_decay, optimizer.second, optimizer.momentum) == (
        "rmsprop", 1e-5, 0.9, 0.9
    )  # fmt: skip
    assert (r.preprocessing.resolution, r.preprocessing.crop) == (384, "squash")
    assert r.progression.drop_path == (0.2, 0.2)


def test_the_transfer_recipe_is_ten_thousand_steps_without_decay() -> None:
    d = data(2040, 64)
    r = named_recipe("transfer", d, CHOICE, V2_S, Wishes())
    assert r.progression.plan(2040, r.epochs, r.batch_size).steps == 10_000
    assert r.optimizer.weight_decay == 0
    assert r.learning_rate.peak == 0.001


@pytest.mark.parametrize(
    ("kind", "side", "train", "evaluated"),
    [
        ("photo", 8, 48, 64),
        ("photo", 160, 128, 160),
        ("photo", 2000, 176, 224),
        ("aligned", 160, 144, 160),
        ("glyph", 28, 64, 64),
    ],
)
def test_sizes_follow_the_pictures_and_how_they_are_cropped(
    kind: str, side: int, train: int, evaluated: int
) -> None:
    found = fitting_sizes(data(4, side).train, PRESETS["v2-b0"], AUGMENTATIONS[kind])
    assert found == (train, evaluated)


def test_crops_magnify_by_the_mean_of_their_inverse_roots() -> None:
    shares = np.random.default_rng(0).uniform(0.35, 1, 100_000)
    assert AUGMENTATIONS["photo"].magnification == pytest.approx((shares**-0.5).mean(), rel=1e-3)


def test_a_wish_for_a_size_moves_all_phases() -> None:
    r = named_recipe("default", data(100, 300), CHOICE, TINY, Wishes(size=64, epochs=3))
    assert r.progression.resolution[1] == 64
    assert r.progression.resolution[0] < 64 < r.preprocessing.resolution
    assert r.epochs == 3


def test_what_cannot_be_is_one_line() -> None:
    with pytest.raises(InputError, match="no recipe 'imagnet'"):
        named_recipe("imagnet", data(10, 32), CHOICE, V2_S, Wishes())
    with pytest.raises(InputError, match="no published progression for tiny"):
        named_recipe("imagenet", data(10, 32), CHOICE, TINY, Wishes())
    with pytest.raises(InputError, match="no augmentation 'foto'"):
        named_recipe("default", data(10, 32), CHOICE, TINY, Wishes(augmentation="foto"))
    with pytest.raises(InputError, match="epochs is -1"):
        named_recipe("default", data(10, 32), CHOICE, TINY, Wishes(epochs=-1))
