"""`effnetv2 train`: pictures in, model and report out."""

import argparse
import json
import sys
from pathlib import Path

from effnetv2.cli.choices import add_choices, add_machine, choices
from effnetv2.errors import InputError
from effnetv2.train.budget import Budget


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    add = parser.add_argument
    add("data", nargs="?", help="class folders (with or without train/val/test), a CSV, or the "
        "name of a set: elpv, mnist5k, digits, cifar10, …")  # fmt: skip
    add("--to", metavar="FOLDER", help="where the run goes (runs/NAME)")
    add("--resume", metavar="RUN", help="go on with a run where it was cut")
    add("--budget", metavar="TIME", help="be done in 20m, 90s, 1h30m: the epochs follow")
    add_choices(parser).add_argument("--epochs", type=float)
    more = add_machine(parser).add_argument
    more("--cache", default="auto", metavar="SIZE", help="memory for decoded pictures, 4G for one; "
         "0 for none, or a folder to keep them on disk (a quarter of the memory left)")  # fmt: skip
    more("--save-seconds", type=float, default=60.0, help="age of the checkpoint, at most (60)")
    add("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Train or resume, and say what came of it."""
    if (args.data is None) == (args.resume is None):
        raise InputError("give either DATA to train on, or --resume RUN")
    if args.resume and args.budget:
        raise InputError("a run keeps the budget that it began with; leave out --budget")
    budget = Budget.of(args.budget) if args.budget else None  # its time has begun
    asked = choices(args)
    folder = Path(args.resume or args.to or Path("runs", Path(args.data).resolve().name))

    from effnetv2.api import resume, train
    from effnetv2.train.loop import Interruption
    from effnetv2.train.world import leads

    try:
        if args.resume:
            how = {name: asked[name] for name in ("device", "workers", "quiet")}
            resume(folder, **how, cache=args.cache, save_seconds=args.save_seconds)
        else:
            train(
                args.data,
                folder,
                budget=budget,
                epochs=args.epochs,
                cache=args.cache,
                save_seconds=args.save_seconds,
                **asked,
            )
    except Interruption as e:
        if leads():
            print(f"{e}; go on with: effnetv2 train --resume {folder}", file=sys.stderr)
        return 130
    if leads():
        _tell(folder, as_json=args.json)
    return 0


def _tell(folder: Path, *, as_json: bool) -> None:
    from effnetv2.train.run import Run

    run = Run(folder)
    found = run.read("evaluation/test.json") or run.read("evaluation/val.json")
    if as_json:
        kept = ("split", "top1", "top5", "macro_f1", "ece", "images", "top1_interval", "loss")
        print(json.dumps({"run": str(folder)} | {k: found[k] for k in kept if found}, indent=2))
        return
    if found:
        low, high = found["top1_interval"]
        print(
            f"accuracy {found['top1']:.2%} (95 % interval {low:.2%} to {high:.2%}), "
            f"macro-F1 {found['macro_f1']:.3f}, on {found['images']} {found['split']} pictures"
        )
    print(f"report   {folder / 'report.html'}")
    print("next     "
          f"effnetv2 predict {folder} PICTURE.jpg\n         "
          f"effnetv2 evaluate {folder} MORE_PICTURES/\n         "
          f"effnetv2 train DATA --recipe {folder / 'recipe.json'} --to runs/again")  # fmt: skip
