"""A split is exact, fair to every class, the same every time, and restored by name."""

import json
from dataclasses import replace

import numpy as np
import pytest

from effnetv2.data.samples import Arrays, Data, Samples
from effnetv2.data.split import restore, split_names, stratified
from effnetv2.errors import InputError


def test_a_split_is_a_partition_of_exactly_the_share() -> None:
    rng = np.random.default_rng(0)
    for trial in range(100):
        classes, n = int(rng.integers(1, 12)), int(rng.integers(50, 400))
        labels = rng.integers(0, classes, n)
        fraction = float(rng.choice([0.05, 0.1, 0.2, 0.25, 0.5]))
        rest, part = stratified(labels, fraction, trial)
        assert sorted([*rest, *part]) == list(range(n))
        counts, taken = np.bincount(labels), np.bincount(labels[part], minlength=classes)
        assert np.bincount(labels[rest], minlength=classes)[counts > 0].min() > 0
        assert len(part) == int(n * fraction + 0.5)
        assert (np.abs(taken - counts * fraction) <= 1).all()


def test_rare_classes_stay_in_the_rest() -> None:
    labels = np.array([0] * 10 + [1] * 2 + [2])
    for fraction in (0.1, 0.5, 0.9):
        rest, _ = stratified(labels, fraction, 0)
        assert set(labels[rest]) == {0, 1, 2}


def test_a_share_of_many_small_classes_is_still_exact() -> None:
    labels = np.repeat(np.arange(100), 4)
    _, part = stratified(labels, 0.1, 0)
    assert len(part) == 40
    assert np.bincount(labels[part]).max() == 1
    assert labels[part].mean() == pytest.approx(49.5, abs=15), "ties fall on all classes alike"


def test_nothing_and_single_samples_can_be_split() -> None:
    assert [len(x) for x in stratified([], 0.5, 0)] == [0, 0]
    assert [len(x) for x in stratified([3, 4], 0.5, 0)] == [2, 0]
    assert [len(x) for x in stratified([0] * 10, 0.0, 0)] == [10, 0]


def test_labels_may_be_any_strata() -> None:
    rest, part = stratified(["a", "b"] * 10, 0.5, 0)
    assert np.bincount(rest % 2).tolist() == np.bincount(part % 2).tolist() == [5, 5]


def test_the_seed_alone_decides() -> None:
    labels = np.arange(60) % 3
    assert np.array_equal(stratified(labels, 0.1, 7)[1], stratified(labels, 0.1, 7)[1])
    assert not np.array_equal(stratified(labels, 0.1, 7)[1], stratified(labels, 0.1, 8)[1])
    assert not np.array_equal(stratified(labels, 0.1, (7, 1))[1], stratified(labels, 0.1, 7)[1])


def test_the_draw_is_pinned_for_all_versions_of_numpy() -> None:
    assert stratified(np.arange(60) % 3, 0.1, 0)[1].tolist() == [0, 8, 19, 26, 31, 51]


def data() -> Data:
    images = np.zeros((40, 2, 2), np.uint8)
    whole = Samples.of(Arrays("x", images), np.arange(40) % 2, ("a", "b"))
    rest, part = stratified(whole.labels, 0.25, 0)
    return Data("x", whole.subset(rest), val=whole.subset(part))


def test_a_saved_split_comes_back_exactly() -> None:
    first = data()
    saved = json.loads(json.dumps(split_names(first)))
    assert list(saved) == ["train", "val"]
    everything = np.random.default_rng(0).permutation(40)
    assert first.val is not None
    whole = Samples.of(first.train.pictures, np.arange(40) % 2, ("a", "b"))
    again = restore(replace(first, train=whole.subset(everything), val=None), saved)
    assert again.val is not None
    assert again.train.digest() == first.train.digest()
    assert again.val.digest() == first.val.digest()


def test_pictures_that_came_since_are_left_out() -> None:
    saved = split_names(data())
    saved["train"] = saved["train"][:-3]
    assert len(restore(data(), saved).train) == 27


def test_a_picture_that_has_gone_is_named() -> None:
    saved = split_names(data())
    saved["val"] += ["x/gone", "x/too"]
    with pytest.raises(InputError, match=r"'x/gone' and 1 more of the saved val part not found"):
        restore(data(), saved)


def test_a_split_without_training_pictures_is_refused() -> None:
    with pytest.raises(InputError, match="no train part"):
        restore(data(), {"train": [], "val": ["x/00000"]})
