"""`effnetv2 plan`: what a training within a budget of time would be."""

import argparse
import json

from effnetv2.cli.choices import add_choices, add_machine, choices
from effnetv2.train.budget import Budget


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    add = parser.add_argument
    add("data", help="labelled pictures, as for train: class folders, a CSV, or a named set")
    add("--budget", metavar="TIME", required=True, help="20m, 90s, 1.5h, 1h30m")
    add_choices(parser)
    add_machine(parser)
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Measure, and print the plan that `train --budget` would follow."""
    budget = Budget.of(args.budget)
    asked = choices(args)

    from rich.console import Console

    from effnetv2.api import plan
    from effnetv2.train.timetable import remarks, timetable

    found = plan(args.data, budget, **asked)
    if args.json:
        print(json.dumps(found.data(), indent=2, ensure_ascii=False))
        return 0
    Console(highlight=False).print(timetable(found))
    for line in remarks(found):
        print(line)
    return 0
