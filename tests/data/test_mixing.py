"""Mixup and CutMix: a mixed target is the share of pixels, or of light, that each picture gives."""

import numpy as np
import pytest
import torch
from torch import Tensor

from effnetv2.data.mixing import mix

SIDE = 32


def batch(n: int, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Return `n` random pictures, each of a class of its own."""
    images = torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))
    return images, torch.eye(n)


def mixed(n: int, mixup: float, cutmix: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return mix(*batch(n), mixup, cutmix)


def own(targets: Tensor) -> Tensor:
    """Return how much of each sample is the picture in its own place."""
    return targets.diagonal()


def kept(images: Tensor) -> Tensor:
    """Return where each mixed picture `(n, h, w)` is still itself."""
    return (images == batch(len(images))[0]).all(1)


@pytest.mark.parametrize("n", [1, 7, 8])
@pytest.mark.parametrize(
    ("mixup", "cutmix"), [(0.2, 0), (0, 1), (0.5, 0.5), (0.01, 0.01), (0, 0.01), (8, 8), (0, 0)]
)
def test_targets_stay_distributions(n: int, mixup: float, cutmix: float) -> None:
    for seed in range(10):
        images, targets = mixed(n, mixup, cutmix, seed)
        assert images.shape == (n, 3, SIDE, SIDE)
        assert images.isfinite().all()
        assert (targets >= 0).all()
        torch.testing.assert_close(targets.sum(1), torch.ones(n))


def test_alpha_0_is_the_identity() -> None:
    images, targets = batch(4)
    same = mix(images, targets, 0, 0)
    assert same[0] is images
    assert same[1] is targets


def test_mixup_is_the_weighted_mean_with_the_reversed_batch() -> None:
    images, _ = batch(8)
    found, targets = mixed(8, 0.4, 0)
    share = own(targets)
    torch.testing.assert_close(targets, torch.diag(share) + torch.diag(1 - share).flip(1))
    share = share.view(-1, 1, 1, 1)
    torch.testing.assert_close(found, share * images + (1 - share) * images.flip(0))
    assert len(share.unique()) == 8  # each sample has its own


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_draws_the_larger_share_of_a_beta_distribution(alpha: float) -> None:
    torch.manual_seed(0)
    n = 2000
    _, targets = mix(torch.zeros(n, 1, 1, 1), torch.eye(n), alpha, 0)
    draws = np.random.default_rng(0).beta(alpha, alpha, 100_000)
    expected = np.maximum(draws, 1 - draws)
    levels = [0.1, 0.3, 0.5, 0.7, 0.9]
    found = np.quantile(own(targets).numpy(), levels)
    np.testing.assert_allclose(found, np.quantile(expected, levels), atol=0.03)


def test_cutmix_weighs_labels_by_the_area_that_is_kept() -> None:
    images, _ = batch(8)
    for seed in range(20):
        found, targets = mixed(8, 0, 1.0, seed)
        here = kept(found)
        torch.testing.assert_close(own(targets), here.float().mean((1, 2)))
        other = (found == images.flip(0)).all(1)
        assert (here ^ other).all()  # what is not itself is its partner


def test_cutmix_cuts_one_box_of_the_pictures_own_shape() -> None:
    for seed in range(20):
        found, _ = mixed(8, 0, 1.0, seed)
        for cut in kept(found).logical_not():
            height, width = int(cut.any(1).sum()), int(cut.any(0).sum())
            assert height * width == int(cut.sum())
            inside = not (cut[0].any() or cut[-1].any() or cut[:, 0].any() or cut[:, -1].any())
            assert abs(height - width) <= 1 or not inside


def test_with_both_the_first_half_is_mixup_and_the_second_cutmix() -> None:
    images, _ = batch(8)
    found, targets = mixed(8, 1.0, 1.0)
    share = own(targets)[:4].view(-1, 1, 1, 1)
    torch.testing.assert_close(found[:4], share * images[:4] + (1 - share) * images.flip(0)[:4])
    assert not kept(found)[:4].any()
    torch.testing.assert_close(own(targets)[4:], kept(found)[4:].float().mean((1, 2)))
    assert (own(targets)[4:] < 1).any()


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.3, 0), (1, 0), (0, 0.3), (0, 1)])
def test_a_sample_stays_mostly_itself(mixup: float, cutmix: float) -> None:
    # A box of half the area can cover one more row and one more column of pixel centres.
    least = 0.5 - 2 * 0.71 / SIDE if cutmix else 0.5
    for seed in range(50):
        assert own(mixed(8, mixup, cutmix, seed)[1]).min() >= least


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.01, 0), (0, 0.01), (0.01, 0.01)])
def test_a_tiny_alpha_is_finite_and_leaves_most_samples_alone(mixup: float, cutmix: float) -> None:
    torch.manual_seed(0)
    n = 1000
    images, targets = mix(torch.rand(n, 1, 4, 4), torch.eye(n), mixup, cutmix)
    assert images.isfinite().all()
    assert targets.isfinite().all()
    assert (own(targets) > 0.99).float().mean() > 0.9


def test_the_seed_decides() -> None:
    assert torch.equal(mixed(8, 1, 1, seed=3)[0], mixed(8, 1, 1, seed=3)[0])
    assert not torch.equal(mixed(8, 1, 1, seed=3)[0], mixed(8, 1, 1, seed=4)[0])
