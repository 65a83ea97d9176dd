"""`effnetv2 train`: pictures in, model and report out."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

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
    choices = add_choices(parser)
    choices.add_argument("--epochs", type=float)
    add_machine(parser).add_argument(
        "--save-seconds", type=float, default=60.0, help="age of the checkpoint, at most (60)"
    )
    add("--json", action="store_true", help="print the result as JSON")


def add_choices(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Declare what is trained, and on what; return the group of what follows from the pictures."""
    add = parser.add_argument
    add("--model", help="a name of `effnetv2 models`, a .json, or "
        "package.module:NAME (v2-b0)")  # fmt: skip
    add("--recipe", default="default", help="default, imagenet, imagenet-released, transfer, or "
        "a recipe.json")  # fmt: skip
    more = parser.add_argument_group("instead of what follows from the pictures")
    add = more.add_argument
    add("--batch-size", type=int, help="pictures of one update")
    add("--size", type=int, help="side of the last phase's pictures, in pixels")
    add("--learning-rate", type=float)
    add(
        "--augment",
        metavar="KIND",
        help="photo, aligned (same way round), surface (no up or down), glyph, imagenet, none",
    )
    add("--class-weights", choices=("none", "balanced"), help="even out rare classes")
    add("--patience", type=int, metavar="N", help="stop after N validations without gain")
    add("--min-epochs", type=float, metavar="E", help="but not before E epochs")
    add("--accumulate", type=int, metavar="N", help="compute a batch in N parts: less memory")
    add("--ema", type=float, metavar="DECAY", help="decay of the averaged weights; 0 for none")
    add("--seed", type=int)
    add("--set", action="append", default=[], metavar="PATH=VALUE",
        help="any field of recipe.json, such as optimizer.weight_decay=0.1")  # fmt: skip
    add = parser.add_argument_group("data").add_argument
    add("--val", type=float, help="share for validation if there is no such part (0.1)")
    add("--test", type=float, help="share for the test if there are no parts at all (0.1)")
    add("--split-seed", type=int)
    add("--bad-files", choices=("skip", "fail"), help="broken pictures (skip)")
    return more


def add_machine(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Declare what it runs on."""
    group = parser.add_argument_group("machine")
    add = group.add_argument
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, …")
    add("--precision", choices=("auto", "float32", "bfloat16"))
    add("--compile", action="store_true", help="torch.compile the network")
    add("--workers", type=int, help="loader processes")
    add("--quiet", action="store_true")
    return group


# Flags that set one field of the recipe.
FIELDS = {
    "class_weights": "class_weights",
    "patience": "plateau.patience",
    "min_epochs": "plateau.min_epochs",
    "accumulate": "accumulate",
    "ema": "ema_decay",
    "seed": "seed",
    "precision": "precision",
}


def settings(args: argparse.Namespace) -> dict[str, str]:
    """Return the recipe's fields that flags and `--set` ask for, by dotted path."""
    found = {
        path: str(v) for flag, path in FIELDS.items() if (v := getattr(args, flag)) is not None
    }
    for assignment in args.set:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {assignment}: write it as PATH=VALUE")
        found[path] = text
    if args.compile:
        found["compile"] = "true"
    return found


def choices(args: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_choices` and `add_machine` declared, as the package's functions take it."""
    same = ("model", "recipe", "batch_size", "size", "learning_rate", "val", "test", "split_seed",
            "bad_files", "device", "workers", "quiet")  # fmt: skip
    found = {name: getattr(args, name) for name in same}
    return found | {"augmentation": args.augment, "settings": settings(args)}


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
            resume(folder, **how, save_seconds=args.save_seconds)
        else:
            train(
                args.data,
                folder,
                budget=budget,
                epochs=args.epochs,
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
