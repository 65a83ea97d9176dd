"""Batches by step: every picture once an epoch, and the same bytes whoever makes them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from effnetv2.data.augment import AUGMENTATIONS, GROWING, Augmentation
from effnetv2.data.loader import Request, evaluation_batches, fold, order, training_batches
from effnetv2.data.picture import Decoded
from effnetv2.data.preprocessing import Preprocessing
from effnetv2.data.samples import Arrays, Samples
from effnetv2.errors import InputError

N, SIDE = 23, 20
PIXELS = np.random.default_rng(0).integers(0, 100, (N, SIDE, SIDE, 3), dtype=np.uint8)
CLASSES = tuple(map(str, range(N)))
SAMPLES = Samples.of(Arrays("noise", PIXELS), range(N), CLASSES)
"""The label of a picture is its number."""

PLAIN = AUGMENTATIONS["none"]
STRONG = Augmentation(flip="dihedral", operations=GROWING)


class Counting:
    """Pictures whose colour says how many their process opened before."""

    def __init__(self) -> None:
        self.opened = 0

    def __len__(self) -> int:
        return N

    def name(self, i: int) -> str:
        return f"counting/{i}"

    def picture(self, i: int) -> Decoded:
        self.opened += 1
        return Decoded(Image.new("RGB", (SIDE, SIDE), (self.opened,) * 3))


def made(
    requests: Sequence[Request], how: Augmentation = STRONG, *, seed: int = 0, workers: int = 0
) -> list[tuple[Tensor, Tensor]]:
    return list(training_batches(SAMPLES, how, requests, seed=seed, workers=workers))


def steps(count: int, batch: int, rank: int = 0, ranks: int = 1) -> list[Request]:
    """Return the share of `rank` in steps whose size and magnitude grow."""
    return [
        Request(range(s * batch, (s + 1) * batch)[rank::ranks], 8 + s % 5, 10 * s / count)
        for s in range(count)
    ]


def same(a: list[tuple[Tensor, Tensor]], b: list[tuple[Tensor, Tensor]]) -> bool:
    one, other = (list(chain.from_iterable(batches)) for batches in (a, b))
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("batch", [3, 6, N, 50])
def test_every_epoch_shows_each_picture_once(batch: int, ranks: int) -> None:
    shown: dict[int, int] = {}
    for rank in range(ranks):
        requests = steps(math.ceil(3 * N / batch), batch, rank, ranks)
        for request, (images, labels) in zip(requests, made(requests, PLAIN), strict=True):
            assert len(images) == len(labels) == len(request.positions)
            shown |= dict(zip(request.positions, labels.tolist(), strict=True))
    epochs = [[shown[e * N + i] for i in range(N)] for e in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(N))] * 3
    assert epochs == [order(N, 0, e).tolist() for e in range(3)]
    assert len(set(map(tuple, epochs))) == 3


def test_a_picture_comes_with_its_own_label() -> None:
    ((images, labels),) = made([Request(range(N), SIDE, 0)], PLAIN)
    assert images.dtype == torch.uint8
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), PIXELS[labels.numpy()])


@pytest.mark.parametrize("step", [1, 4, 7])
def test_a_run_that_starts_at_a_step_is_the_rest_of_the_whole_run(step: int) -> None:
    requests = steps(8, 6)  # 48 pictures: beyond the first epoch and the second
    assert same(made(requests[step:]), made(requests)[step:])


def test_ranks_make_what_one_process_makes() -> None:
    whole = made(steps(4, 6))
    for rank in range(2):
        for (images, labels), (all_images, all_labels) in zip(
            made(steps(4, 6, rank, 2)), whole, strict=True
        ):
            assert torch.equal(images, all_images[rank::2])
            assert torch.equal(labels, all_labels[rank::2])


# One core is enough for the test, whatever torch thinks of it.
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_make_the_bytes_that_the_process_itself_makes() -> None:
    requests = steps(7, 5)
    assert same(made(requests, workers=2), made(requests, workers=0))


def test_another_seed_makes_another_run() -> None:
    assert not same(made(steps(1, 6), seed=1), made(steps(1, 6), seed=0))


def test_one_worker_lives_through_every_size() -> None:
    samples = Samples.of(Counting(), range(N), CLASSES)
    requests = [Request(range(4 * s, 4 * s + 4), size, 0) for s, size in enumerate((8, 24, 16))]
    batches = list(training_batches(samples, PLAIN, requests, seed=0, workers=1))
    assert [images.shape for images, _ in batches] == [(4, 3, s, s) for s in (8, 24, 16)]
    assert [int(i) for images, _ in batches for i in images[:, 0, 0, 0]] == list(range(1, 13))


def test_the_magnitude_changes_inside_a_living_worker() -> None:
    how = replace(PLAIN, operations=("cutout",), layers=1)
    requests = [Request(range(8), SIDE, magnitude) for magnitude in (0, 3, 10, 0)]
    batches = made(requests, how, workers=1)
    crop = torch.from_numpy(PIXELS[order(N, 0, 0)[:8]]).permute(0, 3, 1, 2)
    changed = [int((images != crop).any(1).sum()) for images, _ in batches]
    assert changed[0] == changed[3] == 0
    assert 0 < changed[1] < changed[2]


@pytest.mark.parametrize(
    ("n", "ranks", "batch_size"), [(N, 1, 5), (N, 3, 4), (N, 3, 64), (2, 3, 1)]
)
def test_evaluation_sees_each_sample_once_over_all_ranks(
    n: int, ranks: int, batch_size: int
) -> None:
    how = Preprocessing(resolution=SIDE)
    samples = SAMPLES.subset(range(n))
    seen: list[int] = []
    for rank in range(ranks):
        for images, labels, numbers in evaluation_batches(
            samples, how, batch_size=batch_size, rank=rank, ranks=ranks, workers=0
        ):
            assert len(images) <= batch_size
            assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), PIXELS[numbers.numpy()])
            assert labels.tolist() == numbers.tolist()
            seen += numbers.tolist()
    assert sorted(seen) == list(range(n))


def test_neighbouring_seeds_share_no_stream() -> None:
    numbers = [fold(seed, kind, at) for seed in range(20) for kind in range(3) for at in range(200)]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= n < 2**32 for n in numbers)
    assert fold(1, 23) != fold(12, 3) != fold(123)
    orders = {order(50, seed, epoch).tobytes() for seed in range(6) for epoch in range(6)}
    assert len(orders) == 36


def test_numbers_that_make_no_batches_are_refused() -> None:
    with pytest.raises(InputError, match="workers"):
        made(steps(1, 2), workers=-1)
    with pytest.raises(InputError, match="batch size is 0"):
        evaluation_batches(
            SAMPLES, Preprocessing(resolution=8), batch_size=0, rank=0, ranks=1, workers=0
        )
