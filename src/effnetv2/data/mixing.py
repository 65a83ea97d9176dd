"""Mixup and CutMix of one batch, each sample with its own share.

As in the authors' code: partners are the batch reversed; with both at work, mixup takes the first
half of the batch and CutMix the second. Unlike it, CutMix weighs labels by each sample's own
area, not by the batch's mean.
"""

import torch
from torch import Tensor


def mix(images: Tensor, targets: Tensor, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """Return mixed `(n, c, h, w)` images and `(n, classes)` targets.

    `mixup` and `cutmix` are the Beta distributions' alphas; 0 switches one off. Random numbers
    come from torch's CPU generator, whatever the device.
    """
    if mixup == cutmix == 0:
        return images, targets
    n = len(images)
    half = n // 2 if mixup > 0 and cutmix > 0 else (n if mixup > 0 else 0)
    weight = torch.ones(n, 1, 1, 1)
    keep = torch.ones(n, 1, *images.shape[2:])
    if half:
        keep[:half] = share = _beta(mixup, half).view(-1, 1, 1, 1)
        weight[:half] = share
    if half < n:
        keep[half:] = boxes = _outside(cutmix, n - half, *images.shape[2:])
        weight[half:] = boxes.mean((2, 3), keepdim=True)
    keep, weight = keep.to(images), weight.to(images.device).view(-1, 1)
    return images * keep + images.flip(0) * (1 - keep), targets * weight + targets.flip(0) * (
        1 - weight
    )


def _beta(alpha: float, n: int) -> Tensor:
    """Draw Beta(alpha, alpha), the larger of x and 1 - x: a sample stays mostly itself."""
    gamma = torch._standard_gamma(torch.full((2, n), float(alpha)))
    larger = gamma.amax(0)
    # Of tiny alphas both may be too small for a float, which is not an even share: one is all.
    lost = larger <= torch.finfo(gamma.dtype).tiny
    return torch.where(lost, 1.0, larger / gamma.sum(0))


def _outside(alpha: float, n: int, h: int, w: int) -> Tensor:
    """Return `(n, 1, h, w)` masks, 0 inside one box a sample."""
    side = (1 - _beta(alpha, n)).sqrt().view(-1, 1, 1, 1)
    y, x = torch.rand(2, n, 1, 1, 1)
    rows = (torch.arange(h).view(1, 1, h, 1) + 0.5) / h
    columns = (torch.arange(w).view(1, 1, 1, w) + 0.5) / w
    inside = ((rows - y).abs() < side / 2) & ((columns - x).abs() < side / 2)
    outside: Tensor = inside.logical_not().float()
    return outside
