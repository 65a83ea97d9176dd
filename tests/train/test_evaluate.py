"""Metrics against scikit-learn and numpy; answers and batch statistics by picture."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor, nn

from effnetv2.arch.presets import TINY
from effnetv2.data.preprocessing import Preprocessing
from effnetv2.data.samples import Arrays, Samples
from effnetv2.nn.network import EfficientNet
from effnetv2.train.evaluate import BINS, Predictions, predictions, recalibrate
from effnetv2.train.machine import Machine

CPU = Machine(torch.device("cpu"), torch.float32)
HOW = Preprocessing(resolution=32)
CLASSES = tuple("abcdefg")


def answers(n: int = 500) -> Predictions:
    """Return answers right half of the time; class f is only guessed, class g never is."""
    torch.manual_seed(0)
    labels = torch.randint(5, (n,))
    logits = 1.5 * torch.randn(n, 7)
    logits[torch.arange(n), labels] += 1.5
    logits[:, 6] = -9
    return Predictions(logits, labels)


def truth_and_guess(seen: Predictions) -> tuple[np.ndarray, np.ndarray]:
    return seen.labels.numpy(), seen.logits.numpy().argmax(1)


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Return what Guo and others (2017) define: bins open below, closed above."""
    error, edges = 0.0, np.linspace(0, 1, BINS + 1)
    for low, high in pairwise(edges):
        here = (confidence > low) & (confidence <= high)
        if here.any():
            error += here.mean() * abs(right[here].mean() - confidence[here].mean())
    return error


def test_top1_and_top5_count_right_answers() -> None:
    seen = answers()
    truth, guess = truth_and_guess(seen)
    ranked = np.argsort(-seen.logits.numpy(), 1)
    summary = seen.summary()
    assert summary["top1"] == seen.top1 == metrics.accuracy_score(truth, guess)
    assert summary["top5"] == (ranked[:, :5] == truth[:, None]).any(1).mean()
    assert 0.3 < summary["top1"] < summary["top5"] < 1
    assert summary["images"] == 500


def test_top5_of_fewer_classes_is_certain() -> None:
    assert Predictions(torch.randn(9, 3), torch.arange(9) % 3).summary()["top5"] == 1


def test_loss_is_scikit_learns_log_loss() -> None:
    seen = answers()
    expected = metrics.log_loss(
        seen.labels.numpy(), seen.logits.double().softmax(1).numpy(), labels=range(7)
    )
    assert seen.loss == pytest.approx(expected, rel=1e-5)


def test_macro_f1_is_scikit_learns() -> None:
    seen = answers()
    expected = metrics.f1_score(*truth_and_guess(seen), average="macro", zero_division=0)
    assert seen.summary()["macro_f1"] == pytest.approx(expected, abs=1e-6)


def test_the_calibration_error_is_that_of_fifteen_bins() -> None:
    seen = answers()
    truth, guess = truth_and_guess(seen)
    confidence = seen.logits.softmax(1).double().numpy().max(1)
    expected = calibration_error(confidence, guess == truth)
    assert seen.summary()["ece"] == pytest.approx(expected, abs=1e-6)
    assert expected > 0.01


def test_certainty_shares_the_last_bin_with_near_certainty() -> None:
    logits = torch.tensor([[200.0, 0.0], [200.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
    seen = Predictions(logits, torch.tensor([0, 1, 0, 0]))
    confidence = np.array([1.0, 1.0, *2 * [1 / (1 + np.exp(-4.0))]])
    expected = calibration_error(confidence, np.array([1.0, 0.0, 1.0, 1.0]))
    assert seen.summary()["ece"] == pytest.approx(expected, abs=1e-6)


def test_reliability_tells_the_bins_that_the_calibration_error_sums() -> None:
    seen = answers()
    bins = seen.reliability()
    assert sum(b["images"] for b in bins) == 500
    assert all(b["images"] > 0 for b in bins)
    spread = [(int(np.ceil(b["confidence"] * BINS)), b) for b in bins]
    assert [place for place, _ in spread] == sorted({place for place, _ in spread})
    mean = sum(b["accuracy"] * b["images"] for b in bins) / 500
    assert mean == pytest.approx(seen.top1)


def test_each_class_is_told_as_scikit_learn_tells_it() -> None:
    seen = answers()
    expected = metrics.precision_recall_fscore_support(
        *truth_and_guess(seen), labels=range(7), zero_division=0
    )
    told = seen.per_class(CLASSES)
    assert [row["label"] for row in told] == list(CLASSES)
    for name, column in zip(("precision", "recall", "f1", "images"), expected, strict=True):
        assert [row[name] for row in told] == pytest.approx(column.tolist(), abs=1e-6)


def test_the_confusion_matrix_has_the_truth_in_rows() -> None:
    seen = answers()
    expected = metrics.confusion_matrix(*truth_and_guess(seen), labels=range(7))
    assert seen.confusion() == expected.tolist()


@pytest.mark.parametrize("right", [0.0, 0.5, 0.88, 1.0])
def test_the_interval_contains_top1_and_narrows_with_pictures(right: float) -> None:
    widths = []
    for n in (50, 200, 800):
        labels = (torch.arange(n) >= round(right * n)).long()  # class 0 is always guessed
        seen = Predictions(torch.tensor([[1.0, 0.0]]).expand(n, 2), labels)
        low, high = seen.interval()
        assert 0 <= low <= seen.top1 <= high <= 1
        assert seen.interval() == [low, high]
        widths.append(high - low)
    if 0 < right < 1:
        assert widths[0] > 1.5 * widths[1] > 1.5 * 1.5 * widths[2]
        # the normal approximation of a share's deviation
        deviation = (right * (1 - right) / 800) ** 0.5
        assert widths[2] == pytest.approx(2 * 1.96 * deviation, rel=0.2)
    else:
        assert widths == [0, 0, 0]


class Brightness(nn.Module):
    """Logits that tell a picture's mean, so that each answer names its picture."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        return torch.stack([mean, -mean, 2 * mean], 1)


def noise(n: int) -> Samples:
    """Return random pictures, each darker than the next."""
    pixels = np.random.default_rng(0).integers(0, 50, (n, 32, 32, 3), dtype=np.uint8)
    pixels += (np.arange(n) * 200 // n).astype(np.uint8)[:, None, None, None]
    return Samples.of(Arrays("noise", pixels), np.arange(n) % 3, ("a", "b", "c"))


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_answers_come_in_the_order_of_samples(batch_size: int) -> None:
    samples = noise(13).subset(np.random.default_rng(1).permutation(13))
    model = Brightness().train()
    how = Preprocessing(resolution=32, mean=(0, 0, 0), std=(1, 1, 1))
    seen = predictions(model, samples, how, CPU, batch_size=batch_size)
    means = [float(np.asarray(samples.open(i)).mean()) / 255 for i in range(13)]
    torch.testing.assert_close(seen.logits[:, 0], torch.tensor(means), rtol=1e-5, atol=1e-6)
    assert seen.labels.tolist() == samples.labels.tolist()
    assert not model.training
    assert not seen.logits.requires_grad


def network() -> EfficientNet:
    torch.manual_seed(0)
    model = EfficientNet(TINY, 3)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = 0.03
            m.running_mean = torch.randn(m.num_features)
    return model


@pytest.mark.parametrize(("n", "batches", "expected"), [(80, 32, 2), (65, 32, 1), (140, 1, 1)])
def test_recalibrated_statistics_are_the_plain_mean_over_batches(
    n: int, batches: int, expected: int
) -> None:
    model = network()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    inputs: list[list[Tensor]] = [[] for _ in norms]
    hooks = [
        m.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0].clone()))
        for m, seen in zip(norms, inputs, strict=True)
    ]
    recalibrate(model, noise(n), HOW, CPU, batches=batches)
    for hook in hooks:
        hook.remove()
    for m, seen in zip(norms, inputs, strict=True):
        assert len(seen) == expected  # a last batch of one picture has no variance
        mean = torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0)
        variance = torch.stack([x.var((0, 2, 3)) for x in seen]).mean(0)
        torch.testing.assert_close(m.running_mean, mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(m.running_var, variance, rtol=1e-4, atol=1e-5)


def test_recalibration_changes_nothing_but_the_statistics() -> None:
    model = network().train()
    before = {name: p.clone() for name, p in model.named_parameters()}
    recalibrate(model, noise(10), HOW, CPU)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert not any(m.training for m in model.modules())
    assert {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {0.03}
    once = [b.clone() for b in model.buffers()]
    recalibrate(model, noise(10), HOW, CPU)
    assert all(torch.equal(a, b) for a, b in zip(once, model.buffers(), strict=True))
