"""What `train` and `plan` alike let one choose, as flags and as the package's functions take it."""

import argparse
from typing import Any

from effnetv2.errors import InputError


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
