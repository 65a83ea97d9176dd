"""What every result says of itself: command, commit, versions, machine."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from effnetv2.train.machine import Machine
from effnetv2.train.record import command, now
from effnetv2.version import __version__

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "pillow")


def about(bench: str, machine: Machine) -> dict[str, Any]:
    """Return what a result of the bench of this name begins with."""
    return {
        "bench": bench,
        "command": command(),
        "when": now(),
        "effnetv2": __version__,
        "commit": commit(),
        "versions": {"python": platform.python_version()} | _versions(),
        "machine": machine.describe(),
    }


def commit(file: Path = Path(__file__)) -> str | None:
    """Return the commit that `file` is of, `+` behind it where files differ from it; None outside.

    Outside is also an installed package that lies in another project's checkout.
    """
    if _git(file, "ls-files", "--error-unmatch", file.name) is None:
        return None
    head = _git(file, "rev-parse", "--short", "HEAD")
    return head and head + ("+" if _git(file, "status", "--porcelain", "-uno") else "")


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _git(file: Path, *arguments: str) -> str | None:
    """Return what git says in the folder of `file`, or None when it fails or is not there."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(file.parent), *arguments], capture_output=True, text=True
        )
    except OSError:
        return None
    return None if answer.returncode else answer.stdout.strip()
