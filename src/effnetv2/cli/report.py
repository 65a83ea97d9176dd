"""`effnetv2 report`: the page of a run, made again from its folder."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("run", help="a run's folder, finished or not")


def run(args: argparse.Namespace) -> int:
    """Write report.html and say where it is."""
    from effnetv2.report.page import write

    print(write(Path(args.run)))
    return 0
