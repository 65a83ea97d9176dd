"""What a network gets right: every picture once, whatever the number of ranks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional import classification as metric

from effnetv2.data.loader import evaluation_batches
from effnetv2.data.preprocessing import Preprocessing
from effnetv2.data.samples import Samples
from effnetv2.train.machine import Machine
from effnetv2.train.world import World

BINS = 15
"""Bins of the calibration error."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Logits `(n, classes)` and labels `(n,)` of a set of pictures, in its order."""

    logits: Tensor
    labels: Tensor

    @property
    def loss(self) -> float:
        """Mean cross-entropy."""
        return F.cross_entropy(self.logits, self.labels).item()

    @property
    def top1(self) -> float:
        """Share of pictures whose likeliest class is the true one."""
        return (self.logits.argmax(1) == self.labels).double().mean().item()

    def summary(self) -> dict[str, float | int]:
        """Return top-1, top-5, macro-F1, calibration error (15 bins) and the number of pictures."""
        classes = self.logits.shape[1]
        probabilities = self.logits.softmax(1)
        top5 = self.logits.topk(min(5, classes), 1).indices == self.labels[:, None]
        return {
            "top1": self.top1,
            "top5": top5.any(1).double().mean().item(),
            "macro_f1": metric.multiclass_f1_score(
                probabilities, self.labels, classes, average="macro"
            ).item(),
            "ece": sum(
                abs(b["confidence"] - b["accuracy"]) * b["images"] for b in self.reliability()
            )
            / len(self.labels),
            "images": len(self.labels),
        }

    def interval(self, level: float = 0.95, draws: int = 2000, seed: int = 0) -> list[float]:
        """Return the bootstrap interval of top-1: pictures drawn anew, percentiles."""
        n = len(self.labels)
        right = np.random.default_rng(seed).binomial(n, self.top1, draws) / n
        return [float(q) for q in np.quantile(right, [(1 - level) / 2, (1 + level) / 2])]

    def per_class(self, classes: tuple[str, ...]) -> list[dict[str, float | int | str]]:
        """Return precision, recall and F1 of each class; 0 where there is nothing to count."""
        guess, n = self.logits.argmax(1), len(classes)
        precision = metric.multiclass_precision(guess, self.labels, n, average=None)
        recall = metric.multiclass_recall(guess, self.labels, n, average=None)
        f1 = metric.multiclass_f1_score(guess, self.labels, n, average=None)
        counts = torch.bincount(self.labels, minlength=n)
        return [
            {
                "label": c,
                "images": int(k),
                "precision": float(p),
                "recall": float(r),
                "f1": float(f),
            }
            for c, k, p, r, f in zip(classes, counts, precision, recall, f1, strict=True)
        ]

    def confusion(self) -> list[list[int]]:
        """Return counts, rows the truth, columns the guess."""
        n = self.logits.shape[1]
        counts: list[list[int]] = metric.multiclass_confusion_matrix(
            self.logits.argmax(1), self.labels, n
        ).tolist()
        return counts

    def reliability(self) -> list[dict[str, float | int]]:
        """Return mean confidence, accuracy and number of pictures of each bin that has any."""
        confidence, guess = self.logits.softmax(1).double().max(1)
        bins = (confidence * BINS).ceil().clamp(1, BINS)
        right = (guess == self.labels).double()
        return [
            {
                "confidence": confidence[bins == b].mean().item(),
                "accuracy": right[bins == b].mean().item(),
                "images": int((bins == b).sum()),
            }
            for b in bins.unique()
        ]


def predictions(
    model: nn.Module,
    samples: Samples,
    how: Preprocessing,
    machine: Machine,
    *,
    batch_size: int = 64,
    workers: int = 0,
    world: World | None = None,
    progress: Callable[[int], None] | None = None,
) -> Predictions:
    """Return what `model` says of every sample; all ranks must call it, all get all of it.

    `progress` is called with the number of pictures that this rank has seen.
    """
    world = world or World()
    model.eval()
    batches = evaluation_batches(
        samples,
        how,
        batch_size=batch_size,
        rank=world.rank,
        ranks=world.ranks,
        workers=workers,
    )
    rows: list[Tensor] = []
    numbers: list[Tensor] = []
    with torch.inference_mode():
        for images, _, where in batches:
            rows.append(machine.logits(model, images, how).cpu())
            numbers.append(where)
            if progress:
                progress(sum(map(len, numbers)))
    classes = len(samples.classes)
    parts = world.gather(
        (torch.cat([torch.empty(0, classes), *rows]), torch.cat([torch.empty(0).long(), *numbers]))
    )
    place = torch.cat([part[1] for part in parts]).argsort()
    labels = torch.from_numpy(samples.labels).long()
    return Predictions(torch.cat([part[0] for part in parts])[place], labels)


@torch.no_grad()
def recalibrate(
    model: nn.Module, samples: Samples, how: Preprocessing, machine: Machine, *, batches: int = 32
) -> None:
    """Re-estimate batch-norm statistics on `samples` at the size they are evaluated at.

    Pictures look larger to the network at another size; their statistics move with them. The new
    ones are the plain mean over at most `batches` batches of 64.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [m.momentum for m in norms]
    model.eval()
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # torch: average over all batches seen
        m.train()
    chosen = np.random.default_rng(0).permutation(len(samples))[: batches * 64]
    for images, _, _ in evaluation_batches(
        samples.subset(chosen), how, batch_size=64, rank=0, ranks=1, workers=0
    ):
        if len(images) > 1:
            machine.logits(model, images, how)
    for m, momentum in zip(norms, momenta, strict=True):
        m.momentum = momentum
    model.eval()
