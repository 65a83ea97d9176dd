"""`effnetv2 predict`: what is on pictures."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from effnetv2.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("run", help="a run's folder, or its model folder")
    parser.add_argument("pictures", nargs="+", help="picture files, or folders of them")
    parser.add_argument("--top", type=int, default=5, help="labels a picture (5)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def run(args: argparse.Namespace) -> int:
    """Print the likeliest labels of each picture, in the order given; broken ones are named."""
    if args.top < 1:
        raise InputError(f"--top is {args.top}; give at least 1")
    from effnetv2.api import load
    from effnetv2.train.display import Display

    classifier = load(args.run, device=args.device)
    files = list(_files(args.pictures))
    found, bad = [], 0
    with Display(silent=not args.json).counting("predicting", len(files)) as progress:
        for done, p in enumerate(classifier.stream(files, args.top), 1):
            progress(done)
            if p.error:
                bad += 1
                print(f"effnetv2 predict: {p.path}: {p.error}; skipped", file=sys.stderr)
            elif args.json:
                found.append(p.data())
            else:
                guesses = "  ".join(f"{g.label} {g.probability:.1%}" for g in p.top)
                print(f"{p.path}  {guesses}", flush=True)
    if args.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    return 2 if bad else 0


def _files(given: list[str]) -> Iterator[str]:
    from effnetv2.data.decode import SUFFIXES

    for name in given:
        path = Path(name)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise InputError(
                    f"{name} holds no pictures; give picture files or a folder of them"
                )
            yield from map(str, inside)
        elif path.exists():
            yield name
        else:
            raise InputError(f"{name}: no such file or folder; check the name")
