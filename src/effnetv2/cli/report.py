"""`effnetv2 report`: the page of a run, made again from its folder."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("run", help="a run's folder, finished or not")
    parser.add_argument("--tensorboard", metavar="FOLDER", help="write its curves there instead")


def run(args: argparse.Namespace) -> int:
    """Write report.html, or TensorBoard's files, and say where."""
    if args.tensorboard:
        from effnetv2.report.tensorboard import write as write_events

        print(write_events(Path(args.run), Path(args.tensorboard)))
        return 0
    from effnetv2.report.page import write

    print(write(Path(args.run)))
    return 0
