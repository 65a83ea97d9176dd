"""timm's network trained from scratch as its documents show, tested after every epoch.

    python benchmarks/peer.py DATA --setting documented --seed 0 --to FILE.json

DATA has the class folders train/ and test/. Both settings share network, pictures, a fixed size,
timm's transforms (RandomResizedCrop, flip, RandAugment; a centre crop of 7/8 for tests), and AdamW
with clipped gradients under a cosine with warm-up. `documented` trains in float32, `fast` with all
of timm's speed switches for such a network: bfloat16 autocast and channels_last. Seconds are those
of training; tests are not counted.
"""

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import create_transform
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

SETTINGS = ("documented", "fast")
LABEL_SMOOTHING, WEIGHT_DECAY = 0.1, 0.05  # timm's defaults for AdamW and for smoothing
WARMUP_SHARE = 0.1


def loaders(args: argparse.Namespace) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return batches of the training and of the test pictures."""
    data, side = Path(args.data), args.side
    randaugment = {"auto_augment": args.randaugment, "color_jitter": None}
    train = ImageFolder(data / "train", create_transform(side, is_training=True, **randaugment))
    test = ImageFolder(data / "test", create_transform(side, is_training=False))
    how = {"batch_size": args.batch, "num_workers": args.workers, "pin_memory": args.cuda}
    if args.workers:
        how["persistent_workers"] = True
    return DataLoader(train, shuffle=True, drop_last=True, **how), DataLoader(test, **how)


@torch.inference_mode()
def accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], place: "Place") -> float:
    """Return the share of test pictures that `model` names right."""
    model.eval()
    right = total = 0
    for images, labels in batches:
        with place.autocast():
            guesses = model(place.images(images)).argmax(1)
        right += int((guesses == labels.to(place.device)).sum())
        total += len(labels)
    return right / total


class Place:
    """Where and how a setting computes."""

    def __init__(self, setting: str, cuda: bool) -> None:
        self.device = torch.device("cuda" if cuda else "cpu")
        self.fast = setting == "fast"
        self.layout = torch.channels_last if self.fast else torch.contiguous_format

    def images(self, images: Tensor) -> Tensor:
        """Return images on the device, in the setting's layout."""
        return images.to(self.device, memory_format=self.layout, non_blocking=True)

    def autocast(self) -> torch.autocast:
        """Return the context of a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.fast)


def epoch(
    model: nn.Module,
    batches: DataLoader[Any],
    optimizer: torch.optim.Optimizer,
    schedule: Any,
    first: int,
    place: Place,
) -> float:
    """Train on every batch once, from step `first`, and return the last loss."""
    model.train()
    loss = torch.zeros(())
    for step, (images, labels) in enumerate(batches, first):
        schedule.step_update(step)
        with place.autocast():
            logits = model(place.images(images))
        loss = F.cross_entropy(
            logits.float(), labels.to(place.device), label_smoothing=LABEL_SMOOTHING
        )
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()
    return float(loss.detach())


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train to the end; return seconds and test accuracy after every epoch."""
    torch.manual_seed(args.seed)
    place = Place(args.setting, args.cuda)
    batches, tests = loaders(args)
    classes = len(batches.dataset.classes)  # type: ignore[attr-defined]
    model = timm.create_model(args.network, pretrained=False, num_classes=classes)
    model = model.to(place.device).to(memory_format=place.layout)
    optimizer = create_optimizer_v2(
        model, opt="adamw", lr=args.learning_rate, weight_decay=WEIGHT_DECAY
    )
    steps = args.epochs * len(batches)
    warmup = round(WARMUP_SHARE * steps)
    schedule = CosineLRScheduler(
        optimizer, t_initial=max(1, steps - warmup), warmup_t=warmup, warmup_lr_init=1e-6,
        warmup_prefix=True, t_in_epochs=False,
    )  # fmt: skip
    seconds, curve = 0.0, []
    for n in range(args.epochs):
        start = time.perf_counter()
        loss = epoch(model, batches, optimizer, schedule, n * len(batches), place)
        if args.cuda:
            torch.cuda.synchronize()
        seconds += time.perf_counter() - start
        top1 = accuracy(model, tests, place)
        curve.append({"epoch": n + 1, "seconds": seconds, "loss": loss, "top1": top1})
        where = f"peer {args.setting}, seed {args.seed}: epoch {n + 1}/{args.epochs}"
        print(f"{where}, loss {loss:.3f}, test {top1:.2%}, {seconds:.0f} s of training", flush=True)
    given = {k: v for k, v in vars(args).items() if k not in ("to", "data", "cuda")}
    return given | {"timm": timm.__version__, "curve": curve}


def main() -> None:
    parser = argparse.ArgumentParser(description="timm's network from scratch, as documented.")
    add = parser.add_argument
    add("data")
    add("--setting", choices=SETTINGS, default="documented")
    add("--network", default="tf_efficientnetv2_b0")
    add("--side", type=int, default=160)
    add("--epochs", type=int, default=20)
    add("--batch", type=int, default=64)
    add("--learning-rate", type=float, default=0.002)
    add("--randaugment", default="rand-m9-mstd0.5-inc1")
    add("--workers", type=int, default=2)
    add("--seed", type=int, default=0)
    add("--to", required=True, help="the JSON file to write when all is done")
    args = parser.parse_args()
    args.cuda = torch.cuda.is_available()
    found = train(args)
    to = Path(args.to)
    part = to.with_suffix(".part")  # so that a file that is there is whole
    part.write_text(json.dumps(found, indent=1) + "\n")
    part.replace(to)


if __name__ == "__main__":
    main()
