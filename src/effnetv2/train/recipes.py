"""Recipes as rows: the paper's, the released code's, and one that fits a user's own pictures."""

import math
from dataclasses import dataclass, replace

from effnetv2.arch.presets import SIZES, Sizes
from effnetv2.arch.spec import Network
from effnetv2.data.augment import AUGMENTATIONS, Augmentation
from effnetv2.data.preprocessing import Preprocessing
from effnetv2.data.samples import Data, Samples
from effnetv2.errors import InputError
from effnetv2.train.optim import Optimizer
from effnetv2.train.recipe import DataChoice, Recipe
from effnetv2.train.schedules import LearningRate, Progression


def _row(
    resolution: tuple[int, int],
    randaugment: tuple[float, float],
    dropout: tuple[float, float],
    mixup: tuple[float, float] = (0, 0),
    cutmix: tuple[float, float] = (0, 0),
) -> Progression:
    return Progression(
        resolution=resolution, randaugment=randaugment, dropout=dropout, mixup=mixup, cutmix=cutmix
    )


# fmt: off
# Table 6 of the paper (L's mixup: 0.5 in the ICML version).
#                 size        RandAugment dropout  mixup   CutMix
PAPER = {
    "v2-s":  _row((128, 300), (5, 15), (0.1, 0.3)),
    "v2-m":  _row((128, 380), (5, 20), (0.1, 0.4), (0, 0.2)),
    "v2-l":  _row((128, 380), (5, 25), (0.1, 0.5), (0, 0.5)),
}
# The authors' main.py and effnetv2_configs.py: another first size, CutMix beside mixup, dropout
# constant. Their B rows name an AutoAugment policy in place of RandAugment; ours have neither.
RELEASED = {
    "v2-s":  _row((171, 300), (5, 10), (0.2, 0.2)),
    "v2-m":  _row((192, 384), (5, 15), (0.3, 0.3), (0, 0.2), (0, 0.2)),
    "v2-l":  _row((192, 384), (5, 20), (0.4, 0.4), (0, 0.5), (0, 0.5)),
    "v2-xl": _row((192, 384), (5, 20), (0.4, 0.4), (0, 0.5), (0, 0.5)),
    "v2-b0": _row((144, 192), (0, 0),  (0.2, 0.2)),
    "v2-b1": _row((144, 192), (0, 0),  (0.2, 0.2)),
    "v2-b2": _row((148, 208), (0, 0),  (0.3, 0.3)),
    "v2-b3": _row((156, 240), (0, 0),  (0.3, 0.3)),
}
# fmt: on
RECIPES = ("default", "imagenet", "imagenet-released", "transfer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a user asks for by itself; the rest of a recipe follows from it."""

    epochs: float | None = None
    batch_size: int | None = None
    size: int | None = None
    """Side, in pixels, of the last phase; evaluation keeps its distance."""
    learning_rate: float | None = None
    augmentation: str | None = None
    """One of `AUGMENTATIONS`."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "size", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} is {value}; give a number above 0")

    def applied(self, recipe: Recipe) -> Recipe:
        """Return a fixed recipe with these wishes put in place."""
        p, how = recipe.progression, recipe.preprocessing
        rate = recipe.learning_rate
        size = self.size or p.resolution[1]
        return replace(
            recipe,
            epochs=self.epochs or recipe.epochs,
            batch_size=self.batch_size or recipe.batch_size,
            progression=replace(p, resolution=(min(p.resolution[0], size), size)),
            preprocessing=replace(how, resolution=round(how.resolution * size / p.resolution[1])),
            learning_rate=replace(rate, peak=self.learning_rate or rate.peak),
            augmentation=(
                augmentation(self.augmentation) if self.augmentation else recipe.augmentation
            ),
        )


def augmentation(name: str) -> Augmentation:
    """Return the row of `AUGMENTATIONS`; InputError when there is none."""
    if name not in AUGMENTATIONS:
        raise InputError(f"no augmentation {name!r}; there are {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS[name]


def named_recipe(
    name: str, data: Data, choice: DataChoice, network: Network, wishes: Wishes
) -> Recipe:
    """Return the recipe `name` (one of `RECIPES`) for `network` on `data`."""
    if name == "default":
        return default(data, choice, network, wishes)
    if name == "imagenet":
        return wishes.applied(imagenet(choice, network, PAPER))
    if name == "imagenet-released":
        return wishes.applied(imagenet(choice, network, RELEASED))
    if name == "transfer":
        return wishes.applied(transfer(len(data.train), choice, network))
    raise InputError(f"no recipe {name!r}; there are {', '.join(RECIPES)}, or give a recipe.json")


def imagenet(choice: DataChoice, network: Network, variants: dict[str, Progression]) -> Recipe:
    """ImageNet-1k from scratch (section 5.1): 83.9 % top-1 with V2-S, as published.

    350 epochs of batches of 4,096: 7.1 h on 32 TPUv3 cores; meant for clusters.
    """
    if network.name not in variants:
        raise InputError(f"no published progression for {network.name}; try {', '.join(variants)}")
    progression = variants[network.name]
    return Recipe(
        data=choice,
        network=network,
        progression=progression,
        augmentation=_reference_augmentation(network),
        preprocessing=_reference_preprocessing(network),
        epochs=350,
        batch_size=4096,
        learning_rate=LearningRate(
            peak=0.256, warmup_epochs=5, decay="exponential", factor=0.97, every_epochs=2.4
        ),
        optimizer=Optimizer(
            name="rmsprop", weight_decay=1e-5, momentum=0.9, second=0.9, epsilon=1e-3
        ),
        label_smoothing=0.1,
        ema_decay=0.9999,
        # The text says 0.99, the code 0.9 (torch: 0.1): the code made the published weights.
        norm_momentum=0.1,
        recalibrate=False,
    )


def transfer(images: int, choice: DataChoice, network: Network) -> Recipe:
    """Transfer to a smaller set (section 5.3): 10,000 steps of 512, cosine, no weight decay.

    The published run starts from ImageNet weights: CIFAR-10 98.7 % with V2-S.
    """
    sizes = _sizes(network)
    side = sizes.eval // 16 * 16
    return Recipe(
        data=choice,
        network=network,
        progression=Progression(
            phases=1, resolution=(side, side), dropout=(0, 0), randaugment=(10, 10)
        ),
        augmentation=Augmentation(area=(1.0, 1.0), aspect=1.0, operations=("cutout",), layers=1),
        preprocessing=replace(
            _reference_preprocessing(network), resolution=side, crop="squash", fraction=1.0
        ),
        epochs=10_000 * 512 / images,
        batch_size=512,
        learning_rate=LearningRate(peak=0.001, warmup_epochs=512 * 500 / images),
        optimizer=Optimizer(
            name="rmsprop", weight_decay=0.0, momentum=0.9, second=0.9, epsilon=1e-3
        ),
        ema_decay=0.9996,
        recalibrate=False,
    )


# fmt: off
# How strong the default recipe lets each kind of augmentation become: judged by validation
# pictures, see docs/log.md.
#              RandAugment mixup
STRENGTHS = {
    "photo":    ((1, 5),  (0, 0)),
    "surface":  ((0, 3),  (0, 0)),
    "aligned":  ((0, 3),  (0, 0)),
    "glyph":    ((1, 5),  (0, 0)),
    "imagenet": ((5, 15), (0, 0.2)),
    "none":     ((0, 0),  (0, 0)),
}
# fmt: on


def default(data: Data, choice: DataChoice, network: Network, wishes: Wishes) -> Recipe:
    """From scratch on a user's own pictures: sizes from the pictures, length from their number."""
    images = len(data.train)
    # Few pictures make few updates: with 1,500 of them, batches of 16 learn what 32 do not.
    usual = 16 if images < 4_000 else 32 if images < 20_000 else 128
    batch_size = wishes.batch_size or usual
    epochs = wishes.epochs or float(round(min(60.0, max(20.0, 120_000 / images))))
    steps = epochs * images / batch_size
    kind = wishes.augmentation or data.augmentation
    augment = augmentation(kind)
    sizes = fitting_sizes(data.train, network, augment, wishes.size)
    randaugment, mixup = STRENGTHS[kind]
    return Recipe(
        data=choice,
        network=network,
        progression=Progression(
            resolution=(max(32, round(sizes.train / 2 / 16) * 16), sizes.train),
            dropout=(0.1, 0.3),
            drop_path=(0.0, 0.1),
            randaugment=randaugment,
            mixup=mixup,
            multiple=16,
        ),
        augmentation=augment,
        preprocessing=Preprocessing(resolution=sizes.eval),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=LearningRate(
            peak=wishes.learning_rate or 0.002 * math.sqrt(batch_size / 32),
            warmup_epochs=epochs / 20,
        ),
        optimizer=Optimizer(name="adamw", weight_decay=0.05, clip_norm=5.0),
        ema_decay=min(0.9999, max(0.9, 1 - 30 / steps)),
        validate_every=max(1.0, epochs / 20),
    )


def fitting_sizes(
    samples: Samples, network: Network, how: Augmentation, size: int | None = None
) -> Sizes:
    """Return the sizes to train and evaluate at: the pictures' own, within the network's.

    Crops magnify: what is trained on crops is evaluated at a size larger by as much, on whole
    pictures, so that things appear equally large. `size` asks for that of training. In
    multiples of 16, evaluation at 64 px or more.
    """
    largest, magnified = _sizes(network), how.magnification
    if size is None:
        step = max(1, len(samples) // 64)
        sides = sorted(min(samples.picture(i).size) for i in range(0, len(samples), step))
        evaluated = min(largest.eval, max(64, sides[len(sides) // 2]))
        size = min(largest.train, max(48, round(evaluated / magnified / 16) * 16))
    return Sizes(size, max(size, round(size * magnified / 16) * 16))


def _sizes(network: Network) -> Sizes:
    return SIZES.get(network.name, SIZES["v2-b0"])


def _is_small(network: Network) -> bool:
    """Whether the authors train it by the older pipeline: V1 and V2-B."""
    return "-b" in network.name


def _reference_augmentation(network: Network) -> Augmentation:
    if _is_small(network):
        return replace(AUGMENTATIONS["imagenet"], area=(0.08, 1.0))
    return AUGMENTATIONS["imagenet"]


def _reference_preprocessing(network: Network) -> Preprocessing:
    side = _sizes(network).eval
    if _is_small(network):
        return Preprocessing(resolution=side, fraction=side / (side + 32), interpolation="bicubic")
    half = (0.5, 0.5, 0.5)
    if side < 320:
        return Preprocessing(resolution=side, fraction=side / (side + 32), mean=half, std=half)
    return Preprocessing(resolution=side, crop="squash", mean=half, std=half)
