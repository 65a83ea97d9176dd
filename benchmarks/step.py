"""One training step beside timm's and torchvision's, same settings, side by side in one run.

    python benchmarks/step.py [--side 128] [--batch 32] [--rounds 9] [--json FILE]

Every round times one step of each network in turn, so that a machine that drifts drifts for all;
what is told is the median of the rounds' ratios, with their quartiles.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from effnetv2.arch.presets import PRESETS
from effnetv2.nn.network import EfficientNet
from effnetv2.train.machine import Machine
from effnetv2.train.record import command, now
from effnetv2.version import __version__

# fmt: off
#          ours     theirs
PAIRS = (
    ("v2-b0", "timm",        "tf_efficientnetv2_b0"),
    ("v2-s",  "timm",        "tf_efficientnetv2_s"),
    ("v2-s",  "torchvision", "efficientnet_v2_s"),
)
# fmt: on
SETTINGS = ("fp32", "fp32 channels_last", "bf16 channels_last")


def step(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, mixed: bool
) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)

    def run() -> None:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=mixed):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if images.is_cuda:
            torch.cuda.synchronize()

    return run


def pair(
    ours: str, library: str, theirs: str, setting: str, args: argparse.Namespace
) -> dict[str, Any]:
    padding = "same" if library == "timm" else "symmetric"
    device = Machine.choose().device
    networks = (
        EfficientNet(replace(PRESETS[ours], padding=padding)),
        timm.create_model(theirs) if library == "timm" else torchvision.models.get_model(theirs),
    )
    layout = torch.channels_last if "channels_last" in setting else torch.contiguous_format
    images = torch.randn(args.batch, 3, args.side, args.side, device=device)
    labels = torch.randint(1000, (args.batch,), device=device)
    steps = []
    for network in networks:
        model = network.to(device, memory_format=layout).train()
        steps.append(step(model, images.to(memory_format=layout), labels, "bf16" in setting))
    for warm in steps:
        warm()
        warm()
    seconds: list[list[float]] = [[], []]
    for _ in range(args.rounds):
        for which, run in enumerate(steps):
            start = time.perf_counter()
            run()
            seconds[which].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(*seconds, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "ours": ours, "theirs": f"{library} {theirs}", "setting": setting,
        "side": args.side, "batch": args.batch, "rounds": args.rounds,
        "our_images_per_second": args.batch / statistics.median(seconds[0]),
        "their_images_per_second": args.batch / statistics.median(seconds[1]),
        "time_ratio": middle, "quartiles": [low, high],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", help="write the result here")
    args = parser.parse_args()
    rows = []
    print(
        "network  beside                            setting             ours   theirs  time ratio"
    )
    for ours, library, theirs in PAIRS:
        for setting in SETTINGS:
            r = pair(ours, library, theirs, setting, args)
            rows.append(r)
            print(
                f"{ours:<8} {r['theirs']:<33} {setting:<19} {r['our_images_per_second']:>5.0f}/s "
                f"{r['their_images_per_second']:>5.0f}/s  {r['time_ratio']:.3f} "
                f"({r['quartiles'][0]:.3f} to {r['quartiles'][1]:.3f})",
                flush=True,
            )
    if args.json:
        about = {
            "command": f"python benchmarks/{command()}", "when": now(), "effnetv2": __version__,
            "torch": torch.__version__, "timm": timm.__version__,
            "torchvision": torchvision.__version__, "machine": Machine.choose().describe(),
        }  # fmt: skip
        with open(args.json, "w") as f:  # noqa: PTH123
            json.dump(about | {"rows": rows}, f, indent=2)


if __name__ == "__main__":
    main()
