"""`effnetv2 evaluate`: what a trained network gets right."""

import argparse
import json
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("run", help="a run's folder, or its model folder")
    parser.add_argument("data", help="labelled pictures: class folders, a CSV, or a named set")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0, help="loader processes (0)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--classes", action="store_true", help="also tell each class's numbers")


def run(args: argparse.Namespace) -> int:
    """Print accuracy and its kin; classes are matched by name."""
    from effnetv2.api import evaluate, load

    classifier = load(args.run, device=args.device)
    found = evaluate(
        classifier, args.data, batch_size=args.batch_size, workers=args.workers, quiet=False
    )
    for note in found["notes"]:
        print(f"note: {note}", file=sys.stderr)
    kept = {k: found[k] for k in ("top1", "top5", "macro_f1", "ece", "images")}
    if args.json:
        print(
            json.dumps(kept | ({"per_class": found["per_class"]} if args.classes else {}), indent=2)
        )
        return 0
    low, high = found["top1_interval"]
    print(f"top-1     {found['top1']:.2%}   (95 % interval {low:.2%} to {high:.2%})")
    print(f"top-5     {found['top5']:.2%}")
    print(f"macro-F1  {found['macro_f1']:.4f}")
    print(f"ECE       {found['ece']:.4f}")
    print(f"images    {found['images']:,}, at {found['resolution']} px")
    if args.classes:
        for c in found["per_class"]:
            print(
                f"  {c['label']:<24} {c['images']:>6} images  precision {c['precision']:.3f}  "
                f"recall {c['recall']:.3f}  F1 {c['f1']:.3f}"
            )
    return 0
