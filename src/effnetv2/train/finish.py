"""What a run does when training is over: settle the statistics, test, say what was found."""

import copy
from pathlib import Path
from typing import Any

from effnetv2.data.samples import Data, Samples
from effnetv2.nn.network import EfficientNet
from effnetv2.train.evaluate import Predictions, predictions, recalibrate
from effnetv2.train.machine import Machine
from effnetv2.train.recipe import Recipe
from effnetv2.train.run import Run, replacing
from effnetv2.train.world import World

EXAMPLES = 8
"""Pictures shown of the best and of the worst answers."""


def finish(
    recipe: Recipe,
    data: Data,
    run: Run,
    model: EfficientNet,
    machine: Machine,
    world: World,
    *,
    workers: int = 0,
) -> EfficientNet:
    """Evaluate `model` on the parts kept from training; return it, its statistics settled."""
    how = recipe.preprocessing
    norms = "as trained"
    seen: dict[str, Predictions] = {}

    def look(network: EfficientNet, samples: Samples) -> Predictions:
        return predictions(network, samples, how, machine, workers=workers, world=world)

    if data.val is not None:
        seen["val"] = look(model, data.val)
        if recipe.recalibrate and how.resolution != recipe.progression.resolution[1]:
            other = copy.deepcopy(model)
            recalibrate(other, data.train, how, machine)
            again = look(other, data.val)
            if again.loss < seen["val"].loss:
                model, seen["val"] = other, again
                norms = f"re-estimated at {how.resolution} px"
    if data.test is not None:
        seen["test"] = look(model, data.test)
    if world.leads:
        for part, answers in seen.items():
            samples = data.parts[part]
            run.write(
                f"evaluation/{part}.json",
                evaluation(part, answers, how.resolution, samples.classes)
                | {"batch_norm": norms, "examples": _examples(run.folder, part, answers, samples)},
            )
    return model


def evaluation(
    part: str, answers: Predictions, resolution: int, classes: tuple[str, ...]
) -> dict[str, Any]:
    """Return all that is told of an evaluation, as JSON would hold it."""
    return {
        "split": part,
        "resolution": resolution,
        "classes": list(classes),
        **answers.summary(),
        "top1_interval": answers.interval(),
        "loss": answers.loss,
        "per_class": answers.per_class(classes),
        "confusion": answers.confusion(),
        "reliability": answers.reliability(),
    }


def _examples(
    folder: Path, part: str, answers: Predictions, samples: Samples
) -> dict[str, list[dict[str, Any]]]:
    """Save the pictures answered best (right and sure) and worst (wrong and sure)."""
    probabilities = answers.logits.softmax(1)
    confidence, guess = probabilities.max(1)
    right = guess == answers.labels
    by_confidence = confidence.argsort(descending=True)
    chosen = {
        "best": by_confidence[right[by_confidence]][:EXAMPLES],
        "worst": by_confidence[~right[by_confidence]][:EXAMPLES],
    }
    return {
        kind: [
            _example(folder, f"evaluation/{part}/{kind}-{n}.jpg", samples, int(i))
            | {
                "truth": samples.classes[int(answers.labels[i])],
                "guess": samples.classes[int(guess[i])],
                "probability": float(confidence[i]),
            }
            for n, i in enumerate(picks)
        ]
        for kind, picks in chosen.items()
    }


def _example(folder: Path, file: str, samples: Samples, i: int) -> dict[str, Any]:
    image = samples.open(i, 160)
    image.thumbnail((160, 160))
    with replacing(folder / file) as f:
        image.save(f, "JPEG", quality=85)
    return {"file": file, "name": samples.name(i)}
