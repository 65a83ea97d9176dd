"""`effnetv2 VERB …`: find the verb, import it, call it.

Nothing else is imported before a verb is called, so that help comes at once. Whatever the user
gave that cannot be used ends in one line and exit code 2.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from effnetv2.errors import InputError
from effnetv2.version import __version__

VERBS = {
    "models": "list the networks: parameters, multiply-adds, sizes",
    "plan": "say what a training within a budget of time would be",
    "train": "train a network on your pictures",
    "evaluate": "say what a trained network gets right on labelled pictures",
    "predict": "say what is on pictures",
    "report": "write the report of a run again",
    "bench": "time networks and loader here, beside timm's and torchvision's",
}
EPILOG = """start here:
  effnetv2 train photos/ --to runs/photos     class folders in, model and report out
  effnetv2 predict runs/photos new/*.jpg
  effnetv2 VERB --help                        everything else
"""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and exit with 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = Parser(
        prog="effnetv2",
        description="Train EfficientNetV2 on your own pictures, progressively.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"effnetv2 {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    given = list(sys.argv[1:] if arguments is None else arguments)
    for name, what in VERBS.items():
        verb = verbs.add_parser(name, help=what, description=what.capitalize() + ".")
        if name in given[:1]:
            import_module(f"effnetv2.cli.{name}").add_arguments(verb)
    chosen = parser.parse_args(given)
    try:
        code: int = import_module(f"effnetv2.cli.{chosen.verb}").run(chosen)
    except InputError as e:
        print(f"effnetv2 {chosen.verb}: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        sys.stderr.close()
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main())
