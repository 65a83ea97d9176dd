"""What is timed: one training step, or one forward pass, of a built network."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from effnetv2.bench.settings import Setting

Kind = Literal["step", "infer"]

PASSES = {"step": 3, "infer": 1}
"""Forward passes that the multiply-adds of one are worth: a backward pass is two."""


def work(
    kind: Kind, model: nn.Module, setting: Setting, batch: int, side: int, device: torch.device
) -> Callable[[], None]:
    """Return what does one `kind` of work on `batch` random pictures of `side` pixels.

    A step is forward, cross-entropy, backward and SGD with momentum; the same for every network.
    """
    images = torch.randn(batch, 3, side, side, device=device).to(memory_format=setting.layout)
    if kind == "infer":
        return _inference(model.eval(), images, setting)
    labels = torch.randint(1000, (batch,), device=device)
    return _step(model.train(), images, labels, setting)


def _step(model: nn.Module, images: Tensor, labels: Tensor, setting: Setting) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)

    def run() -> None:
        with _autocast(images.device, setting):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return run


def _inference(model: nn.Module, images: Tensor, setting: Setting) -> Callable[[], None]:
    def run() -> None:
        with torch.inference_mode(), _autocast(images.device, setting):
            model(images)

    return run


def _autocast(device: torch.device, setting: Setting) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=setting.precision == "bf16")
