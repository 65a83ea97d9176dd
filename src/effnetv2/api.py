"""What the package does, as functions; the command line calls the same ones."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from effnetv2.arch.named import network
from effnetv2.arch.spec import Network
from effnetv2.data.check import broken
from effnetv2.data.source import open_samples
from effnetv2.errors import InputError
from effnetv2.nn.network import EfficientNet
from effnetv2.report.page import write
from effnetv2.train import launch
from effnetv2.train.budget import Budget
from effnetv2.train.classifier import Classifier
from effnetv2.train.display import Display
from effnetv2.train.evaluate import predictions
from effnetv2.train.finish import evaluation
from effnetv2.train.machine import Machine
from effnetv2.train.plan import Plan
from effnetv2.train.probe import fitted
from effnetv2.train.recipes import Wishes
from effnetv2.train.world import leads


def train(
    data: str | Path,
    to: str | Path,
    *,
    budget: str | float | Budget | None = None,
    model: str | Network | None = None,
    recipe: str = "default",
    epochs: float | None = None,
    batch_size: int | None = None,
    size: int | None = None,
    learning_rate: float | None = None,
    augmentation: str | None = None,
    val: float | None = None,
    test: float | None = None,
    split_seed: int | None = None,
    bad_files: Literal["skip", "fail"] | None = None,
    settings: Mapping[str, str] | None = None,
    **how: Any,
) -> Classifier:
    """Train a network on pictures and return it; the folder `to` keeps the run and its report.

    `data` is a folder of class folders (with or without train/val/test), a CSV, or a named set
    such as `"elpv"`; `val` and `test` are the shares (0.1 each) carved where it has no such parts.
    `model` is a preset (V2-B0), a JSON file, or a `Network`; `recipe` one of `default`, `imagenet`,
    `imagenet-released`, `transfer`, or a recipe.json. What is not given follows from the pictures.
    `settings` sets any field of the recipe by dotted path. `budget`, such as `"20m"` or seconds, is
    the time in which model and report are there: the epochs follow from what training costs here.
    `how` goes to the launch: `device`, `workers`, `cache`, `save_seconds`, `quiet`. Raises
    InputError for what cannot be used.
    """
    order = _order(model, recipe, epochs, batch_size, size, learning_rate, augmentation, val, test,
                   split_seed, bad_files, settings)  # fmt: skip
    if budget is not None:
        wanted = Budget.of(budget)
        order |= {"fit": partial(fitted, budget=wanted), "began": wanted.began}
    classifier = launch.start(str(data), to, **order, **how)
    if leads():
        write(Path(to))
    return classifier


def plan(
    data: str | Path,
    budget: str | float | Budget,
    *,
    model: str | Network | None = None,
    recipe: str = "default",
    batch_size: int | None = None,
    size: int | None = None,
    learning_rate: float | None = None,
    augmentation: str | None = None,
    val: float | None = None,
    test: float | None = None,
    split_seed: int | None = None,
    bad_files: Literal["skip", "fail"] | None = None,
    settings: Mapping[str, str] | None = None,
    **how: Any,
) -> Plan:
    """Measure what training on `data` costs here, and return the run that fits `budget`.

    All as for `train`, which follows the same plan; `how` are `device`, `workers` and `quiet`.
    Takes about a twentieth of the budget. Raises InputError for what cannot be used, and where not
    even a few steps fit.
    """
    order = _order(model, recipe, None, batch_size, size, learning_rate, augmentation, val, test,
                   split_seed, bad_files, settings)  # fmt: skip
    return launch.planned(str(data), partial(fitted, budget=Budget.of(budget)), **order, **how)


def _order(
    model: str | Network | None,
    recipe: str,
    epochs: float | None,
    batch_size: int | None,
    size: int | None,
    learning_rate: float | None,
    augmentation: str | None,
    val: float | None,
    test: float | None,
    split_seed: int | None,
    bad_files: Literal["skip", "fail"] | None,
    settings: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Return what the launch is asked for."""
    parting = {"val": val, "test": test, "split_seed": split_seed, "bad_files": bad_files}
    wishes = Wishes(
        epochs=epochs,
        batch_size=batch_size,
        size=size,
        learning_rate=learning_rate,
        augmentation=augmentation,
    )
    return {
        "parting": {name: value for name, value in parting.items() if value is not None},
        "model": model,
        "recipe": recipe,
        "wishes": wishes,
        "settings": settings,
    }


def resume(run: str | Path, **how: Any) -> Classifier:
    """Go on with a run where it was cut, exactly, and return its classifier.

    `how` goes to the launch: `device`, `workers`, `cache`, `save_seconds`, `quiet`.
    """
    classifier = launch.resume(run, **how)
    if leads():
        write(Path(run))
    return classifier


def load(run: str | Path, *, device: str = "auto") -> Classifier:
    """Return the trained classifier of a run's folder, or of its `model` folder alone."""
    return Classifier.load(run, Machine.choose(device))


def evaluate(
    classifier: Classifier,
    data: str | Path,
    *,
    batch_size: int = 64,
    workers: int = 0,
    quiet: bool = True,
) -> dict[str, Any]:
    """Return what `classifier` gets right on labelled pictures: a folder, a CSV, or a named set.

    Classes are matched by name; broken files are left out, and noted. Keys: top1, top5, macro_f1,
    ece, images, loss, top1_interval, per_class, confusion, reliability, notes.
    """
    samples, notes = open_samples(str(data))
    known, strangers = samples.aligned(classifier.classes)
    if strangers:
        left = len(samples) - len(known)
        notes = (
            *notes,
            f"{left} pictures of classes the model does not know left out: {', '.join(strangers)}",
        )
    if faults := broken(known):
        first, why = faults[0]
        notes = (*notes, f"{len(faults)} broken left out, first {known.name(first)} ({why})")
        known = known.subset(np.delete(np.arange(len(known)), [i for i, _ in faults]))
    if not len(known):
        raise InputError(f"{data}: no picture can be read; {notes[-1]}")
    how = classifier.card.preprocessing
    with Display(silent=quiet).counting("evaluating", len(known)) as progress:
        answers = predictions(
            classifier.model,
            known,
            how,
            classifier.machine,
            batch_size=batch_size,
            workers=workers,
            progress=progress,
        )
    told = evaluation("data", answers, how.resolution, known.classes)
    return told | {"notes": list(notes)}


def create(which: str | Network, classes: int = 1000) -> EfficientNet:
    """Return an untrained network: a preset's name, a JSON file, or a `Network`.

    Its weights are drawn from torch's generator; channels_last in memory.
    """
    net = network(which) if isinstance(which, str) else which
    return EfficientNet(net, classes).to(memory_format=torch.channels_last)
