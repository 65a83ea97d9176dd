"""`effnetv2 models`: the family as a table."""

import argparse
import json
from typing import Any

from effnetv2.arch.cost import cost
from effnetv2.arch.named import network
from effnetv2.arch.presets import FAMILY, SIZES, Sizes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument(
        "network", nargs="*", help="only these: names, JSON files, or package.module:NAME"
    )
    parser.add_argument("--classes", type=int, default=1000, help="classes of the head (1000)")
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def run(args: argparse.Namespace) -> int:
    """Print parameters, multiply-adds at the evaluation size, and both sizes."""
    chosen = [network(name) for name in args.network] or [net for net, _ in FAMILY]
    rows: list[dict[str, Any]] = []
    for net in chosen:
        sizes = SIZES.get(net.name, Sizes(224, 224))
        spent = cost(net, classes=args.classes, resolution=sizes.eval)
        rows.append(
            {
                "name": net.name,
                "params": spent.params,
                "macs": spent.macs,
                "train_resolution": sizes.train,
                "eval_resolution": sizes.eval,
            }
        )
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    print(f"{'name':<10}{'parameters':>14}{'multiply-adds':>16}{'train at':>10}{'eval at':>10}")
    for r in rows:
        print(
            f"{r['name']:<10}{r['params']:>14,}{r['macs'] / 1e9:>14.2f} G"
            f"{r['train_resolution']:>7} px{r['eval_resolution']:>7} px"
        )
    return 0
