"""`effnetv2 train`: pictures in, model and report out."""

import argparse
import json
import sys
from pathlib import Path

from effnetv2.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    add = parser.add_argument
    add("data", nargs="?", help="class folders (with or without train/val/test), a CSV, or the "
        "name of a set: elpv, mnist5k, digits, cifar10, …")  # fmt: skip
    add("--to", metavar="FOLDER", help="where the run goes (runs/NAME)")
    add("--resume", metavar="RUN", help="go on with a run where it was cut")
    add("--model", help="a name of `effnetv2 models`, a .json, or "
        "package.module:NAME (v2-b0)")  # fmt: skip
    add("--recipe", default="default", help="default, imagenet, imagenet-released, transfer, or "
        "a recipe.json")  # fmt: skip
    more = parser.add_argument_group("instead of what follows from the pictures")
    add = more.add_argument
    add("--epochs", type=float)
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
    add = parser.add_argument_group("machine").add_argument
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, …")
    add("--precision", choices=("auto", "float32", "bfloat16"))
    add("--compile", action="store_true", help="torch.compile the network")
    add("--workers", type=int, help="loader processes")
    add("--cache", default="auto", metavar="SIZE", help="memory for decoded pictures, 4G for one; "
        "0 for none, or a folder to keep them on disk (a quarter of the memory left)")  # fmt: skip
    add("--save-seconds", type=float, default=60.0, help="age of the checkpoint, at most (60)")
    add("--quiet", action="store_true")
    add("--json", action="store_true", help="print the result as JSON")


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


def run(args: argparse.Namespace) -> int:
    """Train or resume, and say what came of it."""
    if (args.data is None) == (args.resume is None):
        raise InputError("give either DATA to train on, or --resume RUN")
    settings = {
        path: str(v) for flag, path in FIELDS.items() if (v := getattr(args, flag)) is not None
    }
    for assignment in args.set:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {assignment}: write it as PATH=VALUE")
        settings[path] = text
    if args.compile:
        settings["compile"] = "true"
    folder = Path(args.resume or args.to or Path("runs", Path(args.data).resolve().name))

    from effnetv2.api import resume, train
    from effnetv2.train.loop import Interruption
    from effnetv2.train.world import leads

    how = {
        "device": args.device,
        "workers": args.workers,
        "cache": args.cache,
        "save_seconds": args.save_seconds,
        "quiet": args.quiet,
    }
    try:
        if args.resume:
            resume(folder, **how)
        else:
            train(
                args.data,
                folder,
                model=args.model,
                recipe=args.recipe,
                epochs=args.epochs,
                batch_size=args.batch_size,
                size=args.size,
                learning_rate=args.learning_rate,
                augmentation=args.augment,
                val=args.val,
                test=args.test,
                split_seed=args.split_seed,
                bad_files=args.bad_files,
                settings=settings,
                **how,
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
